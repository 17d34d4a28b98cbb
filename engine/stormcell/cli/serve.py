"""`stormcell serve`: the engine, its sensors and the API, until a signal."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import uvicorn

from stormcell.api import make_app
from stormcell.api.protocol import Protocol
from stormcell.bootstrap import Settings, make_contents, make_engine, make_sensors, sensor_triggers
from stormcell.cli.client import KEY_FILE, URL_FILE
from stormcell.engine import Engine
from stormcell.expressions import jinja
from stormcell.logs import set_up_logging
from stormcell.ports import PackDispatch
from stormcell.rbac import OWNER
from stormcell.sensors.supervisor import SensorSupervisor
from stormcell.store import Store
from stormcell.store.store import open_store

log = logging.getLogger(__name__)

DEFAULT_PORT = 9101  # where StackStorm's own API listens
_SERVER_GRACE_SECONDS = 2
_BACKLOG = 1024


@click.command()
@click.option(
    "--pack",
    "packs",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of a pack; may be given several times. The core pack is always there.",
)
@click.option(
    "--data",
    required=True,
    envvar="STORMCELL_DATA",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the database and keys; made at the first start [env: STORMCELL_DATA].",
)
@click.option(
    "--configs",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with PACK.yaml, the configuration of each pack.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    default=DEFAULT_PORT,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="0 takes a free one.",
)
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    help="A name the API may be called by, beside loopback's.",
)
@click.option(
    "--sync",
    type=click.Choice(["normal", "full"]),
    default="normal",
    show_default=True,
    help="full: an acknowledged event survives a power cut too; normal: a crash of the program.",
)
@click.option(
    "--workers",
    default=4,
    show_default=True,
    type=click.IntRange(min=1),
    help="Python actions at once.",
)
@click.option(
    "--keep-days",
    type=click.IntRange(min=1),
    help="Remove the history of what ended more days ago, at the start and each hour; by default it is kept.",
)
@click.option(
    "--validate-output",
    is_flag=True,
    help="Fail an action whose output does not fit its output_schema; by default the schema only tells what is secret.",
)
@click.option(
    "--grace", default=10.0, show_default=True, help="Seconds that running actions get at the end."
)
@click.option(
    "--body-limit", default=1024 * 1024, show_default=True, help="Largest body of a call, in bytes."
)
@click.option(
    "--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
)
def serve(**options: Any) -> None:
    """Run packs: their sensors, rules and actions, and the API.

    \b
    stormcell serve --pack . --data ./data
    stormcell serve --pack ./a --pack ./b --data /var/lib/stormcell \\
        --configs /etc/stormcell/configs --sync full

    Prints one line when it is ready. The first start writes a key to DATA/api-key; calls need it.
    SIGTERM and Ctrl-C end it: running actions get --grace seconds, and what was cut off is run
    again at the next start.
    """
    set_up_logging(options["log_format"], options["log_level"])
    try:
        asyncio.run(_serve(options))
    except OSError as error:
        raise click.ClickException(
            f"{error.filename or options['data']} cannot be written: {error.strerror or error}. "
            "Make room on the disk, or give another --data."
        ) from error


async def _serve(options: dict[str, Any]) -> None:
    data: Path = options["data"]
    try:
        store = open_store(data, sync=options["sync"])
    except OSError as error:
        raise click.UsageError(
            f"{data} cannot be used ({error.strerror}). Give --data a folder that this user may write to."
        ) from error
    try:
        with _listening(options["host"], options["port"]) as listener:
            _ensure_key(store, data)
            url = _url(options["host"], listener)
            settings = Settings(
                packs=options["packs"],
                data=data,
                configs=options["configs"],
                sync=options["sync"],
                workers=options["workers"],
                keep_days=options["keep_days"],
                validate_output=options["validate_output"],
                url=url,
            )
            dispatch = PackDispatch()
            engine = make_engine(settings, store, dispatch)
            sensors = make_sensors(engine, settings, dispatch)
            await _run(engine, sensors, settings, listener, options)
    finally:
        store.close()


async def _run(
    engine: Engine,
    sensors: SensorSupervisor,
    settings: Settings,
    listener: socket.socket,
    options: dict[str, Any],
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    hosts = frozenset({options["host"], *options["hosts"]})
    app = make_app(
        engine,
        make_contents(engine, sensors, settings),
        hosts=hosts,
        body_limit_bytes=options["body_limit"],
    )
    server = _Server(
        uvicorn.Config(
            app,
            http=Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_SERVER_GRACE_SECONDS,
        )
    )
    serving: asyncio.Task[None] | None = None
    try:
        for pack, reason in engine.configs.faults(engine.catalog.content.packs.values()).items():
            click.echo(
                f"The configuration of {pack} is wrong, so its sensors and actions will fail: {reason} "
                "Mend it, then `stormcell reload`.",
                err=True,
            )
        await engine.start()
        serving = asyncio.create_task(server.serve(sockets=[listener]), name="api")
        await sensors.set_triggers(sensor_triggers(engine.catalog))
        await sensors.start()
        _write(settings.data / URL_FILE, settings.url)
        click.echo(
            f"stormcell is ready at {settings.url} (data in {settings.data}, key in {settings.data / KEY_FILE})"
        )
        await asyncio.to_thread(jinja.load)  # what the first event needs, loaded while nobody waits
        gc.collect()
        gc.freeze()  # content and compiled rules stay: no collection need look through them again
        log.info(
            "engine.ready",
            extra={"url": settings.url, "packs": ",".join(engine.catalog.content.packs)},
        )
        await asyncio.wait(
            [serving, asyncio.create_task(stop.wait())], return_when=asyncio.FIRST_COMPLETED
        )
        log.info("engine.stopping")
    finally:
        engine.core.stopping = True
        await sensors.stop()
        await engine.stop(grace_seconds=options["grace"])
        server.should_exit = True
        if serving is not None:
            await serving
        with contextlib.suppress(FileNotFoundError):
            (settings.data / URL_FILE).unlink()
        log.info("engine.stopped")


class _Server(uvicorn.Server):
    """Leaves signals to us: the engine has to stop before the API does."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio sends without delay: else each answer in two parts waits 40
    # ms for an ACK.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise click.ClickException(
                f"{host}:{port} cannot be listened on: {error.strerror}. Give another --port (0 takes a free one)."
            ) from error
        listener.listen(_BACKLOG)  # now, so that whoever reads the ready line can connect
        yield listener


def _url(host: str, listener: socket.socket) -> str:
    port = listener.getsockname()[1]
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def _ensure_key(store: Store, data: Path) -> None:
    """The key of the data folder's owner, made at the first start or when it was lost."""
    file = data / KEY_FILE
    if file.exists() and store.api_keys.enabled(file.read_text().strip()) is not None:
        return
    key, _ = store.api_keys.create(OWNER, {"made_by": "serve"})
    _write(file, key)


def _write(file: Path, text: str) -> None:
    """Write a private file whole: a reader sees the old one or the new one."""
    draft = file.with_name(file.name + ".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as target:
        target.write(text + "\n")
    draft.replace(file)
