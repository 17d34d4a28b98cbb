"""The side of the engine that runs inside a pack's own interpreter: workers for actions, hosts for
sensors.

Standard library only, and Python 3.8 or later: a pack's virtual environment has neither stormcell
nor its dependencies. Everything is imported relatively, because this folder, not stormcell, is on
the path there.
"""
