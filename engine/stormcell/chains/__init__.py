"""Action-chains: the definition (`definition`) and the conductor that walks it (`conductor`)."""

from stormcell.chains.conductor import ChainConductor
from stormcell.chains.definition import Chain, Task, parse_chain

__all__ = ["Chain", "ChainConductor", "Task", "parse_chain"]
