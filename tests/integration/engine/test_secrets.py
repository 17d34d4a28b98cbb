"""A secret parameter is found nowhere in what the engine wrote or answered."""

from __future__ import annotations

import base64
import json
import urllib.parse
from collections.abc import Callable
from pathlib import Path

from tests.integration.engine.serving import Served, eventually

SECRET = 'c0rrect "horse" battery/staple'


def _forms(secret: str) -> list[bytes]:
    encoded = base64.b64encode(secret.encode()).decode().rstrip("=")
    forms = [secret, encoded, urllib.parse.quote(secret, safe=""), json.dumps(secret)[1:-1]]
    return [form.encode() for form in forms]


def _written(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


def test_a_secret_parameter_leaves_no_trace(serve: Callable[..., Served], tmp_path: Path) -> None:
    """Neither database, logs nor answers hold the secret in any form, though the action got it and
    returned it.
    """
    served = serve("engine_demo")
    planted = served.run("engine_demo.greet", name=SECRET)
    assert planted["result"]["result"]["text"] == f"Hello, {SECRET}"
    assert any(form in _written(tmp_path) for form in _forms(SECRET)), (
        "the search must find what is planted"
    )
    served.stop()
    for file in sorted((tmp_path / "data").iterdir()):
        if file.name != "lock":
            file.unlink()
    (tmp_path / "data.log").unlink()

    served = serve("engine_demo")
    chain = served.run("engine_demo.greet_twice", name="World", password=SECRET)
    assert chain["status"] == "succeeded"
    first = served.get(f"/v1/executions/{chain['children'][0]}")
    assert first["result"]["result"]["echo"] == "********"
    assert first["parameters"] == {"name": "World", "password": "********"}
    answers = b"".join(
        served.http.get(path).content
        for path in (
            "/v1/executions?limit=-1",
            f"/v1/executions/{chain['id']}",
            f"/v1/why/{chain['id']}",
            "/metrics",
        )
    )
    eventually(lambda: "engine.ready" in (tmp_path / "data.log").read_text())
    served.kill()
    for form in _forms(SECRET):
        assert form not in _written(tmp_path)
        assert form not in answers


def test_an_encrypted_key_leaves_no_trace(serve: Callable[..., Served], tmp_path: Path) -> None:
    """Neither its value nor what an action was given of it lies open in the data folder, the log or
    a list; the file of the key that opens it is the owner's alone."""
    served = serve("engine_demo")
    served.http.put("/v1/keys/pin", json={"value": SECRET, "secret": True}).raise_for_status()
    done = served.run(
        "engine_demo.greet", name="World", password="{{ st2kv.system.pin | decrypt_kv }}"
    )
    assert done["result"]["result"]["echo"] == "********"
    answers = b"".join(
        served.http.get(path).content for path in ("/v1/keys?scope=all", "/v1/executions")
    )
    assert (tmp_path / "data" / "datastore-key").stat().st_mode & 0o777 == 0o600
    served.stop()
    for form in _forms(SECRET):
        assert form not in _written(tmp_path)
        assert form not in answers
