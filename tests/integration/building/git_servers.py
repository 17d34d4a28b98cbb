"""Real git repositories, served as the world serves them: as files, by git http-backend, and by
sshd.
"""

from __future__ import annotations

import base64
import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

USER, PASSWORD = "builder", "correct-horse-battery"
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@test",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@test",
}
BACKEND = Path("/usr/lib/git-core/git-http-backend")


class Repository:
    """A bare repository that can be committed to, as a developer's pushes would."""

    def __init__(self, folder: Path, branch: str = "main") -> None:
        self.path = folder
        self._work = folder.with_suffix(".work")
        self.git(
            "init", "-q", "--bare", f"--initial-branch={branch}", str(folder), cwd=folder.parent
        )
        self.git("clone", "-q", str(folder), str(self._work), cwd=folder.parent)
        self.git("checkout", "-q", "-B", branch)

    @property
    def url(self) -> str:
        """Its address as files."""
        return f"file://{self.path}"

    def git(self, *words: str, cwd: Path | None = None) -> str:
        """Run git in the working copy."""
        done = subprocess.run(
            ["git", *words],
            cwd=cwd or self._work,
            env=ENVIRONMENT,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def write(self, files: Mapping[str, str | bytes]) -> None:
        """Put files into the working copy; a text that begins with `->` makes a symbolic link."""
        for name, content in files.items():
            path = self._work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, str) and content.startswith("->"):
                path.symlink_to(content[2:].strip())
            elif isinstance(content, bytes):
                path.write_bytes(content)
                path.chmod(0o755)
            else:
                path.write_text(content)

    def commit(
        self,
        files: Mapping[str, str | bytes] | None = None,
        *,
        message: str = "Change",
        **more: str,
    ) -> str:
        """Commit files (also by keyword, a name without dots) and push; the commit's id."""
        self.write({**(files or {}), **more})
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        self.git("push", "-q", "--force", "origin", "HEAD")
        return self.git("rev-parse", "HEAD")

    def checkout(self, branch: str, start: str = "HEAD") -> None:
        """Go on with another branch."""
        self.git("checkout", "-q", "-B", branch, start)


class _Backend(BaseHTTPRequestHandler):
    """git http-backend behind HTTP, with basic authentication where the server wants it."""

    server: HttpServer

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self) -> None:
        self.server.seen.append(self.headers.get("Authorization", ""))
        if self.server.redirect:
            self.send_response(302)
            self.send_header("Location", self.server.redirect + self.path)
            self.end_headers()
            return
        expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.server.private and self.headers.get("Authorization") != expected:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        env = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.server.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_USER": USER,
        }
        done = subprocess.run([str(BACKEND)], input=body, env=env, capture_output=True, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        status, headers = 200, []
        for line in head.decode().split("\r\n"):
            name, _, value = line.partition(": ")
            if name == "Status":
                status = int(value.split()[0])
            elif name:
                headers.append((name, value))
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class HttpServer(ThreadingHTTPServer):
    """Serves all repositories of a folder; `seen` are the Authorization headers that came."""

    daemon_threads = True

    def __init__(self, root: Path, *, private: bool = False, redirect: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _Backend)
        self.root, self.private, self.redirect = root, private, redirect
        self.seen: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextlib.contextmanager
def http_server(root: Path, **more: Any) -> Iterator[HttpServer]:
    """A server on a port of the kernel's choice."""
    if not BACKEND.exists():
        pytest.skip("git http-backend is not installed")
    with HttpServer(root, **more) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class SshServer:
    """sshd for this user alone, on loopback, with keys of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> SshServer:
        program = shutil.which("sshd") or "/usr/sbin/sshd"
        if not Path(program).exists():
            pytest.skip("sshd is not installed; on Debian: apt install openssh-server")
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in ("host", "client", "stranger"):
            key = self.folder / name
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True
            )
        (self.folder / "authorized").write_text((self.folder / "client.pub").read_text())
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        config = self.folder / "config"
        config.write_text(
            f"ListenAddress 127.0.0.1:{self.port}\nHostKey {self.folder}/host\nPidFile none\n"
            "StrictModes no\n"
            f"AuthorizedKeysFile {self.folder}/authorized\nUsePAM no\nPasswordAuthentication no\n"
            "PermitRootLogin prohibit-password\nAcceptEnv GIT_PROTOCOL\nPrintMotd no\n"
        )
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [program, "-D", "-e", "-f", str(config)], stdout=log, stderr=log
            )
        deadline = time.monotonic() + 10
        while b"listening" not in (self.folder / "log").read_bytes():
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return self

    def url(self, repository: Repository) -> str:
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{repository.path}"

    def key(self, name: str = "client") -> str:
        """A private key; `stranger` is let in nowhere."""
        return (self.folder / name).read_text()

    @property
    def known_hosts(self) -> str:
        return f"[127.0.0.1]:{self.port} {(self.folder / 'host.pub').read_text()}"

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def __enter__(self) -> SshServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
