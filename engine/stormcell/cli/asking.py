"""Commands that ask a running stormcell: run, emit, why, executions, reload."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click
import msgspec

from stormcell.cli.client import Client, connection_options
from stormcell.cli.output import print_execution, print_table, print_tree
from stormcell.cli.parameters import parse_parameters
from stormcell.statuses import TERMINAL

_POLL_SECONDS = 0.1
_SLOWEST_POLL_SECONDS = 1.0


@click.command()
@click.argument("action")
@click.argument("parameters", nargs=-1)
@click.option("-a", "--async", "in_background", is_flag=True, help="Print the id and do not wait.")
@click.option("--wait", is_flag=True, help="Wait for the end (the default).")
@click.option("-j", "--json", "as_json", is_flag=True, help="Print the whole execution as JSON.")
@connection_options
def run(
    action: str,
    parameters: tuple[str, ...],
    in_background: bool,
    wait: bool,
    as_json: bool,
    data: Path | None,
    url: str | None,
    api_key: str | None,
) -> None:
    """Run an ACTION (pack.name) with PARAMETERS k=v, and print how it ended.

    \b
    stormcell run core.local cmd='uname -a'
    stormcell run mypack.resize name=web replicas=3 labels='{"tier": "front"}'
    stormcell run mypack.apply manifest=@deployment.yaml -a

    Values are read as the action's parameters ask: JSON for objects and lists (or a,b,c), @FILE for
    a file's content. The exit code is 0 where the execution succeeded, 1 where it did not.
    """
    client = Client(data, url, api_key)
    described = client.get(f"/v1/actions/{action}")
    runner = client.get(f"/v1/runnertypes/{described['runner_type']}")
    schemas = {**runner["runner_parameters"], **described["parameters"]}
    body = {"action": action, "parameters": parse_parameters(parameters, schemas)}
    execution = client.post("/v1/executions", body).json()
    if in_background and not wait:
        click.echo(execution["id"])
        return
    execution = _wait_for(client, execution["id"])
    _print(execution, as_json)
    sys.exit(0 if execution["status"] == "succeeded" else 1)


@click.command()
@click.argument("trigger")
@click.option(
    "--payload",
    type=click.File("rb"),
    required=True,
    help="File with the payload as JSON; - reads it here.",
)
@click.option("--wait", is_flag=True, help="Wait for all that it leads to, and print it.")
@click.option("--trace", default="", help="A tag to follow it by.")
@connection_options
def emit(
    trigger: str,
    payload: Any,
    wait: bool,
    trace: str,
    data: Path | None,
    url: str | None,
    api_key: str | None,
) -> None:
    """Send an event of type TRIGGER (pack.name), as a sensor would, and print the trigger
    instance's id.

    \b
    stormcell emit mypack.pushed --payload push.json
    echo '{"repository": "web"}' | stormcell emit mypack.pushed --payload - --wait

    With --wait the exit code is 1 where something that it led to failed.
    """
    try:
        body = msgspec.json.decode(payload.read())
    except msgspec.DecodeError as error:
        raise click.ClickException(f"The payload is not JSON: {error}.") from error
    client = Client(data, url, api_key)
    headers = {"St2-Trace-Tag": trace} if trace else None
    answered = client.post("/v1/webhooks/st2", {"trigger": trigger, "payload": body}, headers)
    instance_id = answered.headers["X-Trigger-Instance-Id"]
    if not wait:
        click.echo(instance_id)
        return
    found = _executions_of(client, instance_id)
    ended = [_wait_for(client, execution["id"]) for execution in found]
    _print_why(client.get(f"/v1/why/{instance_id}"))
    sys.exit(0 if all(execution["status"] == "succeeded" for execution in ended) else 1)


@click.command()
@click.argument("id_")
@click.option("-j", "--json", "as_json", is_flag=True, help="Print it as JSON.")
@connection_options
def why(id_: str, as_json: bool, data: Path | None, url: str | None, api_key: str | None) -> None:
    """Say why something did, or did not, happen: ID of a trigger instance or of an execution.

    Each rule that was tried, the criterion that failed with its pattern and the value it met, and
    the tree of what ran.
    """
    answered = Client(data, url, api_key).get(f"/v1/why/{id_}")
    if as_json:
        click.echo(_json(answered))
    else:
        _print_why(answered)


@click.command()
@click.option("-n", "--limit", default=20, show_default=True, help="How many, newest first.")
@click.option("--status", default=None, help="Only those in this status.")
@click.option("--action", default=None, help="Only those of this action.")
@click.option("--all", "everything", is_flag=True, help="Also those that a workflow started.")
@connection_options
def executions(
    limit: int,
    status: str | None,
    action: str | None,
    everything: bool,
    data: Path | None,
    url: str | None,
    api_key: str | None,
) -> None:
    """List what ran."""
    query = {
        "limit": limit,
        "status": status,
        "action": action,
        "parent": None if everything else "null",
    }
    asked = {name: value for name, value in query.items() if value is not None}
    shown = "action.ref,status,start_timestamp,elapsed_seconds,context.user"
    found = Client(data, url, api_key).get("/v1/executions", include_attributes=shown, **asked)
    rows = [
        (
            item["id"],
            item["action"]["ref"],
            item["status"],
            item["start_timestamp"][:19],
            f"{item['elapsed_seconds']:.2f}" if "elapsed_seconds" in item else "",
        )
        for item in found
    ]
    print_table(("id", "action", "status", "started", "seconds"), rows)


@click.command("reload")
@connection_options
def reload_content(data: Path | None, url: str | None, api_key: str | None) -> None:
    """Read the packs' files again, without a restart. What is wrong is told and the present content
    stays.
    """
    answered = Client(data, url, api_key).post("/v1/packs/register", {}).json()
    click.echo(", ".join(f"{count} {kind}" for kind, count in answered.items()))


def _executions_of(client: Client, instance_id: str) -> list[dict[str, Any]]:
    found = client.get(
        "/v1/executions",
        trigger_instance=instance_id,
        limit=-1,
        parent="null",
        include_attributes="id",
    )
    return list(found)


def _wait_for(client: Client, execution_id: str) -> dict[str, Any]:
    pause = _POLL_SECONDS
    while True:
        execution: dict[str, Any] = client.get(f"/v1/executions/{execution_id}")
        if execution["status"] in TERMINAL or execution["status"] in ("paused", "pending"):
            return execution
        time.sleep(pause)
        pause = min(pause * 1.2, _SLOWEST_POLL_SECONDS)


def _print(execution: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(_json(execution))
    else:
        print_execution(execution)


def _print_why(answered: dict[str, Any]) -> None:
    instance = answered["trigger_instance"]
    if instance:
        click.echo(
            f"{instance['trigger']}  {instance['occurrence_time']}  {instance['id']}  {instance['status']}"
        )
        if not answered["rules"]:
            click.echo("  No rule asks for this trigger.")
    for attempt in answered["rules"]:
        verdict = click.style("matched", fg="green") if attempt["matched"] else "not matched"
        reason = f": {attempt['reason']}" if attempt["reason"] else ""
        click.echo(f"  rule {attempt['rule']}  {verdict}{reason}")
        for criterion in attempt["criteria"]:
            if not criterion["passed"]:
                click.echo(_failed(criterion))
    for tree in answered["executions"]:
        print_tree(tree)


def _failed(criterion: dict[str, Any]) -> str:
    if criterion["reason"]:
        return f"      {criterion['key']} {criterion['type']}: {criterion['reason']}"
    wanted, met = _json(criterion["pattern"], indent=0), _json(criterion["value"], indent=0)
    return f"      {criterion['key']} {criterion['type']} {wanted} does not hold for {met}"


def _json(value: Any, indent: int = 2) -> str:
    encoded = msgspec.json.encode(value)
    return (msgspec.json.format(encoded, indent=indent) if indent else encoded).decode()
