"""Applications from end to end: the pack with its own narrow rights, real processes, pods of a
pretend node.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from sandbox.environment import ROOT
from tests.e2e import leaks

API = "kubestorm.io/v1alpha1"
DIGESTS = {letter: f"sha256:{letter * 64}" for letter in "ab"}
TIMEOUT_SECONDS = 60


def example(namespace: str, **spec: Any) -> dict[str, Any]:
    """examples/application.yaml with some fields of its spec replaced."""
    manifest = yaml.safe_load((ROOT / "examples" / "application.yaml").read_text())
    manifest["metadata"]["namespace"] = namespace
    manifest["spec"].update(spec)
    return manifest


class Cart:
    """The Application cart in the world's namespace."""

    def __init__(self, world: Any) -> None:
        self.world, self.environment = world, world.environment

    def apply(self, **spec: Any) -> None:
        self.environment.apply(example(self.world.namespace, **spec))

    def push(self, letter: str) -> None:
        """What the route of a pushed image writes: the wish."""
        wish = {
            "tag": f"1.{ord(letter) - ord('a')}.0",
            "digest": DIGESTS[letter],
            "event_id": letter,
            "actor": "ci",
        }
        wish["pushed_at"] = f"2026-01-01T00:00:0{ord(letter) - ord('a')}Z"
        body = example(self.world.namespace)
        client = self.environment._dynamic().resources.get(api_version=API, kind="Application")
        annotations = {"kubestorm.io/wanted-image": json.dumps(wish)}
        client.patch(
            body={"metadata": {"annotations": annotations}},
            name=body["metadata"]["name"],
            namespace=self.world.namespace,
            content_type="application/merge-patch+json",
        )

    def get(self, kind: str = "Application", name: str = "cart", api: str = API) -> Any:
        return self.environment.read(api, kind, name, self.world.namespace)

    def condition(self, kind: str) -> tuple[str, str, str]:
        for each in ((self.get() or {}).get("status") or {}).get("conditions") or []:
            if each["type"] == kind:
                return each["status"], each.get("reason", ""), each.get("message", "")
        return "Unknown", "", ""

    def is_ready(self) -> bool:
        found = self.get() or {}
        ready = [
            c for c in (found.get("status") or {}).get("conditions") or [] if c["type"] == "Ready"
        ]
        generation = found.get("metadata", {}).get("generation")
        return (
            bool(ready)
            and ready[0]["status"] == "True"
            and ready[0].get("observedGeneration") == generation
        )

    def template(self) -> dict[str, Any]:
        return self.get("Deployment", api="apps/v1")["spec"]["template"]

    def secret(self) -> dict[str, str]:
        data = (self.get("Secret", "cart-secrets", "v1") or {}).get("data") or {}
        return {key: base64.b64decode(value).decode() for key, value in data.items()}


@pytest.fixture
def cart(world):
    """Deleted afterwards: what reads Vault or Consul would be looked at every second during the
    tests that follow.
    """
    it = Cart(world)
    yield it
    world.mend()
    if it.get():
        world.environment.delete(API, "Application", "cart", world.namespace)


def comes_changes_and_goes(world, cart) -> None:
    """The life of an Application."""
    cart.apply(
        replicas={"min": 2},
        expose={"type": "ingress", "hosts": [f"cart.{world.namespace}.example.com"]},
    )
    world.wait_until(
        # There is no registry to ask which image to begin with: a push names it, or another try.
        lambda: cart.condition("RolledOut")[1] == "RegistryUnavailable",
        "it waits for a push",
    )
    assert cart.condition("Applied")[0] == "True"
    cart.push("a")
    world.wait_until(cart.is_ready, "it is Ready with the first image")
    assert cart.get()["status"]["image"]["digest"] == DIGESTS["a"]
    assert cart.get()["status"]["availableReplicas"] == 2
    assert cart.get()["status"]["url"] == f"https://cart.{world.namespace}.example.com/"
    cart.apply(replicas={"min": 2}, env={"GREETING": "hello"}, expose={"type": "internal"})
    world.wait_until(cart.is_ready, "it is Ready with another environment")
    assert cart.template()["spec"]["containers"][0]["env"] == [
        {"name": "GREETING", "value": "hello"}
    ]
    assert cart.get("Ingress", api="networking.k8s.io/v1") is None
    cart.push("b")
    world.wait_until(
        lambda: cart.get()["status"]["image"]["digest"] == DIGESTS["b"] and cart.is_ready(),
        "the second image",
    )
    world.environment.delete(API, "Application", "cart", world.namespace)
    world.wait_until(lambda: cart.get() is None, "it is gone")
    left = [("Deployment", "apps/v1"), ("Service", "v1")]
    world.wait_until(
        lambda: not any(cart.get(kind, api=api) for kind, api in left), "what it owned is gone"
    )
    world.wait_until(lambda: not world.unfinished(), "nothing stays running")
    assert world.lease_holders() == set()


def test_an_application_comes_changes_and_goes(world, cart):
    """It waits for its first push, serves, follows a change of its environment, and leaves nothing
    behind.
    """
    comes_changes_and_goes(world, cart)


def test_a_database_is_bound_and_its_rotation_rolls_the_pods(world, cart):
    """From a Database that does not exist yet to the second version of its password in new pods."""
    cart.apply(databases=[{"name": "orders"}])
    cart.push("a")
    world.wait_until(
        lambda: cart.condition("Applied")[1] == "WaitingForDatabase", "it waits for the Database"
    )
    assert cart.get("Deployment", api="apps/v1") is None
    world.apply_example()
    world.wait_until(cart.is_ready, "it is Ready with the Database")
    assert cart.secret()["DATABASE_PASSWORD"] == world.password()
    before = cart.template()["metadata"]["annotations"]["kubestorm.io/config-hash"]
    client = world.environment._dynamic().resources.get(api_version=API, kind="Database")
    client.patch(
        body={"metadata": {"annotations": {"kubestorm.io/rotate-credentials": "now"}}},
        name="orders",
        namespace=world.namespace,
        content_type="application/merge-patch+json",
    )
    world.wait_until(lambda: len(world.vault_versions()) == 2 and world.is_ready(), "the rotation")
    world.wait_until(
        lambda: (
            cart.secret()["DATABASE_PASSWORD"] == world.password()
            and cart.template()["metadata"]["annotations"]["kubestorm.io/config-hash"] != before
            and cart.is_ready()
        ),
        "the pods have the new password",
    )


def test_a_secret_is_nowhere_in_what_the_engine_wrote(world, cart):
    """Database file, logs and answers hold no form of it, while the pods have it."""
    secret = "c4nary+of/the=Cart"
    client = world.environment.vault_client()
    client.secrets.kv.v2.create_or_update_secret(path=world.path + "stripe", secret={"key": secret})
    cart.apply(secrets=[{"path": world.path + "stripe", "envPrefix": "STRIPE_"}])
    cart.push("a")
    world.wait_until(cart.is_ready, "Ready")
    assert cart.secret() == {"STRIPE_KEY": secret}
    assert world.runs("kubestorm.application_configure")
    answers = [
        ("executions", world.engine.client.get("/v1/executions", params={"limit": 1000}).content)
    ]
    status = [
        ("status", repr(cart.get()).encode()),
        ("deployment", repr(cart.get("Deployment", api="apps/v1")).encode()),
    ]
    written = [
        *leaks.files_below(world.engine.data),
        ("log", world.engine.log_path.read_bytes()),
        *answers,
        *status,
    ]
    assert list(leaks.find(secret, written)) == []


REFUSED = {
    "health": ({"health": None}, "spec.health"),
    "resources": ({"resources": None}, "spec.resources.limits.cpu"),
    "a secret of others": (
        {"secrets": [{"path": "kubestorm/demo/bank/key"}]},
        "may not be read from namespace",
    ),
    "patch": ({"patch": {"deployment": {"spec": {"paused": True}}}}, "is not allowed in namespace"),
}


def test_what_may_not_be_gets_a_sentence_and_no_pod(world, cart):
    """Each by its field, one after the other."""
    for spec, words in REFUSED.values():
        wanted = example(world.namespace, **spec)
        wanted["spec"] = {key: value for key, value in wanted["spec"].items() if value is not None}
        cart.environment.apply(wanted)
        world.wait_until(lambda words=words: words in cart.condition("SpecValid")[2], words)
        assert cart.condition("Ready")[:2] == ("False", "InvalidSpec")
    assert cart.get("Service", api="v1") is None


@pytest.mark.skipif(
    not shutil.which("kubectl"), reason="kubectl is not installed (Debian: kubernetes-client)"
)
def test_kubectl_reads_and_changes_applications(world, cart, tmp_path):
    """apply, diff, explain, get, scale and wait."""

    def kubectl(*arguments: str, manifest: Any = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["kubectl", f"--namespace={world.namespace}", f"--cache-dir={tmp_path}", *arguments],
            input=yaml.safe_dump(manifest) if manifest else None,
            env={
                **os.environ,
                "KUBECONFIG": str(world.environment.kubeconfig),
                "HOME": str(tmp_path),
            },
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )

    manifest = example(world.namespace)
    assert kubectl("apply", "-f", "-", manifest=manifest).returncode == 0
    cart.push("a")
    done = kubectl(
        "wait", "--for=condition=Ready", "application.kubestorm.io/cart", "--timeout=60s"
    )
    assert done.returncode == 0, done.stderr + world.state()
    assert kubectl("diff", "-f", "-", manifest=manifest).returncode == 0, (
        "what the pack writes is no difference"
    )
    changed = example(world.namespace, env={"A": "1"})
    diff = kubectl("diff", "-f", "-", manifest=changed)
    assert diff.returncode == 1
    assert '+    A: "1"' in diff.stdout
    table = kubectl("get", "kapp").stdout.splitlines()
    assert table[0].split() == ["NAME", "IMAGE", "PODS", "READY", "REASON", "AGE"]
    assert table[1].split()[:5] == ["cart", "1.0.0", "1", "True", "Ready"]
    told = " ".join(kubectl("explain", "application.spec.health").stdout.split())
    assert "Exactly one of http, tcp and command is required" in told
    assert kubectl("scale", "kapp/cart", "--replicas=3").returncode == 0
    world.wait_until(
        lambda: cart.is_ready() and cart.get()["status"]["availableReplicas"] == 3, "three pods"
    )
    assert "cart" in kubectl("get", "kubestorm").stdout
