"""Whether everything that a configuration needs is there: each address, certificate, token, role
and right, one line each, with the next step where one is not.

It changes nothing: rights are asked for (SelfSubjectAccessReview, sys/capabilities-self), and
Consul is asked to delete a key that nobody has. Run by the action `kubestorm.doctor` and by
`stormcell check --connect`.
"""

from __future__ import annotations

import difflib
import json
import socket
import sys
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Set, Tuple

from kubestorm.clients.engine_api import EngineApi
from kubestorm.clients.kube_errors import ForbiddenError
from kubestorm.clients.registry.settings import declared
from kubestorm.clients.services import Services
from kubestorm.core import naming, parts, trouble
from kubestorm.core.errors import DefinitionError, Error, NotFoundError, PermanentError
from kubestorm.core.settings import load_settings
from kubestorm.entrypoints import rbac
from kubestorm.entrypoints.config_check import find_faults, without_defaults
from kubestorm.entrypoints.config_schema import ROOT
from kubestorm.kinds.build.settings import BuildSettings

GREEN, RED, PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[0m"
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/"
GRANT = "bin/kubestorm-rbac configs/kubestorm.yaml | kubectl apply -f -"
SENSORS = tuple(
    f"kubestorm.{name}" for name in ("ResourcesSensor", "ListenersSensor", "PollsSensor")
)
GIT_PORTS = {"https": 443, "ssh": 22, "http": 80}
CONNECT_SECONDS = 5.0


class Line(NamedTuple):
    """One thing that was tried."""

    service: str
    is_good: bool
    message: str
    """What was found."""
    remedy: str = ""
    """What to do next; empty where it is good."""

    def text(self, *, color: bool = False) -> str:
        """As one line for people."""
        mark = "ok  " if self.is_good else "FAIL"
        if color:
            mark = f"{GREEN if self.is_good else RED}{mark}{PLAIN}"
        remedy = f" Next: {self.remedy}" if self.remedy else ""
        return f"{mark}  {self.service:13} {self.message}{remedy}"


Check = Callable[[Services], Iterator[Line]]


def sensor_lines(get_value: Callable[[str], Any]) -> Iterator[Line]:
    """What the sensors have counted since they started; `get_value` reads the datastore."""
    for sensor in SENSORS:
        text = get_value(f"{sensor}:{trouble.KEY}")
        if text:
            said = json.loads(text)
            counted = ", ".join(f"{what}: {n}" for what, n in sorted(said["counts"].items()))
            yield Line("sensors", True, f"{sensor} since {said['since']}: {counted}.")


def examine(config: Mapping[str, Any]) -> Iterator[Line]:
    """Try what the configuration needs, one service after the other. Raises nothing."""
    config = without_defaults(config)
    faults = [fault for fault in find_faults(config) if not fault.is_warning]
    yield from (Line("configuration", False, fault.message) for fault in faults)
    try:
        services = Services(load_settings(config))
        used = parts.in_use(config)
    except DefinitionError:
        return
    if not faults:
        named = ", ".join(used) or "none"
        yield Line("configuration", True, f"Every section can be read. Parts in use: {named}.")
    databases = parts.DATABASES in used
    checks: Tuple[Tuple[str, bool, Check], ...] = (
        ("Kubernetes", True, _kubernetes),
        ("Vault", databases or bool(config.get("vault")), _vault),
        ("Consul", databases or bool(config.get("consul")), _consul),
        ("AWS", databases, _aws),
        ("registries", True, _registries),
        ("git", parts.BUILDS in used, _git),
        ("Slack", bool(config.get("slack")), _slack),
        ("engine", True, _engine),
    )
    for service, is_used, check in checks:
        if is_used:
            yield from _guarded(service, check, services)
    services.close()


def as_result(lines: Iterable[Line]) -> Dict[str, Any]:
    """The action's result: `ok`, `message` in a sentence, and `lines` for people."""
    found = list(lines)
    bad = sum(not line.is_good for line in found)
    message = "Everything works." if not bad else f"{bad} of {len(found)} checks failed."
    return {"ok": not bad, "message": message, "lines": [line.text() for line in found]}


def main(config: Mapping[str, Any]) -> int:
    """Print each line as it is found; 1 where one is not good."""
    color, bad = sys.stdout.isatty(), 0
    for line in examine(config):
        bad += not line.is_good
        sys.stdout.write(line.text(color=color) + "\n")
        sys.stdout.flush()
    return 1 if bad else 0


def _guarded(service: str, check: Check, services: Services) -> Iterator[Line]:
    """The lines of a check, and one for what ended it."""
    try:
        yield from check(services)
    except Error as error:
        yield Line(service, False, str(error))
    except Exception as error:  # noqa: BLE001 (a doctor that dies of one service says nothing of the next)
        yield Line(service, False, f"{type(error).__name__}: {error}")


def _kubernetes(services: Services) -> Iterator[Line]:
    config, name = services.settings.raw, "Kubernetes"
    try:
        kube = services.kube
        version = kube.request("GET", "/version").get("gitVersion", "")
    except DefinitionError as error:
        remedy = "set kubernetes.kubeconfig to a file, or run in a pod of the cluster."
        yield Line(name, False, str(error), remedy)
        return
    except Error as error:
        is_refused = isinstance(error, PermanentError)
        token = "make a new token for the account, and write it to the kubeconfig."  # noqa: S105
        address = "check the server in the kubeconfig, and the network to it."
        yield Line(name, False, str(error), token if is_refused else address)
        return
    yield Line(name, True, f"{kube.host} answers ({version}).")
    yield from _rights(services)
    yield from _crds(services, parts.left_out(config))


def _rights(services: Services) -> Iterator[Line]:
    """One line for each role of what `kubestorm-rbac` would grant."""
    granted = rbac.grant(services.settings.raw)
    rules = {
        one["metadata"]["name"]: one.get("rules") or []
        for one in granted.manifests
        if one["kind"] == "ClusterRole"
    }
    places: Dict[str, List[str]] = {}
    for one in granted.manifests:
        if one["kind"].endswith("Binding"):
            namespace = one["metadata"].get("namespace", "")
            places.setdefault(one["roleRef"]["name"], []).append(namespace)
    for role in granted.roles:
        name = f"{rbac.PREFIX}{role.name}"
        for namespace in places.get(name, ()):
            missing = _missing(services, rules.get(name, []), namespace)
            where = f"in namespace {namespace}" if namespace else "in all namespaces"
            if not missing:
                yield Line("Kubernetes", True, f"Has the rights of {name} {where}.")
            elif role.is_optional:
                message = f"Lacks the optional rights of {name} {where}, for {role.why}."
                yield Line("Kubernetes", True, message)
            else:
                more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
                message = f"May not {', '.join(missing[:3])}{more} {where} ({name})."
                yield Line("Kubernetes", False, message, GRANT)


def _missing(services: Services, rules: List[Mapping[str, Any]], namespace: str) -> List[str]:
    asked: Set[Tuple[str, str, str, str]] = {
        (verb, group, resource, name)
        for rule in rules
        for group in rule.get("apiGroups") or ()
        for resource in rule.get("resources") or ()
        for verb in rule.get("verbs") or ()
        for name in rule.get("resourceNames") or ("",)
    }
    return [
        f"{verb} {resource}{f'.{group}' if group else ''}"
        for verb, group, resource, name in sorted(asked)
        if not _may(services, verb, group, resource, name, namespace)
    ]


def _may(
    services: Services, verb: str, group: str, resource: str, name: str, namespace: str
) -> bool:
    plural, _, subresource = resource.partition("/")
    attributes = {
        "verb": verb,
        "group": group,
        "resource": plural,
        "subresource": subresource,
        "name": name,
        "namespace": namespace,
    }
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {key: one for key, one in attributes.items() if one}},
    }
    answer = services.kube.request("POST", REVIEWS, body=body)
    return bool((answer.get("status") or {}).get("allowed"))


def _crds(services: Services, left_out: Tuple[str, ...]) -> Iterator[Line]:
    remedy = "kubectl apply -f crds/"
    try:
        served = services.kube.request("GET", f"/apis/{naming.GROUP}/v1alpha1")["resources"]
    except NotFoundError:
        yield Line("Kubernetes", False, f"The API serves no {naming.GROUP}/v1alpha1.", remedy)
        return
    names = {one["name"] for one in served}
    for part, plurals in parts.KINDS.items():
        for plural in plurals:
            if plural in left_out or part not in parts.in_use(services.settings.raw):
                continue
            crd = f"{plural}.{naming.GROUP}"
            if plural not in names:
                yield Line("Kubernetes", False, f"The CRD {crd} is missing.", remedy)
            elif _is_other_version(services, crd):
                message = f"The CRD {crd} is not the one of this version of the pack."
                yield Line("Kubernetes", False, message, remedy)
            else:
                yield Line("Kubernetes", True, f"Serves {crd}.")


def _is_other_version(services: Services, crd: str) -> bool:
    """Whether the schema has other fields than the pack's; an account that may not read it cannot
    tell, and that is well.
    """
    import yaml  # comes with the kubernetes client

    try:
        found = services.kube.request("GET", CRDS + crd)
    except (ForbiddenError, NotFoundError):
        return False
    ours = yaml.safe_load((ROOT / "crds" / f"{crd}.yaml").read_text(encoding="utf-8"))
    return _fields(found) != _fields(ours)


def _fields(crd: Mapping[str, Any]) -> Set[str]:
    def walk(schema: Mapping[str, Any], path: str) -> Iterator[str]:
        for name, below in (schema.get("properties") or {}).items():
            yield f"{path}.{name}"
            yield from walk(below, f"{path}.{name}")
        if isinstance(schema.get("items"), Mapping):
            yield from walk(schema["items"], f"{path}[]")

    return {
        field
        for version in crd["spec"]["versions"]
        for field in walk(version["schema"]["openAPIV3Schema"], version["name"])
    }


def _vault(services: Services) -> Iterator[Line]:
    settings = services.settings
    place = naming.vault_path(settings.cluster, "NAMESPACE", "NAME")
    mount = settings.vault.mount
    needed: Dict[str, Tuple[str, ...]] = {}
    if parts.DATABASES in parts.in_use(settings.raw):
        needed[f"{mount}/data/{place}"] = ("create", "read", "update")
        needed[f"{mount}/metadata/{place}"] = ("read", "delete", "list")
    for path in _login_paths(settings.raw):
        needed[f"{mount}/data/{path}"] = ("read",)
    try:
        held = services.vault.capabilities(list(needed))
    except DefinitionError as error:
        yield Line("Vault", False, str(error), "write the file, or correct the setting.")
        return
    except PermanentError as error:
        yield Line("Vault", False, str(error), _vault_remedy(settings.vault.auth))
        return
    except Error as error:
        remedy = "vault operator unseal" if "sealed" in str(error) else "check vault.url."
        yield Line("Vault", False, str(error), remedy)
        return
    yield Line("Vault", True, f"{settings.vault.url} lets the pack log in; {mount} is KV 2.")
    for path, wanted in needed.items():
        missing = [one for one in wanted if one not in held[path] and "root" not in held[path]]
        if missing:
            remedy = "vault policy write kubestorm deploy/vault-policy.hcl"
            yield Line("Vault", False, f"May not {', '.join(missing)} {path}.", remedy)
        else:
            yield Line("Vault", True, f"May {', '.join(wanted)} {path}.")


def _vault_remedy(auth: Any) -> str:
    if auth.method == "approle":
        role = "auth/approle/role/kubestorm"
        return (
            f"vault write {role} token_policies=kubestorm token_ttl=20m; then vault read "
            f"{role}/role-id, and vault write -f -field=secret_id {role}/secret-id into "
            f"{auth.secret_id_file}."
        )
    if auth.method == "kubernetes":
        return (
            f"vault write auth/kubernetes/role/{auth.role} "
            "bound_service_account_names=kubestorm bound_service_account_namespaces=kubestorm "
            "token_policies=kubestorm"
        )
    return f"vault token create -policy=kubestorm -field=token > {auth.token_file}"


def _login_paths(config: Mapping[str, Any]) -> List[str]:
    """The paths in Vault of the logins of registries."""
    found: Dict[str, None] = {}
    for host in declared(config).hosts:
        places = [host.credentials.vault_path]
        for one in host.access:
            places += [one.push_vault_path, one.pull_vault_path]
        found.update(dict.fromkeys(one for one in places if one))
    return list(found)


def _consul(services: Services) -> Iterator[Line]:
    url, key = services.settings.consul.url, f"kubestorm/{services.settings.cluster}/doctor"
    policy = (
        "consul acl policy update -name kubestorm -rules @deploy/consul-policy.hcl, and a token "
        "with it in consul.token_file."
    )
    for verb, ask in (("read", services.consul.read_key), ("write", services.consul.check_write)):
        try:
            ask(key)
        except PermanentError as error:
            yield Line("Consul", False, str(error), policy)
            return
        except Error as error:
            yield Line("Consul", False, str(error), "check consul.url and consul.token_file.")
            return
        yield Line("Consul", True, f"{url} lets the pack {verb} kubestorm/.")


def _aws(services: Services) -> Iterator[Line]:
    from kubestorm.clients import aws

    settings = services.settings.aws
    wrong = _unknown_region(settings.region) if not settings.endpoint_url else ""
    if wrong:
        yield Line("AWS", False, wrong, "set aws.region.")
        return
    try:
        account = aws.caller(settings)
    except Error as error:
        remedy = "set aws.credentials_file, aws.profile or an instance role; then aws.role_arn."
        yield Line("AWS", False, str(error), remedy)
        return
    yield Line("AWS", True, f"Acts as {account}.")
    try:
        services.rds.describe("kubestorm-doctor")
    except Error as error:
        remedy = "attach deploy/iam-policy.json to that role or user."
        yield Line("AWS", False, str(error), remedy)
        return
    yield Line("AWS", True, "May describe RDS instances.")


def _unknown_region(region: Any) -> str:
    import boto3

    known = boto3.session.Session().get_available_regions("rds")
    if not region or not known or region in known:
        return ""
    near = difflib.get_close_matches(region, known, 1)
    return f"aws.region is {region}, which AWS does not have" + (
        f"; did you mean {near[0]}?" if near else "."
    )


def _registries(services: Services) -> Iterator[Line]:
    for host in declared(services.settings.raw).hosts:
        try:
            services.registry.check(host.host)
        except Error as error:
            remedy = f"check url, ca_file and credentials of {host.host} in registries.hosts."
            yield Line("registries", False, str(error), remedy)
        else:
            yield Line("registries", True, f"{host.host} answers at {host.base_url}.")
    for path in _login_paths(services.settings.raw):
        values = services.vault.read_values(path)
        if values and {"username", "password"} <= set(values):
            yield Line("registries", True, f"Vault has a login at {path}.")
        else:
            mount = services.settings.vault.mount
            message = f"Vault has no username and password at {mount}/{path}."
            remedy = f"vault kv put {mount}/{path} username=NAME password=-"
            yield Line("registries", False, message, remedy)


def _git(services: Services) -> Iterator[Line]:
    """The servers that `build.source.hosts` names in full."""
    source = BuildSettings.from_config(services.settings.raw).source
    for host in source.hosts:
        name, _, port = host.partition(":")
        ports = [int(port)] if port.isdigit() else [GIT_PORTS.get(one) for one in source.protocols]
        if set("*?[") & set(host):
            continue
        for number in filter(None, ports):
            try:
                socket.create_connection((name, number), CONNECT_SECONDS).close()
            except OSError as error:
                message = f"{name}:{number} cannot be reached ({error.strerror or error})."
                yield Line("git", False, message, "check build.source.hosts and the network.")
            else:
                yield Line("git", True, f"{name}:{number} can be reached.")


def _slack(services: Services) -> Iterator[Line]:
    from kubestorm.clients.slack.credentials import Credentials
    from kubestorm.clients.slack.settings import SlackSettings
    from kubestorm.clients.slack.web import SlackWeb

    settings = SlackSettings.from_config(services.settings.raw)
    if not (settings.bot_token_file or settings.bot_token_vault):
        return
    try:
        who = SlackWeb(settings, Credentials.of(services.settings).bot_token()).identity()
    except Error as error:
        remedy = "copy the Bot User OAuth Token of the app again (docs/slack.md)."
        yield Line("Slack", False, str(error), remedy)
    else:
        yield Line("Slack", True, f"auth.test: {who.get('user')} in {who.get('team')}.")


def _engine(services: Services) -> Iterator[Line]:
    """The engine's API, where an engine runs this."""
    api = EngineApi.of_this_action()
    if api is not None:
        yield Line("engine", True, f"Its API knows the pack as {api.user()}.")
