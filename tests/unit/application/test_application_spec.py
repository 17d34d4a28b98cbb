"""What an Application may ask for, and the sentences for what it may not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubestorm.core.errors import DefinitionError
from kubestorm.core.quantity import parse_quantity
from kubestorm.kinds.application.settings import ApplicationSettings, is_allowed
from kubestorm.kinds.application.spec import (
    InvalidSpecError,
    claimed_hosts,
    env_name,
    parse,
    split_image,
)
from kubestorm.kinds.application.values import CanaryStep, Replicas, Resources

from tests.unit.application.conftest import application, pack_settings

CANARY = {
    "type": "Canary",
    "steps": [{"weight": 20, "pauseSeconds": 30}, {"weight": 50, "untilPromoted": True}],
}


def test_what_is_enough_gets_the_documented_defaults(parsed):
    """One pod, internal, rolled over, spread over zones; quantities as the API server does."""
    app = parsed()
    assert app.image == "registry.example.com/team/cart"
    assert app.resources == Resources("100m", "128Mi", "1", "256Mi")
    assert (app.health.http_path, app.health.port, app.health.start_seconds) == (
        "/healthz",
        8080,
        60,
    )
    assert app.replicas == Replicas(1, 1)
    assert not app.replicas.autoscaled
    assert (app.exposure.type, app.exposure.port) == ("internal", 80)
    assert (app.strategy.type, app.strategy.max_surge, app.strategy.max_unavailable) == (
        "RollingUpdate",
        "25%",
        0,
    )
    assert (app.spread, app.shutdown_seconds, app.test, app.pull_secret) == (
        "zones",
        30,
        None,
        None,
    )


MISSING = {
    "health": ({"health": None}, ["spec.health", "required", "`health: {http: {path: /healthz}}`"]),
    "resources": (
        {"resources": None},
        ["spec.resources.requests.cpu", "spec.resources.limits.memory", "add for example"],
    ),
    "one limit": (
        {"resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "1Gi"}}},
        ["these are missing: spec.resources.limits.cpu;"],
    ),
    "repository": ({"image": {}}, ["spec.image.repository", "required"]),
    "registry": (
        {"image": {"repository": "team/cart"}},
        ["names no registry", "registry.example.com/team/cart"],
    ),
    "health port": ({"port": None}, ["spec.health.http.port", "spec.port"]),
    "port of an ingress": (
        {
            "port": None,
            "health": {"command": ["true"]},
            "expose": {"type": "ingress", "hosts": ["a.example.com"]},
        },
        ["spec.port", "expose.type ingress needs the port"],
    ),
    "hosts": ({"expose": {"type": "ingress"}}, ["spec.expose.hosts", "required"]),
    "steps": ({"strategy": {"type": "Canary"}}, ["spec.strategy.steps", "at least one"]),
    "job command": ({"test": {"job": {}}}, ["spec.test.job.command"]),
    "test": ({"test": {"timeoutSeconds": 5}}, ["spec.test", "set http, job or both"]),
}
WRONG = {
    "tag in repository": (
        {"image": {"repository": "registry.example.com/cart:1"}},
        ["names a tag or a digest"],
    ),
    "two healths": (
        {"health": {"http": {"path": "/"}, "tcp": {}}},
        ["http and tcp", "exactly one"],
    ),
    "two follows": ({"follow": {"tag": "1", "branch": "main"}}, ["spec.follow", "exactly one of"]),
    "a range that is none": ({"follow": {"semver": "newest"}}, ["spec.follow.semver"]),
    "timeout": (
        {"health": {"tcp": {}, "everySeconds": 2, "timeoutSeconds": 5}},
        ["5 is above health.everySeconds (2)"],
    ),
    "limit below request": (
        {
            "resources": {
                "requests": {"cpu": "2", "memory": "1Gi"},
                "limits": {"cpu": "1", "memory": "2Gi"},
            }
        },
        ["spec.resources.limits.cpu", "1 is below the request of 2"],
    ),
    "no amount": (
        {
            "resources": {
                "requests": {"cpu": "lots", "memory": "1Gi"},
                "limits": {"cpu": "1", "memory": "2Gi"},
            }
        },
        ["spec.resources.requests.cpu", "'lots' must be a quantity"],
    ),
    "variable": ({"env": {"A-B": "x"}}, ["spec.env.A-B", "not a valid variable name"]),
    "number in env": ({"env": {"A": 5}}, ["spec.env.A", "put it in quotes"]),
    "max below min": (
        {"replicas": {"min": 3, "max": 2}},
        ["spec.replicas.max", "2 is below replicas.min (3)"],
    ),
    "target alone": (
        {"replicas": {"min": 3, "targetCPU": 50}},
        ["spec.replicas", "needs replicas.max above"],
    ),
    "zero autoscaled": (
        {"replicas": {"min": 0, "max": 2}},
        ["spec.replicas.min", "cannot start from 0"],
    ),
    "host": (
        {"expose": {"type": "ingress", "hosts": ["Not a host"]}},
        ["'not a host' is not a host name"],
    ),
    "host twice": ({"expose": {"type": "ingress", "hosts": ["a.example.com"] * 2}}, ["twice"]),
    "hosts without ingress": (
        {"expose": {"hosts": ["a.example.com"]}},
        ["spec.expose.hosts", "it is for expose.type"],
    ),
    "node port": ({"expose": {"type": "internal", "nodePort": 30080}}, ["spec.expose.nodePort"]),
    "tls": (
        {"expose": {"type": "ingress", "hosts": ["a.example.com"], "tls": False, "tlsSecret": "x"}},
        ["spec.expose.tlsSecret", "tls is false"],
    ),
    "steps fall": (
        {"strategy": {"type": "Canary", "steps": [{"weight": 50}, {"weight": 20}]}},
        ["50, 20 must increase"],
    ),
    "steps of another": (
        {"strategy": {"steps": [{"weight": 20}]}},
        ["spec.strategy.steps", "RollingUpdate has none"],
    ),
    "keep of another": (
        {"strategy": {"type": "Recreate", "keepSeconds": 5}},
        ["it is for BlueGreen"],
    ),
    "nothing may change": ({"strategy": {"maxSurge": 0}}, ["no pod could be replaced"]),
    "two names of one variable": (
        {"env": {"URL": "x"}, "config": [{"key": "kubestorm/test/shop/url"}]},
        ["URL is given twice"],
    ),
    "two databases": ({"databases": [{"name": "a"}, {"name": "b"}]}, ["same envPrefix"]),
    "file": (
        {"config": [{"key": "kubestorm/test/shop/x", "file": "../etc"}]},
        ["must be an absolute path"],
    ),
    "env of a prefix": (
        {"config": [{"prefix": "kubestorm/test/shop/x", "env": "X"}]},
        ["need one value"],
    ),
    "patch": (
        {"patch": {"deployment": {"spec": {"paused": True}}}},
        ["application.allow_patch", "namespace shop"],
    ),
}


@pytest.mark.parametrize(
    "spec, words", [*MISSING.values(), *WRONG.values()], ids=[*MISSING, *WRONG]
)
def test_what_is_missing_or_wrong_gets_a_sentence(spec, words):
    """It names the field and what would be right."""
    with pytest.raises(DefinitionError) as told:
        parse(application(spec), pack_settings())
    for word in words:
        assert word in str(told.value)


def test_all_problems_are_told_at_once():
    """A developer mends them in one go."""
    with pytest.raises(InvalidSpecError) as told:
        parse(
            application({"health": None, "resources": None, "spread": "far"}, name="Cart"),
            pack_settings(),
        )
    fields = {problem.field for problem in told.value.problems}
    assert fields == {"metadata.name", "spec.health", "spec.resources", "spec.spread"}


SECTION = {
    "allowed_registries": ["registry.example.com/team/*"],
    "pull_secret": "pull",
    "ingress": {
        "domain": "apps.example.com",
        "ingress_class": "nginx",
        "annotations": {"a/b": "c"},
    },
    "limits": [
        {"namespaces": ["dev-*"], "max_cpu": "500m"},
        {
            "max_memory": "512Mi",
            "max_replicas": 4,
            "exposures": ["internal", "ingress"],
            "hosts": ["*.{namespace}.*"],
        },
    ],
}
REFUSED_HERE = {
    "registry": (
        {"image": {"repository": "docker.io/library/nginx"}},
        "images may not come from docker.io/library/nginx",
    ),
    "repository": (
        {"image": {"repository": "other/cart"}},
        "images may not come from registry.example.com/other/cart",
    ),
    "memory": (
        {
            "resources": {
                "requests": {"cpu": 1, "memory": "1Gi"},
                "limits": {"cpu": 1, "memory": "1Gi"},
            }
        },
        "1Gi is above the limit of this namespace: 512Mi",
    ),
    "replicas": ({"replicas": {"min": 5}}, "5 is not between 0 and 4"),
    "exposure": ({"expose": {"type": "loadBalancer"}}, "allowed: internal, ingress"),
    "host": (
        {"expose": {"type": "ingress", "hosts": ["shop.example.com"]}},
        "allowed: *.shop.*",
    ),
}


@pytest.mark.parametrize("spec, words", REFUSED_HERE.values(), ids=REFUSED_HERE)
def test_operations_bound_what_may_be_asked_for(spec, words, parsed):
    """The first limits that fit the namespace count."""
    with pytest.raises(InvalidSpecError, match="spec") as told:
        parsed(SECTION, **spec)
    assert words in str(told.value)


def test_operations_defaults_fill_what_is_left_out(parsed):
    """Registry, pull secret, ingress host, class and annotations."""
    app = parsed(SECTION, image={"repository": "team/cart"}, expose={"type": "ingress"})
    assert app.image == "registry.example.com/team/cart"
    assert app.pull_secret == "pull"
    assert app.exposure.hosts == ("cart.shop.apps.example.com",)
    assert (app.exposure.ingress_class, app.exposure.tls_secret) == ("nginx", "cart-tls")
    assert app.exposure.annotations == {"a/b": "c"}


READABLE = {
    "own": ("kubestorm/test/shop/stripe", True),
    "another team's": ("kubestorm/test/bank/stripe", False),
    "another cluster's": ("kubestorm/prod/shop/stripe", False),
    "climbing out": ("kubestorm/test/shop/../bank/stripe", False),
    "empty part": ("kubestorm/test/shop//stripe", False),
    "a namespace with ours as its beginning": ("kubestorm/test/shop-2/stripe", False),
    "from the root": ("/kubestorm/test/shop/stripe", False),
    "allowed by operations": ("shared/mail/smtp", True),
    "allowed to others": ("finance/ledger", False),
}


@pytest.mark.parametrize("path, allowed", READABLE.values(), ids=READABLE)
def test_an_application_reads_its_own_and_what_operations_allow(path, allowed, parsed):
    """Both in Vault and in Consul."""
    section = {
        "sources": [
            {"vault": ["shared/*"], "consul": ["shared/*"]},
            {"namespaces": ["fin-*"], "vault": ["finance/*"], "consul": ["finance/*"]},
        ]
    }
    for service, source in (
        ("Vault", {"secrets": [{"path": path}]}),
        ("Consul", {"config": [{"key": path}]}),
    ):
        if allowed:
            assert parsed(section, **source).reads_outside
        else:
            with pytest.raises(InvalidSpecError) as told:
                parsed(section, **source)
            assert (
                f"may not be read from namespace shop; allowed in {service}: kubestorm/test/shop/*"
                in str(told.value)
            )


def test_canary_steps_keep_their_pauses(parsed):
    """By time, or until a person promotes."""
    assert parsed(strategy=CANARY, replicas={"min": 10}).strategy.steps == (
        CanaryStep(20, 30, False, True),
        CanaryStep(50, 0, True, True),
    )


def test_an_autoscaled_application_has_a_target(parsed):
    """80 % of the requested processors unless it says otherwise."""
    assert parsed(replicas={"min": 2, "max": 5}).replicas == Replicas(2, 5, 80, None)
    assert parsed(replicas={"min": 2, "max": 5, "targetMemory": 70}).replicas == Replicas(
        2, 5, None, 70
    )
    assert parsed(replicas={"max": 5}).replicas.autoscaled


def test_patch_is_read_where_operations_allow_it(parsed):
    """Except for what the pack finds its own objects by."""
    patch = {"deployment": {"spec": {"minReadySeconds": 5}}}
    assert parsed({"allow_patch": ["sh*"]}, patch=patch).patch == patch
    with pytest.raises(InvalidSpecError, match=r"patch\.deployment\.spec\.selector"):
        parsed({"allow_patch": ["*"]}, patch={"deployment": {"spec": {"selector": {"a": "b"}}}})


CLAIMS = {
    "internal": ({"type": "internal", "hosts": ["a.example.com"]}, ()),
    "ingress": ({"type": "ingress", "hosts": ["A.example.com"]}, ("a.example.com",)),
    "by domain": ({"type": "ingress"}, ("cart.shop.example.org",)),
    "nonsense": (["ingress"], ()),
}


@pytest.mark.parametrize("expose, hosts", CLAIMS.values(), ids=CLAIMS)
def test_hosts_are_claimed_by_any_application(expose, hosts):
    """Also by one whose spec is wrong elsewhere: what it has been given it keeps while it is
    mended.
    """
    settings = ApplicationSettings.from_config(
        {"application": {"ingress": {"domain": "example.org"}}}
    )
    assert claimed_hosts(application({"expose": expose, "health": None}), settings)[0] == hosts


IMAGES = {
    "name": ("cart", (None, "cart")),
    "two parts": ("team/cart", (None, "team/cart")),
    "registry": ("registry.example.com/team/cart", ("registry.example.com", "team/cart")),
    "port": ("registry:5000/cart", ("registry:5000", "cart")),
    "localhost": ("localhost/cart", ("localhost", "cart")),
    "ip": ("127.0.0.1:5000/cart", ("127.0.0.1:5000", "cart")),
}


@pytest.mark.parametrize("text, parts", IMAGES.values(), ids=IMAGES)
def test_a_registry_is_told_from_a_folder(text, parts):
    """By a dot, a colon or the word localhost, as every container tool does."""
    assert split_image(text) == parts


QUANTITIES = {
    "1000m": "1", "0.5": "500m", "1.5": "1500m", "100m": "100m", "1024Mi": "1Gi", "0.5Gi": "512Mi",
    "1500Mi": "1500Mi",
    "1G": "1G", "1000": "1k", "128e6": "128M", "0.0001": "1m", "2": "2", "1e3": "1k",
}  # fmt: skip


@pytest.mark.parametrize("text, canonical", QUANTITIES.items())
def test_quantities_are_written_as_the_api_server_writes_them(text, canonical):
    """So that what is there can be compared with what is wished."""
    found = parse_quantity(text)
    assert found is not None
    assert found.text == canonical


@pytest.mark.parametrize("value", ["", "lots", "-1", "1 Gi", "1gi", "Gi", True, None, [], "1e"])
def test_what_is_no_quantity_is_none(value):
    """And no traceback."""
    assert parse_quantity(value) is None


@given(st.integers(1, 10**12), st.sampled_from(["", "m", "k", "M", "Ki", "Mi", "Gi"]))
def test_the_canonical_form_is_the_same_amount(number, suffix):
    """Down to a thousandth."""
    first = parse_quantity(f"{number}{suffix}")
    assert first is not None
    again = parse_quantity(first.text)
    assert again is not None
    assert again.amount == first.amount
    assert again.text == first.text


SETTINGS = {
    "unknown": (
        {"pull_secre": "x"},
        "application.pull_secre; did you mean pull_secret",
    ),
    "moved": ({"registry": "x"}, "application.registry is now registries.default"),
    "unknown below": ({"ingress": {"klass": "x"}}, r"Unknown setting application\.ingress\.klass"),
    "quantity": ({"limits": [{"max_cpu": "lots"}]}, r"limits\[0\]\.max_cpu must be a quantity"),
    "exposure": ({"limits": [{"exposures": ["public"]}]}, r"limits\[0\]\.exposures must be one of"),
    "shape": ({"limits": ["x"]}, r"limits\[0\] must be a mapping"),
    "look": ({"check_seconds": 0.5}, "check_seconds must be"),
}


@pytest.mark.parametrize("section, words", SETTINGS.values(), ids=SETTINGS)
def test_a_wrong_setting_is_named(section, words):
    """With what there is instead."""
    with pytest.raises(DefinitionError, match=words):
        ApplicationSettings.from_config({"application": section})


def test_what_stackstorm_fills_in_counts_as_not_said():
    """Empty objects and lists are what the operator left out."""
    empty = {"ingress": {}, "limits": [], "sources": [], "allowed_registries": []}
    assert ApplicationSettings.from_config({"application": empty}) == ApplicationSettings()


@given(st.text(max_size=30))
def test_every_key_gives_a_variable_or_none(text):
    """Whatever a variable cannot hold becomes an underscore."""
    assert all(
        letter.isascii() and (letter.isalnum() or letter == "_") for letter in env_name(text)
    )


def test_patterns_do_not_reach_into_a_path_that_hides():
    """`*` covers slashes, and no pattern covers `..`."""
    assert is_allowed("a/b/c", ("a/*",))
    assert not is_allowed("a/../c", ("a/*", "*"))
