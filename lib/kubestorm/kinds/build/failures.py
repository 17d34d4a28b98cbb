"""Why a build failed, read from its log, and whether a retry may help: after failures of the
network or a registry, never of the Dockerfile. Pure.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from kubestorm.kinds.build.status import Reason

# Words of Go's net package, of containers/image, BuildKit and kaniko, curl and the package managers
# that RUN starts.
TRANSIENT = re.compile(
    r"connection (?:refused|reset|timed out)|i/o timeout|tls handshake timeout|no such host"
    r"|unexpected eof|temporary failure (?:in name resolution|resolving)"
    r"|could ?n[o']t? ?(?:resolve|connect to)|could not resolve host"
    r"|network is unreachable|no route to host|context deadline exceeded"
    r"|toomanyrequests|too many requests"
    r"|(?:http status|status code|response status|http|error)[: ]+(?:code )?(?:429|50[0234])\b"
    r"|\b50[234] (?:bad gateway|service unavailable|gateway time)|server misbehaving|broken pipe",
    re.IGNORECASE,
)
REFUSED = re.compile(
    r"unauthorized|authentication required|denied: |requested access to the resource is denied",
    re.I,
)
MISSING = re.compile(
    r"manifest unknown|name unknown|manifest for .* not found|image not known", re.I
)
FULL = re.compile(r"no space left on device", re.I)


class Failure(NamedTuple):
    """Why a build failed, in one word and one sentence, and whether a retry may help."""

    reason: Reason
    message: str
    retryable: bool


def classify(stage: str, log: str, code: int) -> Failure:
    """Classify a failure by the end of its log. `stage` is `build`, `test` or `push`; the message
    quotes the last error, or the last line.
    """
    line = last_line(log)
    if stage == "test":
        return Failure(
            Reason.TEST_FAILED, f"The test command failed (exit code {code}): {line}", False
        )
    if FULL.search(log):
        return Failure(Reason.DISK_FULL, f"The builder's disk is full: {line}", False)
    if REFUSED.search(log):
        what = "the push" if stage == "push" else "a base image"
        return Failure(
            Reason.REGISTRY_DENIED, f"The registry denied access to {what}: {line}", False
        )
    if TRANSIENT.search(log_end(log)):
        return Failure(Reason.NETWORK_FAILED, f"The network or a registry failed: {line}", True)
    if MISSING.search(log):
        return Failure(Reason.BASE_IMAGE_MISSING, f"Base image not found: {line}", False)
    if stage == "push":
        return Failure(Reason.PUSH_FAILED, f"Push failed (exit code {code}): {line}", True)
    return Failure(Reason.BUILD_FAILED, f"The Dockerfile failed (exit code {code}): {line}", False)


def log_end(log: str) -> str:
    """The last lines of a log."""
    return "\n".join(log.splitlines()[-25:])


def last_line(log: str) -> str:
    """The last error of the last lines, or the last line that is not empty."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines[-15:] if re.match(r"(?i)(error|fatal|failed)\b", line)]
    return (errors or lines or ["no output"])[-1][:300]
