"""moto's WSGI application as an ASGI one, so that all servers of the sandbox start, stop and fail
alike.

Requests run in a worker thread each. Starlette's and uvicorn's own bridges are deprecated, and what
AWS clients send needs little of WSGI: whole bodies both ways.
"""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Callable, Iterable
from typing import Any

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


async def read_body(receive: Callable[..., Any]) -> bytes:
    """Collect a request's body to the end."""
    chunks = []
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)


async def send_response(
    send: Callable[..., Any], status: int, headers: list[tuple[str, str]], body: bytes
) -> None:
    """Send a whole response; the server adds the Date header."""
    encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})


def make_environ(scope: dict[str, Any], body: bytes) -> dict[str, Any]:
    """A WSGI environment (PEP 3333) for an ASGI scope and a body that has been read."""
    host, port = scope["server"]
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": scope["path"].encode().decode("latin-1"),
        "RAW_URI": scope["raw_path"].decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": (scope.get("client") or ("", 0))[0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "CONTENT_LENGTH": str(len(body)),
    }
    for raw_name, raw_value in scope["headers"]:
        name = raw_name.decode("latin-1").upper().replace("-", "_")
        key = name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}"
        if name != "CONTENT_LENGTH":
            value = raw_value.decode("latin-1")
            environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ


class WsgiBridge:
    """The ASGI face of one WSGI application."""

    def __init__(self, wsgi: WsgiApp) -> None:
        self._wsgi = wsgi

    async def __call__(
        self, scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]
    ) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(f"only http is served here, not {scope['type']}")
        environ = make_environ(scope, await read_body(receive))
        status, headers, body = await asyncio.to_thread(self._call, environ)
        await send_response(send, status, headers, body)

    def _call(self, environ: dict[str, Any]) -> tuple[int, list[tuple[str, str]], bytes]:
        answer: list[Any] = []

        def start_response(
            status: str, headers: list[tuple[str, str]], _error: Any = None
        ) -> Callable[..., Any]:
            answer[:] = [int(status.split(" ", 1)[0]), headers]
            return lambda _chunk: None

        chunks = self._wsgi(environ, start_response)
        try:
            body = b"".join(chunks)
        finally:
            close = getattr(chunks, "close", None)
            if close:
                close()
        return answer[0], answer[1], body
