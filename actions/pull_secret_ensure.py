"""Have a pull secret in a namespace."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.entrypoints.actions import run_with_services
from kubestorm.kinds.build.pull_secret import ensure_pull_secret
from st2common.runners.base_action import Action


class PullSecretEnsure(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(self, namespace: str, name: str = "", service_account: str = "") -> Tuple[bool, Any]:
        return run_with_services(
            lambda services: ensure_pull_secret(
                services, namespace, name=name, service_account=service_account
            ),
            self.config,
        )
