"""What a Kubernetes API answer or a broken connection means to us: one of the pack's errors,
decided in one place.

The sentences end up in conditions and logs, so they name what to do next. Response bodies are
`Status` objects made by the API server from names and rules; nothing else of a body is repeated.
"""

from __future__ import annotations

import json
import re
from typing import Any, Mapping, NamedTuple, Optional, Sequence

import urllib3.exceptions

from kubestorm.clients.retrying import retry_after_of
from kubestorm.core.errors import (
    ConflictError,
    DefinitionError,
    Error,
    NotFoundError,
    PermanentError,
    TemporaryError,
)

SERVICE = "Kubernetes"
_MANAGER = re.compile(r'conflicts? with "([^"]*)"')
_USER = re.compile(r'User "([^"]*)"')


class Request(NamedTuple):
    """What was asked, in RBAC's words; `namespace` is empty for all namespaces or a cluster-scoped
    resource.
    """

    verb: str
    group: str
    resource: str
    namespace: str
    name: str


class ForbiddenError(PermanentError):
    """403: the account lacks a rule; `request` is the rule that is missing."""

    def __init__(self, message: str, *, request: Request) -> None:
        super().__init__(message, service=SERVICE, status_code=403)
        self.request = request


class FieldConflict(NamedTuple):
    """One field that server-side apply did not take from its owner."""

    field: str
    """As the API server writes it: `.spec.replicas`,
    `.spec.ports[port=80,protocol="TCP"].targetPort`.
    """
    manager: str


class FieldConflictError(ConflictError):
    """409 of a server-side apply: others own fields that would change; `conflicts` names each."""

    def __init__(self, message: str, conflicts: Sequence[FieldConflict]) -> None:
        super().__init__(message, service=SERVICE, status_code=409)
        self.conflicts = tuple(conflicts)


class UnauthorizedError(PermanentError):
    """401: the credentials are missing, wrong or expired."""


class ExpiredError(TemporaryError):
    """410: the resourceVersion or the continue token is too old; list again."""


def from_response(
    status_code: int, headers: Mapping[str, str], body: bytes, request: Request
) -> Error:
    """Choose the error for an answer of 400 or above (also for a `Status` inside a watch: no
    headers then).
    """
    status = _status_of(body)
    said = str(status.get("message") or "").strip()
    what = _describe(request)
    if status_code == 401:
        return UnauthorizedError(
            f"Kubernetes did not accept the credentials for {what}; check the kubeconfig or "
            "the token",
            service=SERVICE,
            status_code=401,
        )
    if status_code == 403:
        return ForbiddenError(_forbidden(request, said), request=request)
    if status_code == 404:
        return NotFoundError(f"{what}: not found", service=SERVICE, status_code=404)
    if status_code == 409:
        conflicts = _field_conflicts(status)
        if conflicts:
            return FieldConflictError(f"{what}: {said}", conflicts)
        return ConflictError(
            f"{what}: {said or 'changed meanwhile'}", service=SERVICE, status_code=409
        )
    if status_code == 410:
        return ExpiredError(
            f"{what}: {said or 'resourceVersion too old'}", service=SERVICE, status_code=410
        )
    if status_code in (400, 422):
        return _invalid(status_code, status, what, said)
    if status_code in (429, 408) or status_code >= 500:
        return TemporaryError(
            f"Kubernetes cannot answer {what} now (HTTP {status_code})"
            + (f": {said}" if said else ""),
            service=SERVICE,
            status_code=status_code,
            retry_after_seconds=_retry_after(headers, status),
        )
    return PermanentError(
        f"Kubernetes refused {what} (HTTP {status_code}): {said}",
        service=SERVICE,
        status_code=status_code,
    )


def from_transport(error: Exception, request: Request, host: str) -> Error:
    """Choose the error for a connection that could not be made or broke, which urllib3 reports in
    many classes.
    """
    reason = getattr(error, "reason", None) or error
    if isinstance(reason, urllib3.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(
        reason
    ):
        return PermanentError(
            f"the certificate of {host} is not trusted; give the kubeconfig its "
            "certificate-authority",
            service=SERVICE,
        )
    return TemporaryError(
        f"no answer from {host} for {_describe(request)}: {type(reason).__name__}", service=SERVICE
    )


def _describe(request: Request) -> str:
    kind = f"{request.resource}.{request.group}" if request.group else request.resource
    where = f" in namespace {request.namespace}" if request.namespace else ""
    return f"{request.verb} {kind}{' ' + request.name if request.name else ''}{where}"


def _forbidden(request: Request, said: str) -> str:
    if request.verb == "patch" and said.endswith("is forbidden:"):
        # A server-side apply of what is not there: `patch` is allowed, and no reason is given.
        request, said = request._replace(verb="create"), ""
    user = _USER.search(said)
    scope = f'a Role in namespace "{request.namespace}"' if request.namespace else "a ClusterRole"
    rule = (
        f'apiGroups: ["{request.group}"], resources: ["{request.resource}"], verbs: '
        f'["{request.verb}"]'
    )
    message = (
        f"Kubernetes forbids {_describe(request)}; grant "
        f"{'user ' + user.group(1) if user else 'this account'} "
    )
    message += (
        f"{scope} with the rule {{{rule}}}; kubestorm-rbac prints all that the configuration needs"
    )
    # A refusal that is not RBAC's (admission, quota) is a 403 as well, and says why itself.
    if said and "cannot " + request.verb not in said:
        return f"Kubernetes forbids {_describe(request)}: {said}"
    return message


def _invalid(status_code: int, status: Mapping[str, Any], what: str, said: str) -> Error:
    details = status.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    rows = [cause for cause in causes or [] if isinstance(cause, dict)]
    if not rows:
        error = DefinitionError(f"Kubernetes refused {what}: {said or 'invalid'}")
    else:
        text = "; ".join(f"{row.get('field', '')}: {row.get('message', '')}" for row in rows)
        error = DefinitionError(
            f"Kubernetes refused {what}: {text}", field=str(rows[0].get("field") or "")
        )
    error.service, error.status_code = SERVICE, status_code
    return error


def _field_conflicts(status: Mapping[str, Any]) -> Sequence[FieldConflict]:
    details = status.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    return [
        FieldConflict(str(cause.get("field") or ""), manager.group(1))
        for cause in causes or ()
        if isinstance(cause, dict) and cause.get("reason") == "FieldManagerConflict"
        for manager in [_MANAGER.search(str(cause.get("message") or ""))]
        if manager
    ]


def _retry_after(headers: Mapping[str, str], status: Mapping[str, Any]) -> Optional[float]:
    details = status.get("details")
    said = details.get("retryAfterSeconds") if isinstance(details, dict) else None
    asked = retry_after_of(headers)
    return asked if asked is not None else retry_after_of({"Retry-After": said})


def is_status(body: bytes) -> bool:
    """Whether an answer is the API server's own refusal and not that of something behind it."""
    return bool(_status_of(body))


def _status_of(body: bytes) -> Mapping[str, Any]:
    try:
        status = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return status if isinstance(status, dict) and status.get("kind") == "Status" else {}
