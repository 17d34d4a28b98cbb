"""What runs in the three sensors' processes: the watches, what listens, what looks from time to
time.

`resources`, `listeners` and `polls` name the parts of each process; `keeping` begins those that the
configuration asks for, and tries again what could not begin. `observers` says who is told of the
objects that are watched; `store` writes seldom what the parts remember, `remembered` is what was
told already. A part's libraries are imported when it begins: a sensor of StackStorm's takes 74 MB
before it does anything.
"""
