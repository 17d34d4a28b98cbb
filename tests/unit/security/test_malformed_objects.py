"""Whatever somebody writes into the annotations, labels or status of an object, what reads it goes
on: nothing but the pack's own errors comes out.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kubestorm.clients.kube import Resource
from kubestorm.core import conditions, pod_failures, status_requests
from kubestorm.core.errors import Error
from kubestorm.kinds.application import apply
from kubestorm.kinds.application.commands import _line
from kubestorm.kinds.application.hosts import claim_of
from kubestorm.kinds.application.image_policy import (
    desired_image_annotation,
    desired_image_of,
    requests_shown,
)
from kubestorm.kinds.application.observe import active_track
from kubestorm.kinds.application.rollout.approval import pending_approval, read_approval
from kubestorm.kinds.application.rollout.commands import FOLLOW_UP
from kubestorm.kinds.application.rollout.observe import (
    past_rollout,
    read_freeze,
    read_requests,
    read_rollback_request,
    track_of,
)
from kubestorm.kinds.application.rollout.post_deploy_test import started_at
from kubestorm.kinds.application.rollout.settings import RolloutSettings
from kubestorm.kinds.application.rollout.spec import read_spec
from kubestorm.kinds.application.rollout.status import (
    conditions_of,
    current_stage,
    read_status,
    read_test,
)
from kubestorm.kinds.application.settings import ApplicationSettings
from kubestorm.kinds.application.status import deployment_condition
from kubestorm.kinds.build import plan as build_plan
from kubestorm.kinds.build import status as build_status
from kubestorm.kinds.build.base_images import observe as observe_bases
from kubestorm.kinds.build.base_images import rebuild_check
from kubestorm.kinds.build.base_images.plan import Decision
from kubestorm.kinds.build.pipeline import plan as stages
from kubestorm.kinds.build.settings import BuildSettings
from kubestorm.kinds.build.spec import parse_image_build
from kubestorm.kinds.database import commands as database_commands
from kubestorm.kinds.database import plan as database_plan
from kubestorm.kinds.database import plan_rotation, plan_snapshot
from kubestorm.kinds.database.drift import observe as drift_observe
from kubestorm.people.approval import gate, observer, proposal, record
from kubestorm.people.approval import plan as deciding
from kubestorm.people.approval.settings import ApprovalSettings
from kubestorm.people.chat import progress, why
from kubestorm.people.notifications import channels, notifications
from kubestorm.people.notifications.settings import AnnounceSettings
from kubestorm.sources.watching import change_detection, owned_state, wait_state
from kubestorm.sources.watching.fingerprint import PathTable

from tests.unit.application.conftest import application
from tests.unit.building.conftest import CONFIG as BUILD_CONFIG
from tests.unit.building.conftest import image_build

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = 100
NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.timezone.utc)
DIGEST = "sha256:" + "a" * 64
APPROVALS = {
    "approvals": {"rules": [{"namespaces": ["*"], "what": ["rollout", "promote", "delete"]}]}
}

SPECS = {
    "applications": application()["spec"],
    "imagebuilds": image_build()["spec"],
    "databases": {"engine": "postgres", "version": "16", "size": "small"},
    "rollouts": {
        "applicationRef": {"name": "cart", "uid": "u"},
        "number": 1,
        "image": {"digest": DIGEST, "repository": "team/cart", "tag": "1.0"},
        "strategy": {"type": "Canary", "steps": [{"weight": 25}]},
    },
    "deployments": {
        "replicas": 1,
        "selector": {"matchLabels": {}},
        "template": {"metadata": {}, "spec": {"containers": [{"name": "app", "image": "a"}]}},
    },
}


def _named(schema: Any) -> Iterator[str]:
    """Every field that a schema knows."""
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "properties" and isinstance(value, dict):
                yield from value
            yield from _named(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _named(value)


def _status_fields() -> list[str]:
    found = set()
    for path in sorted((ROOT / "crds").glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            for version in (document or {}).get("spec", {}).get("versions", ()):
                schema = version["schema"]["openAPIV3Schema"]["properties"]
                found |= set(_named(schema.get("status") or {}))
    return sorted(found)


BUILT_IN = [
    *("replicas", "updatedReplicas", "availableReplicas", "observedGeneration", "conditions"),
    *("containerStatuses", "initContainerStatuses", "state", "lastState", "waiting", "running"),
    *("terminated", "reason", "message", "exitCode", "restartCount", "startedAt", "ready", "name"),
    *("type", "status", "lastTransitionTime", "phase", "image", "at", "by", "to", "id", "digest"),
    *("loadBalancer", "ingress"),
]
FIELDS = st.sampled_from([*_status_fields(), *BUILT_IN])
WORDS = st.sampled_from(
    [
        *("", "True", "False", "Ready", "Running", "Requested", "Finished", "Failed", "Waiting"),
        *("Progressing", "PodScheduled", "SpecValid", "Built", "RolledOut", "CrashLoopBackOff"),
        *("AwaitingApproval", "InvalidSpec", "Unschedulable", "ReplicaFailure", "Complete"),
        *("granted", "waiting", "refused", "x", "0", "-1", "1e9", DIGEST, "cart-1"),
        *("2026-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59Z", "tomorrow"),
        *("2026-01-01T00:00:00", "2026-99-01T00:00:00Z", "9" * 5000, "[" * 2000, '"\\ud800"'),
    ]
)
LEAVES = (
    WORDS
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([10**400, float("nan"), float("inf"), -(2**63)])
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=5),
    max_leaves=12,
)
"""What JSON may hold, with the fields and words that somebody looks for."""
WRITTEN = (
    WORDS
    | st.text(max_size=12)
    | st.dictionaries(
        st.sampled_from(
            [
                *(
                    "build",
                    "by",
                    "reason",
                    "id",
                    "images",
                    "force",
                    "to",
                    "rollout",
                    "stage",
                    "full",
                ),
                *(
                    "digest",
                    "tag",
                    "event_id",
                    "recorded_at",
                    "pushed_at",
                    "actor",
                    "cause",
                    "owner",
                ),
                *("state", "content_hash", "quorum", "answers", "what", "shown", "expires_at"),
            ]
        ),
        VALUES,
        max_size=5,
    ).map(json.dumps)
)
KEYS = st.sampled_from(
    [
        f"kubestorm.io/{word}"
        for word in (
            *("build-request", "source-pushed", "wanted-image", "retry-digest", "active-track"),
            *("image-tag", "config-hash", "application", "track", "test-of", "image-build"),
            *("image-build-namespace", "image-build-uid", "confirm-delete", "recreate"),
            *("rotate-credentials", "snapshot", "look-again", "requested-by", "autoscaled"),
            *("take-fields", "channel", "descriptor"),
        )
    ]
) | st.just("deployment.kubernetes.io/revision")
METADATA = st.fixed_dictionaries(
    {"name": st.just("cart-1"), "namespace": st.just("shop"), "uid": st.just("u")},
    optional={
        "annotations": st.dictionaries(KEYS, WRITTEN, max_size=6) | VALUES,
        "labels": st.dictionaries(KEYS, WRITTEN, max_size=4) | VALUES,
        "generation": LEAVES,
        "creationTimestamp": WORDS,
        "deletionTimestamp": WORDS,
    },
)
STATUS = st.dictionaries(FIELDS, VALUES, max_size=8) | VALUES
Objects = Callable[[dict[str, Any]], Any]


def of(spec: str) -> st.SearchStrategy[dict[str, Any]]:
    """Objects of a kind: a spec as its schema has it, and anything in metadata and status."""
    return st.fixed_dictionaries(
        {
            "apiVersion": st.just("kubestorm.io/v1alpha1"),
            "kind": st.just("Thing"),
            "metadata": METADATA,
            "spec": st.just(SPECS[spec]),
        },
        optional={"status": STATUS},
    )


def status_of(obj: dict[str, Any]) -> dict[str, Any]:
    found = obj.get("status")
    return found if isinstance(found, dict) else {}


BUILDS = BuildSettings.from_config(BUILD_CONFIG)
IMAGE_BUILD = parse_image_build(image_build(), BUILDS, cluster="test")


def builds(obj: dict[str, Any]) -> None:
    """What a look at an ImageBuild, and the watcher of its build, read."""
    annotations = obj["metadata"].get("annotations")
    annotations = annotations if isinstance(annotations, dict) else {}
    request = build_status.read_request(annotations)
    status = status_of(obj)
    build_status.cancel_reason(status, 1)
    images = {each["name"]: each for each in build_status.images_of(status)}
    build_status.last_good(images)
    build_plan.due_images(images, NOW)
    build_plan.is_planned(images, IMAGE_BUILD, 1)
    build_status.canceled(list(images.values()), "why", NOW)
    build = status.get("build") if isinstance(status.get("build"), dict) else {}
    build_status.conditions_of(build, list(images.values()))
    build_plan.requeue_at(build, 60.0, NOW)
    build_status.summarized(build, list(images.values()), NOW)
    build_status.finished_payload({}, IMAGE_BUILD, build, list(images.values()))
    for alive in (False, True):
        build_plan.plan_build(
            status,
            IMAGE_BUILD,
            request=request,
            alive=alive,
            attempts=3,
            now=NOW,
        )
    stages.why_stopped(obj, "r")
    stages.build_stages(status, "r", has_test=True)
    list(observe_bases.built_images(obj))
    rebuild_check._messages([obj], Decision())
    observe_bases.waits_for_turn(obj, NOW)
    observe_bases.is_rebuilding(obj)


def rollouts(obj: dict[str, Any]) -> None:
    """What a run of a Rollout reads of itself."""
    read_requests(obj, obj)
    status_requests.taken_back(obj, *status_requests.CONSUMED)
    read_approval(obj, APPROVALS)
    pending_approval(obj, APPROVALS)
    observer.open_question("rollouts", obj, APPROVALS, ApprovalSettings.from_config(APPROVALS))
    status = read_status(obj)
    request = read_spec(obj, RolloutSettings())
    conditions_of(request, status)
    current_stage(request, status)
    past_rollout(obj)
    read_test(obj)
    started_at(obj, "final")
    stages.rollout_stages([stages.Follower("cart", DIGEST, obj)])


def applications(obj: dict[str, Any]) -> None:
    """What a run of an Application, and of its Rollout, read of it."""
    read_freeze(obj)
    read_rollback_request(obj)
    wish = desired_image_of(obj)
    if wish is not None:
        desired_image_annotation(wish)
    requests_shown(obj)
    claim_of(obj, ApplicationSettings())
    active_track(obj, obj)
    _line(obj)


def databases(obj: dict[str, Any]) -> None:
    """What a run of a Database reads of it."""
    plan_rotation.requested(obj)
    plan_snapshot.requested(obj)
    database_plan.has_vanished(obj, 0)
    database_commands._line(obj)
    gate.deletion(obj, APPROVALS)
    proposal.requester(obj)
    observer.open_question("databases", obj, APPROVALS, ApprovalSettings.from_config(APPROVALS))
    drift_observe._under_way(obj, None)
    found = record.read(obj)
    if found is not None:
        assert record.read({"status": record.fields(found)}) == found
        deciding.minutes_left(found, NOW)
        rule = ApprovalSettings.from_config(APPROVALS).rule_for("shop", "delete")
        assert rule is not None
        question = deciding.Question(found.what, found.content_hash, found.shown, "ann")
        deciding.next_step(question, found, rule, NOW)


def owned(obj: dict[str, Any]) -> None:
    """What is asked of Deployments, ReplicaSets, Pods and Jobs whenever one of them changes."""
    for kind in ("Deployment", "ReplicaSet", "Pod", "Job"):
        owned_state.state_of(kind, obj)
        owned_state.owner_of(kind, obj)
    pod_failures.diagnose(pod_failures.Evidence(obj, [obj], [obj]))
    pod_failures.needs_log(pod_failures.Evidence(obj, [obj], [obj]))
    track_of(obj)
    deployment_condition(obj)
    apply.was_autoscaled(obj)


def watched(obj: dict[str, Any]) -> None:
    """What the watch reads of objects of any kind."""
    table = PathTable()
    wait_state.wait_state(obj)
    first = change_detection.detect_changes(obj, None, table, status=True, outcome_counts=True)
    again = change_detection.detect_changes(
        obj, first.record, table, status=True, outcome_counts=True
    )
    assert again.changes == ()
    changed = {**obj, "metadata": {**obj["metadata"], "annotations": {}}, "status": {}}
    change_detection.detect_changes(changed, first.record, table, status=True, outcome_counts=True)
    change_detection.detect_changes(obj, None, table, sensitive=True)
    change_detection.payload(
        first.changes[0],
        json.loads(json.dumps(obj)),
        key="shop/cart-1",
        cluster="c",
        resource=Resource("kubestorm.io", "v1alpha1", "things"),
        kind="Thing",
        sensitive=True,
    )


def told(obj: dict[str, Any]) -> None:
    """What chat and announcements read of objects."""
    for plural in ("applications", "databases", "imagebuilds", "rollouts"):
        notifications.news_of(plural, obj)
    channels.channel_of("shop", obj, AnnounceSettings(by_namespace=True))
    for plural in ("applications", "databases", "imagebuilds"):
        why.explain(plural, obj, [], obj)
    follow = progress.Follow("object", "applications", "shop", "cart")
    progress.judge_object(follow, obj, "Ready")
    progress.judge_application(follow, obj, [obj])
    progress.judge_rollout(follow, obj)
    progress.judge_build(follow, obj)
    progress.judge_delivery(follow, obj)


def conditioned(obj: dict[str, Any]) -> None:
    """What every kind's conditions become."""
    listed = status_of(obj).get("conditions")
    known = listed if isinstance(listed, list) else []
    new = conditions.Condition("SpecValid", "True", "Valid", "Spec is valid.")
    after = conditions.set_condition(known, new, generation=1, now=NOW)
    conditions.roll_up(after, {"SpecValid": "", "Built": ""}, generation=1)
    conditions.is_true(after, "Built", generation=1)
    FOLLOW_UP.format(namespace="shop", name="cart")


READERS: dict[str, tuple[str, Objects]] = {
    "builds": ("imagebuilds", builds),
    "rollouts": ("rollouts", rollouts),
    "applications": ("applications", applications),
    "databases": ("databases", databases),
    "owned objects": ("deployments", owned),
    "the watch": ("rollouts", watched),
    "chat": ("rollouts", told),
    "conditions": ("databases", conditioned),
}


@pytest.mark.parametrize("kind, reader", READERS.values(), ids=READERS)
@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data())
def test_nothing_that_is_written_stops_a_loop(kind, reader, data):
    """Text, JSON of another form, words, numbers, times of no year of ours."""
    obj = data.draw(of(kind))
    with suppress(Error):
        reader(obj)


@pytest.mark.parametrize(
    "said, canceled",
    [
        pytest.param({"build": "x"}, False, id="a build that is no number"),
        pytest.param({"build": 3, "by": "ann"}, True, id="this build"),
        pytest.param({"build": "3"}, True, id="this build, as text"),
        pytest.param({"build": 2}, False, id="another build"),
        pytest.param({"by": "ann"}, True, id="whichever runs"),
        pytest.param({"build": [3]}, False, id="a list"),
        pytest.param([3], False, id="no object"),
        pytest.param("{", False, id="text"),
    ],
)
def test_a_cancellation_names_its_build_or_none(said, canceled):
    """One that cannot be read stops nothing, and raises nothing in the watcher's thread."""
    reason = build_status.cancel_reason({"requests": {"cancel": said}}, 3)
    assert bool(reason) is canceled
