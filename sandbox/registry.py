"""A real container registry on loopback: Debian's docker-registry (CNCF distribution), as a child
process.

It keeps images in a folder, asks for a user and password where one is given, and tells webhooks
about each push. The images that `push_image` makes stand on nothing (FROM scratch), so nothing is
ever pulled from the internet.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import shutil
import ssl
import subprocess
import tarfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import bcrypt
import httpx
import yaml

from sandbox.serving import Certificate

PROGRAM = "docker-registry"
START_TIMEOUT_SECONDS = 20.0
STOP_TIMEOUT_SECONDS = 10.0
POLL_SECONDS = 0.02
LISTENING = re.compile(rb"listening on [^ ]*?:(\d+)")
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"


class RegistryMissingError(RuntimeError):
    """docker-registry is not installed. On Debian: apt install docker-registry."""


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """Where docker-registry reports each push, with what headers (the only proof of origin that it
    can give).
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    name: str = "kubestorm"


def is_installed() -> bool:
    """Whether docker-registry is to be found on PATH."""
    return shutil.which(PROGRAM) is not None


class RegistryProcess:
    """One docker-registry on 127.0.0.1. Its log is `FOLDER/registry.log`; the images survive a
    restart.

    `users` (name -> password) turns basic authentication on. The port is the kernel's choice at the
    first start and stays the same after a restart, because image references name it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        users: Mapping[str, str] | None = None,
        webhooks: Sequence[Webhook] = (),
        certificate: Certificate | None = None,
        deletable: bool = True,
    ) -> None:
        self.folder = folder
        self.log_path = folder / "registry.log"
        self.port = 0
        self._users = dict(users or {})
        self._webhooks = list(webhooks)
        self._certificate = certificate
        self._deletable = deletable
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        """`127.0.0.1:PORT`, as image references begin."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Root of its API, without a trailing slash."""
        return f"{'https' if self._certificate else 'http'}://{self.host}"

    def start(self) -> Self:
        """Start it and wait until it listens. Raises RegistryMissingError, or RuntimeError with the
        end of its log.
        """
        if not is_installed():
            raise RegistryMissingError(
                "docker-registry is not installed; on Debian: apt install docker-registry"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "config.yml"
        config.touch(mode=0o600)  # it holds the webhooks' tokens
        config.write_text(yaml.safe_dump(self._config()))
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [PROGRAM, "serve", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not (found := LISTENING.search(self.log_path.read_bytes())):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(
                    f"docker-registry did not start:\n{self.log_path.read_text()[-2000:]}"
                )
            time.sleep(POLL_SECONDS)
        self.port = int(found[1])
        return self

    def stop(self) -> None:
        """End it. Safe to repeat."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def client(self) -> httpx.Client:
        """A client of its API, as the first of the users. The caller closes it."""
        auth = next(iter(self._users.items()), None)
        verify = (
            ssl.create_default_context(cadata=self._certificate.ca) if self._certificate else True
        )
        return httpx.Client(
            base_url=self.url, auth=auth, verify=verify, timeout=30, trust_env=False
        )

    def _config(self) -> dict[str, Any]:
        http: dict[str, Any] = {"addr": self.host, "secret": "not-used-with-one-registry"}
        if self._certificate:
            certificate, key = self.folder / "server.pem", self.folder / "server-key.pem"
            certificate.write_text(self._certificate.certificate)
            key.touch(mode=0o600)
            key.write_text(self._certificate.key)
            http["tls"] = {"certificate": str(certificate), "key": str(key)}
        config: dict[str, Any] = {
            "version": 0.1,
            "log": {"level": "info", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": str(self.folder / "images")},
                "delete": {"enabled": self._deletable},
                "maintenance": {"uploadpurging": {"enabled": False}},
            },
            "http": http,
        }
        if self._users:
            htpasswd = self.folder / "htpasswd"
            htpasswd.touch(mode=0o600)
            htpasswd.write_text(
                "".join(f"{user}:{_bcrypt(password)}\n" for user, password in self._users.items())
            )
            config["auth"] = {"htpasswd": {"realm": "sandbox", "path": str(htpasswd)}}
        if self._webhooks:
            config["notifications"] = {"endpoints": [_endpoint(each) for each in self._webhooks]}
        return config

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def push_image(
    client: httpx.Client,
    repository: str,
    tag: str,
    *,
    content: str = "",
    labels: Mapping[str, str] | None = None,
) -> str:
    """Push a one-layer image FROM scratch by the distribution API and return its manifest's digest.

    The layer holds one file, `/content`; the same content and labels make the same digest. Safe to
    repeat, but each time the registry reports a push.
    """
    layer, unpacked = _layer(content or f"{repository}:{tag}")
    config = _json(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": "2026-01-01T00:00:00Z",
            "config": {"Labels": dict(labels or {}), "Cmd": ["/content"]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(unpacked)]},
            # Builders refuse to add a layer to an image whose history tells of fewer than it has.
            "history": [{"created": "2026-01-01T00:00:00Z", "created_by": "COPY content /content"}],
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {"mediaType": CONFIG_TYPE, "digest": _digest(config), "size": len(config)},
            "layers": [{"mediaType": LAYER_TYPE, "digest": _digest(layer), "size": len(layer)}],
        }
    )
    for blob in (layer, config):
        _push_blob(client, repository, blob)
    answer = client.put(
        f"/v2/{repository}/manifests/{tag}",
        content=manifest,
        headers={"Content-Type": MANIFEST_TYPE},
    )
    answer.raise_for_status()
    return _digest(manifest)


def _push_blob(client: httpx.Client, repository: str, blob: bytes) -> None:
    digest = _digest(blob)
    if client.head(f"/v2/{repository}/blobs/{digest}").status_code == httpx.codes.OK:
        return
    upload = client.post(f"/v2/{repository}/blobs/uploads/").raise_for_status()
    answer = client.put(
        httpx.URL(upload.headers["Location"]).copy_merge_params({"digest": digest}),
        content=blob,
        headers={"Content-Type": "application/octet-stream"},
    )
    answer.raise_for_status()


def _layer(content: str) -> tuple[bytes, bytes]:
    """A gzipped tar archive with one file, and the same unpacked; the same bytes for the same
    content.
    """
    body = content.encode()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo("content")
        member.size = len(body)
        tar.addfile(member, io.BytesIO(body))
    return gzip.compress(archive.getvalue(), mtime=0), archive.getvalue()


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _bcrypt(password: str) -> str:
    # The registry checks it at each request: the cheapest cost that bcrypt allows is right for a
    # sandbox.
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(rounds=4)).decode()


def _endpoint(webhook: Webhook) -> dict[str, Any]:
    return {
        "name": webhook.name,
        "url": webhook.url,
        "headers": {name: [value] for name, value in webhook.headers.items()},
        "timeout": "5s",
        "threshold": 3,
        "backoff": "1s",
    }
