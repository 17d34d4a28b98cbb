"""`python -m sandbox.demo`: the main job on one machine, from apply to Ready, through a change, to the teardown."""

from __future__ import annotations

import argparse
import fcntl
import shutil
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

import yaml

from sandbox.demo.follow import Follower
from sandbox.demo.screen import Screen
from sandbox.engine_process import EngineProcess
from sandbox.environment import ROOT, Environment
from sandbox.realkube import RealKubeError

FOLDER = ROOT / ".demo"
MARK = ".kubestorm-demo"
EXAMPLE = ROOT / "examples" / "database.yaml"
LARGER = "large"
STEP_TIMEOUT_SECONDS = 90.0
API_VERSION, KIND = "kubestorm.io/v1alpha1", "Database"

Json = dict[str, Any]


class Demo:
    """The acts, in order. Each prints as it goes."""

    def __init__(self, screen: Screen, environment: Environment) -> None:
        self.screen = screen
        self.environment = environment
        self.engine: EngineProcess
        self.is_kept = False
        self.manifest = _example()
        metadata = self.manifest["metadata"]
        self.name, self.namespace = metadata["name"], metadata["namespace"]

    def set_up(self) -> None:
        """Start everything and say where it is."""
        self.screen.title("Starting")
        with self.screen.spinner("the sandbox"):
            self.environment.start()
            self.environment.create_namespace(self.namespace)
        for name, url in self.addresses().items():
            self.screen.say(f"{name:<11} {url}")
        with self.screen.spinner("stormcell"):
            self.engine = self.environment.engine()
            self.engine.start()
        self.screen.say(f"{'stormcell':<11} {self.engine.url}")
        self.follower = Follower(engine=self.engine, read_resource=self.resource)

    def addresses(self) -> dict[str, str]:
        """Name -> URL of the services."""
        it = self.environment
        return {"Kubernetes": it.kubernetes.url, "AWS": it.aws.url, "Consul": it.consul.url, "Vault": it.vault.url}

    def resource(self) -> Json | None:
        """The Database as it is now."""
        return self.environment.read(API_VERSION, KIND, self.name, self.namespace)

    def is_ready(self) -> bool:
        """Ready for the newest generation."""
        found = self.resource() or {}
        status = found.get("status") or {}
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ())
        return ready and status.get("observedGeneration") == found["metadata"]["generation"]

    def create(self) -> None:
        """Apply the example; follow until Ready."""
        self.screen.title(f"kubectl apply -f {EXAMPLE.relative_to(ROOT)}")
        self.screen.restart_clock()
        self.environment.apply(self.manifest)
        self._follow("waiting for RDS", self.is_ready)
        self.screen.say(f"Ready {self.screen.elapsed_seconds:.1f} s after apply")

    def show(self) -> None:
        """What exists now, in each service. The password is not among it."""
        found = self.resource() or {}
        status = found["status"]
        rows = [("Kubernetes", f"database {self.namespace}/{self.name}", _ready_text(status))]
        for instance in self.environment.rds().describe_db_instances()["DBInstances"]:
            rows.append(
                ("AWS RDS", instance["DBInstanceIdentifier"], f"{instance['DBInstanceClass']} {instance['Engine']}")
            )
        for path in self.environment.vault_paths("kubestorm/"):
            rows.append(("Vault", f"secret/{path}", "username, password (not shown)"))
        rows += [("Consul", key, value) for key, value in self.environment.consul_tree("kubestorm/").items()]
        self.screen.table("What now exists", rows)

    def resize(self) -> None:
        """Ask for a larger size; follow until it is so."""
        self.screen.title(f"kubectl edit database {self.name}: size {self.manifest['spec']['size']} -> {LARGER}")
        self.screen.restart_clock()
        before = self._instance_class()
        self.manifest["spec"]["size"] = LARGER
        self.environment.apply(self.manifest)
        self._follow("waiting for RDS", lambda: self._instance_class() != before and self.is_ready())
        self.screen.say(f"{before} -> {self._instance_class()} after {self.screen.elapsed_seconds:.1f} s")

    def delete(self) -> None:
        """Delete with deletionPolicy Snapshot; follow the teardown and show what is left."""
        self.screen.title(f"kubectl delete database {self.name}   (deletionPolicy: Snapshot)")
        self.screen.restart_clock()
        self.environment.delete(API_VERSION, KIND, self.name, self.namespace)
        self._follow("waiting for the snapshot", lambda: self.resource() is None)
        self.screen.say(f"gone after {self.screen.elapsed_seconds:.1f} s")
        rds = self.environment.rds()
        rows = [
            ("AWS RDS", snapshot["DBSnapshotIdentifier"], f"{snapshot['SnapshotType']} snapshot, {snapshot['Status']}")
            for snapshot in rds.describe_db_snapshots()["DBSnapshots"]
        ]
        left = len(rds.describe_db_instances()["DBInstances"])
        rows += [("AWS RDS", "instances", str(left))]
        for path in self.environment.vault_paths("kubestorm/"):
            rows.append(("Vault", f"secret/{path}", "kept while the snapshot exists"))
        rows.append(("Consul", "kubestorm/", f"{len(self.environment.consul_tree('kubestorm/'))} keys"))
        self.screen.table("What is left", rows)

    def keep(self) -> None:
        """Leave everything up until a signal comes; it ends this by raising Interrupted."""
        self.environment.write_private("vault-token", self.environment.vault_token)
        self.environment.write_private("consul-token", self.environment.consul_token)
        self.is_kept = True
        self.hand_over()
        while True:
            signal.pause()

    def hand_over(self) -> None:
        """Say how to try things by hand. Every line is a command or a comment, to be run in this folder."""
        it, folder = self.environment, _relative(self.environment.folder)
        say = self.screen.say
        below = f"kubestorm/{it.cluster}/{self.namespace}/{self.name}"
        self.screen.title("Everything stays up until Ctrl-C. In another terminal, in this folder:")
        if not shutil.which("kubectl"):
            say("# kubectl is not installed; on Debian: apt install kubernetes-client")
        say(f"export KUBECONFIG={folder}/kubeconfig")
        say("kubectl get databases -A -o wide")
        say(f"kubectl apply -f {EXAMPLE.relative_to(ROOT)}")
        say(f"kubectl describe database -n {self.namespace} {self.name}")
        say("")
        say(f"export VAULT_ADDR={it.vault.url} VAULT_TOKEN=$(cat {folder}/vault-token)")
        say(f'curl -sS -H "X-Vault-Token: $VAULT_TOKEN" $VAULT_ADDR/v1/secret/data/{below}')
        say(f"# where vault is installed: vault kv get secret/{below}")
        say("")
        say(f"export CONSUL_HTTP_ADDR={it.consul.url} CONSUL_HTTP_TOKEN=$(cat {folder}/consul-token)")
        say('curl -sS -H "X-Consul-Token: $CONSUL_HTTP_TOKEN" "$CONSUL_HTTP_ADDR/v1/kv/kubestorm/?recurse"')
        say("# where consul is installed: consul kv get -recurse kubestorm/")
        say("")
        say("# what the engine did:")
        say(f"{_relative(Path(sys.executable).parent)}/stormcell executions --data {_relative(self.engine.data)}")

    def _instance_class(self) -> str:
        instances = self.environment.rds().describe_db_instances()["DBInstances"]
        return str(instances[0]["DBInstanceClass"]) if instances else ""

    def _follow(self, waiting_for: str, is_done: Any) -> None:
        self.screen.follow(waiting_for, self.follower.new_lines, is_done, timeout_seconds=STEP_TIMEOUT_SECONDS)


def _example() -> Json:
    documents = [document for document in yaml.safe_load_all(EXAMPLE.read_text()) if document]
    return next(document for document in documents if document["kind"] == KIND)


def _ready_text(status: Json) -> str:
    ready: Json = next((c for c in status.get("conditions") or () if c["type"] == "Ready"), {})
    return f"Ready={ready.get('status', 'Unknown')}"


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


class Interrupted(BaseException):
    """A signal asked the demo to end. No Exception: nothing that handles errors may take it for one."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _end_on_signals() -> None:
    def interrupt(number: int, _frame: FrameType | None) -> None:
        _ignore_signals()
        raise Interrupted(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)


def _ignore_signals() -> None:
    """While everything is being stopped, further signals would only leave something running."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; the exit code is 0 when every act ended as it should."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave everything up afterwards, until Ctrl-C (KEEP=1)")
    parser.add_argument(
        "--kube", choices=["sandbox", "real"], default="sandbox", help="which Kubernetes API (KUBE=real: a real one)"
    )
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where it keeps its files (default: %(default)s)")
    options = parser.parse_args(arguments)
    begin = time.monotonic()
    screen = Screen()
    options.folder.parent.mkdir(parents=True, exist_ok=True)
    with (options.folder.parent / f"{options.folder.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            screen.say("Another demo runs in this checkout; end it with Ctrl-C in its terminal first.")
            return 1
        return _play(screen, options, begin)


def _play(screen: Screen, options: argparse.Namespace, begin: float) -> int:
    if not _is_ours(options.folder):
        return _failure(
            screen, f"{options.folder} holds something else; name an empty folder, or one of an earlier demo."
        )
    shutil.rmtree(options.folder, ignore_errors=True)
    options.folder.mkdir(parents=True, exist_ok=True)
    (options.folder / MARK).touch()
    demo = Demo(screen, Environment(options.folder, kube=options.kube))
    _end_on_signals()
    code = 0
    try:
        _play_acts(demo, begin, keep=options.keep)
    except RealKubeError as error:
        code = _failure(screen, str(error))
    except (TimeoutError, RuntimeError) as error:
        code = _failure(screen, f"The demo stopped: {error}")
        screen.say(f"The engine's log is {_relative(options.folder)}/engine/stormcell.log")
    except OSError as error:
        code = _failure(screen, f"The demo could not go on: {error}")
    except Interrupted as interrupted:
        code = 0 if demo.is_kept else 128 + interrupted.number
    finally:
        _ignore_signals()
        with screen.spinner("stopping everything"):
            if hasattr(demo, "engine"):
                demo.engine.stop()
            demo.environment.stop()
    screen.say("Nothing is left running.")
    return code


def _is_ours(folder: Path) -> bool:
    """Whether a folder may be emptied: nothing in it, or the files of an earlier demo."""
    return folder == FOLDER or not folder.exists() or (folder / MARK).exists() or not any(folder.iterdir())


def _play_acts(demo: Demo, begin: float, *, keep: bool) -> None:
    demo.set_up()
    demo.screen.say(f"ready after {time.monotonic() - begin:.1f} s")
    demo.create()
    demo.show()
    demo.resize()
    if keep:
        demo.keep()
    else:
        demo.delete()


def _failure(screen: Screen, sentence: str) -> int:
    screen.say(sentence)
    return 1


if __name__ == "__main__":
    sys.exit(main())
