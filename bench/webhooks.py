"""POST /v1/webhooks/NAME with an API key, through the real HTTP server: durable and matched when it
is answered.

Clients keep their connections. Beside it, asked in the same way, a bare program on the same HTTP
stack that decodes the body and answers. Registries' signed webhooks have a listener of their own:
`pushes.py` measures that.
"""

from __future__ import annotations

import http.client
import multiprocessing
import socket
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import uvicorn
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.engines import process_cpu_seconds, process_id, serving, write_pack
from bench.harness import Figure, at_least, percentile, say

POSTS = 2_000
CLIENTS = 8
BAR_PER_CPU_SECOND = 8 * 1_157
_BODY = msgspec.json.encode(
    {
        "events": [
            {
                "action": "push",
                "target": {
                    "repository": "shop/orders",
                    "tag": "1.4.2",
                    "digest": "sha256:" + "a" * 64,
                },
            }
        ]
    }
)


def _pack(folder: Path) -> Path:
    rule = {
        "name": "pushed",
        "pack": "bench",
        "enabled": True,
        "trigger": {"type": "core.st2.webhook", "parameters": {"url": "pushed"}},
        "criteria": {"trigger.body.events": {"type": "exists", "pattern": True}},
        "action": {"ref": "core.noop"},
    }
    return write_pack(folder, {"rules/pushed.yaml": yaml.safe_dump(rule)})


def serve_bare(listener: socket.socket) -> None:
    """What the HTTP stack alone costs."""

    async def receive(request: Request) -> Response:
        return Response(msgspec.json.encode(msgspec.json.decode(await request.body())), 202)

    app = Starlette(routes=[Route("/v1/webhooks/{name:path}", receive, methods=["POST"])])
    server = uvicorn.Server(
        uvicorn.Config(app, http="httptools", ws="none", lifespan="off", log_config=None)
    )
    server.run(sockets=[listener])


def _post(url: str, key: str, count: int) -> list[float]:
    """Post one after another over one connection; seconds each took."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(str(place.hostname), place.port)
    took = []
    for _ in range(count):
        begin = time.perf_counter()
        headers = {"Content-Type": "application/json", "St2-Api-Key": key}
        connection.request("POST", "/v1/webhooks/pushed", _BODY, headers)
        answer = connection.getresponse()
        answer.read()
        took.append(time.perf_counter() - begin)
        if answer.status != http.client.ACCEPTED:
            raise AssertionError(f"The webhook answered {answer.status}.")
    connection.close()
    return took


def _rates(post: Callable[[int], list[float]], pid: int) -> tuple[float, float, list[float]]:
    """Posts per CPU second of the server, posts per second, and what each took, with some clients
    at once.
    """
    post(100)
    cpu, wall = process_cpu_seconds(pid), time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        took = [each for part in pool.map(post, [POSTS // CLIENTS] * CLIENTS) for each in part]
    wall, cpu = time.perf_counter() - wall, process_cpu_seconds(pid) - cpu
    return POSTS / cpu, POSTS / wall, took


def measure() -> list[Figure]:
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name, socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        folder = Path(name)
        bare = context.Process(target=serve_bare, args=(listener,))
        bare.start()
        bare_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            with serving(folder, _pack(folder / "bench")) as engine:
                url, key = engine.url, engine.key
                ours = _rates(lambda count: _post(url, key, count), process_id(engine))
                others = _rates(lambda count: _post(bare_url, key, count), int(bare.pid or 0))
                alone = _post(url, key, 500)
        finally:
            bare.terminate()
            bare.join()
    return [
        at_least(
            f"{CLIENTS} clients, durable, matched and run",
            ours[0],
            "per CPU second",
            BAR_PER_CPU_SECOND,
        ),
        Figure("the same by the clock, clients on the same machine", ours[1], "per second"),
        Figure(
            "ratio to a bare program on the same HTTP stack",
            ours[0] / others[0],
            f"of its {others[0]:,.0f}",
        ),
        Figure("one client, p50", percentile(alone, 50) * 1000, "ms"),
        Figure("one client, p99", percentile(alone, 99) * 1000, "ms"),
    ]


if __name__ == "__main__":
    say(measure)
