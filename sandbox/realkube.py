"""A real Kubernetes control plane on loopback, without containers: etcd, kube-apiserver and, if
wanted, more.

The sandbox's own Kubernetes API is judged by this one, and the demo can run on it (`KUBE=real`).
The binaries come from a folder that `KUBEBUILDER_ASSETS` names, as the field does it (envtest,
setup-envtest). Data and keys are throw-away: etcd writes without fsync, every start makes new keys,
and `stop` kills rather than asks.

Run alone: `KUBEBUILDER_ASSETS=... python -m sandbox.realkube`.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox.guardian import Guardian
from sandbox.serving import LOOPBACK, make_certificate

ASSETS_VARIABLE = "KUBEBUILDER_ASSETS"
START_TIMEOUT_SECONDS = 60.0
POLL_SECONDS = 0.05
START_ATTEMPTS = 3
LOG_LINES_IN_ERRORS = 12
PLAIN_USER = "plain"
# Controllers that want a cloud, volumes or many nodes; without them the manager starts sooner.
LEFT_OUT_CONTROLLERS = (
    "cloud-node-lifecycle,service,route,nodeipam,ttl,persistentvolume-binder,attachdetach,"
    "persistentvolume-expander,pvc-protection,pv-protection"
)


class RealKubeError(RuntimeError):
    """The control plane did not start or does not answer; the message holds its log's last lines."""


class AddressInUseError(RealKubeError):
    """Another process took a port between our choosing it and the program's binding it; worth
    another attempt.
    """


class RealKube:
    """One control plane, started by `start` or `with`, and killed by `stop`.

    `folder` receives keys, logs, data and the kubeconfig. `token` is a member of system:masters;
    `plain_token` belongs to the user `plain`, who may nothing but what every authenticated user
    may. With `controller_manager` the real controllers run (garbage collection, namespaces,
    Deployments ...), or `only_controllers` of them. Where none makes service accounts pods need
    none, so that the sandbox's own controllers can be tried on the API. There is never a node: see
    `sandbox.kubernetes.kubelet`.
    """

    def __init__(
        self,
        assets: Path,
        folder: Path,
        *,
        controller_manager: bool = True,
        only_controllers: Sequence[str] = (),
        scheduler: bool = False,
        port: int = 0,
    ) -> None:
        self.assets = assets
        self.folder = folder
        self.port = port
        self.token = secrets.token_urlsafe(24)
        self.plain_token = secrets.token_urlsafe(24)
        self._manager_wanted = controller_manager
        self._only_controllers = only_controllers
        self._scheduler_wanted = scheduler
        self._fixed_port = port
        self._etcd_port = 0
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._guardian: Guardian | None = None
        self._client: httpx.Client | None = None
        certificate = make_certificate("kube-apiserver")
        self.ca = certificate.ca
        self._certificate = certificate

    @staticmethod
    def assets_from_environment() -> Path | None:
        """The folder that `KUBEBUILDER_ASSETS` names, or None where it is unset.

        Raises RealKubeError where it is set and holds no kube-apiserver or etcd: a wish that cannot
        be met.
        """
        named = os.environ.get(ASSETS_VARIABLE)
        if not named:
            return None
        folder = Path(named).expanduser()
        missing = [
            name for name in ("etcd", "kube-apiserver") if not os.access(folder / name, os.X_OK)
        ]
        if missing:
            raise RealKubeError(
                f"{ASSETS_VARIABLE}={named} holds no {' and no '.join(missing)}; name the folder with the binaries, "
                "or unset it to do without a real API server"
            )
        return folder

    @property
    def url(self) -> str:
        """`https://127.0.0.1:PORT`, without a trailing slash."""
        return f"https://{LOOPBACK}:{self.port}"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig (0600)."""
        return self.folder / "kubeconfig"

    @property
    def ca_file(self) -> Path:
        """The authority that signed the server's certificate, as a PEM file."""
        return self.folder / "ca.crt"

    def start(self) -> Self:
        """Start everything and return once it answers; about 9 seconds. Raises RealKubeError with
        the log's end.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, START_ATTEMPTS + 1):
            try:
                self._start_once()
            except AddressInUseError:
                self.stop()
                if attempt == START_ATTEMPTS:
                    raise
            except BaseException:
                self.stop()
                raise
            else:
                return self
        raise AssertionError("not reached")

    def stop(self) -> None:
        """Kill every process of this control plane. Safe to repeat."""
        if self._client:
            self._client.close()
            self._client = None
        for name in reversed(list(self._processes)):
            self._kill(name)
        if self._guardian:
            self._guardian.end()
            self._guardian = None

    def stop_api(self) -> None:
        """Kill the API server alone: an outage, with every open connection dropped. The data stay."""
        self._kill("kube-apiserver")

    def start_api(self) -> None:
        """Start the API server anew on the same port and data; its watch caches begin empty."""
        self._spawn_api()
        self._wait("kube-apiserver", self._api_is_ready)

    def compact(self, *, restart_api: bool = True) -> int:
        """Forget all history before now, and return the revision that is kept.

        Continue tokens and exact lists of older versions are answered by 410 at once. A watch is
        answered from the API server's own memory while that reaches back far enough; `restart_api`
        empties it, so that watches give 410 too.
        """
        answer = self._etcd("/v3/maintenance/status", {})
        revision = int(answer["header"]["revision"])
        self._etcd("/v3/kv/compaction", {"revision": revision, "physical": True})
        if restart_api:
            self.stop_api()
            self.start_api()
        return revision

    def log(self, name: str) -> Path:
        """The log of `etcd`, `kube-apiserver`, `kube-controller-manager` or `kube-scheduler`."""
        return self.folder / f"{name}.log"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # How it is put together.

    def _start_once(self) -> None:
        etcd_peer_port, self._etcd_port, api_port = _free_ports(3)
        self.port = self._fixed_port or api_port
        self._write_files()
        self._guardian = Guardian()
        self._client = httpx.Client(
            verify=ssl.create_default_context(cadata=self.ca), timeout=5, trust_env=False
        )
        self._spawn_etcd(etcd_peer_port)
        self._wait("etcd", self._etcd_is_healthy)
        self._spawn_api()
        self._wait("kube-apiserver", self._api_is_ready)
        if self._manager_wanted:
            self._spawn_controller_manager()
        if self._scheduler_wanted:
            self._spawn_scheduler()
        if self._manager_wanted:
            self._wait(
                "kube-controller-manager",
                self._default_account_exists if self._makes_accounts() else lambda: True,
            )
        if self._scheduler_wanted:
            self._wait("kube-scheduler", lambda: True)

    def _makes_accounts(self) -> bool:
        return self._manager_wanted and not self._only_controllers

    def _write_files(self) -> None:
        service_accounts = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = serialization.Encoding.PEM
        self.ca_file.write_text(self.ca)
        self._secret("server.crt", self._certificate.certificate)
        self._secret("server.key", self._certificate.key)
        self._secret(
            "service-accounts.key",
            service_accounts.private_bytes(
                pem, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
            ).decode(),
        )
        public = service_accounts.public_key()
        self._secret(
            "service-accounts.pub",
            public.public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo).decode(),
        )
        self._secret(
            "tokens.csv",
            f'{self.token},admin,admin,"system:masters"\n{self.plain_token},{PLAIN_USER},{PLAIN_USER}\n',
        )
        self._secret("kubeconfig", json.dumps(self.kubeconfig_for(self.token), indent=2))

    def kubeconfig_for(self, token: str) -> dict[str, Any]:
        """A kubeconfig document for the bearer of `token`, with the authority's certificate inside."""
        name = "kubestorm-real"
        authority = base64.b64encode(self.ca.encode()).decode()
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [
                {
                    "name": name,
                    "cluster": {"server": self.url, "certificate-authority-data": authority},
                }
            ],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [
                {"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}
            ],
        }

    def _secret(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.touch(mode=0o600)
        path.chmod(0o600)
        path.write_text(text)
        return path

    def _spawn_etcd(self, peer_port: int) -> None:
        client, peer = f"http://{LOOPBACK}:{self._etcd_port}", f"http://{LOOPBACK}:{peer_port}"
        command = ["--name=kubestorm", f"--data-dir={self.folder / f'etcd-{self._etcd_port}'}"]
        command += [f"--listen-client-urls={client}", f"--advertise-client-urls={client}"]
        command += [f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"]
        command += [f"--initial-cluster=kubestorm={peer}", "--unsafe-no-fsync"]
        self._spawn("etcd", command)

    def _spawn_api(self) -> None:
        def file(name: str) -> str:
            return str(self.folder / name)

        command = [
            f"--etcd-servers=http://{LOOPBACK}:{self._etcd_port}",
            "--etcd-compaction-interval=0",  # history ends when `compact` says so
            f"--bind-address={LOOPBACK}",
            f"--advertise-address={LOOPBACK}",
            f"--secure-port={self.port}",
            "--endpoint-reconciler-type=none",
            f"--tls-cert-file={file('server.crt')}",
            f"--tls-private-key-file={file('server.key')}",
            f"--token-auth-file={file('tokens.csv')}",
            "--authorization-mode=RBAC",
            "--allow-privileged=true",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={file('service-accounts.pub')}",
            f"--service-account-signing-key-file={file('service-accounts.key')}",
        ]
        if not self._makes_accounts():
            command.append("--disable-admission-plugins=ServiceAccount")
        self._spawn("kube-apiserver", command)

    def _spawn_controller_manager(self) -> None:
        command = [
            f"--kubeconfig={self.kubeconfig}",
            f"--bind-address={LOOPBACK}",
            "--secure-port=0",
            "--leader-elect=false",
            f"--service-account-private-key-file={self.folder / 'service-accounts.key'}",
            f"--root-ca-file={self.ca_file}",
            "--controllers="
            + (",".join(self._only_controllers) or "*,-" + LEFT_OUT_CONTROLLERS.replace(",", ",-")),
        ]
        self._spawn(
            "kube-controller-manager", [*command, *self._no_plain_port("kube-controller-manager")]
        )

    def _spawn_scheduler(self) -> None:
        command = [f"--kubeconfig={self.kubeconfig}", "--secure-port=0", "--leader-elect=false"]
        self._spawn("kube-scheduler", [*command, *self._no_plain_port("kube-scheduler")])

    def _no_plain_port(self, name: str) -> list[str]:
        """Versions before 1.24 also listen without TLS, on a fixed port, unless told not to."""
        text = subprocess.run(
            [self.assets / name, "--version"], capture_output=True, text=True, check=True
        ).stdout
        minor = int(text.split("v1.", 1)[1].split(".", 1)[0])
        return ["--port=0"] if minor < 24 else []

    def _spawn(self, name: str, arguments: Sequence[str]) -> None:
        program = self.assets / name
        if not os.access(program, os.X_OK):
            raise RealKubeError(
                f"{program} is not there; build the assets anew, or do without {name}"
            )
        if not self._guardian:
            raise RealKubeError("the control plane is stopped; call start first")
        with self.log(name).open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=self._guardian.group,
            )

    def _kill(self, name: str) -> None:
        process = self._processes.pop(name, None)
        if process:
            process.kill()
            process.wait()

    def _wait(self, name: str, is_ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while True:
            if self._processes[name].poll() is not None:
                raise self._failure(name, "ended")
            with contextlib.suppress(httpx.HTTPError):
                if is_ready():
                    return
            if time.monotonic() > deadline:
                raise self._failure(
                    name, f"was not ready within {START_TIMEOUT_SECONDS:.0f} seconds"
                )
            time.sleep(POLL_SECONDS)

    def _failure(self, name: str, what: str) -> RealKubeError:
        lines = self.log(name).read_text(errors="replace").splitlines()
        kind = (
            AddressInUseError
            if any("address already in use" in line for line in lines)
            else RealKubeError
        )
        end = "\n".join(lines[-LOG_LINES_IN_ERRORS:])
        return kind(f"{name} {what}; the last lines of {self.log(name)}:\n{end}")

    def _etcd(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """One call of etcd's JSON gateway."""
        response = self._http().post(f"http://{LOOPBACK}:{self._etcd_port}{path}", json=body)
        response.raise_for_status()
        return response.json()

    def _http(self) -> httpx.Client:
        if not self._client:
            raise RealKubeError("the control plane is stopped; call start first")
        return self._client

    def _etcd_is_healthy(self) -> bool:
        return bool(self._etcd("/v3/maintenance/status", {}).get("leader"))

    def _api_is_ready(self) -> bool:
        return self._answers("/readyz") and self._answers("/api/v1/namespaces/default")

    def _default_account_exists(self) -> bool:
        return self._answers("/api/v1/namespaces/default/serviceaccounts/default")

    def _answers(self, path: str) -> bool:
        headers = {"Authorization": f"Bearer {self.token}"}
        return self._http().get(self.url + path, headers=headers).status_code == httpx.codes.OK


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now; all are chosen before one is given back, so that they
    differ.
    """
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server((LOOPBACK, 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in listeners]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a control plane until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m sandbox.realkube",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--folder", type=Path, help="where keys, data and logs go (default: a temporary folder)"
    )
    parser.add_argument(
        "--port", type=int, default=0, help="port of the API server, 0 for a free one (default: 0)"
    )
    parser.add_argument(
        "--no-controller-manager", action="store_true", help="etcd and kube-apiserver alone"
    )
    parser.add_argument("--scheduler", action="store_true", help="start kube-scheduler too")
    parser.add_argument(
        "--kubelet", action="store_true", help="start the pretend kubelet, so that pods run"
    )
    options = parser.parse_args(arguments)
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="realkube-"))
        )
        try:
            assets = RealKube.assets_from_environment()
            if assets is None:
                raise RealKubeError(
                    f"{ASSETS_VARIABLE} is not set; name the folder with kube-apiserver and etcd in it"
                )
            kube = stack.enter_context(
                RealKube(
                    assets,
                    folder,
                    controller_manager=not options.no_controller_manager,
                    scheduler=options.scheduler,
                    port=options.port,
                )
            )
        except RealKubeError as error:
            print(error, file=sys.stderr)
            return 1
        if options.kubelet:
            from sandbox.kubernetes.kubelet import Kubelet

            stack.enter_context(
                Kubelet(kube.url, kube.token, kube.ca, binds_pods=not options.scheduler)
            )
        print(f"kube-apiserver on {kube.url}\nexport KUBECONFIG={kube.kubeconfig}", flush=True)
        done.wait()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
