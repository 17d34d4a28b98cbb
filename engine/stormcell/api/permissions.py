"""Which permission each call needs. A route that is not in the table cannot be served.

Sources: the `x-permissions` of openapi.yaml.j2 and the checks in st2api/controllers/v1 of
StackStorm 3.9. What depends on the body of a call is checked by its handler.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from fnmatch import fnmatchcase
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stormcell.api.access import caller_of
from stormcell.api.answers import flag
from stormcell.api.content_documents import content_id
from stormcell.api.identity import Caller
from stormcell.engine import Engine
from stormcell.errors import ForbiddenError, InvalidInputError, NotFoundError
from stormcell.rbac import OPERATOR, SYSTEM_USERS
from stormcell.running import NAMED_BY

Uids = tuple[str, ...]
ADMIN_SCOPE, EXECUTE_SCOPE, WEBHOOK_SCOPE = "admin", "execute", "webhook:"
_LAST = "last"
"""In the place of an execution's id: the newest."""
_EXECUTE_KINDS = ("action_", "execution_", "runner_type_")
_EXECUTE_NAMES = frozenset({"list", "view", "execute", "rerun", "stop"})
_NOT_GIVEN = frozenset(
    {"cmd", "cwd", "content_version", "env", "kwarg_op", "sudo", "sudo_password"}
)
"""Parameters of runners that decide what a process is: whoever sets them runs anything."""


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """What a call needs: a permission, or one on a resource of the path; None: to be somebody."""

    permission: str | None = None
    find: Callable[[Engine, str], Uids] | None = None
    """Name or id in the path -> UIDs of the resource and of what holds it; () where there is none."""
    granted_by: str = ""
    is_for_scoped: bool = False
    """Whether a key that is narrowed down to something may do it without a permission."""


def routed(engine: Engine, routes: Iterable[Route]) -> list[Route]:
    """The routes with their checks before them. KeyError for a route without an entry."""
    return [
        Route(
            route.path,
            _checked(
                engine,
                route.endpoint,
                NEEDS[_method(route), route.path],
                next(iter(route.param_convertors), ""),
            ),
            methods=[_method(route)],
        )
        for route in routes
    ]


def require(
    engine: Engine, request: Request, permission: str, *uids: str, granted_by: str = ""
) -> None:
    """ForbiddenError where the caller has no such permission (see `Roles.may`)."""
    caller = caller_of(request)
    if not (
        _in_scope(caller, permission, uids)
        and engine.roles.may(
            caller.user,
            permission,
            *uids,
            granted_by=granted_by,
            # What an action does for somebody in a chat, whose role the pack has judged.
            otherwise="" if caller.is_account else OPERATOR,
        )
    ):
        resource = f' on resource "{uids[0]}"' if uids else ""
        narrowed = " by this key" if caller.scopes else ""
        raise ForbiddenError(
            f'User "{caller.user}" doesn\'t have required permission "{permission}"{resource}'
            f"{narrowed}."
        )


def require_unscoped(request: Request) -> None:
    """ForbiddenError for a key that is narrowed down to something."""
    scopes = caller_of(request).scopes
    if scopes and ADMIN_SCOPE not in scopes:
        raise ForbiddenError(f"This key is for {', '.join(scopes)} alone.")


def is_admin(engine: Engine, request: Request) -> bool:
    """Whether the caller may do everything, by this credential too."""
    caller = caller_of(request)
    narrowed = caller.scopes and ADMIN_SCOPE not in caller.scopes
    return not narrowed and engine.roles.is_admin(caller.user)


def shows_secrets(engine: Engine, request: Request) -> bool:
    """Whether secrets are asked for in clear, by an administrator; from others that counts for
    nothing. Source: _get_mask_secrets in st2api/controllers/base.py of StackStorm 3.9."""
    return flag(request, "show_secrets") and is_admin(engine, request)


def speaks_for_others(request: Request) -> bool:
    """Whether the caller may say in whose name something is asked: a bot, or stormcell itself."""
    return not caller_of(request).is_person or caller_of(request).user in SYSTEM_USERS


def name_in_chat(request: Request, wanted: Any) -> str | None:
    """The chat account that a caller says typed a command. ForbiddenError where a person names
    another."""
    if not wanted or speaks_for_others(request) or wanted == caller_of(request).user:
        return wanted if wanted is None else str(wanted)
    raise ForbiddenError(
        f'Only service accounts say who typed a command; you are "{caller_of(request).user}".'
    )


def user_to_run_as(request: Request, wanted: Any) -> str:
    """The user an execution is for. ForbiddenError where a person names another."""
    caller = caller_of(request)
    if wanted in (None, "", caller.user) or caller.user in SYSTEM_USERS:
        return str(wanted or caller.user)
    raise ForbiddenError(
        f'Only stormcell\'s own user may run actions as another; you are "{caller.user}".'
    )


def named(request: Request, user: str) -> dict[str, str]:
    """What the context of an execution says of its user: who named somebody else for it."""
    caller = caller_of(request)
    return {NAMED_BY: caller.user} if user != caller.user or not caller.is_account else {}


def check_parameters_of(engine: Engine, request: Request, action_ref: str, given: Any) -> bool:
    """Check what a caller gives an action; return whether its texts may be templates.

    Administrators' may: a template reads the datastore. ForbiddenError for parameters of the runner
    that the action does not offer, as `env`, from anybody else.
    """
    if is_admin(engine, request):
        return True
    action = engine.catalog.content.actions.get(action_ref)
    offered = action.parameters if action else {}
    refused = sorted(name for name in given if name in _NOT_GIVEN and name not in offered)
    if refused:
        raise ForbiddenError(
            f"{action_ref} does not offer {', '.join(refused)}; only administrators may set it."
        )
    return False


def check_scopes(metadata: dict[str, Any]) -> None:
    """InvalidInputError where the scopes in a key's metadata are not known."""
    scopes = metadata.get("scopes")
    if scopes is None:
        return
    known = isinstance(scopes, list) and all(
        isinstance(scope, str)
        and (
            scope in (ADMIN_SCOPE, EXECUTE_SCOPE)
            or (scope.startswith(WEBHOOK_SCOPE) and scope != WEBHOOK_SCOPE)
        )
        for scope in scopes
    )
    if not known or not scopes:
        raise InvalidInputError('scopes must be a list of "admin", "execute" and "webhook:NAME".')


def action_uids(action_ref: str) -> Uids:
    pack, _, name = action_ref.partition(".")
    return f"action:{pack}:{name}", f"pack:{pack}"


def _in_scope(caller: Caller, permission: str, uids: Uids) -> bool:
    return not caller.scopes or any(
        _scope_takes(scope, permission, uids) for scope in caller.scopes
    )


def _scope_takes(scope: str, permission: str, uids: Uids) -> bool:
    if scope == EXECUTE_SCOPE:
        return (
            permission.startswith(_EXECUTE_KINDS)
            and not permission.startswith("action_alias_")
            and permission.rpartition("_")[2] in _EXECUTE_NAMES
        )
    if scope.startswith(WEBHOOK_SCOPE):
        return permission == "webhook_send" and any(fnmatchcase(uid, scope) for uid in uids)
    return scope == ADMIN_SCOPE


def _checked(
    engine: Engine, endpoint: Callable[[Request], Awaitable[Response]], need: Need, name: str
) -> Callable[[Request], Awaitable[Response]]:
    async def checked(request: Request) -> Response:
        try:
            if need.permission is not None:
                find, wanted = need.find, str(request.path_params.get(name))
                if find is _execution and wanted == _LAST:
                    # Settled here, for the endpoint must act on the one that was judged.
                    wanted = request.path_params[name] = _newest(engine)
                uids = find(engine, wanted) if find is not None else ()
                require(engine, request, need.permission, *uids, granted_by=need.granted_by)
            elif not need.is_for_scoped:
                require_unscoped(request)
        except ForbiddenError:
            await request.body()  # unread, it would reset the connection under the answer
            raise
        return await endpoint(request)

    return checked


def _method(route: Route) -> str:
    (method,) = (route.methods or set()) - {"HEAD"}
    return method


# UIDs of what a path names


def _execution(engine: Engine, execution_id: str) -> Uids:
    try:
        return action_uids(engine.trees.find(execution_id).action_ref)
    except NotFoundError:
        return ()


def _newest(engine: Engine) -> str:
    engine.store.writer.flush()
    found, _ = engine.store.executions.find({}, limit=1)
    return found[0].id if found else _LAST


def _inquiry(engine: Engine, inquiry_id: str) -> Uids:
    """The workflow that asks: whoever may execute it may answer."""
    try:
        parent = engine.trees.find(inquiry_id).parent
        return action_uids(engine.trees.find(parent).action_ref) if parent else ()
    except NotFoundError:
        return ()


def _enforcement(engine: Engine, enforcement_id: str) -> Uids:
    found = engine.store.events.enforcement(enforcement_id)
    if found is None:
        return ()
    pack, _, name = found.rule_ref.partition(".")
    return f"rule:{pack}:{name}", f"pack:{pack}"


def _of_content(kind: str, word: str) -> Callable[[Engine, str], Uids]:
    def find(engine: Engine, wanted: str) -> Uids:
        items: dict[str, Any] = getattr(engine.catalog.content, kind)
        for ref, item in items.items():
            if wanted in (ref, content_id(word, ref)):
                return f"{word}:{item.pack}:{item.name}", f"pack:{item.pack}"
        return ()

    return find


def _named(word: str) -> Callable[[Engine, str], Uids]:
    return lambda engine, wanted: (f"{word}:{wanted}",)


_ACTION = _of_content("actions", "action")
_RULE = _of_content("rules", "rule")
_SENSOR = Need(permission="sensor_type_view", find=_of_content("sensors", "sensor_type"))
_SOMEBODY = Need()
_VIEW_EXECUTION = Need(permission="execution_view", find=_execution, granted_by="action_view")
_STEER_EXECUTION = Need(permission="execution_stop", find=_execution, granted_by="action_execute")
_VIEW_ACTION = Need(permission="action_view", find=_ACTION)
_VIEW_RULE = Need(permission="rule_view", find=_RULE)
_VIEW_PACK = Need(permission="pack_view", find=_named("pack"))
_VIEW_ENFORCEMENT = Need(
    permission="rule_enforcement_view", find=_enforcement, granted_by="rule_view"
)
_LISTS = {
    **{
        f"/v1/{kind}": f"{word}_list"
        for kind, word in (
            *(("executions", "execution"), ("inquiries", "inquiry"), ("traces", "trace")),
            *(
                ("triggerinstances", "trigger"),
                ("triggertypes", "trigger"),
                ("triggers", "trigger"),
            ),
            *(
                ("ruleenforcements", "rule_enforcement"),
                ("webhooks", "webhook"),
                ("timers", "timer"),
            ),
            *(("actions", "action"), ("rules", "rule"), ("sensortypes", "sensor_type")),
            *(("packs", "pack"), ("runnertypes", "runner_type"), ("policies", "policy")),
            *(
                ("policytypes", "policy_type"),
                ("ruletypes", "rule"),
                ("actionalias", "action_alias"),
            ),
            *(("configs", "pack"), ("config_schemas", "pack")),
        )
    },
    "/v1/ruleenforcements/views": "rule_enforcement_list",
    "/v1/actions/views": "action_list",
    "/v1/actions/views/overview": "action_list",
    "/v1/rules/views": "rule_list",
    "/v1/rules/views/overview": "rule_list",
    "/v1/actionalias/help": "action_alias_help",
    "/v1/stream": "stream_view",
    "/metrics": "stream_view",
}
_VIEWS = {
    "/v1/triggerinstances/{id}": Need(permission="trigger_view"),
    "/v1/triggertypes/{id}": Need(permission="trigger_view"),
    "/v1/triggers/{id}": Need(permission="trigger_view"),
    "/v1/timers/{id}": Need(permission="timer_view"),
    "/v1/traces/{id}": Need(permission="trace_view"),
    "/v1/inquiries/{id}": Need(
        permission="inquiry_view", find=_inquiry, granted_by="action_execute"
    ),
    "/v1/ruleenforcements/{id}": _VIEW_ENFORCEMENT,
    "/v1/ruleenforcements/views/{id}": _VIEW_ENFORCEMENT,
    "/v1/webhooks/{name:path}": Need(permission="webhook_view", find=_named("webhook")),
    "/v1/actions/{id}": _VIEW_ACTION,
    "/v1/actions/views/overview/{id}": _VIEW_ACTION,
    "/v1/actions/views/parameters/{id}": _VIEW_ACTION,
    "/v1/actions/views/entry_point/{id}": _VIEW_ACTION,
    "/v1/rules/{id}": _VIEW_RULE,
    "/v1/rules/views/{id}": _VIEW_RULE,
    "/v1/rules/views/overview/{id}": _VIEW_RULE,
    "/v1/sensortypes/{id}": _SENSOR,
    "/v1/packs/{id}": _VIEW_PACK,
    "/v1/configs/{pack}": _VIEW_PACK,
    "/v1/config_schemas/{pack}": _VIEW_PACK,
    "/v1/runnertypes/{id}": Need(permission="runner_type_view", find=_named("runner_type")),
    "/v1/policies/{id}": Need(permission="policy_view", find=_of_content("policies", "policy")),
    "/v1/policytypes/{id}": Need(permission="policy_type_view"),
    "/v1/ruletypes/{id}": Need(permission="rule_view"),
    "/v1/actionalias/{id}": Need(
        permission="action_alias_view", find=_of_content("aliases", "action_alias")
    ),
    "/v1/executions/{id}": _VIEW_EXECUTION,
    "/v1/executions/{id}/children": _VIEW_EXECUTION,
    "/v1/executions/{id}/output": _VIEW_EXECUTION,
    "/v1/executions/{id}/result": _VIEW_EXECUTION,
    "/v1/executions/{id}/attribute/{name}": _VIEW_EXECUTION,
    "/v1/why/{id}": Need(permission="execution_list"),
}
NEEDS: dict[tuple[str, str], Need] = {
    **{("GET", path): Need(permission=permission) for path, permission in _LISTS.items()},
    **{("GET", path): need for path, need in _VIEWS.items()},
    ("GET", "/healthz"): Need(is_for_scoped=True),
    ("GET", "/v1"): Need(is_for_scoped=True),
    ("GET", "/v1/user"): Need(is_for_scoped=True),
    ("POST", "/v1/tokens"): Need(is_for_scoped=True),
    ("POST", "/v1/tokens/validate"): _SOMEBODY,
    # Keys of the API and of the datastore are one's own, or an administrator's business, as roles
    # are: the handlers check that.
    **dict.fromkeys(
        (
            *(("GET", "/v1/apikeys"), ("POST", "/v1/apikeys"), ("GET", "/v1/apikeys/{id}")),
            *(("PUT", "/v1/apikeys/{id}"), ("DELETE", "/v1/apikeys/{id}")),
            *(("GET", "/v1/keys"), ("GET", "/v1/keys/{name:path}")),
            *(("GET", "/v1/rbac/roles"), ("GET", "/v1/rbac/roles/{id}")),
            ("GET", "/v1/rbac/role_assignments"),
            ("GET", "/v1/rbac/role_assignments/{id}"),
            ("GET", "/v1/rbac/permission_types"),
            *(("PUT", "/v1/keys/{name:path}"), ("DELETE", "/v1/keys/{name:path}")),
        ),
        _SOMEBODY,
    ),
    # The action of these is in the body.
    ("POST", "/v1/executions"): Need(is_for_scoped=True),
    ("POST", "/v1/aliasexecution"): _SOMEBODY,
    ("POST", "/v1/aliasexecution/match_and_execute"): _SOMEBODY,
    ("POST", "/v1/rules"): _SOMEBODY,
    ("POST", "/v1/actions"): _SOMEBODY,
    ("POST", "/v1/webhooks/st2"): Need(
        permission="webhook_send", find=lambda engine, wanted: ("webhook:st2",)
    ),
    ("POST", "/v1/webhooks/{name:path}"): Need(permission="webhook_send", find=_named("webhook")),
    ("POST", "/v1/triggerinstances/{id}/re_emit"): Need(
        permission="webhook_send", find=lambda engine, wanted: ("webhook:st2",)
    ),
    ("POST", "/v1/actionalias/match"): Need(permission="action_alias_match"),
    ("PUT", "/v1/inquiries/{id}"): Need(
        permission="inquiry_respond", find=_inquiry, granted_by="action_execute"
    ),
    ("DELETE", "/v1/executions/{id}"): _STEER_EXECUTION,
    ("PUT", "/v1/executions/{id}"): _STEER_EXECUTION,
    ("POST", "/v1/executions/{id}/re_run"): Need(
        permission="execution_rerun", find=_execution, granted_by="action_execute"
    ),
    ("PUT", "/v1/rules/{id}"): Need(permission="rule_modify", find=_RULE),
    ("DELETE", "/v1/rules/{id}"): Need(permission="rule_delete", find=_RULE),
    ("PUT", "/v1/actions/{id}"): Need(permission="action_modify", find=_ACTION),
    ("DELETE", "/v1/actions/{id}"): Need(permission="action_delete", find=_ACTION),
    ("PUT", "/v1/sensortypes/{id}"): Need(permission="sensor_type_modify", find=_SENSOR.find),
    ("PUT", "/v1/configs/{pack}"): Need(permission="pack_config"),
    ("POST", "/v1/packs/register"): Need(permission="pack_register"),
    ("POST", "/v1/prune"): Need(permission="history_prune"),
}
