"""`python -m sandbox.demo`: the main jobs on one machine: a database from apply to teardown, and an
image's rollout.
"""

from __future__ import annotations

import argparse
import fcntl
import shutil
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from sandbox.demo import programs
from sandbox.demo.application_act import ApplicationAct
from sandbox.demo.build_act import BuildAct
from sandbox.demo.database_act import DatabaseAct
from sandbox.demo.screen import Screen
from sandbox.demo.stage import Stage
from sandbox.environment import ROOT, Environment
from sandbox.realkube import RealKubeError

FOLDER = ROOT / ".demo"
MARK = ".kubestorm-demo"


class Demo:
    """The acts, in order. Each prints as it goes."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.screen = stage.screen
        self.database = DatabaseAct(stage)
        self.application = ApplicationAct(stage)
        self.is_kept = False

    def play(self, begin: float, *, keep: bool) -> None:
        """All of it. `begin` is when the program started, by the monotonic clock."""
        programs.install(self.screen)
        self.stage.set_up()
        self.screen.say(f"ready after {time.monotonic() - begin:.1f} s")
        self.database.create()
        self.database.show()
        self.database.resize()
        self.application.create()
        self.application.roll_out()
        self.application.break_it()
        self.application.mend()
        self.application.show()
        missing = programs.missing()
        if missing:
            self.screen.title(
                "A third act, from a commit to its rollout, needs more programs. On Debian, as root:"
            )
            self.screen.say(f"apt install {' '.join(missing)}")
        else:
            build = BuildAct(self.stage, self.application)
            build.create()
            build.change()
            build.show()
        if keep:
            self.keep()
        else:
            self.database.delete()

    def keep(self) -> None:
        """Leave everything up until a signal comes; it ends this by raising Interrupted."""
        it = self.stage.environment
        it.write_private("vault-token", it.vault_token)
        it.write_private("consul-token", it.consul_token)
        self.is_kept = True
        self.hand_over()
        while True:
            signal.pause()

    def hand_over(self) -> None:
        """Say how to try things by hand. Every line is a command or a comment, to be run in this
        folder.
        """
        it, folder = self.stage.environment, _relative(self.stage.environment.folder)
        say, database, application = self.screen.say, self.database, self.application
        below = f"kubestorm/{it.cluster}/{database.namespace}/{database.name}"
        self.screen.title("Everything stays up until Ctrl-C. In another terminal, in this folder:")
        if not shutil.which("kubectl"):
            say("# kubectl is not installed; on Debian: apt install kubernetes-client")
        say(f"export KUBECONFIG={folder}/kubeconfig")
        say("kubectl get databases,applications,rollouts -A -o wide")
        say(f"kubectl apply -f {database.file.relative_to(ROOT)}")
        say(f"kubectl describe database -n {database.namespace} {database.name}")
        say(f"kubectl describe application -n {application.namespace} {application.name}")
        say("")
        say(f"export VAULT_ADDR={it.vault.url} VAULT_TOKEN=$(cat {folder}/vault-token)")
        say(f'curl -sS -H "X-Vault-Token: $VAULT_TOKEN" $VAULT_ADDR/v1/secret/data/{below}')
        say(f"# where vault is installed: vault kv get secret/{below}")
        say("")
        say(
            f"export CONSUL_HTTP_ADDR={it.consul.url} CONSUL_HTTP_TOKEN=$(cat {folder}/consul-token)"
        )
        say(
            'curl -sS -H "X-Consul-Token: $CONSUL_HTTP_TOKEN" "$CONSUL_HTTP_ADDR/v1/kv/kubestorm/?recurse"'
        )
        say("# where consul is installed: consul kv get -recurse kubestorm/")
        say("")
        say("# what the engine did:")
        say(
            f"{_relative(Path(sys.executable).parent)}/stormcell executions --data {_relative(self.stage.engine.data)}"
        )


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


class Interrupted(BaseException):
    """A signal asked the demo to end. No Exception: nothing that handles errors may take it for
    one.
    """

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
    parser.add_argument(
        "--keep", action="store_true", help="leave everything up afterwards, until Ctrl-C (KEEP=1)"
    )
    parser.add_argument(
        "--kube",
        choices=["sandbox", "real"],
        default="sandbox",
        help="which Kubernetes API (KUBE=real: a real one)",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=FOLDER,
        help="where it keeps its files (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    begin = time.monotonic()
    screen = Screen()
    options.folder.parent.mkdir(parents=True, exist_ok=True)
    with (options.folder.parent / f"{options.folder.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            screen.say(
                "Another demo runs in this checkout; end it with Ctrl-C in its terminal first."
            )
            return 1
        return _play(screen, options, begin)


def _play(screen: Screen, options: argparse.Namespace, begin: float) -> int:
    if not _is_ours(options.folder):
        return _failure(
            screen,
            f"{options.folder} holds something else; name an empty folder, or one of an earlier demo.",
        )
    shutil.rmtree(options.folder, ignore_errors=True)
    options.folder.mkdir(parents=True, exist_ok=True)
    (options.folder / MARK).touch()
    stage = Stage(screen, Environment(options.folder, kube=options.kube, registry=True))
    demo = Demo(stage)
    _end_on_signals()
    code = 0
    try:
        demo.play(begin, keep=options.keep)
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
            stage.tear_down()
    screen.say("Nothing is left running.")
    return code


def _is_ours(folder: Path) -> bool:
    """Whether a folder may be emptied: nothing in it, or the files of an earlier demo."""
    return (
        folder == FOLDER
        or not folder.exists()
        or (folder / MARK).exists()
        or not any(folder.iterdir())
    )


def _failure(screen: Screen, sentence: str) -> int:
    screen.say(sentence)
    return 1


if __name__ == "__main__":
    sys.exit(main())
