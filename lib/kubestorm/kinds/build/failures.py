"""Which failures of a build may pass by themselves: the network's and the registry's, never the
Dockerfile's. Pure.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# Words of Go's net package, of containers/image, BuildKit and kaniko, curl and the package managers
# that RUN starts.
PASSING = re.compile(
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


class Verdict(NamedTuple):
    """Why a build failed, in one word and one sentence, and whether the next try may go better."""

    reason: str
    message: str
    retryable: bool


def judge(stage: str, log: str, code: int) -> Verdict:
    """Judge the end of a log. `stage` is `build`, `test` or `push`; the last telling line is
    quoted.
    """
    said = last_line(log)
    if stage == "test":
        return Verdict("TestFailed", f"The test command failed ({code}): {said}", False)
    if FULL.search(log):
        return Verdict("DiskFull", f"The disk of the builder is full: {said}", False)
    if REFUSED.search(log):
        where = "to push there" if stage == "push" else "to pull a base image"
        return Verdict("RegistryDenied", f"The registry denies access {where}: {said}", False)
    if PASSING.search(log_end(log)):
        return Verdict("NetworkFailed", f"The network or a registry did not answer: {said}", True)
    if MISSING.search(log):
        return Verdict("BaseImageMissing", f"A base image is not there: {said}", False)
    if stage == "push":
        return Verdict("PushFailed", f"The image could not be pushed ({code}): {said}", True)
    return Verdict("BuildFailed", f"The Dockerfile failed ({code}): {said}", False)


def log_end(log: str) -> str:
    """The part of a log that tells how it ended."""
    return "\n".join(log.splitlines()[-25:])


def last_line(log: str) -> str:
    """The last line that says something, or the last error."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines[-15:] if re.match(r"(?i)(error|fatal|failed)\b", line)]
    return (errors or lines or ["it said nothing"])[-1][:300]
