"""The interface of builders: one builds on this host, the others in the cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, List, Mapping, NamedTuple, Protocol, Tuple

from kubestorm.core.naming import Identity
from kubestorm.kinds.build.failures import Failure
from kubestorm.kinds.build.spec import ImageSpec, SourceSpec

RUNNING, PUSHED, FAILED, GONE = "Running", "Pushed", "Failed", "Gone"

Say = Callable[[str], None]
Stage = Callable[[str], None]


@dataclass(frozen=True)
class Order:
    """One image to be built from one commit."""

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
    """How far an order is. `job` is the name of its Job in the cluster; `stage` is build, test or
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


def failed(stage: str, failure: Failure, log_tail: str = "") -> Progress:
    """The progress of an order whose stage failed."""
    reason, message, retryable = failure
    return Progress(
        FAILED, reason=reason, message=message, retryable=retryable, stage=stage, log_tail=log_tail
    )


def buildah_options(order: Order, folder: str) -> List[str]:
    """The options of `buildah build` that are the same on hosts and in the cluster, up to the one
    that takes the local name. `folder` has the context.
    """
    image = order.image
    options = [f"--file={folder}/{order.dockerfile}"]
    options += [f"--build-arg={name}={value}" for name, value in image.build_args.items()]
    options += [f"--label={name}={value}" for name, value in sorted(order.labels.items())]
    options += [f"--target={image.target}"] if image.target else []
    options += [f"--platform={','.join(image.platforms)}"] if image.platforms else []
    if image.cache:
        options += ["--layers", f"--cache-from={image.cache}", f"--cache-to={image.cache}"]
    return [*options, "--manifest" if len(image.platforms) > 1 else "--tag"]


class Builder(Protocol):
    """Builds images. Raises the pack's errors where the host, the cluster or a registry fails."""

    def start(self, order: Order, say: Say, stage: Stage) -> Progress:
        """Start, and return at once (Running) or when the build is over. Safe to repeat: a running
        build is not started again.

        `say` gets the log's lines and `stage` the words build, test and push, where this builder
        knows them.
        """

    def progress(self, order: Order) -> Progress:
        """How far the order is; Gone when the builder has no trace of it."""

    def logs(self, order: Order, tail_bytes: int) -> str:
        """The end of the log; empty where it cannot be read."""

    def cancel(self, order: Order) -> None:
        """Stop the build and remove what it left. Safe to repeat."""

    def collect(self) -> List[str]:
        """Remove what dead builds left; the names of what was removed. Safe to repeat."""
