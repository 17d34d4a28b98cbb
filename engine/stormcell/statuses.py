"""The words StackStorm uses for the state of an execution and of a trigger instance, and the sets
that matter.

Source: st2common/constants/action.py and st2common/constants/triggers.py of StackStorm 3.9.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class ExecutionStatus(StrEnum):
    """Where an execution stands."""

    REQUESTED = "requested"
    SCHEDULED = "scheduled"
    DELAYED = "delayed"
    RUNNING = "running"
    PENDING = "pending"
    PAUSING = "pausing"
    PAUSED = "paused"
    RESUMING = "resuming"
    CANCELING = "canceling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMEOUT = "timeout"
    ABANDONED = "abandoned"
    CANCELED = "canceled"


FAILURES: Final = frozenset(
    {ExecutionStatus.FAILED, ExecutionStatus.TIMEOUT, ExecutionStatus.ABANDONED}
)
TERMINAL: Final = FAILURES | {ExecutionStatus.SUCCEEDED, ExecutionStatus.CANCELED}


class TriggerInstanceStatus(StrEnum):
    """How far a trigger instance has been taken through the rules."""

    PENDING = "pending"
    PROCESSING = "processing"
    PROCESSED = "processed"
    PROCESSING_FAILED = "processing_failed"
