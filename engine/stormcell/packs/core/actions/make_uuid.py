"""core.uuid: a new UUID as text."""

from __future__ import annotations

import uuid

from st2common.runners.base_action import Action


class MakeUuid(Action):
    """Makes one."""

    def run(self, uuid_type: str = "uuid4") -> str:
        """Return a UUID of the kind asked for."""
        makers = {"uuid1": uuid.uuid1, "uuid4": uuid.uuid4}
        if uuid_type not in makers:
            raise ValueError("uuid_type must be uuid1 or uuid4.")
        return str(makers[uuid_type]())
