"""From an action's result to an answer. Pure.

Actions answer with a list of mappings, or a mapping with a `message`; that much is told of any of
them. What deserves better words (one object from all sides, a history, logs) has a teller of its
own here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from kubestorm.core import untrusted
from kubestorm.core.conditions import READY, condition_in
from kubestorm.people.chat.commands import APPLICATION, KIND_WORDS, Command
from kubestorm.people.chat.formatting import Message, Outcome, Table, image_table, table_of

Values = Mapping[str, str]
Teller = Callable[[Any, Values], Message]
_HIDDEN = frozenset(
    (
        *(
            "message",
            "namespace",
            "name",
            "uid",
            "follow",
            "next_step",
            "annotation",
            "kind",
            "cluster",
            "changed",
        ),
        *(
            "generation",
            "requested_by",
            "digest",
            "tag",
            "rollout",
            "request",
            "request_id",
            "run_id",
        ),
    )
)
"""Keys of results that an answer leaves out: the asker said them, or a machine reads them."""


def failed(command: Command, result: Any, values: Values) -> Message:
    """An action's refusal or failure: its own sentence, and what can be done now; never a trace."""
    known = _mapping(result)
    sentence = str(known.get("message") or f"`{command.name}` failed without an error message.")
    outcome = Outcome.WARNING if known.get("unfinished") else Outcome.FAILED
    return Message(sentence.strip(), outcome, next_step=_next_step(command, known, _object(values)))


def _next_step(command: Command, known: Mapping[str, Any], what: str) -> str:
    reason = str(known.get("reason") or "")
    if known.get("next_step"):
        return str(known["next_step"])
    if known.get("retryable"):
        seconds = known.get("retry_after_seconds")
        return f"Try again in {int(seconds)} seconds." if seconds else "Try again in a moment."
    if reason == "Fault":
        return "Tell an operator, with the number of this run; nothing more is known here."
    if reason.endswith(("Conflict", "ConflictError")):
        return "Somebody changed it at the same moment. Look, and say it again."
    if reason.endswith(("Refused", "PermanentError")):
        return "Trying again does not help; whoever runs that service has to allow it."
    if reason.endswith(("NotFound", "NotFoundError")) and what and command.plural:
        return (
            f"See how it stands: `{'status' if command.plural == APPLICATION else 'why'} {what}`."
        )
    if reason in ("ConfigurationError", "DefinitionError"):
        return f"Say it with what would be right: `{command.usage}`."
    return f"Ask `why {what}` for more." if what and command.plural else ""


def told(command: Command, result: Any, values: Values) -> Message:
    """What went well, in words."""
    teller = TELLERS.get(command.name)
    return teller(result, values) if teller is not None else general(command, result, values)


def general(command: Command, result: Any, values: Values) -> Message:
    """The answer to a command that has no teller of its own."""
    if isinstance(result, list):
        return _listed(result, values, command.summary)
    outcome = Outcome.GOOD if command.changes else Outcome.INFO
    if not isinstance(result, Mapping):
        return Message(str(result) if result not in (None, "") else "Done.", outcome)
    word = KIND_WORDS.get(command.plural, "")
    sentence = str(result.get("message") or f"{word.capitalize()} {_object(values)}.".strip())
    fields = tuple(
        (_title(key), _text(value))
        for key, value in result.items()
        if key not in _HIDDEN
        and value not in (None, "", [], {})
        and not isinstance(value, (dict, list))
    )
    tables = [
        value
        for value in result.values()
        if isinstance(value, list) and value and isinstance(value[0], dict)
    ]
    step = str(result.get("next_step") or "")
    return Message(sentence, outcome, fields, _table(tables[0]) if tables else None, next_step=step)


def _listed(rows: Sequence[Any], values: Values, what: str) -> Message:
    where = f" in {values['namespace']}" if values.get("namespace") else ""
    if not rows:
        return Message(f"There are none{where}.")
    return Message(f"{len(rows)}{where}: {what}.", table=_table(rows))


def _databases(result: Any, values: Values) -> Message:
    return _ready_list(
        result,
        values,
        "database",
        (
            ("Name", "name"),
            ("Namespace", "namespace"),
            ("Engine", "engine"),
            ("Version", "version"),
            ("Size", "size"),
        ),
    )


def _applications(result: Any, values: Values) -> Message:
    return _ready_list(
        result,
        values,
        "application",
        (
            ("Name", "name"),
            ("Namespace", "namespace"),
            ("Version", "tag"),
            ("Pods", "available"),
            ("Address", "url"),
        ),
    )


def _ready_list(
    result: Any, values: Values, word: str, columns: Tuple[Tuple[str, str], ...]
) -> Message:
    rows = [dict(row) for row in _rows(result)]
    where = f" in {values['namespace']}" if values.get("namespace") else ""
    if not rows:
        return Message(f"There is no {word}{where}.")
    bad = [row for row in rows if row.get("ready") not in ("True", True, None)]
    count = f"{len(rows)} {word}{'s' if len(rows) != 1 else ''}{where}"
    sentence = f"{count}, all ready." if not bad else f"{count}, {len(bad)} not ready."
    for row in rows:
        row["state"] = "ready" if row not in bad else row.get("reason") or "not ready"
    table = table_of(rows, (*columns, ("State", "state")))
    step = (
        f"Ask `why {bad[0].get('namespace')}/{bad[0].get('name')}` for the reason." if bad else ""
    )
    return Message(sentence, Outcome.WARNING if bad else Outcome.GOOD, table=table, next_step=step)


def _database(result: Any, values: Values) -> Message:
    rds: Mapping[str, Any] = result.get("rds") or {}
    vault: Mapping[str, Any] = result.get("vault") or {}
    status: Mapping[str, Any] = untrusted.status(result)
    return _one(
        "Database",
        result,
        (
            (
                "Engine",
                " ".join(str(result.get(key) or "") for key in ("engine", "version")).strip(),
            ),
            ("Size", result.get("size")),
            ("Address", result.get("endpoint")),
            ("RDS", rds.get("error") or rds.get("status")),
            ("Instance", status.get("instanceIdentifier")),
            ("Credentials", vault.get("error") or vault.get("path") or status.get("vaultPath")),
        ),
        _conditions(status),
    )


def _one(
    word: str, result: Mapping[str, Any], fields: Iterable[Tuple[str, Any]], table: Optional[Table]
) -> Message:
    ready = str(result.get("ready") or "Unknown")
    name = f"{result.get('namespace')}/{result.get('name')}"
    good = ready == "True"
    why = str(result.get("message") or result.get("reason") or "Nothing has been said of it yet.")
    sentence = f"{word} {name} is ready." if good else f"{word} {name} is not ready: {why}"
    shown = tuple(
        (title, _text(value)) for title, value in fields if value not in (None, "", [], {})
    )
    return Message(
        sentence, Outcome.GOOD if good else Outcome.WARNING, shown, None if good else table
    )


def _conditions(status: Mapping[str, Any]) -> Optional[Table]:
    rows = [
        item for item in untrusted.mappings(status.get("conditions")) if item.get("type") != "Ready"
    ]
    return (
        table_of(rows, (("Condition", "type"), ("Is", "status"), ("Reason", "reason")))
        if rows
        else None
    )


def _application(result: Any, values: Values) -> Message:
    status = _status(result, values)
    rows = [item for item in result.get("rollouts") or [] if isinstance(item, Mapping)]
    trouble = result.get("trouble")
    fields = status.fields
    if isinstance(trouble, Mapping):
        fields = (
            *fields,
            ("Trouble", f"{trouble.get('reason') or ''}: {trouble.get('message') or ''}"),
        )
    return replace(status, fields=fields, table=_rollouts(rows[:5]) if rows else None)


def _status(result: Any, values: Values) -> Message:
    """`summary` says it; version, address, rollout, wish and freeze stand below."""
    good = result.get("ready") == "True"
    rollout, wanted, frozen = (_mapping(result.get(key)) for key in ("rollout", "wanted", "frozen"))
    facts = (
        ("Version", result.get("tag") or str(result.get("digest") or "")[:19]),
        (
            "Pods",
            f"{result.get('available')} of {result.get('pods')}" if result.get("pods") else "",
        ),
        ("Address", result.get("url")),
        (
            "Rollout",
            " ".join(
                _text(rollout[key]) for key in ("name", "phase", "message") if rollout.get(key)
            ),
        ),
        ("Wanted", wanted.get("tag") or str(wanted.get("digest") or "")[:19]),
        ("Frozen", f"by {frozen['owner']}: {frozen.get('reason')}" if frozen.get("owner") else ""),
        ("Waits for", result.get("waiting_for")),
    )
    fields = tuple(
        (title, _text(value)) for title, value in facts if value not in (None, "", [], {})
    )
    step = "" if good else f"Ask `why {_object(values)}` for the reason."
    outcome = Outcome.GOOD if good else Outcome.WARNING
    return Message(str(result.get("summary") or _object(values)), outcome, fields, next_step=step)


def _freezer(result: Any, values: Values) -> Message:
    frozen = _mapping(result.get("frozen"))
    if not frozen:
        return Message(f"{_object(values)} is not frozen.", Outcome.GOOD)
    sentence = f"{frozen.get('owner')} froze {_object(values)}: {frozen.get('reason')}"
    return Message(
        sentence, Outcome.WARNING, next_step=f"Say `unfreeze {_object(values)}` when it is over."
    )


def _unfrozen(result: Any, values: Values) -> Message:
    return Message(
        f"{_object(values)} may be rolled out again. {result.get('message') or ''}".strip(),
        Outcome.GOOD,
    )


def _history(result: Any, values: Values) -> Message:
    rows = [item for item in result.get("rollouts") or [] if isinstance(item, Mapping)]
    if not rows:
        return Message(f"{_object(values)} has had no rollout yet.")
    latest = rows[0]
    version = latest.get("tag") or str(latest.get("digest") or "")[:19]
    who = f", asked by {latest['requested_by']}" if latest.get("requested_by") else ""
    sentence = f"The last rollout of {_object(values)}: {version}, {latest.get('outcome')}{who}."
    return Message(
        sentence, table=_rollouts(rows), next_step=f"Say `roll back {_object(values)}` to return."
    )


def _rollouts(rows: Sequence[Mapping[str, Any]]) -> Table:
    shown = [
        {
            **row,
            "version": row.get("tag") or str(row.get("digest") or "")[:19],
            "when": str(row.get("at") or "")[:16].replace("T", " "),
            "who": row.get("requested_by") or row.get("cause"),
            "because": row.get("why") if row.get("outcome") != "Complete" else "",
        }
        for row in rows
    ]
    return table_of(
        shown,
        (
            ("When", "when"),
            ("Version", "version"),
            ("Outcome", "outcome"),
            ("Who", "who"),
            ("Why", "because"),
        ),
    )


def _build(result: Any, values: Values) -> Message:
    build = _mapping(result.get("build"))
    good = result.get("ready") == "True"
    ready = condition_in(result, READY)
    if good:
        sentence = f"Build {build.get('number')} of {_object(values)} is done."
    else:
        sentence = (
            f"{_object(values)}: "
            f"{ready.get('message') or build.get('phase') or 'nothing was built yet'}"
        )
    source = _mapping(result.get("source"))
    facts = (
        ("Commit", str(source.get("commit") or "")[:12]),
        ("Branch", source.get("branch")),
        ("Phase", build.get("phase")),
        ("Asked by", build.get("requestedBy")),
    )
    fields = tuple((title, _text(value)) for title, value in facts if value)
    outcome = Outcome.GOOD if good else Outcome.WARNING
    return Message(sentence, outcome, fields, image_table(result.get("images")))


def _started(result: Any, values: Values) -> Message:
    images = ", ".join(str(item) for item in result.get("images") or [])
    return Message(
        f"A build of {_object(values)} is asked for{f': {images}' if images else ''}.", Outcome.GOOD
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _drift(result: Any, values: Values) -> Message:
    rows = result.get("drift") or []
    columns = (
        ("Name", "name"),
        ("Namespace", "namespace"),
        ("Service", "service"),
        ("Field", "field"),
    )
    table = table_of(rows, (*columns, ("Wished", "wished"), ("Found", "found"))) if rows else None
    advice = [str(line) for line in result.get("advice") or []]
    outcome = Outcome.WARNING if rows else Outcome.GOOD
    return Message(
        str(result.get("message")), outcome, table=table, next_step=advice[0] if advice else ""
    )


def _tags(result: Any, values: Values) -> Message:
    tags = [str(tag) for tag in result.get("tags") or []]
    repository = result.get("repository") or values.get("repository")
    if not tags:
        return Message(f"{repository} has no tags.", Outcome.INFO)
    total = int(result.get("total") or len(tags))
    sentence = f"{repository} has {total} tag{'s' if total != 1 else ''}."
    return Message(sentence, lines=tuple(tags), next_step="Say `deploy NAME TAG` to roll one out.")


def _why(result: Any, values: Values) -> Message:
    outcome = Outcome.GOOD if result.get("well") else Outcome.WARNING
    fields = tuple((str(item["title"]), str(item["text"])) for item in result.get("findings") or [])
    return Message(
        str(result.get("message")), outcome, fields, next_step=str(result.get("next_step") or "")
    )


def _logs(result: Any, values: Values) -> Message:
    lines = _log_lines(result)
    if not lines:
        return Message(f"{_object(values)} has written nothing.", Outcome.INFO)
    return Message(f"The last {len(lines)} lines of {_object(values)}:", lines=tuple(lines))


def _log_lines(result: Any) -> List[str]:
    """Lines out of `pods` or `logs`, name -> text; with several, each line starts with its name."""
    texts = _mapping(_mapping(result).get("pods") or _mapping(result).get("logs"))
    found: List[str] = []
    for name, text in texts.items():
        lines = str(text).splitlines()
        found += [f"{name}: {line}" if len(texts) > 1 else line for line in lines]
    return found


def _rows(result: Any) -> List[Mapping[str, Any]]:
    if isinstance(result, Mapping):
        result = next((value for value in result.values() if isinstance(value, list)), [])
    return [row for row in result or [] if isinstance(row, Mapping)]


def _table(rows: Sequence[Any]) -> Table:
    mappings: List[Mapping[str, Any]] = [
        row if isinstance(row, Mapping) else {"item": row} for row in rows
    ]
    keys: Dict[str, None] = {}
    for row in mappings:
        keys.update(
            dict.fromkeys(key for key, value in row.items() if not isinstance(value, (dict, list)))
        )
    shown = [key for key in keys if key not in ("uid", "message", "cluster")][:6]
    return table_of(mappings, [(_title(key), key) for key in shown])


def _object(values: Values) -> str:
    return "/".join(values[key] for key in ("namespace", "name") if values.get(key))


def _title(key: str) -> str:
    return key.replace("_", " ").strip().capitalize()


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(item) for item in value)
    return str(value)


TELLERS: Mapping[str, Teller] = {
    "database_list": _databases,
    "database_show": _database,
    "application_list": _applications,
    "application_show": _application,
    "application_status": _status,
    "application_freezer": _freezer,
    "application_history": _history,
    "application_unfreeze": _unfrozen,
    "image_build_show": _build,
    "image_build_start": _started,
    "drift_check": _drift,
    "registry_tags": _tags,
    "why": _why,
    "application_logs": _logs,
    "image_build_logs": _logs,
}
