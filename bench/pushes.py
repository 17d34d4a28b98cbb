"""A registry's signed POST to the listener of the pack's own sensor: durable and matched when it is
answered.

Each event is another push, so that each is checked, read, dispatched, remembered and run. CPU
seconds are those of the engine and the sensor's process together. Beside it, asked in the same way,
a bare program on uvicorn and httptools that decodes the body and answers, and the same listener
with 64 connections that are slow or stuck.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import itertools
import multiprocessing
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import yaml

from bench.engines import family, process_cpu_seconds, process_id, serving, write_pack
from bench.harness import Figure, at_least, percentile, say
from bench.webhooks import BAR_PER_CPU_SECOND, serve_bare

ROOT = Path(__file__).parents[1]
POSTS = 4_000
CLIENTS = 16
HOSTILE = 64
SECRET = b"not-much-of-a-secret"
START_SECONDS = 30.0
_NUMBERS = itertools.count()


def _pack(folder: Path) -> Path:
    """The pack's sensor of pushes as it is, and one rule."""
    rule = {
        "name": "pushed",
        "pack": "kubestorm",
        "enabled": True,
        "trigger": {"type": "kubestorm.image_pushed"},
        "criteria": {"trigger.repository": {"type": "eq", "pattern": "shop/orders"}},
        "action": {"ref": "core.noop"},
    }
    manifest = {
        "ref": "kubestorm",
        "name": "kubestorm",
        "version": "0.1.0",
        "author": "bench",
        "email": "b@example.org",
    }
    write_pack(
        folder,
        {
            "pack.yaml": yaml.safe_dump({**manifest, "description": "Measured."}),
            "rules/pushed.yaml": yaml.safe_dump(rule),
            "triggers/image_pushed.yaml": (ROOT / "triggers" / "image_pushed.yaml").read_text(),
            **{
                f"sensors/{name}": (ROOT / "sensors" / name).read_text()
                for name in ("listeners_sensor.py", "listeners_sensor.yaml")
            },
        },
    )
    shutil.copy(ROOT / "config.schema.yaml", folder)
    (folder / "sensors" / "kubestorm").symlink_to(ROOT / "lib" / "kubestorm")
    return folder


def _configure(folder: Path, port: int) -> None:
    secret = folder / "secret"
    secret.write_bytes(SECRET)
    source = {
        "name": "ci",
        "type": "distribution",
        "auth": {"method": "hmac", "secret_file": str(secret)},
    }
    config = {"cluster": "bench", "registries": {"listener": {"port": port}, "sources": [source]}}
    (folder / "configs").mkdir()
    (folder / "configs" / "kubestorm.yaml").write_text(yaml.safe_dump(config))


def _event() -> tuple[bytes, str]:
    """A push that was never told, and its signature."""
    number = next(_NUMBERS)
    target = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "repository": "shop/orders",
        "tag": f"1.4.{number}",
        "digest": f"sha256:{number:064x}",
    }
    event = {
        "id": f"{number:032x}",
        "timestamp": "2026-03-01T10:00:00.123456789Z",
        "action": "push",
        "target": target,
        "request": {"host": "registry.example.test", "method": "PUT"},
        "actor": {"name": "ci-bot"},
    }
    body = msgspec.json.encode({"events": [event]})
    return body, "sha256=" + hmac.new(SECRET, body, hashlib.sha256).hexdigest()


def _post(url: str, count: int) -> list[float]:
    """Post one after another over one connection; seconds each took."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(str(place.hostname), place.port)
    took = []
    for body, signature in [_event() for _ in range(count)]:
        begin = time.perf_counter()
        headers = {"Content-Type": "application/json", "X-Hub-Signature-256": signature}
        connection.request("POST", place.path, body, headers)
        answer = connection.getresponse()
        answer.read()
        took.append(time.perf_counter() - begin)
        if answer.status not in (http.client.OK, http.client.ACCEPTED):
            raise AssertionError(f"The listener answered {answer.status}.")
    connection.close()
    return took


def _rate(
    post: Callable[[int], list[float]], pids: list[int]
) -> tuple[list[float], float, list[float]]:
    """CPU seconds of each process, posts per second, and what each post took, with some clients at
    once.
    """
    post(200)
    before, wall = [process_cpu_seconds(pid) for pid in pids], time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        took = [each for part in pool.map(post, [POSTS // CLIENTS] * CLIENTS) for each in part]
    wall = time.perf_counter() - wall
    return (
        [process_cpu_seconds(pid) - begin for pid, begin in zip(pids, before, strict=True)],
        POSTS / wall,
        took,
    )


@contextlib.contextmanager
def _besieged(port: int) -> Iterator[None]:
    """Connections that send half a request, or nothing."""
    with contextlib.ExitStack() as stack:
        for number in range(HOSTILE):
            peer = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            peer.sendall(
                (b"", b"POST /reg", b"POST /registry/ci HTTP/1.1\r\nContent-Length: 99\r\n\r\n{")[
                    number % 3
                ]
            )
        yield


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def measure() -> list[Figure]:
    context = multiprocessing.get_context("spawn")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/registry/ci"
    with tempfile.TemporaryDirectory() as name, socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        folder = Path(name)
        _configure(folder, port)
        bare = context.Process(target=serve_bare, args=(listener,))
        bare.start()
        bare_url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/webhooks/pushed"
        try:
            with serving(folder, _pack(folder / "kubestorm")) as engine:
                _wait_for(port)
                pid = process_id(engine)
                pids = [pid, *(each for each in family(pid) if each != pid)]
                (cpu, by_clock, _), (others, _, _) = (
                    _rate(lambda count: _post(url, count), pids),
                    _rate(lambda count: _post(bare_url, count), [int(bare.pid or 0)]),
                )
                with _besieged(port):
                    held, _, took = _rate(lambda count: _post(url, count), pids)
                alone = _post(url, 500)
        finally:
            bare.terminate()
            bare.join()
    ours, bare_rate = POSTS / sum(cpu), POSTS / sum(others)
    return [
        at_least(
            f"{CLIENTS} clients, signed, durable, matched, remembered and run",
            ours,
            "per CPU second",
            BAR_PER_CPU_SECOND,
        ),
        Figure("the sensor's part of it", POSTS / sum(cpu[1:]), "per CPU second of the sensor"),
        Figure("the same by the clock, clients on the same machine", by_clock, "per second"),
        Figure(
            "ratio to a bare program on uvicorn and httptools",
            ours / bare_rate,
            f"of its {bare_rate:,.0f}",
        ),
        Figure(
            f"ratio with {HOSTILE} slow or stuck connections to none", POSTS / sum(held) / ours, ""
        ),
        Figure(
            f"{CLIENTS} clients and {HOSTILE} slow or stuck connections, p99",
            percentile(took, 99) * 1000,
            "ms",
        ),
        Figure("one client, p50", percentile(alone, 50) * 1000, "ms"),
        Figure("one client, p99", percentile(alone, 99) * 1000, "ms"),
    ]


if __name__ == "__main__":
    say(measure)
