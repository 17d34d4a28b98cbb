"""On a real StackStorm the pack installs, every journey works, and a burst of fifty Databases too.

The tests are one story in the order of this file: install, configure, the acts of the demo, people,
rest, a burst, a sudden end, and what is left of it all.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from sandbox.demo import programs
from sandbox.demo.application_act import ApplicationAct
from sandbox.demo.build_act import BuildAct
from sandbox.demo.database_act import DatabaseAct
from sandbox.demo.stage import API_VERSION, EXAMPLES, Player, example
from sandbox.environment import ROOT
from sandbox.tally import tally, text_of, unfinished
from tests.e2e import leaks
from tests.stackstorm import processes
from tests.stackstorm.conftest import (
    STILL_SECONDS,
    Storm,
    pack_configuration,
    row,
)
from tests.stackstorm.installation import KINDS, in_files

pytestmark = pytest.mark.timeout(3600)
IDLE_SECONDS = float(os.environ.get("ST2_IDLE_SECONDS", "180"))
UNCONFIGURED_SECONDS = 20.0
BURST, BURST_SECONDS, KILLED = 50, 300, 10
SAMPLED_PASSWORDS = 8


@pytest.fixture(scope="module")
def pack(storm: Storm) -> Iterator[Storm]:
    """The pack installed from git; its sensors wait for a while for their configuration."""
    begin = time.monotonic()
    done = storm.api.install()
    assert done["status"] == "succeeded", done["result"]
    row("pack install", f"{time.monotonic() - begin:.0f} s")
    if storm.api.is_local:
        storm.say(f"leaving it unconfigured for {UNCONFIGURED_SECONDS:.0f} s")
        time.sleep(UNCONFIGURED_SECONDS)
    yield storm
    storm.api.uninstall()


@pytest.fixture(scope="module")
def configured(pack: Storm) -> Storm:
    """The pack configured, as an operator does."""
    pack.api.configure(pack_configuration(pack.environment))
    return pack


@pytest.mark.parametrize("folder", KINDS)
def test_everything_is_registered(pack: Storm, folder: str) -> None:
    """What the files define is what StackStorm has."""
    wanted, found = in_files(folder), pack.api.registered(folder)
    row(f"{folder} registered", f"{len(found)} of {len(wanted)}")
    assert found == wanted


def test_sensors_stay_up_without_configuration_and_take_it_later(pack: Storm) -> None:
    """The processes are the same before and after; that they work is shown by all that follows."""
    if not pack.api.is_local:
        pack.api.configure(pack_configuration(pack.environment))
        pytest.skip("the sensors' processes are on another machine")
    before = {process.pid for process in processes.pack_sensors()}
    pack.api.configure(pack_configuration(pack.environment))
    time.sleep(UNCONFIGURED_SECONDS)
    after = {process.pid for process in processes.pack_sensors()}
    row("sensor processes before and after configuration", f"{len(before)}, {len(before & after)}")
    if before != after or len(after) < len(in_files("sensors")):
        pack.api.restart_sensors()  # for what follows
        pytest.fail("sensors ended: see the sensor container's log")


def test_a_database(configured: Storm) -> None:
    """From apply to Ready, resized, and deleted with a snapshot."""
    act = DatabaseAct(configured.stage)
    with configured.counted("Database, apply to Ready, RDS at 3 s", goal=8):
        act.create()
    configured.note_passwords(act.namespace)
    with configured.counted("Database, resized"):
        act.resize()
    with configured.counted("Database, deleted with a snapshot"):
        act.delete()


def test_an_application(configured: Storm) -> None:
    """A pushed image is rolled out, a crashing one taken back, a mended one rolled out."""
    act = ApplicationAct(configured.stage)
    act.manifest["spec"]["replicas"] = {"min": 3}
    with configured.counted("Application, first image to Ready"):
        act.create()
    with configured.counted("Application, push to Complete, 3 pods", goal=10):
        act.roll_out()
    with configured.counted("Application, crashing image, rolled back"):
        act.break_it()
    with configured.counted("Application, mended image to Complete"):
        act.mend()


def test_a_build(configured: Storm) -> None:
    """A commit becomes an image, and the image a rollout."""
    missing = programs.missing()
    if missing:
        row("ImageBuild, commit to rollout", f"skipped, not installed: {', '.join(missing)}")
        pytest.skip(f"not installed: {', '.join(missing)}")
    act = BuildAct(configured.stage, ApplicationAct(configured.stage))
    with configured.counted("ImageBuild, commit to rollout"):
        act.create()
    with configured.counted("ImageBuild, next commit to rollout"):
        act.change()


def test_each_alias(configured: Storm) -> None:
    """By the sentence that it shows as its example, as `st2 action-alias execute` says it: without
    naming a user. Each is matched by its own alias and answers in a sentence.
    """
    act = Application(configured, "cart", "chat")
    for tag in ("1.0.0", "1.1.0"):
        act.push(tag)
        act.apply()
        configured.wait(f"cart {tag} in chat", lambda tag=tag: act.runs(tag))
    wrong = {}
    with configured.counted("aliases, each once"):
        for alias, sentence in sentences():
            found, text = say_in_chat(configured, sentence)
            configured.say(f"  {sentence}\n    {text}")
            if found != alias or not text or "went wrong inside" in text or "no role" in text:
                wrong[alias] = f"{sentence!r} matched {found}: {text!r}"
    configured.note_passwords("chat")
    assert wrong == {}


def test_an_approval(configured: Storm) -> None:
    """A deletion that destroys data waits for a word, which an inquiry takes."""
    with configured.counted("approval of a deletion, by an inquiry"):
        await_approval(configured, "doomed")
        answer(configured, "doomed", "approve")
        configured.wait("the deletion", lambda: not stands(configured, "doomed"))


def test_what_waits_costs_nothing(configured: Storm) -> None:
    """A Ready, a frozen, a canary that waits for promotion, and one that awaits approval."""
    configured.database("ready", "idle")
    frozen = Application(configured, "frozen", "idle")
    canary = Application(configured, "canary", "idle")
    steps = [{"weight": 50, "untilPromoted": True}]
    canary.manifest["spec"]["strategy"] = {"type": "Canary", "steps": steps}
    for it in (frozen, canary):
        it.manifest["spec"]["replicas"] = {"min": 2}
        it.push("1.0.0")
        it.apply()
    configured.wait("the Database", lambda: "ready" in configured.ready("Database", "idle"))
    configured.wait("the Applications", lambda: len(configured.ready("Application", "idle")) == 2)
    configured.api.run(
        "kubestorm.application_freeze",
        name="frozen",
        namespace="idle",
        owner="#platform",
        reason="the sale",
    )
    for it in (frozen, canary):
        it.push("1.1.0")
    await_approval(configured, "asked")
    for it, why in ((frozen, "Frozen"), (canary, "AwaitingPromotion")):
        configured.wait(why, lambda it=it, why=why: it.condition("Ready").get("reason") == why)
    configured.wait_until_quiet(3 * STILL_SECONDS)
    since = dt.datetime.now(dt.UTC)
    configured.say(f"doing nothing for {IDLE_SECONDS:.0f} s")
    time.sleep(IDLE_SECONDS)
    found = tally(configured.api, since)
    objects = ", ".join(
        f"{it.name} {it.condition('Ready').get('reason')}" for it in (frozen, canary)
    )
    row(
        f"at rest for {IDLE_SECONDS:.0f} s ({objects})", f"{found.count} executions", 0, found.count
    )
    row("datastore events at rest", str(found.datastore_events), 0, found.datastore_events)
    answer(configured, "asked", "refuse")
    assert found.executions == {}
    assert found.datastore_events == 0


def test_a_burst(configured: Storm) -> None:
    """Fifty Databases at once are all Ready, and nothing of it is red."""
    names = {f"orders-{number}" for number in range(BURST)}
    with configured.counted(f"{BURST} Databases at once, RDS at 3 s", goal=BURST * 8):
        begin = time.monotonic()
        for name in sorted(names):
            configured.database(name, "burst")
        configured.wait(
            f"{BURST} Databases", lambda: configured.ready("Database", "burst") == names
        )
        seconds = time.monotonic() - begin
        row(f"{BURST} Databases, apply to Ready", f"{seconds:.0f} s", BURST_SECONDS, seconds)
    configured.note_passwords("burst")


def test_a_sudden_end(configured: Storm) -> None:
    """SIGKILL of runners, sensor container and sensors while Databases are being made: all become
    Ready, and what StackStorm itself leaves `running` is cleared as the docs say.
    """
    if not (configured.api.is_local and processes.find(processes.RUNNER)):
        row("kill -9 of runners and sensors", "skipped, StackStorm's processes are not seen here")
        pytest.skip("StackStorm's processes are not seen on this machine")
    since = dt.datetime.now(dt.UTC)
    names = {f"orders-{number}" for number in range(KILLED)}
    for name in sorted(names):
        configured.database(name, "killed")
    folder = f"kubestorm/{configured.environment.cluster}/killed/"
    configured.wait(
        "the first credentials", lambda: len(configured.environment.vault_paths(folder)) > 1
    )
    processes.kill_and_bring_back(
        processes.RUNNER,
        processes.CONTAINER,
        processes.SENSOR,
        command=os.environ.get("ST2_RESTART", ""),
    )
    begin = time.monotonic()
    configured.wait(f"{KILLED} Databases", lambda: configured.ready("Database", "killed") == names)
    row(f"kill -9, then {KILLED} Databases Ready", f"{time.monotonic() - begin:.0f} s")
    configured.lost = lost_since(configured, since)
    cleared = [id_ for id_ in configured.lost if configured.api.abandon(id_)]
    row("left running by kill -9, cleared", f"{len(cleared)} of {len(configured.lost)}")
    configured.note_passwords("killed")


def test_nothing_is_left_or_red(configured: Storm) -> None:
    """Of all that happened: no failed execution, no rule that failed to match, none running."""
    configured.wait_until_quiet()
    found = tally(configured.api, configured.begin)
    row("executions in all", str(found.count))
    types, events = configured.api.trigger_types(), Counter[str]()
    for name, number in found.events.items():
        events[types.get(name, name)] += number
    for name, number in sorted(events.items()):
        row(f"trigger instances of {name}", str(number))
    left = unfinished(configured.api, configured.begin).keys() - configured.lost
    row("executions left running", str(len(left)), 0, len(left))
    red = configured.red(found)
    row("red executions", str(len(red)), 0, len(red))
    row("failed rules", str(len(found.failed_rules)), 0, len(found.failed_rules))
    if configured.api.is_local:
        size = processes.sensor_megabytes()
        row("memory of the pack's sensors", f"{size:.0f} MB", 300, size)
    configured.check(found)
    assert left == set()


def test_no_password_is_told(configured: Storm) -> None:
    """What StackStorm keeps and what its services log hold no form of a password from Vault."""
    assert configured.passwords, "no database was made"
    searched, told = 0, []
    for name, content in [*kept(configured), *processes.logs()]:
        searched += len(content)
        for secret in sorted(configured.passwords)[:SAMPLED_PASSWORDS]:
            told += [(name, form) for _, form in leaks.find(secret, [(name, content)])]
    row("places with a password", f"{len(told)} in {searched / 1e6:.0f} MB", 0, len(told))
    assert told == []


class Application(Player):
    """examples/application.yaml by another name, with its own image."""

    def __init__(self, storm: Storm, name: str, namespace: str) -> None:
        manifest = example(EXAMPLES / "application.yaml", "Application")
        manifest["metadata"].update(name=name, namespace=namespace)
        self.repository = f"{namespace}/{name}"
        manifest["spec"]["image"]["repository"] = self.repository
        super().__init__(storm.stage, manifest)

    def push(self, tag: str) -> None:
        self.environment.push_image(self.repository, tag)

    def runs(self, tag: str) -> bool:
        status = (self.resource() or {}).get("status") or {}
        return (status.get("image") or {}).get("tag") == tag and self.is_ready()


def sentences() -> list[tuple[str, str]]:
    """(alias, its example in the namespace chat), in an order in which they make sense."""
    found = {}
    for file in sorted((ROOT / "aliases").glob("*.yaml")):
        text = re.sub(r"\\\n\s*\\?", "", file.read_text())
        shown = re.search(r"\(for instance: ([^)]*)\)", text)
        sentence = shown.group(1) if shown else "make me a sandwich"
        sentence = re.sub(r"\b(in|to) (shop|prod)\b", r"\1 chat", sentence)
        sentence = sentence.replace("1.4.2", "1.1.0").replace("team/cart", "chat/cart")
        sentence = sentence.removesuffix(" confirm orders")  # its policy keeps the data
        found["kubestorm_" + file.stem] = sentence
    order = [*found]
    order.insert(0, order.pop(order.index("kubestorm_database_create")))
    order.append(order.pop(order.index("kubestorm_database_delete")))
    unfreeze = order.pop(order.index("kubestorm_application_unfreeze"))
    order.insert(order.index("kubestorm_application_freezer") + 1, unfreeze)
    return [(alias, found[alias]) for alias in order]


def say_in_chat(storm: Storm, sentence: str) -> tuple[str, str]:
    """(the alias that took it, what was answered)."""
    body = {"command": sentence, "user": "", "source_channel": "cli"}
    result = storm.api.ask("POST", "aliasexecution/match_and_execute", body)["results"][0]
    done = storm.api.ended(result["execution"]["id"])
    outcome = done.get("result") or {}
    told = outcome.get("output") or outcome.get("result") or {}
    text = told.get("text") if isinstance(told, dict) else told
    return result["actionalias"]["name"], str(text or f"{done['status']}: {outcome}")


def await_approval(storm: Storm, name: str) -> None:
    """A Database in `guarded` whose deletion waits for somebody's word."""
    storm.database(name, "guarded", deletionPolicy="Delete")
    storm.wait(name, lambda: name in storm.ready("Database", "guarded"))
    storm.environment.delete(API_VERSION, "Database", name, "guarded")
    storm.wait(
        "the question", lambda: storm.reason("Database", name, "guarded") == "AwaitingApproval"
    )


def answer(storm: Storm, name: str, decision: str) -> None:
    """Answer the inquiry about a deletion; there is one at a time. StackStorm does not tell the
    pack who answers, so the answer does.
    """
    while not (found := storm.inquiries()):
        time.sleep(STILL_SECONDS / 3)
    assert len(found) == 1, found
    response = {"decision": decision, "person": storm.api.user(), "comment": "by the acceptance"}
    storm.api.ask("PUT", f"inquiries/{found[0]}", {"id": found[0], "response": response})


def lost_since(storm: Storm, since: dt.datetime) -> dict[str, str]:
    """The executions that nobody ends any more, once all others have ended."""
    lost: dict[str, str] | None = None
    while lost != (found := unfinished(storm.api, since)):
        lost = found
        time.sleep(3 * STILL_SECONDS)
    return found


def stands(storm: Storm, name: str) -> bool:
    """Whether the Database in `guarded` is still there."""
    return storm.environment.read(API_VERSION, "Database", name, "guarded") is not None


def kept(storm: Storm) -> Iterator[tuple[str, bytes]]:
    """All that the API shows of this run, page by page, with what it masks."""
    after = text_of(storm.begin)
    for path, since, more in (
        ("executions", "timestamp_gt", {"show_secrets": True}),
        ("triggerinstances", "timestamp_gt", {}),
        ("ruleenforcements", "enforced_at_gt", {}),
        ("keys", "", {"scope": "all"}),
    ):
        for offset in range(0, 10**6, 100):
            params = {since: after} if since else {}
            answer = storm.api.client.get(
                path, params={"limit": 100, "offset": offset, **params, **more}
            )
            answer.raise_for_status()
            yield f"{path} from {offset}", answer.content
            if len(answer.json()) < 100:
                break
