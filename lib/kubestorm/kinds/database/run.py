"""What the steps of a Database share: its names, its object, and writes of its status."""

from __future__ import annotations

import contextlib
from typing import Any, Dict, Iterator, Optional, Sequence

from kubestorm.clients.lease import LeaseLostError
from kubestorm.clients.services import Services
from kubestorm.core import naming, untrusted
from kubestorm.core.conditions import FALSE, Condition
from kubestorm.core.errors import Error
from kubestorm.core.naming import Identity
from kubestorm.kinds.common.resource import Object, ResourceHandle, reason_of
from kubestorm.kinds.database import spec_mapping
from kubestorm.kinds.database.spec import DatabaseSpec, parse_database
from kubestorm.kinds.database.status import ORDER


class DatabaseRun:
    """One step of one Database."""

    def __init__(self, services: Services, identity: Identity, run_id: str) -> None:
        self.services = services
        self.identity = identity
        self.handle = ResourceHandle(services, identity, run_id, ORDER)
        self.kind = spec_mapping.mapping_for(identity, services.settings.database.kinds)
        place = identity.cluster, identity.namespace, identity.name
        self.vault_path = naming.vault_path(*place)
        self.consul_prefix = naming.consul_prefix(*place)
        self.own_identifier = naming.rds_identifier(
            services.settings.database.identifier_prefix, *place
        )
        """The identifier that the resource's name gives."""
        self.valid: Sequence[Condition] = ()
        """What the step found about SpecValid, to be written with its own condition."""

    def identifier(self, resource: Object, spec: Optional[DatabaseSpec]) -> str:
        """The RDS instance: the adopted one, else the one in status, else the one that the name
        gives.
        """
        if spec is not None and spec.adopt:
            return spec.adopt
        known = untrusted.status(resource).get("instanceIdentifier")
        return str(known) if known else self.own_identifier

    def tags(self, spec: DatabaseSpec) -> Dict[str, str]:
        """What the instance carries; the resource's tags cannot replace those of its owner."""
        return {**spec.tags, **naming.owner_tags(self.identity)}

    def as_database(self, resource: Object) -> Object:
        """The object with the spec of a Database, whatever its kind."""
        return spec_mapping.as_database(resource, self.kind)

    def parse(self, resource: Object) -> DatabaseSpec:
        """Raises InvalidSpecError with every problem."""
        return parse_database(self.as_database(resource), self.services.settings.database)

    def write_status(self, *conditions: Condition, **more: Any) -> Optional[Object]:
        """As ResourceHandle's; messages name the fields of the object's own kind."""
        named = [
            each._replace(message=spec_mapping.in_their_words(each.message, self.kind))
            for each in conditions
        ]
        return self.handle.write_status(*named, **more)

    @contextlib.contextmanager
    def reporting(self, condition_type: str) -> Iterator[None]:
        """Write the condition of an error that is raised inside, and raise it again."""
        try:
            yield
        except LeaseLostError:
            raise
        except Error as error:
            # Where Kubernetes does not answer, the condition cannot be written either; the
            # execution shows the error.
            with contextlib.suppress(Error):
                failed = Condition(condition_type, FALSE, reason_of(error), str(error))
                self.handle.write_status(*self.valid, failed)
            raise
