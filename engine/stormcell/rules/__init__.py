"""Rules: which of them match a trigger instance, and why or why not.

Pure. `RuleIndex` compiles the rules of all packs once; the engine builds a new one when content
changes.
"""

from stormcell.rules.checking import criterion_problems
from stormcell.rules.criteria import CriterionResult, explain
from stormcell.rules.enforcing import render_action_parameters
from stormcell.rules.index import Attempt, Failure, MatchResult, RuleIndex

__all__ = [
    "Attempt",
    "CriterionResult",
    "Failure",
    "MatchResult",
    "RuleIndex",
    "criterion_problems",
    "explain",
    "render_action_parameters",
]
