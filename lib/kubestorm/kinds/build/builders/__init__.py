"""Who builds: one port, in the words of a build, with a builder on this host and builders in the
cluster behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, List, Mapping, NamedTuple, Protocol, Tuple

from kubestorm.core.naming import Identity
from kubestorm.kinds.build.spec import ImageSpec, SourceSpec

RUNNING, PUSHED, FAILED, GONE = "Running", "Pushed", "Failed", "Gone"

Say = Callable[[str], None]
Stage = Callable[[str], None]


@dataclass(frozen=True)
class Order:
    """One image to be made from one commit."""

    identity: Identity
    number: int
    """Of the build."""
    attempt: int
    image: ImageSpec
    source: SourceSpec
    commit: str
    dockerfile: str
    """Below the context, links resolved."""
    tags: Tuple[str, ...]
    labels: Mapping[str, str]
    timeout_seconds: int

    @property
    def references(self) -> Tuple[str, ...]:
        """Where the image is pushed to, with tags."""
        return tuple(f"{self.image.reference}:{tag}" for tag in self.tags)


class Progress(NamedTuple):
    """How far an order is. `job` names what works on it in the cluster; `stage` is build, test or
    push.
    """

    state: str
    digest: str = ""
    reason: str = ""
    message: str = ""
    retryable: bool = False
    stage: str = ""
    log_tail: str = ""
    job: str = ""


class Builder(Protocol):
    """Makes images. A method that fails because of the surroundings raises the pack's errors."""

    def start(self, order: Order, say: Say, stage: Stage) -> Progress:
        """Begin, and return at once (Running) or when it is over. Safe to repeat: what is under way
        is not begun again.

        `say` gets the log's lines and `stage` the words build, test and push, where this builder
        knows them.
        """

    def progress(self, order: Order) -> Progress:
        """How far it is; Gone when nothing of it is to be found."""

    def logs(self, order: Order, tail_bytes: int) -> str:
        """The end of its log, as far as it can be had."""

    def cancel(self, order: Order) -> None:
        """Stop the work and remove what it left. Safe to repeat."""

    def collect(self) -> List[str]:
        """Remove what builds that died have left; the names of it. Safe to repeat."""
