"""Which rights in Kubernetes a configuration needs: `kubestorm-rbac` prints them as manifests.

The files in deploy/kubernetes/ say what each role allows, once. Here is when a role is needed and
where it is bound: in the namespaces that the pack serves, or for the whole cluster where it serves
all.
"""

from __future__ import annotations

import argparse
import copy
import sys
from pathlib import Path
from typing import (
    Any,
    Callable,
    Collection,
    Dict,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

from kubestorm.clients.kube import KubeSettings
from kubestorm.core import parts
from kubestorm.core.errors import DefinitionError, Error
from kubestorm.core.naming import LABEL
from kubestorm.core.sections import section_values
from kubestorm.core.settings import load_settings
from kubestorm.kinds.build.settings import BuildSettings

FOLDER = Path(__file__).resolve().parents[3] / "deploy" / "kubernetes"
API_GROUP = "rbac.authorization.k8s.io"
PREFIX = "kubestorm-"
OWN, SERVED, BUILD = "own", "served", "build"
"""Where a role is bound: the pack's own namespace, those that it serves, that of the builds."""
PULL_SECRETS, KINDS = "pull-secrets", "database-kinds"
_BUILDS_FILE = "builds-in-cluster.yaml"

Config = Mapping[str, Any]
Manifest = Dict[str, Any]


class Role(NamedTuple):
    """One ClusterRole of deploy/kubernetes/."""

    name: str
    """Without the prefix `kubestorm-`."""
    file: str
    place: str
    part: str
    """The part that it belongs to; empty: every one."""
    why: str
    """What it is for, as `--help` says it."""
    is_optional: bool = False
    """Whether it may be left out, or (`is_extra`) is to be asked for."""
    is_extra: bool = False
    needed: Callable[[Config], bool] = lambda _: True
    """Whether a configuration in which the part is in use needs it."""


def _has(*sections: str) -> Callable[[Config], bool]:
    return lambda config: any(section_values(config.get(section), section) for section in sections)


_APPLICATIONS, _BUILDS = "applications.yaml", "builds.yaml"
ROLES: Tuple[Role, ...] = (
    Role("base", "base.yaml", OWN, "", "one run for each object"),
    Role(
        "databases", "databases.yaml", SERVED, parts.DATABASES,
        "Databases; nothing else in a namespace is read or made",
    ),
    Role(
        KINDS, "", SERVED, parts.DATABASES, "the kinds of database.kinds",
        needed=lambda config: bool(load_settings(config).database.kinds),
    ),
    Role(
        "applications", _APPLICATIONS, SERVED, parts.APPLICATIONS,
        "Applications, Rollouts and their Events",
    ),
    Role(
        "application-objects", _APPLICATIONS, SERVED, parts.APPLICATIONS,
        "Deployments, Services and what else Applications become; pods and their logs",
    ),
    Role(
        "application-secrets", _APPLICATIONS, SERVED, parts.APPLICATIONS,
        "Secrets that Applications get from Vault: every Secret of the namespace", True,
    ),
    Role(
        "application-ingresses", _APPLICATIONS, SERVED, parts.APPLICATIONS,
        "Applications that are exposed by an Ingress", True,
    ),
    Role(
        "application-test-requests", _APPLICATIONS, SERVED, parts.APPLICATIONS,
        "tests by requests through the API server", True,
    ),
    Role(
        "application-test-jobs", _APPLICATIONS, SERVED, parts.APPLICATIONS,
        "tests by a Job in the Application's namespace", True,
    ),
    Role("image-builds", _BUILDS, SERVED, parts.BUILDS, "ImageBuilds, wherever they run"),
    Role(
        "builds-in-cluster", _BUILDS_FILE, BUILD, parts.BUILDS,
        "builds as Jobs, where build.builder or build.builders names such a builder",
        needed=lambda config: BuildSettings.from_config(config).in_cluster,
    ),
    Role(
        "descriptors", _BUILDS, SERVED, parts.BUILDS,
        "what a default.json makes, where there is a section descriptor",
        needed=_has("descriptor"),
    ),
    Role(
        PULL_SECRETS, _BUILDS, SERVED, parts.BUILDS, "the action pull_secret_ensure",
        is_extra=True,
    ),
    Role(
        "announcements", "announcements.yaml", SERVED, parts.ANNOUNCEMENTS,
        "the channel that a namespace names",
    ),
    Role(
        "chat", "people.yaml", SERVED, "", "what `why` tells in chat, where there is a section "
        "chat or slack", needed=_has("chat", "slack"),
    ),
    Role(
        "database-requests", "people.yaml", SERVED, parts.DATABASES,
        "the actions database_create and database_delete", is_extra=True,
    ),
)  # fmt: skip


class Account(NamedTuple):
    """A service account."""

    namespace: str
    name: str


class Wish(NamedTuple):
    """What to grant in addition to the configuration."""

    namespaces: Tuple[str, ...] = ()
    """Instead of `kubernetes.namespaces`."""
    account: Optional[Account] = None
    """The account of the pack; None is `kubestorm` in the pack's own namespace."""
    extra: Collection[str] = ()
    without: Collection[str] = ()


class Granted(NamedTuple):
    """What a configuration needs."""

    roles: Tuple[Role, ...]
    namespaces: Tuple[str, ...]
    """Where the roles of the parts are bound; none: in the whole cluster."""
    documents: Tuple[str, ...]
    """The manifests, as text with their comments."""

    @property
    def manifests(self) -> List[Manifest]:
        """The same, parsed."""
        return [one for text in self.documents for one in _parse(text)]


def roles_for(config: Config, extra: Collection[str], without: Collection[str]) -> Tuple[Role, ...]:
    """The roles that a configuration needs. Raises DefinitionError, also for a configuration that
    names no part.
    """
    used = parts.in_use(config)
    if not set(used) - {parts.ANNOUNCEMENTS}:
        raise DefinitionError(
            "The configuration does not say what of the pack is in use: add for example "
            f"`parts: [{parts.DATABASES}]`. There are {', '.join(parts.KINDS)}.",
            field="parts",
        )
    _check_names(extra, without)
    return tuple(
        role
        for role in ROLES
        if (not role.part or role.part in used)
        and (role.name in extra if role.is_extra else role.name not in without)
        and role.needed(config)
    )


NOTHING_MORE = Wish()


def grant(config: Config, wish: Wish = NOTHING_MORE) -> Granted:
    """The manifests for a configuration. Raises DefinitionError."""
    kubernetes = KubeSettings.from_config(config)
    roles = roles_for(config, wish.extra, wish.without)
    account = wish.account or Account(kubernetes.namespace, "kubestorm")
    namespaces = wish.namespaces or kubernetes.namespaces
    if PULL_SECRETS in wish.extra and not namespaces:
        raise DefinitionError(
            f"--with {PULL_SECRETS} makes Secrets: name the namespaces that are to have one, by "
            "--namespace or in kubernetes.namespaces.",
            field="kubernetes.namespaces",
        )
    build_namespace = BuildSettings.from_config(config).cluster.namespace
    documents: List[str] = []
    for file in dict.fromkeys(role.file for role in roles if role.file):
        for text, found in _documents(file):
            wanted = _placed(found, file, account, kubernetes.namespace, build_namespace)
            if found["kind"] == "ClusterRole":
                name = found["metadata"]["name"][len(PREFIX) :]
                if name not in {role.name for role in roles}:
                    continue
                wanted = _fitted(found, config)
            elif wanted is None:
                continue
            documents.append(text if wanted == found else _text(wanted))
    if any(role.name == KINDS for role in roles):
        documents.append(_text(_kinds_role(config)))
    places = {
        OWN: (kubernetes.namespace,),
        BUILD: (build_namespace,),
        SERVED: namespaces or ("",),
    }
    documents += [
        _text(binding(role, place, account)) for role in roles for place in places[role.place]
    ]
    return Granted(roles, namespaces, tuple(documents))


def binding(role: Role, namespace: str, account: Account) -> Manifest:
    """A role bound to an account in one namespace, or (empty) in the cluster. Accounts other than
    `kubestorm` have bindings of their own.
    """
    name = PREFIX + role.name
    suffix = "" if account == ("kubestorm", "kubestorm") else f":{account.namespace}:{account.name}"
    return {
        "apiVersion": f"{API_GROUP}/v1",
        "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
        "metadata": {
            "name": name + suffix,
            **({"namespace": namespace} if namespace else {}),
        },
        "roleRef": {"apiGroup": API_GROUP, "kind": "ClusterRole", "name": name},
        "subjects": [
            {"kind": "ServiceAccount", "name": account.name, "namespace": account.namespace}
        ],
    }


def _placed(
    found: Manifest, file: str, account: Account, own_namespace: str, build_namespace: str
) -> Optional[Manifest]:
    """An object of base.yaml or of the builds with the names of this installation; None for an
    account that belongs to somebody else's namespace.
    """
    wanted, metadata = copy.deepcopy(found), found["metadata"]
    own = build_namespace if file == _BUILDS_FILE else own_namespace
    wanted["metadata"]["namespace" if "namespace" in metadata else "name"] = own
    if file != _BUILDS_FILE and found["kind"] == "ServiceAccount":
        wanted["metadata"]["name"] = account.name
        return wanted if account.namespace == own else None
    return wanted


def _fitted(found: Manifest, config: Config) -> Manifest:
    """The pull secret is the one that the configuration names."""
    if found["metadata"]["name"] != PREFIX + PULL_SECRETS:
        return found
    wanted = copy.deepcopy(found)
    wanted["rules"][0]["resourceNames"] = [BuildSettings.from_config(config).pull_secret_name]
    return wanted


def _kinds_role(config: Config) -> Manifest:
    """As `databases`, for the kinds that are understood as Databases."""
    rules: List[Manifest] = []
    for kind in load_settings(config).database.kinds:
        verbs = ["get", "list", "watch", "patch"]
        rules.append({"apiGroups": [kind.group], "resources": [kind.plural], "verbs": verbs})
        if kind.status == "subresource":
            status = [f"{kind.plural}/status"]
            rules.append({"apiGroups": [kind.group], "resources": status, "verbs": ["patch"]})
    return {
        "apiVersion": f"{API_GROUP}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": PREFIX + KINDS},
        "rules": rules,
    }


def _check_names(extra: Collection[str], without: Collection[str]) -> None:
    for names, known, option in (
        (extra, [role.name for role in ROLES if role.is_extra], "--with"),
        (without, [role.name for role in ROLES if role.is_optional], "--without"),
    ):
        for name in names:
            if name not in known:
                raise DefinitionError(f"{option} {name}: there are {', '.join(known)}.")


def _documents(file: str) -> Iterator[Tuple[str, Manifest]]:
    """The manifests of a file, each as text with its comments and parsed."""
    for text in f"\n{(FOLDER / file).read_text(encoding='utf-8')}".split("\n---\n"):
        for found in _parse(text):
            yield text, found


def _parse(text: str) -> List[Manifest]:
    import yaml  # comes with the kubernetes client

    return [one for one in yaml.safe_load_all(text) if one]


def _text(manifest: Manifest) -> str:
    import yaml

    return str(yaml.safe_dump(manifest, sort_keys=False))


def explain(granted: Granted, wish: Wish) -> str:
    """What is granted and where, as comments above the manifests."""
    where = ", ".join(granted.namespaces) if granted.namespaces else "all namespaces"
    lines = [
        f"Roles bound in {where}:",
        *(f"  {role.name}: {role.why}" for role in granted.roles if role.place == SERVED),
        "Bound in the namespace of the pack or of the builds:",
        *(f"  {role.name}: {role.why}" for role in granted.roles if role.place != SERVED),
    ]
    if wish.namespaces:
        lines.append(f"The configuration needs kubernetes.namespaces: [{where}].")
    elif not granted.namespaces:
        lines.append("Name the namespaces to serve in kubernetes.namespaces to bind in them alone.")
    return "".join(f"# {line}\n" for line in lines)


def _epilog() -> str:
    width = max(len(role.name) for role in ROLES)
    rows = []
    for role in ROLES:
        how = "+" if role.is_extra else "-" if role.is_optional else " "
        rows.append(f"  {how} {role.name:{width}}  {role.why}")
    sections = [f"  {part:14} {', '.join(names)}" for part, names in parts.SECTIONS.items()]
    return "\n".join(
        [
            "What is in use says `parts` in the configuration, for example",
            "",
            "  parts: [databases, announcements]",
            "  kubernetes:",
            "    namespaces: [shop-stage, shop-prod]",
            "",
            "and the sensors then watch no kind of another part. Without `parts`, a part is taken "
            "to be in use",
            "where one of these sections says something:",
            "",
            *sections,
            "",
            "Roles (ClusterRoles, named kubestorm-...). Those with - can be left out by --without, "
            "those with +",
            "are granted only by --with:",
            "",
            *rows,
            "",
            "A role that binds in namespaces is bound by a RoleBinding in each of "
            "kubernetes.namespaces. Where",
            "that names none the pack serves all namespaces, and the roles are bound by "
            "ClusterRoleBindings.",
            "",
            "  kubestorm-rbac configs/kubestorm.yaml | kubectl diff -f -     # what would change",
            "  kubestorm-rbac configs/kubestorm.yaml | kubectl apply -f -",
            "",
            "kubectl apply removes nothing: what was granted before and is printed no more stays "
            "bound until it is deleted.",
        ]
    )


def load_config(path: Path) -> Config:
    """The pack's configuration in a file, `-` for standard input. Raises DefinitionError."""
    import yaml

    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
        found = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DefinitionError(f"cannot read {path}: {error}") from error
    if not isinstance(found, dict):
        raise DefinitionError(f"{path} holds no configuration: it must be a mapping of settings")
    return found


def _namespace(text: str) -> str:
    if not LABEL.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not the name of a namespace")
    return text


def _account(text: str) -> Account:
    namespace, slash, name = text.partition("/")
    if not slash or not namespace or not name:
        raise argparse.ArgumentTypeError("it is written NAMESPACE/NAME")
    return Account(namespace, name)


def arguments_parser() -> argparse.ArgumentParser:
    """The command line of kubestorm-rbac."""
    parser = argparse.ArgumentParser(
        prog="kubestorm-rbac",
        description="Print the rights in Kubernetes that a configuration of the pack needs, and no "
        "more, as manifests for kubectl.",
        epilog=_epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "config", type=Path, help="the pack's configuration (configs/kubestorm.yaml), - for stdin"
    )
    parser.add_argument(
        "--namespace", type=_namespace, action="append", default=[], metavar="NAME",
        help="bind in this namespace; repeat it for more (default: kubernetes.namespaces)",
    )  # fmt: skip
    parser.add_argument(
        "--service-account", type=_account, metavar="NAMESPACE/NAME",
        help="the account that the pack uses (default: kubestorm in kubernetes.namespace); one of "
        "another namespace has to exist",
    )  # fmt: skip
    parser.add_argument(
        "--with", action="append", default=[], dest="extra", metavar="ROLE",
        help="grant what is not granted by itself",
    )  # fmt: skip
    parser.add_argument(
        "--without", action="append", default=[], metavar="ROLE",
        help="leave out what is not used",
    )  # fmt: skip
    return parser


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Print the manifests; returns the exit code."""
    asked = arguments_parser().parse_args(arguments)
    wish = Wish(tuple(asked.namespace), asked.service_account, asked.extra, asked.without)
    try:
        granted = grant(load_config(asked.config), wish)
    except Error as error:
        print(f"kubestorm-rbac: {error}", file=sys.stderr)  # noqa: T201 (a program's output)
        return 1
    print(explain(granted, wish) + _joined(granted.documents), end="")  # noqa: T201
    return 0


def _joined(documents: Sequence[str]) -> str:
    return "".join(f"---\n{text.strip()}\n" for text in documents)


if __name__ == "__main__":
    sys.exit(main())
