"""Write a Database resource."""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple

from kubestorm.entrypoints.actions import run_with_services
from kubestorm.kinds.database import commands
from st2common.runners.base_action import Action


class DatabaseCreate(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(
        self,
        namespace: str,
        name: str,
        engine: str,
        version: str = "",
        size: str = "",
        storage_gib: int = 0,
        deletion_policy: str = "",
        spec: Optional[Dict[str, Any]] = None,
        requested_by: str = "",
    ) -> Tuple[bool, Any]:
        return run_with_services(
            lambda services: commands.create(
                services,
                namespace,
                name,
                engine=engine,
                version=version,
                size=size,
                storage_gib=storage_gib,
                deletion_policy=deletion_policy,
                spec=spec,
                requested_by=requested_by,
            ),
            self.config,
        )
