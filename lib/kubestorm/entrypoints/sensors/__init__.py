"""What runs in the three sensors' processes: watches, listeners, polls.

`resources`, `listeners` and `polling` name the components of each process; `supervisor` starts
those that the configuration asks for, and retries. `observers` get every object that is watched. A
component's libraries are imported when it starts: a StackStorm sensor takes 74 MB before it does
anything.
"""
