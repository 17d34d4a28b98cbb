"""Which Application has an ingress host that several claim."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubestorm.kinds.application.hosts import Claim, claim_of, decide
from kubestorm.kinds.application.settings import ApplicationSettings

OLD, MIDDLE, NEW = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"
SHOP = "shop.example.com"


def claim(
    created: str,
    hosts: list[str],
    namespace: str = "a",
    name: str = "one",
    uid: str = "",
    path: str = "/",
) -> Claim:
    return Claim(created, uid or f"{namespace}-{name}", namespace, name, tuple(hosts), path)


# mine, the others, what is granted
CASES = {
    "nobody else": (claim(NEW, [SHOP]), [], [SHOP]),
    "an older one of another namespace": (claim(NEW, [SHOP]), [claim(OLD, [SHOP], "b")], []),
    "a younger one": (claim(OLD, [SHOP]), [claim(NEW, [SHOP], "b")], [SHOP]),
    "born in one second, the smaller uid": (
        claim(OLD, [SHOP], uid="1"),
        [claim(OLD, [SHOP], "b", uid="2")],
        [SHOP],
    ),
    "born in one second, the larger uid": (
        claim(OLD, [SHOP], uid="2"),
        [claim(OLD, [SHOP], "b", uid="1")],
        [],
    ),
    "itself in the list": (claim(NEW, [SHOP]), [claim(NEW, [SHOP])], [SHOP]),
    "one of two hosts": (
        claim(NEW, [SHOP, "x.example.com"]),
        [claim(OLD, [SHOP], "b")],
        ["x.example.com"],
    ),
    "another path, own namespace": (
        claim(NEW, [SHOP], name="two", path="/cart"),
        [claim(OLD, [SHOP])],
        [SHOP],
    ),
    "the same path with a slash": (
        claim(NEW, [SHOP], name="two", path="/cart/"),
        [claim(OLD, [SHOP], path="/cart")],
        [],
    ),
    "another path, another namespace": (
        claim(NEW, [SHOP], path="/login"),
        [claim(OLD, [SHOP], "b")],
        [],
    ),
    "below an older wildcard of others": (
        claim(NEW, [SHOP]),
        [claim(OLD, ["*.example.com"], "b")],
        [],
    ),
    "below an own wildcard": (
        claim(NEW, [SHOP], name="two"),
        [claim(OLD, ["*.example.com"])],
        [SHOP],
    ),
    "two labels below a wildcard": (
        claim(NEW, ["a.b.example.com"]),
        [claim(OLD, ["*.example.com"], "b")],
        ["a.b.example.com"],
    ),
    "a wildcard above an older host": (
        claim(NEW, ["*.example.com"]),
        [claim(OLD, [SHOP], "b")],
        ["*.example.com"],
    ),
    "the wildcard of others": (
        claim(NEW, ["*.example.com"]),
        [claim(OLD, ["*.example.com"], "b")],
        [],
    ),
    "one that lost it itself keeps nobody out": (
        claim(NEW, [SHOP], "a", "two", path="/x"),
        [claim(OLD, [SHOP], "a"), claim(MIDDLE, [SHOP], "b", path="/x")],
        [SHOP],
    ),
}


@pytest.mark.parametrize("mine, others, granted", CASES.values(), ids=CASES)
def test_who_has_a_host(mine, others, granted):
    """The older one, by namespace, path and wildcard."""
    verdict = decide(mine, others)
    assert list(verdict.granted) == granted
    assert [refusal.host for refusal in verdict.refused] == [
        host for host in mine.hosts if host not in granted
    ]


def test_a_refusal_says_whose_the_host_is():
    """And by which wildcard, if it is by one."""
    plain = decide(claim(NEW, [SHOP]), [claim(OLD, [SHOP], "b", "pay")]).refused[0]
    assert str(plain) == "shop.example.com belongs to Application b/pay, which is older"
    wild = decide(claim(NEW, [SHOP]), [claim(OLD, ["*.example.com"], "b", "pay")]).refused[0]
    assert (
        str(wild)
        == "shop.example.com (below *.example.com) belongs to Application b/pay, which is older"
    )


def test_what_operations_do_not_allow_is_no_claim():
    """Nobody keeps a host from others by asking for what they may not have."""
    limits = [
        {"namespaces": ["dev-*"], "hosts": ["*.{namespace}.example.com"]},
        {"exposures": ["internal"]},
    ]
    settings = ApplicationSettings.from_config({"application": {"limits": limits}})

    def claimed(namespace: str) -> tuple[str, ...]:
        hosts = [SHOP, "x.dev-1.example.com"]
        resource = {
            "metadata": {"name": "one", "namespace": namespace, "uid": "1"},
            "spec": {"expose": {"type": "ingress", "hosts": hosts}},
        }
        return claim_of(resource, settings).hosts

    assert claimed("dev-1") == ("x.dev-1.example.com",)
    assert claimed("prod") == ()


CLAIMS = st.lists(
    st.builds(
        lambda created, namespace, hosts, path: (created, namespace, tuple(hosts), path),
        st.integers(0, 3),
        st.sampled_from("ab"),
        st.lists(
            st.sampled_from(["x.e.io", "y.e.io", "*.e.io"]), min_size=1, max_size=2, unique=True
        ),
        st.sampled_from(["/", "/p"]),
    ),
    min_size=1,
    max_size=5,
)


@given(CLAIMS, st.randoms())
def test_one_host_and_path_never_has_two_holders(drawn, random):
    """Whatever is claimed, in whatever order it is listed; and the oldest of all gets everything it
    asks for.
    """
    claims = [
        Claim(str(created), str(n), namespace, f"app{n}", hosts, path)
        for n, (created, namespace, hosts, path) in enumerate(drawn)
    ]
    shuffled = list(claims)
    random.shuffle(shuffled)
    verdicts = {each: decide(each, shuffled) for each in claims}
    assert verdicts == {each: decide(each, claims) for each in claims}
    oldest = min(claims, key=lambda each: each.age)
    assert verdicts[oldest].granted == oldest.hosts
    for one, two in itertools.combinations(claims, 2):
        for host in set(verdicts[one].granted) & set(verdicts[two].granted):
            assert one.namespace == two.namespace, host
            assert one.path != two.path, host
