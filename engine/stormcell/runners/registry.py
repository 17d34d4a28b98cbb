"""All runners by name, made together and closed together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from stormcell.content.registry import Content
from stormcell.errors import NotFoundError
from stormcell.runners.http import HttpRunner
from stormcell.runners.python import PythonRunner
from stormcell.runners.shell import LocalShellRunner
from stormcell.runners.simple import Announce, AnnouncementRunner, InquirerRunner, NoopRunner
from stormcell.running import Runner
from stormcell.workers.pool import WorkerPool
from stormcell.workers.ports import Services


class Runners:
    """Runner type -> runner. Chains and workflows are not here: the engine conducts those itself."""

    def __init__(self, runners: Mapping[str, Runner]) -> None:
        self._runners = dict(runners)

    @classmethod
    def make(
        cls,
        *,
        virtualenvs: Path | None = None,
        services: Services | None = None,
        announce: Announce | None = None,
        api_url: str = "",
        workers: int = 4,
        warm_workers: int = 1,
    ) -> Runners:
        """Make all runners; call within the event loop. The first worker starts at once.

        `virtualenvs`: folder of the packs' virtual environments. `workers`: Python actions that may
        run at once. `announce`: sends an announcement to the stream. `api_url` goes into
        actions' environment.
        """
        pool = WorkerPool(size=workers, warm=warm_workers)
        pool.start()
        shell = LocalShellRunner(api_url=api_url)
        python = PythonRunner(
            pool=pool,
            virtualenvs=virtualenvs,
            services=services,
            api_url=api_url,
        )
        return cls(
            {
                "python-script": python,
                "local-shell-cmd": shell,
                "local-shell-script": shell,
                "http-request": HttpRunner(),
                "noop": NoopRunner(),
                "inquirer": InquirerRunner(),
                "announcement": AnnouncementRunner(announce),
            }
        )

    def __contains__(self, name: str) -> bool:
        return name in self._runners

    def get(self, name: str) -> Runner:
        """Return a runner. Raises NotFoundError for one that is not here."""
        try:
            return self._runners[name]
        except KeyError:
            raise NotFoundError(
                f"There is no runner '{name}'. Known: {', '.join(sorted(self._runners))}."
            ) from None

    def preload(self, content: Content) -> None:
        """Let idle workers load what the packs' Python actions will need. Returns at once."""
        python = self._runners.get("python-script")
        if isinstance(python, PythonRunner):
            python.preload(content)

    async def close(self) -> None:
        """Stop all runners and all that they run. Safe to repeat."""
        for runner in {id(runner): runner for runner in self._runners.values()}.values():
            await runner.close()
