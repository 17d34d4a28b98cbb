"""What can be said: each command with its phrases, the action behind it, the role it needs. The one
list of them.

Aliases (`aliases/*.yaml`) name a command and give its values, help is made from it, and every
other text is held against it. An action's parameters are named as the values of the phrases are,
except where `renames` says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping, Optional, Tuple

from kubestorm.core.errors import DefinitionError
from kubestorm.people.chat.permissions import EVERYBODY
from kubestorm.people.chat.phrases import Phrase, phrase
from kubestorm.people.chat.settings import ADMIN, DBA, DEPLOYER, DEVELOPER, VIEWER

DATABASE, APPLICATION, BUILD = "databases", "applications", "imagebuilds"
KIND_WORDS: Mapping[str, str] = {DATABASE: "database", APPLICATION: "application", BUILD: "build"}

_IN = "[(in|from) [the] [namespace] {namespace}]"
_TO = "[(to|in|into|on|for) [the] [namespace] {namespace}]"
_WHY = "[(because of|because|since|reason|for|while) {reason}]"


@dataclass(frozen=True, eq=False)
class Command:
    """One thing that can be asked for."""

    name: str
    topic: str
    summary: str
    """What it does: the words after the dash in help."""
    usage: str
    example: str
    role: str
    phrases: Tuple[Phrase, ...]
    action: Optional[str] = None
    """The pack's action; None for what the conversation answers itself."""
    plural: str = ""
    """The kind of object that {name} names; empty where it names none, or any."""
    renames: Mapping[str, str] = field(default_factory=dict)
    """Value of a phrase -> parameter of the action, where the two differ."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    asker: str = ""
    """The parameter that takes who asks."""
    required: Tuple[str, ...] = ()
    """Values that a phrase or a `key=value` has to bring."""
    needs_namespace: bool = True
    """Whether one namespace has to be meant; lists do without."""
    changes: bool = False
    """Whether it changes anything: such commands say at once that they were heard."""
    makes: bool = False
    """Whether it makes its object, so that the name need not exist yet."""
    follow: str = ""
    """What is waited for so that the thread gets an outcome: a kind of work `follow` knows, or
    nothing.
    """


def _command(name: str, *phrases: str, **given: Any) -> Command:
    given.setdefault("action", name)
    return Command(name=name, phrases=tuple(phrase(text) for text in phrases), **given)


def _database(name: str, *phrases: str, **given: Any) -> Command:
    given.setdefault("plural", DATABASE)
    return _command(name, *phrases, topic="databases", **given)


def _application(name: str, *phrases: str, **given: Any) -> Command:
    given.setdefault("plural", APPLICATION)
    return _command(name, *phrases, topic="applications", **given)


def _build(name: str, *phrases: str, **given: Any) -> Command:
    given.setdefault("plural", BUILD)
    return _command(name, *phrases, topic="builds", **given)


_LAST = "[[(the|only the)] last {lines} [lines]]"
_STATE = "[(not ready|not running|failing|failed|broken|stuck|down|pending|red|frozen)]"
_DB, _APP = "(database|db)", "[(application|app)]"

COMMANDS: Tuple[Command, ...] = (
    _command(
        "help",
        "kubestorm",
        "kubestorm help [[(with|about|on)] {topic}]",
        "help kubestorm",
        "what can (you|i) do",
        "what may i do",
        action=None,
        topic="help",
        summary="what you may ask for, with an example each",
        usage="kubestorm help [TOPIC]",
        example="kubestorm help databases",
        role=EVERYBODY,
        needs_namespace=False,
    ),
    _command(
        "whoami",
        "(who am i|whoami)",
        "(my|which are my|what are my) (roles|role)",
        action=None,
        topic="help",
        summary="who you are to kubestorm, and your roles",
        usage="who am I",
        example="who am I",
        role=EVERYBODY,
        needs_namespace=False,
    ),
    _database(
        "database_list",
        f"(list|show) [me] [all] [the] (databases|dbs) {_IN}",
        f"(databases|dbs) {_IN}",
        f"(which|what) (databases|dbs) (are there|exist|do we have) {_IN}",
        summary="the databases, and whether each is ready",
        usage="list databases [in NAMESPACE]",
        example="list databases in shop",
        role=VIEWER,
        needs_namespace=False,
    ),
    _database(
        "database_show",
        f"(show|describe) [me] [the] {_DB} {{name}} {_IN}",
        f"{_DB} {{name}} {_IN}",
        f"(status|state) of [the] {_DB} {{name}} {_IN}",
        f"how is [the] {_DB} {{name}} [doing] {_IN}",
        summary="one database from all sides, never its password",
        usage="show database NAME [in NAMESPACE]",
        example="show database orders in shop",
        role=VIEWER,
        required=("name",),
    ),
    _database(
        "database_create",
        f"(create|make|add|new) [a|the] [new] {_DB} {{name}} [with|on|using] {{engine}} [version] "
        "[{version}] "
        f"[[(in|with|of)] size {{size}}] [with {{storage}} (gib|gb|g)] {_IN}",
        f"(create|make|add|new) [a|the] [new] {_DB} {{name}} {_IN} [with|on|using] {{engine}} "
        "[version] [{version}] "
        "[[(in|with|of)] size {size}] [with {storage} (gib|gb|g)]",
        f"(create|make|add|new) [a|the] [new] {_DB} {{name}} {_IN}",
        summary="a new database",
        usage="create database NAME ENGINE [VERSION] [size SIZE] [with N GiB] [in NAMESPACE]",
        example="create database orders postgres 16 size small in shop",
        role=DBA,
        renames={"storage": "storage_gib"},
        required=("name", "engine"),
        asker="requested_by",
        changes=True,
        makes=True,
        follow="ready",
    ),
    _database(
        "database_resize",
        f"(resize|grow|upsize) [the] {_DB} {{name}} {_IN} to [size] {{size}} [and {{storage}} "
        "(gib|gb|g)]",
        f"(resize|grow|upsize) [the] {_DB} {{name}} to [size] {{size}} [and {{storage}} "
        f"(gib|gb|g)] {_IN}",
        f"(resize|grow|upsize) [the] [(disk|storage) of] {_DB} {{name}} {_IN} to {{storage}} "
        "(gib|gb|g)",
        f"(resize|grow|upsize) [the] [(disk|storage) of] {_DB} {{name}} to {{storage}} "
        f"(gib|gb|g) {_IN}",
        summary="another size or a larger disk",
        usage="resize database NAME to SIZE | N GiB [in NAMESPACE]",
        example="resize database orders to large in shop",
        role=DBA,
        renames={"storage": "storage_gib"},
        required=("name",),
        asker="requested_by",
        changes=True,
        follow="ready",
    ),
    _database(
        "database_rotate",
        f"rotate [the] (password|credentials|secret) (of|for) [the] [{_DB}] {{name}} {_IN}",
        f"rotate [the] {_DB} {{name}} {_IN}",
        summary="a new password, without an interruption",
        usage="rotate database NAME [in NAMESPACE]",
        example="rotate database orders in shop",
        role=DBA,
        required=("name",),
        asker="requested_by",
        changes=True,
    ),
    _database(
        "database_snapshot",
        f"(snapshot|back up|backup) [the] {_DB} {{name}} {_IN} [(as|called|named) {{snapshot}}]",
        f"(take|make) a snapshot of [the] [{_DB}] {{name}} {_IN} [(as|called|named) {{snapshot}}]",
        summary="a snapshot now",
        usage="snapshot database NAME [in NAMESPACE] [as WORD]",
        example="snapshot database orders in shop as before-sale",
        role=DBA,
        required=("name",),
        asker="requested_by",
        changes=True,
    ),
    _database(
        "database_delete",
        f"(delete|remove|destroy|drop) [the] {_DB} {{name}} {_IN} [and] "
        "[(confirm|confirmed|confirming) {confirm}]",
        summary=(
            "delete it as its deletionPolicy says; where that destroys the data, say its name a "
            "second time"
        ),
        usage="delete database NAME [in NAMESPACE] [confirm NAME]",
        example="delete database orders in shop confirm orders",
        role=ADMIN,
        required=("name",),
        asker="requested_by",
        changes=True,
    ),
    _application(
        "application_list",
        f"(list|show) [me] [all] [the] (applications|apps) {_IN}",
        f"(applications|apps) {_IN}",
        f"(which|what) (applications|apps) (are there|exist|do we have) {_IN}",
        summary="the applications, with version and health",
        usage="list apps [in NAMESPACE]",
        example="list apps in shop",
        role=VIEWER,
        needs_namespace=False,
    ),
    _application(
        "application_show",
        f"(show|describe) [me] [the] (application|app) {{name}} {_IN}",
        f"(application|app) {{name}} {_IN}",
        summary="one application: wished, running, reachable where",
        usage="show app NAME [in NAMESPACE]",
        example="show app cart in prod",
        role=VIEWER,
        required=("name",),
    ),
    _application(
        "application_status",
        f"(status|state) [of] [the] {_APP} {{name}} {_IN}",
        f"how is [the] {_APP} {{name}} [doing] {_IN}",
        f"(what|which version) is running (as|of|for) {{name}} {_IN}",
        summary="which version runs, and what is under way",
        usage="status NAME [in NAMESPACE]",
        example="status cart in prod",
        role=VIEWER,
        required=("name",),
    ),
    _application(
        "application_rollout",
        f"(deploy|roll out|rollout|ship) [the] {_APP} {{name}} [(version|tag|at|with)] "
        f"{{image}} {_TO}",
        f"(deploy|roll out|rollout|ship) [the] {_APP} {{name}} ~ {{image}} {_TO}",
        f"(deploy|roll out|rollout|ship) [the] {_APP} {{name}} {_TO} [(version|tag|at|with)] "
        "{image}",
        summary="roll out a tag or a digest",
        usage="deploy NAME TAG|DIGEST [to NAMESPACE]",
        example="deploy cart 1.4.2 to prod",
        role=DEPLOYER,
        required=("name", "image"),
        asker="requested_by",
        changes=True,
        follow="rollout",
    ),
    _application(
        "application_rollback",
        f"(roll back|rollback|revert|undo) [the] {_APP} {{name}} {_IN} [to [(version|tag)] "
        "{image}]",
        f"(roll back|rollback|revert|undo) [the] {_APP} {{name}} to [(version|tag)] {{image}} "
        f"{_IN}",
        summary="return to the version before, or to one you name",
        usage="roll back NAME [to TAG|DIGEST] [in NAMESPACE]",
        example="roll back cart in prod",
        role=DEPLOYER,
        renames={"image": "to"},
        required=("name",),
        asker="requested_by",
        changes=True,
        follow="rollout",
    ),
    _application(
        "application_abort",
        f"abort [the] [(rollout|deployment|deploy) of] [the] {_APP} {{name}} {_IN}",
        f"(stop|cancel) [the] (rollout|deployment|deploy) of [the] {_APP} {{name}} {_IN}",
        summary="stop the rollout that is under way and return to what ran",
        usage="abort NAME [in NAMESPACE]",
        example="abort cart in prod",
        role=DEPLOYER,
        required=("name",),
        asker="requested_by",
        changes=True,
        follow="rollout",
    ),
    _application(
        "application_promote",
        f"promote [the] [canary of] [the] {_APP} {{name}} {_IN} [{{full}}]",
        f"(continue|go on with) [the] (rollout|deployment) of [the] {_APP} {{name}} {_IN}",
        summary="go on with a rollout that pauses; fully: past every pause",
        usage="promote NAME [in NAMESPACE] [fully]",
        example="promote cart in prod",
        role=DEPLOYER,
        required=("name",),
        asker="requested_by",
        changes=True,
        follow="rollout",
    ),
    _application(
        "application_freeze",
        f"freeze [the] {_APP} {{name}} {_IN} (because of|because|since|reason|for|while) "
        "{reason}",
        f"freeze [the] {_APP} {{name}} {_IN}",
        summary="nothing is rolled out until it is unfrozen; say why",
        usage="freeze NAME [in NAMESPACE] because REASON",
        example="freeze cart in prod because sale weekend",
        role=DEPLOYER,
        required=("name", "reason"),
        asker="owner",
        changes=True,
    ),
    _application(
        "application_unfreeze",
        f"(unfreeze|thaw) [the] {_APP} {{name}} {_IN} {_WHY}",
        summary="let rollouts through again",
        usage="unfreeze NAME [in NAMESPACE]",
        example="unfreeze cart in prod",
        role=DEPLOYER,
        required=("name",),
        asker="requested_by",
        changes=True,
    ),
    _application(
        "application_freezer",
        f"who froze [the] {_APP} {{name}} {_IN}",
        f"is [the] {_APP} {{name}} frozen {_IN}",
        summary="who froze it, when and why",
        usage="who froze NAME [in NAMESPACE]",
        example="who froze cart?",
        role=VIEWER,
        action="application_show",
        required=("name",),
    ),
    _application(
        "application_scale",
        f"scale [the] {_APP} {{name}} {_IN} to {{replicas}} [replicas|replica|pods|pod|instances]",
        f"scale [the] {_APP} {{name}} to {{replicas}} [replicas|replica|pods|pod|instances] {_IN}",
        summary="another number of pods",
        usage="scale NAME to N [in NAMESPACE]",
        example="scale cart to 5 in prod",
        role=DEPLOYER,
        required=("name", "replicas"),
        asker="requested_by",
        changes=True,
    ),
    _application(
        "application_history",
        f"[show] [me] [the] history [of] [the] {_APP} {{name}} {_IN}",
        f"(rollouts|releases|deployments) of [the] {_APP} {{name}} {_IN}",
        f"who deployed [the] {_APP} {{name}} {_IN}",
        summary="the last rollouts: who, what, outcome",
        usage="history NAME [in NAMESPACE]",
        example="history cart in prod",
        role=VIEWER,
        required=("name",),
    ),
    _application(
        "application_logs",
        f"(logs|log) [(of|for|from)] [the] {_APP} {{name}} {_IN} {_LAST}",
        f"show [me] [the] (logs|log) (of|for|from) [the] {_APP} {{name}} {_IN} {_LAST}",
        f"tail [the] [(logs|log) (of|for|from)] {_APP} {{name}} {_IN} {_LAST}",
        summary="the last lines that its pods wrote",
        usage="logs NAME [in NAMESPACE] [last N lines]",
        example="logs cart in prod",
        role=DEVELOPER,
        required=("name",),
    ),
    _build(
        "image_build_start",
        f"(start|run) [the] build [of] {{name}} {_IN}",
        f"build {{name}} {_IN}",
        f"rebuild {{name}} {_IN}",
        summary="build an image now",
        usage="build NAME [in NAMESPACE]",
        example="build cart in shop",
        role=DEVELOPER,
        required=("name",),
        asker="requested_by",
        changes=True,
        follow="build",
    ),
    _build(
        "image_build_show",
        f"(show|describe) [me] [the] build [of] {{name}} {_IN}",
        f"(status|state) of [the] build [of] {{name}} {_IN}",
        f"how is [the] build [of] {{name}} [doing] {_IN}",
        summary="how far a build is, and why it failed",
        usage="show build NAME [in NAMESPACE]",
        example="show build cart in shop",
        role=VIEWER,
        required=("name",),
    ),
    _build(
        "image_build_cancel",
        f"(cancel|stop|abort) [the] build [of] {{name}} {_IN} {_WHY}",
        summary="stop a build",
        usage="cancel build NAME [in NAMESPACE]",
        example="cancel build cart in shop",
        role=DEVELOPER,
        required=("name",),
        asker="requested_by",
        changes=True,
    ),
    _build(
        "image_build_logs",
        f"build (logs|log) [(of|for|from)] {{name}} {_IN}",
        f"[show] [me] [the] (logs|log) (of|for|from) [the] build [of] {{name}} {_IN}",
        summary="the last lines of a build",
        usage="build logs NAME [in NAMESPACE]",
        example="build logs cart in shop",
        role=DEVELOPER,
        required=("name",),
    ),
    _build(
        "delivery_start",
        f"deliver {{name}} {_IN}",
        f"(start|run) [the] (delivery|pipeline|delivery pipeline) [(of|for)] {{name}} {_IN}",
        summary="build, test, push, roll out and test again, and say how it went",
        usage="deliver NAME [in NAMESPACE]",
        example="deliver site in shop",
        role=DEVELOPER,
        required=("name",),
        asker="requested_by",
        changes=True,
        follow="delivery",
    ),
    _command(
        "registry_tags",
        "(list|show) [me] [the] tags (of|for|in) {repository}",
        "tags [(of|for|in)] {repository}",
        "(which|what) (tags|versions) (are there|exist|has) (of|for|in) {repository}",
        topic="registries",
        summary="the tags of a repository, newest first",
        usage="tags REPOSITORY",
        example="tags team/cart",
        role=VIEWER,
        required=("repository",),
        needs_namespace=False,
    ),
    _command(
        "drift_check",
        f"[check] [the] drift [(of|for) [{_DB}] {{name}}] {_IN}",
        f"is there [any] drift {_IN}",
        topic="drift",
        summary="what exists, against what is wished",
        usage="drift [of NAME] [in NAMESPACE]",
        example="drift in shop",
        role=VIEWER,
        fixed={"kind": "Database"},
        needs_namespace=False,
    ),
    _command(
        "why",
        f"why is [the] [{{kind}}] {{name}} {_STATE} {_IN}",
        f"why (did|does|has) [the] [{{kind}}] {{name}} (fail|failed|stop|stopped|hang) {_IN}",
        f"why [{{kind}}] {{name}} {_IN}",
        f"what is wrong with [the] [{{kind}}] {{name}} {_IN}",
        topic="why",
        action="resource_why",
        summary="why something is not as it should be, and what to do",
        usage="why NAME [in NAMESPACE]",
        example="why is cart not ready in prod?",
        role=VIEWER,
        required=("name",),
    ),
    _command(
        "approval_list",
        "[(open|pending)] approvals",
        "(list|show) [me] [all] [the] [(open|pending)] approvals",
        "what (waits|is waiting) for [(an|my)] approval",
        topic="approvals",
        summary="what waits for somebody's approval",
        usage="approvals",
        example="approvals",
        role=VIEWER,
        needs_namespace=False,
    ),
    _command(
        "approval_approve",
        "(approve|grant) [the] [(approval|request|rollout|promotion|deletion)] {approval} "
        f"{_WHY}",
        topic="approvals",
        action="approval_answer",
        summary="say yes to what waits for approval; its message says what exactly will happen",
        usage="approve NUMBER [because REASON]",
        example="approve 3fa9c1d",
        # Whose word counts is the approval rule's to say, for each question.
        role=VIEWER,
        renames={"approval": "number", "reason": "comment"},
        fixed={"decision": "approve"},
        required=("approval",),
        needs_namespace=False,
        changes=True,
    ),
    _command(
        "approval_refuse",
        "(refuse|reject|deny|decline) [the] [(approval|request|rollout|promotion|deletion)] "
        f"{{approval}} {_WHY}",
        topic="approvals",
        action="approval_answer",
        summary="say no to it",
        usage="refuse NUMBER [because REASON]",
        example="refuse 3fa9c1d because the sale has begun",
        role=VIEWER,
        renames={"approval": "number", "reason": "comment"},
        fixed={"decision": "refuse"},
        required=("approval",),
        needs_namespace=False,
        changes=True,
    ),
)

BY_NAME: Mapping[str, Command] = {command.name: command for command in COMMANDS}


def say(name: str, values: Mapping[str, str]) -> Tuple[str, Mapping[str, str]]:
    """A command in words, as one would type it, and those of the values that its words do not take.

    An alias takes anything for a value, also several words; so what it matched is read as a text,
    too. DefinitionError for an unknown command.
    """
    command = BY_NAME.get(name)
    if command is None:
        raise DefinitionError(
            f"There is no command {name}; the alias names one that does not exist."
        )
    phrases = [
        each for each in command.phrases if values.keys() <= each.expression.groupindex.keys()
    ]
    phrase_ = phrases[0] if phrases else command.phrases[0]
    taken = phrase_.expression.groupindex
    return phrase_.say(values), {key: value for key, value in values.items() if key not in taken}
