"""How commands reach a running stormcell: its address and key from options, the environment or the
data folder.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    import httpx

F = TypeVar("F", bound=Callable[..., Any])
URL_FILE = "url"
KEY_FILE = "api-key"
_TIMEOUT_SECONDS = 30.0


def connection_options(command: F) -> F:
    """Add --data, --url and --api-key, which make a `Client`."""
    for option in (
        click.option(
            "--api-key",
            envvar="STORMCELL_API_KEY",
            help="Key to call with [env: STORMCELL_API_KEY].",
        ),
        click.option(
            "--url", envvar="STORMCELL_URL", help="Address of stormcell [env: STORMCELL_URL]."
        ),
        click.option(
            "--data",
            envvar="STORMCELL_DATA",
            type=click.Path(path_type=Path),
            help="Its data folder, where address and key are found [env: STORMCELL_DATA].",
        ),
    ):
        command = option(command)
    return command


class Client:
    """Calls the API; a failure is a sentence. httpx is imported here: `serve`, which needs none,
    starts sooner.
    """

    def __init__(self, data: Path | None, url: str | None, api_key: str | None) -> None:
        import httpx

        self._url = url or _read(data, URL_FILE, "--url")
        key = api_key or _read(data, KEY_FILE, "--api-key")
        self._http = httpx.Client(
            base_url=self._url,
            headers={"St2-Api-Key": key},
            timeout=_TIMEOUT_SECONDS,
            trust_env=False,
        )

    def get(self, path: str, **query: Any) -> Any:
        return self._call("GET", path, params=query).json()

    def post(
        self, path: str, body: Any, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        return self._call("POST", path, json=body, headers=headers)

    def _call(self, method: str, path: str, **rest: Any) -> httpx.Response:
        import httpx

        try:
            response = self._http.request(method, path, **rest)
        except httpx.HTTPError as error:
            raise click.ClickException(
                f"stormcell does not answer at {self._url} ({error}). Is `stormcell serve` running?"
            ) from error
        if response.is_error:
            raise click.ClickException(_fault(response))
        return response


def _read(data: Path | None, name: str, option: str) -> str:
    if data is None:
        raise click.UsageError(
            "Where is stormcell? Give --data DIR (the folder that serve was given), or set STORMCELL_DATA; "
            "or give --url and --api-key."
        )
    try:
        return (data / name).read_text().strip()
    except OSError as error:
        raise click.UsageError(
            f"{data / name} cannot be read ({os.strerror(error.errno or 0)}). "
            f"Start `stormcell serve --data {data}` first, or give {option}."
        ) from error


def _fault(response: httpx.Response) -> str:
    try:
        return str(response.json()["faultstring"])
    except (ValueError, KeyError, TypeError):
        return f"stormcell answered {response.status_code} on {response.request.url.path}."
