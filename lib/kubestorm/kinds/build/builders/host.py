"""Images built on this host by buildah, with `--isolation chroot`.

chroot is no security boundary: a Dockerfile's RUN runs as this user on this machine. So this
builder is off by default, refused for root unless that is allowed too, and meant for trusted
sources. Each image is built in a workspace of its own, with its own image storage, so that nothing
is left when the workspace is deleted (decision 0099).
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence, Tuple

from kubestorm.clients.host.processes import Ended, Runner, TimedOutError, clean_environment
from kubestorm.clients.host.workspace import Workspace, collect
from kubestorm.core.errors import PermanentError, TemporaryError
from kubestorm.kinds.build import logs as kept_logs
from kubestorm.kinds.build.base_images.dockerfile import find_bases
from kubestorm.kinds.build.builders import (
    GONE,
    PUSHED,
    Order,
    Progress,
    Say,
    Stage,
    buildah_options,
    failed,
)
from kubestorm.kinds.build.context import INLINE_DOCKERFILE
from kubestorm.kinds.build.credentials import Logins, RegistryLogin, docker_config, hidden_texts
from kubestorm.kinds.build.failures import Failure, classify
from kubestorm.kinds.build.settings import BuildSettings
from kubestorm.kinds.build.status import Reason

SERVICE = "Build host"
LOCAL_NAME = "localhost/kubestorm-build:latest"
DIGEST = "sha256:"
CheckOut = Callable[[Order, Path], None]


class HostBuilder:
    """buildah as a child of this process. `check_out` writes an order's context into a folder."""

    def __init__(
        self,
        settings: BuildSettings,
        *,
        check_out: Optional[CheckOut] = None,
        logins: Optional[Logins] = None,
        stop: Callable[[], str] = lambda: "",
    ) -> None:
        self._settings, self._check_out = settings, check_out
        self._logins, self._stop = logins or {}, stop

    def start(self, order: Order, say: Say, stage: Stage) -> Progress:
        """Build, test and push; returns when that is over. Raises CanceledError, and TemporaryError
        where the host fails.
        """
        refuse_unsafe_host(self._settings)
        log = kept_logs.writer(self._settings, order.identity, order.number, order.image.name)
        with Workspace(self._settings.work_folder) as workspace, log as keep:

            def log_line(line: str) -> None:
                keep(line)
                say(line)

            logins = self._logins.get(order.image.name, ())
            runner = Runner(
                workspace.path, say=log_line, stop=self._stop, secrets=hidden_texts(logins)
            )
            return _Build(self._settings, order, workspace, runner, logins).run(
                self._check_out, stage
            )

    def progress(self, order: Order) -> Progress:
        """Always Gone: a build on a host ends within `start`; from outside only its Lease is
        visible.
        """
        return Progress(GONE)

    def logs(self, order: Order, tail_bytes: int) -> str:
        return kept_logs.read(
            self._settings, order.identity, order.number, order.image.name, tail_bytes
        )

    def cancel(self, order: Order) -> None:
        """A live build ends by `stop`; what a dead one left is removed."""
        collect(self._settings.work_folder)

    def collect(self) -> List[str]:
        return collect(self._settings.work_folder)


def refuse_unsafe_host(settings: BuildSettings) -> None:
    """Raise PermanentError where this host must not build."""
    if not settings.host.enabled:
        raise PermanentError(
            "Builds on this host are turned off; set build.host.enabled to allow them, for trusted "
            "sources only.",
            service=SERVICE,
        )
    if os.geteuid() == 0 and not settings.host.allow_root:
        raise PermanentError(
            "Builds on this host would run as root, and chroot is no security boundary: run the "
            "engine as another user, build in the cluster, or (demo and tests only) set "
            "build.host.allow_root.",
            service=SERVICE,
        )
    if shutil.which(settings.host.buildah) is None:
        message = (
            f"{settings.host.buildah} is not installed on this host; on Debian: apt install "
            "buildah."
        )
        raise PermanentError(message, service=SERVICE)


class _Build:
    """One image, once."""

    def __init__(
        self,
        settings: BuildSettings,
        order: Order,
        workspace: Workspace,
        runner: Runner,
        logins: Sequence[RegistryLogin],
    ) -> None:
        self._settings, self._order = settings, order
        self._workspace, self._runner = workspace, runner
        self._deadline = time.monotonic() + order.timeout_seconds
        self._auth = workspace.write_private("auth.json", docker_config(logins).reveal())
        self._env = self._environment()

    def run(self, check_out: Optional[CheckOut], stage: Stage) -> Progress:
        context = self._workspace.folder("context")
        if check_out is not None:
            check_out(self._order, context)
        if self._order.image.dockerfile_text:
            # The context was checked to have no such file: this follows no symbolic link.
            (context / INLINE_DOCKERFILE).write_text(
                self._order.image.dockerfile_text, encoding="utf-8"
            )
        steps: List[Tuple[str, Callable[[], Ended]]] = [("build", lambda: self._build(context))]
        if self._order.image.test_command:
            steps.append(("test", self._test))
        steps.append(("push", self._push))
        name = ""
        try:
            for name, step in steps:
                stage(name)
                ended = step()
                if ended.code:
                    limit = self._settings.log_tail_bytes
                    tail = ended.output[-limit:] if limit else ""
                    return failed(name, classify(name, ended.output, ended.code), tail)
        except TimedOutError as error:
            reason = Reason.TEST_TIMED_OUT if name == "test" else Reason.TIMED_OUT
            return failed(name, Failure(reason, str(error), False))
        digest = self._digest()
        if not digest.startswith(DIGEST):
            return failed("push", Failure(Reason.PUSH_FAILED, "buildah reported no digest.", True))
        return Progress(
            PUSHED, digest=digest, message=f"Pushed {', '.join(self._order.references)}."
        )

    def _build(self, context: Path) -> Ended:
        image, host = self._order.image, self._settings.host
        options = [
            "--isolation",
            "chroot",
            "--format",
            "oci",
            "--retry",
            "1",
            "--retry-delay",
            "1s",
        ]
        options += [f"--authfile={self._auth}", "--pull=true"]
        options += [*self._certificates(image.registry)]
        options += [*buildah_options(self._order, str(context)), LOCAL_NAME]
        command = [*self._buildah("build"), *options, "--", str(context)]
        if not host.network:
            return self._without_network(command, context)
        return self._run(command)

    def _without_network(self, command: Sequence[str], context: Path) -> Ended:
        """Pull the base images first, then run RUN in an empty network namespace."""
        image = self._order.image
        text = (context / self._order.dockerfile).read_text(errors="replace")
        for base in find_bases(text, image.build_args, image.target).images:
            pulled = self._run(
                [*self._buildah("pull"), f"--authfile={self._auth}", "--policy=missing", "--", base]
            )
            if pulled.code:
                return pulled
        return self._run(
            isolated([*command[:-2], "--pull=never", *command[-2:]], self._settings.host.buildah)
        )

    def _test(self) -> Ended:
        made = self._run(
            [*self._buildah("from"), "--pull-never", "--name", "test", "--", LOCAL_NAME]
        )
        if made.code:
            return made
        command = [*self._buildah("run"), "--isolation", "chroot", "--", "test"]
        command += self._order.image.test_command
        left = min(float(self._order.image.test_timeout_seconds), self._left)
        return self._runner.run(
            isolated(command, self._settings.host.buildah), env=self._env, timeout_seconds=left
        )

    def _push(self) -> Ended:
        ended = Ended(0, "")
        for reference in self._order.references:
            options = [
                f"--authfile={self._auth}",
                f"--digestfile={self._workspace.path / 'digest'}",
            ]
            options += self._certificates(self._order.image.registry)
            verb = [*self._buildah("push"), "--retry", "1", "--retry-delay", "1s"]
            if self._is_list:
                # Debian's buildah (1.28) has no --retry here, and ignores "insecure" in
                # registries.conf.
                verb = [*self._buildah("manifest"), "push", "--all", *self._tls_options()]
            ended = self._run([*verb, *options, "--", LOCAL_NAME, f"docker://{reference}"])
            if ended.code:
                return ended
        return ended

    def _digest(self) -> str:
        path = self._workspace.path / "digest"
        return path.read_text(encoding="ascii").strip() if path.exists() else ""

    @property
    def _is_list(self) -> bool:
        return len(self._order.image.platforms) > 1

    @property
    def _left(self) -> float:
        return max(self._deadline - time.monotonic(), 0.1)

    def _run(self, command: Sequence[str]) -> Ended:
        return self._runner.run(command, env=self._env, timeout_seconds=self._left)

    def _buildah(self, verb: str) -> List[str]:
        storage = self._workspace.folder("storage")
        run = self._workspace.folder("run")
        driver = self._settings.host.storage_driver
        return [
            self._settings.host.buildah,
            f"--root={storage}",
            f"--runroot={run}",
            f"--storage-driver={driver}",
            verb,
        ]

    def _tls_options(self) -> List[str]:
        registry = self._settings.registry(self._order.image.registry)
        return ["--tls-verify=false"] if registry is not None and registry.insecure_http else []

    def _certificates(self, host: str) -> List[str]:
        registry = self._settings.registry(host)
        if registry is None or not registry.ca_file:
            return []
        folder = self._workspace.folder("certificates")
        (folder / "ca.crt").write_text(
            Path(registry.ca_file).expanduser().read_text(encoding="ascii")
        )
        return [f"--cert-dir={folder}"]

    def _environment(self) -> Dict[str, str]:
        env = clean_environment(self._workspace.path)
        env["TMPDIR"] = env["BUILDAH_TMPDIR"] = str(self._workspace.folder("tmp"))
        env["XDG_RUNTIME_DIR"] = str(self._workspace.folder("xdg"))
        env["REGISTRY_AUTH_FILE"] = str(self._auth)
        insecure = [each.host for each in self._settings.hosts if each.insecure_http]
        if insecure:
            text = "".join(
                f'[[registry]]\nlocation = "{host}"\ninsecure = true\n\n' for host in insecure
            )
            env["CONTAINERS_REGISTRIES_CONF"] = str(
                self._workspace.write_private("registries.conf", text)
            )
        return env


def isolated(command: Sequence[str], buildah: str) -> List[str]:
    """The same command in an empty network namespace; for users other than root within a user
    namespace.
    """
    unshare = shutil.which("unshare")
    if unshare is None:
        raise TemporaryError("unshare (util-linux) is not installed on this host.", service=SERVICE)
    if os.geteuid() == 0:
        return [unshare, "--net", "--", *command]
    return [buildah, "unshare", "--", unshare, "--net", "--", *command]
