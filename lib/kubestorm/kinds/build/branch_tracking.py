"""Tracks the branches that ImageBuilds follow: polls those whose git server sends no webhooks, and
notes pushes on the ImageBuilds that they concern.

An event only says that a branch may have changed; a run of the ImageBuild then asks the git server.
So events may come twice, late, out of order or not at all.
"""

from __future__ import annotations

import concurrent.futures
import datetime as dt
import json
import logging
import random
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Sequence

from kubestorm.clients.git.address import repository_key
from kubestorm.clients.services import Services
from kubestorm.core import untrusted
from kubestorm.core.errors import DefinitionError, NotFoundError
from kubestorm.core.naming import identity_of
from kubestorm.kinds.build.run import BuildRun
from kubestorm.kinds.build.settings import BuildSettings
from kubestorm.kinds.build.spec import IMAGE_BUILDS, PLURAL, ImageBuildSpec
from kubestorm.kinds.build.status import PUSHED_ANNOTATION
from kubestorm.kinds.common.resource import Object
from kubestorm.sources.git.pushes import TRIGGER, Push
from kubestorm.sources.poll_failures import PollFailures, delay_seconds

POLLING = "polling"
LISTING = "ImageBuilds"
WORKERS = 8

Dispatch = Callable[[str, Mapping[str, Any]], object]


# Which ImageBuilds an event concerns.


def follows(resource: Mapping[str, Any], keys: Sequence[str], branch: str) -> bool:
    """Whether an ImageBuild follows a branch of the repository with one of these keys. Pure."""
    source = (resource.get("spec") or {}).get("source") or {}
    if source.get("revision") or repository_key(str(source.get("url") or "")) not in keys:
        return False
    followed = source.get("branch")
    if not followed:
        # The default branch as the git server named it last; at first any branch may be it.
        followed = (
            untrusted.mapping(untrusted.status(resource).get("source")).get("branch") or branch
        )
    return bool(followed == branch)


def note_push(
    services: Services,
    urls: Sequence[str],
    branch: str,
    commit: str,
    *,
    actor: str = "",
    event_id: str = "",
) -> Dict[str, Any]:
    """Note a push on every ImageBuild that follows the branch and has not seen it. Safe to
    repeat.
    """
    keys = [key for key in (repository_key(url) for url in urls) if key]
    noted: List[str] = []
    for resource in services.kube.list_all(IMAGE_BUILDS):
        known = untrusted.mapping(untrusted.status(resource).get("source")).get("commit")
        if known == commit or not follows(resource, keys, branch):
            continue
        metadata = resource["metadata"]
        note = {"commit": commit, "actor": actor, "event_id": event_id}
        text = json.dumps(note, sort_keys=True)
        if untrusted.texts(metadata.get("annotations")).get(PUSHED_ANNOTATION) != text:
            body = {"metadata": {"annotations": {PUSHED_ANNOTATION: text}, "uid": metadata["uid"]}}
            try:
                services.kube.patch(IMAGE_BUILDS, metadata["name"], body, metadata["namespace"])
            except NotFoundError:
                continue  # deleted in the meantime
        noted.append(f"{metadata['namespace']}/{metadata['name']}")
    return {"image_builds": noted, "branch": branch, "commit": commit}


# Branches that are polled.


class Followed(NamedTuple):
    """One branch of one repository with the credentials to read it, and the commit that its
    ImageBuilds know.
    """

    url: str
    branch: str
    vault_path: str
    known: str

    @property
    def key(self) -> str:
        """Identifies it."""
        return "\n".join((self.url, self.branch, self.vault_path))


class BranchPoller:
    """One poll of the sensor. Raises nothing: the next one tries again."""

    def __init__(
        self,
        settings: BuildSettings,
        dispatch: Dispatch,
        log: logging.Logger,
        *,
        share: Callable[[], float] = lambda: random.uniform(-1, 1),  # noqa: S311 (spreads load, guards nothing)
    ) -> None:
        self._settings, self._dispatch, self._log, self._share = settings, dispatch, log, share
        self._dispatched: Dict[str, str] = {}
        self._due: Dict[str, dt.datetime] = {}
        self._failures = PollFailures(log, "branches")

    @property
    def tick_seconds(self) -> float:
        """How often `poll` is worth calling."""
        return max(1.0, min(15.0, self._settings.source.poll.interval_seconds / 4))

    def poll(self, services: Services) -> None:
        """Poll the branches that are due, several at a time: a slow server delays no other."""
        now = services.now()
        found: List[Any] = []
        if self._failures.run(LISTING, lambda: found.extend(self._followed(services))):
            return
        keys = {followed.key for followed, _ in found}
        self._due = {key: when for key, when in self._due.items() if key in keys}
        self._failures.retain({*keys, LISTING})
        self._dispatched = {key: commit for key, commit in self._dispatched.items() if key in keys}
        due = [each for each in found if now >= self._due.get(each[0].key, now)]
        with concurrent.futures.ThreadPoolExecutor(max_workers=WORKERS) as pool:
            for followed, seconds in pool.map(lambda each: self._poll_branch(services, *each), due):
                self._due[followed.key] = now + dt.timedelta(seconds=seconds)

    def _followed(self, services: Services) -> List[Any]:
        """The branches that ImageBuilds follow, each once, with a run that may read it. Invalid
        ImageBuilds are left out.
        """
        found: Dict[str, Any] = {}
        for resource in services.kube.list_all(IMAGE_BUILDS):
            if resource["metadata"].get("deletionTimestamp"):
                continue
            identity = identity_of(services.settings.cluster, PLURAL, resource)
            run = BuildRun(services, identity, "polling")
            try:
                spec = run.parse(resource)
            except DefinitionError:
                continue  # its condition SpecValid says so
            except Exception as error:  # noqa: BLE001 (one broken object must not stop the others)
                self._log.warning("branches.skipped: %s: %s", identity, type(error).__name__)
                continue
            if not spec.source.revision:
                followed = _followed_by(resource, spec)
                found.setdefault(followed.key, (followed, (run, spec)))
        return list(found.values())

    def _poll_branch(self, services: Services, followed: Followed, reader: Any) -> Any:
        """Poll one branch; the seconds until it is polled again."""
        run, spec = reader

        def poll() -> None:
            with run.git(spec) as git:
                head = git.head(spec.source.branch)
            self._compare(services, followed, head.branch, head.commit)

        self._failures.run(followed.key, poll, followed.url)
        failures, settings = self._failures.count(followed.key), self._settings.source.poll
        return followed, delay_seconds(settings.interval_seconds, failures, settings, self._share())

    def _compare(self, services: Services, followed: Followed, branch: str, commit: str) -> None:
        """Dispatch a commit that neither the ImageBuild knows nor was dispatched before. After a
        restart of the sensor it is dispatched again, which is harmless.
        """
        before = self._dispatched.get(followed.key) or followed.known
        if not before:
            return  # the first reconcile of the ImageBuild finds the commit itself
        if commit in (before, followed.known):
            return
        push = Push((followed.url,), branch, commit, before=before)
        self._dispatch(TRIGGER, push.payload(source=POLLING, now=services.now()))
        self._dispatched[followed.key] = commit
        self._log.info("branches.dispatched: %s of %s is at %s", branch, followed.url, commit)


def _followed_by(resource: Object, spec: ImageBuildSpec) -> Followed:
    known = str(untrusted.mapping(untrusted.status(resource).get("source")).get("commit") or "")
    return Followed(
        spec.source.address.url, spec.source.branch, spec.source.vault_path or "", known
    )
