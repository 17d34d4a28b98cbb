"""What an Application's pods get from Consul, Vault and Databases: gathered, put into ConfigMaps
and Secrets.

A change rolls the pods by a hash in the pod template. Of configuration the contents are hashed, of
secrets only names and version numbers of Vault: a hash of a short secret could be guessed by
anybody who reads Deployments.
"""

from __future__ import annotations

import base64
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union
from urllib.parse import quote

from kubestorm.clients.consul_kv import Value
from kubestorm.clients.services import Services
from kubestorm.clients.vault import SecretValues
from kubestorm.core import naming, untrusted
from kubestorm.core.conditions import READY, TRUE, find
from kubestorm.core.errors import NotFoundError
from kubestorm.core.secrets import Secret
from kubestorm.kinds.application import render
from kubestorm.kinds.application.spec import ENV_NAME, env_name
from kubestorm.kinds.application.status import Reason
from kubestorm.kinds.application.values import (
    ApplicationSpec,
    ConfigSource,
    DatabaseBinding,
    SecretSource,
)
from kubestorm.kinds.database.commands import DATABASES

URL_SCHEMES = {"postgres": "postgresql", "mysql": "mysql", "mariadb": "mysql"}
SERVING = ("CredentialsStored", "Published")


class Waiting(NamedTuple):
    """Something that is not there yet; the pods keep their configuration."""

    reason: str
    message: str

    @property
    def as_status(self) -> Dict[str, str]:
        """The value of `status.waitingFor`."""
        return {"reason": self.reason, "message": self.message}


class DatabaseFacts(NamedTuple):
    """What a Database that serves has published, and its credentials."""

    engine: str
    address: Mapping[str, str]
    credentials: SecretValues
    path: str


class Gathered(NamedTuple):
    """Everything that was read, by where it is said in the spec."""

    trees: Mapping[str, Mapping[str, Value]]
    """Consul key or prefix -> its keys below the prefix ("" for a key itself)."""
    secrets: Mapping[str, Optional[SecretValues]]
    """Vault path -> its values."""
    databases: Mapping[str, Union[DatabaseFacts, Waiting]]


class Contents(NamedTuple):
    """What goes into the four objects."""

    variables: Mapping[str, str]
    files: Mapping[str, Value]
    secret_variables: Mapping[str, Secret]
    secret_files: Mapping[str, Secret]
    origins: Mapping[str, str]
    """Secret variable or file -> `path#key`; names alone."""
    versions: Mapping[str, int]
    """Vault path -> version."""

    @property
    def config_hash(self) -> str:
        """Of configuration by content."""
        return _hash_of(self.variables)

    @property
    def files_hash(self) -> str:
        return _hash_of(self.files)

    def versions_hash(self, names: Sequence[str]) -> str:
        """Of secrets by name and version."""
        parts = [f"{name}={self.origins[name]}" for name in sorted(names)]
        used = {self.origins[name].rpartition("#")[0] for name in names}
        return render.content_hash(
            *parts, *(f"{path}@{self.versions[path]}" for path in sorted(used))
        )


def gather(services: Services, app: ApplicationSpec) -> Gathered:
    """Read everything once. Errors of Consul and Vault are raised; what is absent is reported by
    `assemble`.
    """
    consul, vault = services.consul, services.vault
    trees: Dict[str, Mapping[str, Value]] = {}
    for source in app.config:
        if source.is_tree:
            trees[source.key] = consul.read_tree(source.key)
        else:
            value = consul.read_key(source.key)
            trees[source.key] = {} if value is None else {"": value}
    secrets = {path: vault.find_values(path) for path in {source.path for source in app.secrets}}
    return Gathered(
        trees, secrets, {b.name: _database(services, app.namespace, b) for b in app.databases}
    )


def _database(
    services: Services, namespace: str, binding: DatabaseBinding
) -> Union[DatabaseFacts, Waiting]:
    try:
        resource = services.kube.get(DATABASES, binding.name, namespace)
    except NotFoundError:
        message = f"spec.databases: there is no Database {binding.name} in {namespace}."
        return Waiting(Reason.WAITING_FOR_DATABASE, message)
    waiting = is_waiting(resource)
    if waiting is not None:
        return waiting
    # Names alone decide where it is: what the keys in Consul say could have been written by others.
    place = (services.settings.cluster, namespace, binding.name)
    path = naming.vault_path(*place)
    published = services.consul.read_tree(naming.consul_prefix(*place))
    address = {key: value for key, value in published.items() if isinstance(value, str)}
    credentials = services.vault.find_values(path)
    if not address.get("host") or credentials is None:
        return Waiting(
            Reason.WAITING_FOR_DATABASE,
            f"Database {binding.name} has not published its address yet.",
        )
    return DatabaseFacts(
        str((resource.get("spec") or {}).get("engine")), address, credentials, path
    )


def is_waiting(database: Mapping[str, Any]) -> Optional[Waiting]:
    """Why a Database cannot be used; None where it serves, also while it is changed or given new
    credentials.
    """
    conditions = untrusted.mappings(untrusted.status(database).get("conditions"))
    served = all((find(conditions, kind) or {}).get("status") == TRUE for kind in SERVING)
    if served and not database["metadata"].get("deletionTimestamp"):
        return None
    name = database["metadata"]["name"]
    if database["metadata"].get("deletionTimestamp"):
        return Waiting(Reason.WAITING_FOR_DATABASE, f"Database {name} is being deleted.")
    ready = find(conditions, READY) or {}
    why = f" ({ready.get('reason')}: {ready.get('message')})" if ready.get("reason") else ""
    return Waiting(Reason.WAITING_FOR_DATABASE, f"Database {name} is not Ready yet{why}.")


def assemble(app: ApplicationSpec, gathered: Gathered) -> Union[Contents, Waiting]:
    """Names and values of everything, or the first kind of thing that is missing, all of it in one
    sentence. Pure.
    """
    waits = [found for found in gathered.databases.values() if isinstance(found, Waiting)]
    if waits:
        return Waiting(waits[0].reason, " ".join(wait.message for wait in waits))
    found = _Assembly()
    for config_source in app.config:
        found.add_config(config_source, gathered.trees[config_source.key])
    for secret_source in app.secrets:
        found.add_secret(secret_source, gathered.secrets[secret_source.path])
    for binding in app.databases:
        facts = gathered.databases[binding.name]
        if isinstance(facts, DatabaseFacts):
            found.add_database(binding, facts)
    if found.missing:
        return Waiting(Reason.CONFIGURATION_MISSING, " ".join(found.missing))
    return found.contents()


class _Assembly:
    def __init__(self) -> None:
        self.missing: List[str] = []
        self._variables: Dict[str, str] = {}
        self._files: Dict[str, Value] = {}
        self._secret_variables: Dict[str, Secret] = {}
        self._secret_files: Dict[str, Secret] = {}
        self._origins: Dict[str, str] = {}
        self._versions: Dict[str, int] = {}

    def contents(self) -> Contents:
        return Contents(
            self._variables,
            self._files,
            self._secret_variables,
            self._secret_files,
            self._origins,
            self._versions,
        )

    def add_config(self, source: ConfigSource, tree: Mapping[str, Value]) -> None:
        if not tree:
            self.missing.append(f"Consul has nothing at {source.key}.")
        elif source.is_tree:
            folders = [key for key in sorted(tree) if not key or key.endswith("/")]
            self.missing += [
                f"Consul's {source.key}{key} is a folder with a value, which gives no variable; "
                "move the value to a key below."
                for key in folders
            ]
            values = {key: value for key, value in tree.items() if key not in folders}
            for name, key in self._names(source.prefix, values, f"Consul's {source.key}").items():
                self._set_variable(name, f"{source.key}{key}", values[key])
        elif source.file is not None:
            self._files[render.file_key(source.file)] = tree[""]
        else:
            name = source.env or env_name(source.key.rsplit("/", 1)[-1])
            self._set_variable(name, source.key, tree[""])

    def _set_variable(self, name: str, key: str, value: Value) -> None:
        if isinstance(value, bytes) or "\0" in value:
            self.missing.append(
                f"Consul's {key} is not text, which a variable has to be; read it as a file."
            )
        else:
            self._variables[name] = value

    def add_secret(self, source: SecretSource, found: Optional[SecretValues]) -> None:
        if found is None:
            self.missing.append(f"Vault has nothing at {source.path}.")
            return
        if source.key is None:
            for name, key in self._names(
                source.prefix, found.values, f"Vault's {source.path}"
            ).items():
                self._keep(self._secret_variables, name, found, source.path, key)
        elif source.key not in found.values:
            self.missing.append(f"Vault has no key {source.key} at {source.path}.")
        elif source.file is not None:
            self._keep(
                self._secret_files, render.file_key(source.file), found, source.path, source.key
            )
        else:
            self._keep(
                self._secret_variables,
                source.env or env_name(source.key),
                found,
                source.path,
                source.key,
            )

    def add_database(self, binding: DatabaseBinding, facts: DatabaseFacts) -> None:
        values, prefix = facts.credentials.values, binding.prefix
        host, port, name = (facts.address.get(key, "") for key in ("host", "port", "database"))
        self._variables.update(
            {
                f"{prefix}_HOST": host,
                f"{prefix}_PORT": port,
                f"{prefix}_NAME": name,
                f"{prefix}_ENGINE": facts.engine,
            }
        )
        if not {"username", "password"} <= set(values):
            self.missing.append(f"Vault has no username and password at {facts.path}.")
            return
        self._keep(
            self._secret_variables, f"{prefix}_USERNAME", facts.credentials, facts.path, "username"
        )
        self._keep(
            self._secret_variables, f"{prefix}_PASSWORD", facts.credentials, facts.path, "password"
        )
        user, password = (quote(values[key].reveal(), safe="") for key in ("username", "password"))
        scheme = URL_SCHEMES.get(facts.engine, facts.engine)
        url = Secret(f"{scheme}://{user}:{password}@{host}:{port}/{quote(name, safe='')}")
        self._secret_variables[f"{prefix}_URL"] = url
        # The address is in it as well, and is hashed with the variables that say it.
        self._origins[f"{prefix}_URL"] = f"{facts.path}#url"

    def _names(self, prefix: str, values: Mapping[str, Any], where: str) -> Mapping[str, str]:
        """Variable -> key. Keys that give the same variable, or none, are reported."""
        names: Dict[str, str] = {}
        for key in sorted(values):
            name = f"{prefix}{env_name(key)}"
            if not ENV_NAME.match(name):
                self.missing.append(
                    f"{where} has the key {key}, which gives no name of a variable; set envPrefix."
                )
            elif name in names:
                self.missing.append(
                    f"{where} has the keys {names[name]} and {key}, and both give {name}; rename "
                    "one."
                )
            names[name] = key
        return names

    def _keep(
        self, kept: Dict[str, Secret], name: str, found: SecretValues, path: str, key: str
    ) -> None:
        kept[name] = found.values[key]
        self._origins[name] = f"{path}#{key}"
        self._versions[path] = found.version


def manifests(app: ApplicationSpec, contents: Contents) -> List[render.Manifest]:
    """The objects, as many of the four as the Application has use for."""
    made: List[render.Manifest] = []
    if render.has_config_map(app):
        made.append(
            render.config_map(
                app, render.config_map_name(app.name), contents.variables, contents.config_hash
            )
        )
    if render.has_files(app):
        made.append(
            render.config_map(app, render.files_name(app.name), contents.files, contents.files_hash)
        )
    for wanted, name, values in (
        (render.has_secret(app), render.secret_name(app.name), contents.secret_variables),
        (render.has_secret_files(app), render.secret_files_name(app.name), contents.secret_files),
    ):
        if wanted:
            made.append(
                render.secret(app, name, _encoded(values), contents.versions_hash(list(values)))
            )
    return made


def names_of(app: ApplicationSpec) -> Tuple[Tuple[str, str, bool], ...]:
    """Kind, name and whether it is needed, of all four objects."""
    return (
        ("ConfigMap", render.config_map_name(app.name), render.has_config_map(app)),
        ("ConfigMap", render.files_name(app.name), render.has_files(app)),
        ("Secret", render.secret_name(app.name), render.has_secret(app)),
        ("Secret", render.secret_files_name(app.name), render.has_secret_files(app)),
    )


def hash_of(app: ApplicationSpec, made: Sequence[render.Manifest]) -> str:
    """The pod template's hash out of those of the objects that were made."""
    hashes = {
        (each["kind"], each["metadata"]["name"]): each["metadata"]["annotations"][
            render.CONFIG_HASH_ANNOTATION
        ]
        for each in made
    }
    return total_hash([hashes.get((kind, name), "") for kind, name, _ in names_of(app)])


def total_hash(hashes: Sequence[str]) -> str:
    """The pod template's hash out of the objects' own, in the order of `names_of`; absent ones are
    empty.
    """
    return render.content_hash(*hashes)


def _encoded(values: Mapping[str, Secret]) -> Mapping[str, str]:
    return {
        name: base64.b64encode(value.reveal().encode()).decode() for name, value in values.items()
    }


def _hash_of(values: Mapping[str, Value]) -> str:
    parts: List[str] = []
    for name, value in sorted(values.items()):
        # No name has a space, so that bytes never have the hash of some text.
        if isinstance(value, str):
            parts += [name, value]
        else:
            parts += [f"{name} bytes", base64.b64encode(value).decode()]
    return render.content_hash(*parts)
