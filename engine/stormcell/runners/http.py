"""http-request: one request over httpx.

Source: contrib/runners/http_runner/http_runner/http_runner.py of StackStorm 3.9.
"""

from __future__ import annotations

import ast
import asyncio
import importlib
import json
import sys
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from stormcell.errors import InvalidInputError
from stormcell.running import OutputSink, RunRequest, RunResult
from stormcell.statuses import ExecutionStatus

if TYPE_CHECKING:
    import httpx

_SUCCESS: Final = range(200, 207)
_DEFAULT_TIMEOUT_SECONDS: Final = 60.0


class HttpRunner:
    """Makes HTTP requests. A client is made for each, as proxies and verification differ."""

    async def run(self, request: RunRequest, output: OutputSink) -> RunResult:
        if "httpx" not in sys.modules:
            # A third of a second that the start need not wait for, nor the other runs that are
            # under way.
            await asyncio.to_thread(importlib.import_module, "httpx")
        import httpx

        seconds = float(
            request.parameters.get("timeout") or request.timeout_seconds or _DEFAULT_TIMEOUT_SECONDS
        )
        try:
            arguments = _arguments(request)
            async with asyncio.timeout(seconds), _client(request, seconds) as client:
                response = await client.request(**arguments)
        except (TimeoutError, httpx.TimeoutException):
            message = f"The request took longer than {seconds:g} seconds."
            return RunResult(status=ExecutionStatus.TIMEOUT, result={"error": message})
        except (InvalidInputError, httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            text = str(error) or type(error).__name__
            return RunResult(status=ExecutionStatus.FAILED, result={"error": text, "traceback": ""})
        body, parsed = _body(response)
        status = (
            ExecutionStatus.SUCCEEDED
            if response.status_code in _SUCCESS
            else ExecutionStatus.FAILED
        )
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in response.headers.raw
        }
        result = {
            "status_code": response.status_code,
            "body": body,
            "parsed": parsed,
            "headers": headers,
        }
        return RunResult(status=status, result=result)

    async def close(self) -> None:
        """Nothing is kept open."""


def _client(request: RunRequest, seconds: float) -> httpx.AsyncClient:
    import httpx

    given = request.runner_parameters
    proxies = {
        f"{scheme}://": httpx.AsyncHTTPTransport(proxy=given[key], verify=_verify(given))
        for scheme, key in (("http", "http_proxy"), ("https", "https_proxy"))
        if given.get(key)
    }
    return httpx.AsyncClient(
        verify=_verify(given),
        follow_redirects=bool(given.get("allow_redirects")),
        timeout=seconds,
        mounts=proxies,
        cookies=given.get("cookies") or None,
        trust_env=not proxies,
    )


def _verify(given: dict[str, Any]) -> bool:
    return given.get("verify_ssl_cert") is not False


def _arguments(request: RunRequest) -> dict[str, Any]:
    given, own = request.runner_parameters, request.parameters
    url = given.get("url") or own.get("url")
    if not url:
        raise InvalidInputError("URL must be specified.")
    _check_host(url, given)
    headers = {
        name: str(value)
        for name, value in (given.get("headers") or own.get("headers") or {}).items()
    }
    headers |= {"User-Agent": "st2/v3.9.0", "X-Stanley-Action": request.action.name}
    body, files = own.get("body"), _files(own)
    arguments: dict[str, Any] = {
        "method": own.get("method") or ("POST" if body or files else "GET"),
        "url": url,
        "headers": headers,
        "params": own.get("params") or None,
    }
    if files:
        arguments["files"] = files
    elif body is not None:
        arguments["content"] = _content(body, headers)
    if given.get("username") or given.get("password"):
        arguments["auth"] = (given.get("username") or "", given.get("password") or "")
    return arguments


def _content(body: Any, headers: dict[str, str]) -> bytes:
    lower = {name.lower(): value for name, value in headers.items()}
    if lower.get("content-type") == "application/json":
        return json.dumps(_cast(body)).encode()
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


def _cast(body: Any) -> Any:
    if not isinstance(body, str):
        return body
    try:
        return json.loads(body)
    except ValueError:
        pass
    try:
        return ast.literal_eval(body)
    except (ValueError, SyntaxError) as error:
        raise InvalidInputError("The body is sent as application/json, and is not JSON.") from error


def _files(own: dict[str, Any]) -> dict[str, Any] | None:
    name, content = own.get("file_name"), own.get("file_content")
    if not (name and content):
        return None
    kind = own.get("file_content_type")
    return {name: (content, content, kind) if kind else content}


def _check_host(url: str, given: dict[str, Any]) -> None:
    refused, allowed = (
        given.get("url_hosts_blacklist") or [],
        given.get("url_hosts_whitelist") or [],
    )
    if refused and allowed:
        message = (
            '"url_hosts_blacklist" and "url_hosts_whitelist" parameters are mutually exclusive.'
        )
        raise InvalidInputError(f"{message} Give one of them.")
    host = urlsplit(url).hostname or ""
    if host in refused:
        raise InvalidInputError(f'URL "{url}" is blacklisted')
    if allowed and host not in allowed:
        raise InvalidInputError(f'URL "{url}" is not whitelisted')


def _body(response: httpx.Response) -> tuple[Any, bool]:
    """Return the body, and whether it was JSON that could be read."""
    kind = response.headers.get("content-type", "").split(";")[0].strip()
    if kind == "application/json":
        try:
            return json.loads(response.text), True
        except ValueError:
            pass
    return response.text, False
