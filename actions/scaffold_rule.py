"""Write a rule and a payload description from a CustomResourceDefinition."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.clients.kube import KubeSettings, connect
from kubestorm.core.errors import Error
from kubestorm.entrypoints.actions import failure
from kubestorm.entrypoints.scaffold import NO_ACTION, fetch_crd, scaffold
from st2common.runners.base_action import Action


class ScaffoldRule(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(
        self, crd: str, version: str = "", rule_pack: str = "default", action: str = NO_ACTION
    ) -> Tuple[bool, Any]:
        try:
            found = fetch_crd(connect(KubeSettings.from_config(self.config)), crd)
            return True, scaffold(found, version=version, pack=rule_pack, action=action)._asdict()
        except Error as error:
            return False, failure(error)
