"""A delivery that a person asks for in a chat: an execution of its own, begun with the token of the
one that asks.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from kubestorm.approval.engine import EngineApi
from kubestorm.errors import DefinitionError, NotFoundError, PermanentError
from kubestorm.pipeline.steps import start
from kubestorm.secrets import Secret

from tests.integration.building.conftest import World

TOKEN = "token-of-the-execution"


class Engine:
    """What an engine's API does with a request to execute something."""

    def __init__(self) -> None:
        self.begun: list[dict[str, Any]] = []
        engine = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                body = json.loads(self.rfile.read(length))
                allowed = self.path == "/v1/executions" and self.headers["X-Auth-Token"] == TOKEN
                if allowed:
                    engine.begun.append(body)
                answer = json.dumps({"id": "e1"} if allowed else {"faultstring": "no"}).encode()
                self.send_response(201 if allowed else 403)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_said: Any) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"


@pytest.fixture
def engine() -> Iterator[Engine]:
    it = Engine()
    thread = threading.Thread(target=it.server.serve_forever)
    thread.start()
    yield it
    it.server.shutdown()
    thread.join()
    it.server.server_close()


def test_a_delivery_is_begun_in_the_name_of_who_asks(world: World, engine: Engine) -> None:
    """The answer has the number of the run that follows it."""
    world.apply()
    api = EngineApi(engine.url, Secret(TOKEN))
    result = start(world.services(), world.namespace, "shop", by="anna", engine=api)
    parameters = {"namespace": world.namespace, "name": "shop", "requested_by": "anna"}
    assert engine.begun == [{"action": "kubestorm.delivery_pipeline", "parameters": parameters}]
    assert result["run_id"] == "e1"


def test_what_cannot_begin_says_why(world: World, engine: Engine) -> None:
    """No such ImageBuild, no engine, or an engine that does not let the asker."""
    api = EngineApi(engine.url, Secret("another"))
    with pytest.raises(NotFoundError, match="There is no ImageBuild"):
        start(world.services(), world.namespace, "shop", by="anna", engine=api)
    world.apply()
    with pytest.raises(DefinitionError, match=r"run kubestorm\.delivery_pipeline instead"):
        start(world.services(), world.namespace, "shop", by="anna", engine=None)
    with pytest.raises(PermanentError, match="refuses POST /executions"):
        start(world.services(), world.namespace, "shop", by="anna", engine=api)
    assert engine.begun == []
