"""`/v1/rbac`: roles and their assignments, for administrators to read. They are changed as files.

Source of behaviour: the routes of openapi.yaml.j2 and st2client/commands/rbac.py of StackStorm 3.9.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stormcell.api.answers import answer, flag, listing, page_of
from stormcell.api.content_documents import content_id
from stormcell.api.permissions import is_admin
from stormcell.engine import Engine
from stormcell.errors import ForbiddenError, NotFoundError
from stormcell.rbac import PERMISSIONS, Assignment, Role

Documents = list[dict[str, Any]]


def routes(engine: Engine) -> list[Route]:
    api = _Rbac(engine)
    return [
        Route("/v1/rbac/roles", api.roles, methods=["GET"]),
        Route("/v1/rbac/roles/{id}", api.role, methods=["GET"]),
        Route("/v1/rbac/role_assignments", api.assignments, methods=["GET"]),
        Route("/v1/rbac/role_assignments/{id}", api.assignment, methods=["GET"]),
        Route("/v1/rbac/permission_types", api.permission_types, methods=["GET"]),
    ]


class _Rbac:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def roles(self, request: Request) -> Response:
        self._require_admin(request)
        wanted = flag(request, "system") if "system" in request.query_params else None
        return _listed(
            request, self._roles(), lambda found: wanted is None or found["system"] is wanted
        )

    async def role(self, request: Request) -> Response:
        """By name or id."""
        self._require_admin(request)
        return _one(request, self._roles(), "id", "name")

    async def assignments(self, request: Request) -> Response:
        self._require_admin(request)
        names = ("user", "role", "source")
        wanted = {
            name: request.query_params[name] for name in names if name in request.query_params
        }
        return _listed(
            request,
            self._assignments(),
            lambda found: all(found[name] == value for name, value in wanted.items()),
        )

    async def assignment(self, request: Request) -> Response:
        self._require_admin(request)
        return _one(request, self._assignments(), "id")

    async def permission_types(self, request: Request) -> Response:
        self._require_admin(request)
        return answer({kind: sorted(types) for kind, types in PERMISSIONS.items()})

    def _roles(self) -> Documents:
        return [_role_document(role) for role in self._engine.roles.all()]

    def _assignments(self) -> Documents:
        return [_assignment_document(found) for found in self._engine.roles.assignments()]

    def _require_admin(self, request: Request) -> None:
        if not is_admin(self._engine, request):
            raise ForbiddenError("Administrator access required.")


def _listed(request: Request, found: Documents, fits: Callable[[dict[str, Any]], bool]) -> Response:
    page, fitting = page_of(request), [one for one in found if fits(one)]
    end = None if page.limit < 0 else page.offset + page.limit
    return listing(fitting[page.offset : end], len(fitting), page)


def _one(request: Request, found: Documents, *names: str) -> Response:
    wanted = request.path_params["id"]
    for one in found:
        if wanted in [one[name] for name in names]:
            return answer(one)
    raise NotFoundError(f'Resource with a name or id "{wanted}" not found')


def _role_document(role: Role) -> dict[str, Any]:
    return {
        "id": content_id("role", role.name),
        "uid": f"role:{role.name}",
        "name": role.name,
        "description": role.description,
        "system": role.system,
        "permission_grants": [
            {
                "resource_uid": grant.resource_uid,
                "resource_type": (grant.resource_uid or "").partition(":")[0] or None,
                "permission_types": sorted(grant.permission_types),
            }
            for grant in role.grants
        ],
    }


def _assignment_document(found: Assignment) -> dict[str, Any]:
    return {
        "id": content_id("role_assignment", f"{found.user}:{found.role}"),
        "user": found.user,
        "role": found.role,
        "source": found.source,
        "description": found.description,
        "is_remote": False,
    }
