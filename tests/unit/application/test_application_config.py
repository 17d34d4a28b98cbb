"""What an Application's pods get from outside, and when a change rolls them."""

from __future__ import annotations

import base64

import pytest
from kubestorm.clients.vault import SecretValues
from kubestorm.core.secrets import Secret
from kubestorm.kinds.application import config
from kubestorm.kinds.application.config import (
    DatabaseFacts,
    Gathered,
    Waiting,
    assemble,
    is_waiting,
)
from kubestorm.kinds.application.render import CONFIG_HASH_ANNOTATION

OWN = "kubestorm/test/shop"
PASSWORD = "p4ss/w%rd"


def secret(version: int = 1, **values: str) -> SecretValues:
    return SecretValues({key: Secret(value) for key, value in values.items()}, version)


def facts(
    version: int = 1, host: str = "db.example.com", password: str = PASSWORD
) -> DatabaseFacts:
    address = {
        "host": host,
        "port": "5432",
        "database": "orders",
        "username": "dbadmin",
        "vault_path": "elsewhere",
    }
    return DatabaseFacts(
        "postgres", address, secret(version, username="dbadmin", password=password), f"{OWN}/orders"
    )


def contents(app, trees=None, secrets=None, databases=None):
    found = assemble(app, Gathered(trees or {}, secrets or {}, databases or {}))
    assert not isinstance(found, Waiting), found
    return found


def hashes(app, found) -> list[str]:
    return [
        manifest["metadata"]["annotations"]["kubestorm.io/config-hash"]
        for manifest in config.manifests(app, found)
    ]


def test_a_tree_gives_a_variable_for_each_key(parsed):
    """In capitals, with what a name cannot hold replaced."""
    app = parsed(config=[{"prefix": f"{OWN}/flags/", "envPrefix": "CART_"}])
    tree = {"log-level": "debug", "db/pool.size": "5", "unset": ""}
    assert contents(app, {f"{OWN}/flags/": tree}).variables == {
        "CART_LOG_LEVEL": "debug",
        "CART_DB_POOL_SIZE": "5",
        "CART_UNSET": "",
    }


def test_a_key_is_a_variable_or_a_file(parsed):
    """By the name that is given, or its own."""
    app = parsed(
        config=[
            {"key": f"{OWN}/a-b"},
            {"key": f"{OWN}/c", "env": "SEE"},
            {"key": f"{OWN}/d", "file": "/etc/cart/d.yaml"},
        ]
    )
    found = contents(app, {f"{OWN}/a-b": {"": "1"}, f"{OWN}/c": {"": "2"}, f"{OWN}/d": {"": "3"}})
    assert (found.variables, found.files) == ({"A_B": "1", "SEE": "2"}, {"etc.cart.d.yaml": "3"})


def test_bytes_become_a_file_as_they_are(parsed):
    """In binaryData; a change of them rolls the pods, as does a text that says the same."""
    app = parsed(
        config=[{"key": f"{OWN}/p12", "file": "/k.p12"}, {"key": f"{OWN}/a", "file": "/a"}]
    )

    def made(value):
        found = contents(app, {f"{OWN}/p12": {"": value}, f"{OWN}/a": {"": "text"}})
        return config.manifests(app, found)[0]

    first = made(bytes(range(256)))
    assert first["data"] == {"a": "text"}
    assert base64.b64decode(first["binaryData"]["k.p12"]) == bytes(range(256))
    seen = [first, made(b"\xff"), made("/w==")]
    assert "binaryData" not in seen[2]
    assert len({each["metadata"]["annotations"][CONFIG_HASH_ANNOTATION] for each in seen}) == 3


def test_secrets_are_kept_hidden_until_the_object_is_made(parsed):
    """Nothing that is printed shows one."""
    app = parsed(
        secrets=[
            {"path": f"{OWN}/stripe", "envPrefix": "STRIPE_"},
            {"path": f"{OWN}/tls", "key": "key", "file": "/k.pem"},
        ]
    )
    found = contents(
        app,
        secrets={
            f"{OWN}/stripe": secret(3, **{"api-key": PASSWORD}),
            f"{OWN}/tls": secret(key="PEM"),
        },
    )
    assert PASSWORD not in repr(found)
    assert found.versions == {f"{OWN}/stripe": 3, f"{OWN}/tls": 1}
    assert set(found.secret_variables) == {"STRIPE_API_KEY"}
    assert found.secret_files["k.pem"].reveal() == "PEM"
    made = config.manifests(app, found)
    assert [manifest["kind"] for manifest in made] == ["Secret", "Secret"]
    assert made[0]["data"] == {"STRIPE_API_KEY": "cDRzcy93JXJk"}


def test_a_database_gives_address_and_credentials(parsed):
    """The address as configuration, what opens it as a secret, also in one URL."""
    found = contents(parsed(databases=[{"name": "orders"}]), databases={"orders": facts()})
    assert found.variables == {
        "DATABASE_HOST": "db.example.com",
        "DATABASE_PORT": "5432",
        "DATABASE_NAME": "orders",
        "DATABASE_ENGINE": "postgres",
    }
    revealed = {name: value.reveal() for name, value in found.secret_variables.items()}
    assert revealed == {
        "DATABASE_USERNAME": "dbadmin",
        "DATABASE_PASSWORD": PASSWORD,
        "DATABASE_URL": "postgresql://dbadmin:p4ss%2Fw%25rd@db.example.com:5432/orders",
    }


def test_the_hash_of_secrets_is_of_versions_alone(parsed):
    """Another version rolls the pods; a guess at the value cannot be checked against it."""
    app = parsed(secrets=[{"path": f"{OWN}/stripe"}], databases=[{"name": "orders"}])

    def made(version: int, value: str, database: DatabaseFacts):
        return hashes(
            app,
            contents(
                app,
                secrets={f"{OWN}/stripe": secret(version, key=value)},
                databases={"orders": database},
            ),
        )

    first = made(1, "a", facts())
    assert made(1, "b", facts(password="other")) == first
    assert made(2, "a", facts()) != first
    assert made(1, "a", facts(version=2)) != first
    assert made(1, "a", facts(host="elsewhere")) != first


def test_the_hash_of_configuration_is_of_contents(parsed):
    """Any changed, added or renamed key rolls the pods."""
    app = parsed(config=[{"prefix": f"{OWN}/"}])
    seen = [
        hashes(app, contents(app, {f"{OWN}/": tree}))
        for tree in ({"a": "1"}, {"a": "2"}, {"b": "1"}, {"a": "1", "b": ""})
    ]
    assert len({tuple(each) for each in seen}) == 4
    assert hashes(app, contents(app, {f"{OWN}/": {"a": "1"}})) == seen[0]


MISSING = {
    "key": (
        {"config": [{"key": f"{OWN}/x"}]},
        {f"{OWN}/x": {}},
        {},
        f"Consul has nothing at {OWN}/x.",
    ),
    "prefix": (
        {"config": [{"prefix": f"{OWN}/x"}]},
        {f"{OWN}/x/": {}},
        {},
        f"Consul has nothing at {OWN}/x/.",
    ),
    "secret": (
        {"secrets": [{"path": f"{OWN}/x"}]},
        {},
        {f"{OWN}/x": None},
        f"Vault has nothing at {OWN}/x.",
    ),
    "key of a secret": (
        {"secrets": [{"path": f"{OWN}/x", "key": "a"}]},
        {},
        {f"{OWN}/x": secret(b="1")},
        f"Vault has no key a at {OWN}/x.",
    ),
    "bytes for a variable": (
        {"config": [{"key": f"{OWN}/x", "env": "X"}]},
        {f"{OWN}/x": {"": b"\xff"}},
        {},
        f"Consul's {OWN}/x is not text, which a variable has to be; read it as a file.",
    ),
    "bytes in a tree": (
        {"config": [{"prefix": f"{OWN}/x"}]},
        {f"{OWN}/x/": {"a": "1", "b/c": b"\xff"}},
        {},
        f"Consul's {OWN}/x/b/c is not text",
    ),
    "a NUL for a variable": (
        {"config": [{"key": f"{OWN}/x", "env": "X"}]},
        {f"{OWN}/x": {"": "a\0b"}},
        {},
        f"Consul's {OWN}/x is not text",
    ),
    "a folder with a value": (
        {"config": [{"prefix": f"{OWN}/x"}]},
        {f"{OWN}/x/": {"": "1", "a/": "2", "b": "3"}},
        {},
        f"Consul's {OWN}/x/a/ is a folder with a value",
    ),
    "no name": (
        {"config": [{"prefix": f"{OWN}/x"}]},
        {f"{OWN}/x/": {"1st": "a"}},
        {},
        "the key 1st, which gives no name of a variable; set envPrefix",
    ),
    "one name twice": (
        {"config": [{"prefix": f"{OWN}/x"}]},
        {f"{OWN}/x/": {"a-b": "1", "a_b": "2"}},
        {},
        "the keys a-b and a_b, and both give A_B; rename one",
    ),
}


@pytest.mark.parametrize("spec, trees, secrets, words", MISSING.values(), ids=MISSING)
def test_what_is_missing_is_waited_for_in_a_sentence(parsed, spec, trees, secrets, words):
    """It names where it was looked for."""
    found = assemble(parsed(**spec), Gathered(trees, secrets, {}))
    assert isinstance(found, Waiting)
    assert found.reason == "ConfigurationMissing"
    assert words in found.message


def database(**conditions: str) -> dict:
    return {
        "metadata": {"name": "orders"},
        "status": {
            "conditions": [
                {"type": kind, "status": status, "reason": "Creating", "message": "RDS creates it."}
                for kind, status in conditions.items()
            ]
        },
    }


DATABASES = {
    "new": ({"metadata": {"name": "orders"}}, "Database orders is not Ready yet."),
    "on its way": (
        database(CredentialsStored="True", Ready="False"),
        "Database orders is not Ready yet (Creating: RDS creates it.).",
    ),
    "ready": (database(CredentialsStored="True", Published="True", Ready="True"), ""),
    "changed while it serves": (
        database(CredentialsStored="True", Published="True", Ready="False"),
        "",
    ),
    "going": (
        {
            **database(CredentialsStored="True", Published="True"),
            "metadata": {"name": "orders", "deletionTimestamp": "x"},
        },
        "Database orders is being deleted.",
    ),
}


@pytest.mark.parametrize("resource, message", DATABASES.values(), ids=DATABASES)
def test_a_database_is_used_once_it_serves(resource, message):
    """Until then the condition repeats what it says itself."""
    found = is_waiting(resource)
    assert (found.message if found else "") == message


def test_every_database_that_is_waited_for_is_named(parsed):
    """In one sentence."""
    app = parsed(databases=[{"name": "a"}, {"name": "b", "envPrefix": "B"}])
    waiting = {name: Waiting("WaitingForDatabase", f"{name} is not there.") for name in "ab"}
    assert assemble(app, Gathered({}, {}, waiting)) == Waiting(
        "WaitingForDatabase", "a is not there. b is not there."
    )
