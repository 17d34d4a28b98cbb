"""The conditions of partial indexes, in one place: SQLite uses such an index only for a query that
says its condition in the same words.
"""

from __future__ import annotations

from typing import Final

UNFINISHED: Final = "status NOT IN ('succeeded', 'failed', 'timeout', 'abandoned', 'canceled')"
"""Of executions that have not ended."""
UNPROCESSED: Final = "status IN ('pending', 'processing')"
"""Of trigger instances that have not been taken through the rules."""
