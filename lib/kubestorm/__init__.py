"""What the pack knows: every decision and every client that its sensors and actions use.

Runs inside StackStorm or stormcell on Python 3.8 and later, and depends on neither.
"""

__version__ = "0.1.0"
