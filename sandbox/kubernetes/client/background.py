"""Runs asynchronous work in a thread of its own, with an event loop that ends cleanly."""

from __future__ import annotations

import asyncio
import logging
import threading
from types import TracebackType
from typing import Self

START_TIMEOUT_SECONDS = 30.0
STOP_TIMEOUT_SECONDS = 10.0
CLOSING_SECONDS = 0.05

log = logging.getLogger(__name__)


class Background:
    """Something with a coroutine `_main(ready)` that runs from `start` to `stop`; a context
    manager.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._ready = threading.Event()
        self._failure: BaseException | None = None

    def start(self) -> Self:
        """Run in a thread; returns once `_main` has called `ready`, raises what it raised before
        that.
        """
        self._ready.clear()
        self._failure = None
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()
        if not self._ready.wait(START_TIMEOUT_SECONDS):
            self.stop()
            raise RuntimeError(
                f"{self._name} did not get ready within {START_TIMEOUT_SECONDS:.0f} seconds"
            )
        self._raise_failure()
        return self

    def stop(self) -> None:
        """Cancel all work and wait for its end. Safe to repeat."""
        if not self._thread:
            return
        if self._loop and self._task and self._thread.is_alive():
            try:
                self._loop.call_soon_threadsafe(self._task.cancel)
            except RuntimeError:
                log.debug("background.ended_already", extra={"background": self._name})
        self._thread.join(STOP_TIMEOUT_SECONDS)
        self._thread = None

    def _raise_failure(self) -> None:
        if self._failure:
            self.stop()
            raise self._failure

    async def _main(self) -> None:
        """The work; call `self._ready.set()` when it is under way."""
        raise NotImplementedError

    def _run(self) -> None:
        try:
            asyncio.run(self._capture())
        except asyncio.CancelledError:
            log.debug("background.stopped", extra={"background": self._name})
        except Exception as error:  # the outer loop of a thread; `start` raises it again
            if self._ready.is_set():
                log.exception("background.failed", extra={"background": self._name})
            self._failure = error
        finally:
            self._ready.set()

    async def _capture(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        try:
            await self._main()
        finally:
            # Connections that were cut while they opened are closed by callbacks: the loop has to
            # turn for them.
            await asyncio.sleep(CLOSING_SECONDS)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
