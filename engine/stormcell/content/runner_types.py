"""The runners that actions may name, with the parameters each adds to an action's own.

Names, types and defaults are those of the runner.yaml files of StackStorm 3.9 (contrib/runners), so
that an action's metadata means the same here.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

JsonObject = dict[str, Any]


class RunnerType(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of runner."""

    name: str
    description: str
    runner_module: str
    runner_parameters: dict[str, JsonObject]
    aliases: tuple[str, ...] = ()
    output_key: str | None = None
    output_schema: JsonObject = {}
    needs_entry_point: bool = False
    enabled: bool = True

    def defaults(self) -> JsonObject:
        """Return parameter name -> default, for the parameters that have one."""
        return {
            name: schema["default"]
            for name, schema in self.runner_parameters.items()
            if "default" in schema
        }


_ANY_VALUE: Final[JsonObject] = {
    "anyOf": [
        {"type": t} for t in ("object", "string", "integer", "number", "boolean", "array", "null")
    ]
}


def _parameter(kind: str, description: str, **rest: Any) -> JsonObject:
    return {"type": kind, "description": description, **rest}


def _timeout(seconds: int) -> JsonObject:
    return _parameter("integer", "Seconds after which the action is stopped.", default=seconds)


_DEBUG: Final = _parameter(
    "boolean", "Ask the runner for more detail.", required=False, default=False
)
_CONTENT_VERSION: Final = _parameter("string", "Git revision of the pack to run.", required=False)

_SHELL: Final[dict[str, JsonObject]] = {
    "cwd": _parameter("string", "Working directory."),
    "env": _parameter("object", "Environment variables to add."),
    "kwarg_op": _parameter(
        "string", "What stands before the name of a named argument.", default="--"
    ),
    "sudo": _parameter("boolean", "Run through sudo.", default=False),
    "sudo_password": _parameter(
        "string", "Password for sudo.", default=None, secret=True, required=False
    ),
    "timeout": _timeout(60),
}

_INQUIRY_SCHEMA: Final[JsonObject] = {
    "title": "response_data",
    "type": "object",
    "properties": {
        "continue": {
            "type": "boolean",
            "description": "Would you like to continue the workflow?",
            "required": True,
        }
    },
}

RUNNER_TYPES: Final[dict[str, RunnerType]] = {
    runner.name: runner
    for runner in (
        RunnerType(
            name="python-script",
            description="Runs an Action class of a Python file in a warm worker process.",
            runner_module="python_runner",
            needs_entry_point=True,
            runner_parameters={
                "debug": _DEBUG,
                "content_version": _CONTENT_VERSION,
                "env": _parameter("object", "Environment variables to add."),
                "timeout": _timeout(600),
                "log_level": _parameter(
                    "string",
                    "Least level of the action's log lines that are kept.",
                    default="DEBUG",
                    enum=["AUDIT", "CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG"],
                ),
            },
            output_key="result",
            output_schema={
                "type": "object",
                "properties": {
                    "result": _ANY_VALUE,
                    "stderr": {"type": "string", "required": True},
                    "stdout": {"type": "string", "required": True},
                    "exit_code": {"type": "integer", "required": True},
                },
                "additionalProperties": False,
            },
        ),
        RunnerType(
            name="action-chain",
            description="Runs actions one after another.",
            runner_module="action_chain_runner",
            needs_entry_point=True,
            runner_parameters={
                "display_published": _parameter(
                    "boolean", "Keep and show published variables.", default=True
                ),
                "skip_notify": _parameter(
                    "array", "Names of tasks that notify nobody.", default=[]
                ),
            },
            output_key="published",
            output_schema={
                "type": "object",
                "properties": {"published": {"type": "object"}, "tasks": {"type": "array"}},
                "additionalProperties": False,
            },
        ),
        RunnerType(
            name="orquesta",
            description="Runs an Orquesta workflow.",
            runner_module="orquesta_runner",
            aliases=("orchestra",),
            needs_entry_point=True,
            runner_parameters={
                "notify": _parameter(
                    "array",
                    "Names of the tasks that notify.",
                    uniqueItems=True,
                    items={"type": "string", "minLength": 1, "pattern": r"^\w+$"},
                    default=[],
                )
            },
            output_key="output",
            output_schema={
                "type": "object",
                "properties": {
                    "errors": {"anyOf": [{"type": "object"}, {"type": "array"}]},
                    "output": _ANY_VALUE,
                },
                "additionalProperties": False,
            },
        ),
        RunnerType(
            name="noop",
            description="Does nothing and succeeds.",
            runner_module="noop_runner",
            runner_parameters={},
        ),
        RunnerType(
            name="local-shell-cmd",
            description="Runs a shell command on this machine.",
            runner_module="local_shell_command_runner",
            runner_parameters={"cmd": _parameter("string", "The command."), **_SHELL},
        ),
        RunnerType(
            name="local-shell-script",
            description="Runs an executable file of the pack on this machine.",
            runner_module="local_shell_script_runner",
            needs_entry_point=True,
            runner_parameters={"debug": _DEBUG, "content_version": _CONTENT_VERSION, **_SHELL},
        ),
        RunnerType(
            name="http-request",
            description="Makes an HTTP request.",
            runner_module="http_runner",
            runner_parameters={
                "allow_redirects": _parameter("boolean", "Follow redirects.", default=False),
                "cookies": _parameter("object", "Cookies to send."),
                "headers": _parameter("object", "Headers to send."),
                "http_proxy": _parameter("string", "Address of a proxy for http."),
                "https_proxy": _parameter("string", "Address of a proxy for https."),
                "password": _parameter("string", "Password for basic authentication.", secret=True),
                "url": _parameter("string", "Address to call.", required=True),
                "username": _parameter("string", "User for basic authentication."),
                "verify_ssl_cert": _parameter(
                    "boolean", "Verify the server's certificate.", default=True
                ),
                "url_hosts_blacklist": _parameter(
                    "array",
                    "Hosts that may not be called.",
                    required=False,
                    items={"type": "string"},
                ),
                "url_hosts_whitelist": _parameter(
                    "array",
                    "The only hosts that may be called.",
                    required=False,
                    items={"type": "string"},
                ),
            },
            output_key="body",
            output_schema={
                "type": "object",
                "properties": {
                    "status_code": {"type": "integer"},
                    "body": _ANY_VALUE,
                    "parsed": {"type": "boolean"},
                    "headers": {"type": "object"},
                },
                "additionalProperties": False,
            },
        ),
        RunnerType(
            name="inquirer",
            description="Asks people, and waits for the answer.",
            runner_module="inquirer_runner",
            runner_parameters={
                "schema": _parameter(
                    "object", "JSON schema of the answer.", default=_INQUIRY_SCHEMA, required=True
                ),
                "route": _parameter(
                    "string", "Word by which rules find who to ask.", default="", required=False
                ),
                "roles": _parameter(
                    "array", "Roles that may answer; empty: all.", default=[], required=False
                ),
                "users": _parameter(
                    "array", "Users who may answer; empty: all.", default=[], required=False
                ),
                "ttl": _parameter(
                    "integer", "Minutes until the question expires.", default=1440, required=True
                ),
            },
        ),
        RunnerType(
            name="announcement",
            description="Sends a message to everybody who listens to the stream.",
            runner_module="announcement_runner",
            runner_parameters={
                "experimental": _parameter(
                    "boolean", "Must be true.", required=True, default=False
                ),
                "route": _parameter(
                    "string",
                    "Name under which listeners find it.",
                    default="general",
                    minLength=1,
                    maxLength=255,
                ),
            },
        ),
    )
}

ALIASES: Final[dict[str, str]] = {
    alias: r.name for r in RUNNER_TYPES.values() for alias in r.aliases
}

NOT_HERE: Final = frozenset(
    {
        "remote-shell-cmd",
        "remote-shell-script",
        "winrm-cmd",
        "winrm-ps-cmd",
        "winrm-ps-script",
        "cloudslang",
    }
)
"""Runners that StackStorm has, or had, and stormcell has not."""


def runner_type(name: str) -> RunnerType | None:
    """Return the runner of that name."""
    return RUNNER_TYPES.get(ALIASES.get(name, name))
