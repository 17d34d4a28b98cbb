"""Orquesta: StackStorm's workflow language, conducted by a pure state machine of our own.

`OrquestaConductor` implements `stormcell.conducting.Conductor`. The language is that of
StackStorm's documentation and of the orquesta package (1.6); where we differ on purpose is in
docs/decisions/0042-orquesta-conductor.md.
"""

from stormcell.orquesta.conductor import OrquestaConductor

__all__ = ["OrquestaConductor"]
