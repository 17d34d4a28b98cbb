"""Make what a repository's default.json asks for."""

from __future__ import annotations

from typing import Any, Tuple

from kubestorm.entrypoints.actions import run_with_services
from kubestorm.kinds.build.descriptor.act import apply
from st2common.runners.base_action import Action


class DescriptorApply(Action):  # type: ignore[misc]
    """Parameters in, one library call, result out."""

    def run(
        self,
        namespace: str,
        url: str,
        branch: str = "",
        file: str = "default.json",
        credentials_path: str = "",
    ) -> Tuple[bool, Any]:
        return run_with_services(
            lambda services: apply(
                services,
                namespace,
                url,
                branch=branch,
                file=file,
                credentials_path=credentials_path,
            ),
            self.config,
        )
