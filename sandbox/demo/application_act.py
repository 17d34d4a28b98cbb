"""The second act: a pushed image becomes a rollout, and a broken one is taken back with the reason."""

from __future__ import annotations

from sandbox.demo.stage import API_VERSION, EXAMPLES, Json, Player, Stage, example
from sandbox.environment import ROOT
from sandbox.kubernetes.podlife import FATE_ANNOTATION
from sandbox.kubernetes.subresources import LOG_ANNOTATION

FIRST, SECOND, BROKEN, MENDED = "1.0.0", "1.1.0", "1.2.0", "1.2.1"
LAST_WORDS = "fatal: no such table: carts\n"


class ApplicationAct(Player):
    """The Application of examples/application.yaml, with its image in the sandbox's registry."""

    def __init__(self, stage: Stage) -> None:
        self.file = EXAMPLES / "application.yaml"
        super().__init__(stage, example(self.file, "Application"))
        image = self.manifest["spec"]["image"]
        self.repository = image["repository"].partition("/")[2]
        image["repository"] = self.repository
        # It starts slowly on a busy machine, and fails within the demo's patience.
        self.manifest["spec"]["health"]["startSeconds"] = 10

    def create(self) -> None:
        """Push a first image, apply the Application that follows it, and wait until it runs."""
        registry = self.environment.registry
        assert registry is not None  # noqa: S101 (the demo's environment always has one)
        self.screen.title(
            f"push {registry.host}/{self.repository}:{FIRST}; kubectl apply -f {self._file}"
        )
        self.screen.restart_clock()
        self.environment.push_image(self.repository, FIRST)
        self.apply()
        self.follow("waiting for the pods", self.is_ready)
        self.screen.say(f"Ready {self.screen.elapsed_seconds:.1f} s after apply")

    def roll_out(self) -> None:
        """Push a newer version: the registry tells, and the Application follows."""
        self.screen.title(f"push {self.repository}:{SECOND}")
        self.screen.restart_clock()
        digest = self.environment.push_image(self.repository, SECOND)
        self.follow(
            "waiting for the pods", lambda: self._outcome(digest) == "Complete" and self.is_ready()
        )
        self.screen.say(f"rolled out {self.screen.elapsed_seconds:.1f} s after the push")

    def break_it(self) -> None:
        """Push a version whose program ends at once: it is tried, and taken back."""
        self.screen.title(f"push {self.repository}:{BROKEN}, whose program crashes")
        self.screen.restart_clock()
        labels = {FATE_ANNOTATION: "crash", LOG_ANNOTATION: LAST_WORDS}
        digest = self.environment.push_image(self.repository, BROKEN, labels=labels)
        self.follow(
            "waiting for the pods",
            lambda: self._outcome(digest) == "Failed" and self._pods_are_well(),
        )
        self.screen.say(f"back on {SECOND} {self.screen.elapsed_seconds:.1f} s after the push")

    def mend(self) -> None:
        """Push the repaired version."""
        self.screen.title(f"push {self.repository}:{MENDED}, which is mended")
        self.screen.restart_clock()
        digest = self.environment.push_image(self.repository, MENDED)
        self.follow(
            "waiting for the pods", lambda: self._outcome(digest) == "Complete" and self.is_ready()
        )
        self.screen.say(f"rolled out {self.screen.elapsed_seconds:.1f} s after the push")

    def show(self) -> None:
        """What exists now, and why."""
        found = self.environment.read("apps/v1", "Deployment", self.name, self.namespace) or {}
        status = found.get("status") or {}
        image = found["spec"]["template"]["spec"]["containers"][0]["image"]
        rows = [
            (
                "Deployment",
                self.name,
                f"{status.get('availableReplicas', 0)} available, {_short(image)}",
            )
        ]
        for rollout in self._rollouts():
            spec, state = rollout["spec"], rollout.get("status") or {}
            said = state.get("message") or state.get("reason") or ""
            rows.append(("Rollout", f"{spec['image'].get('tag')} {state.get('phase')}", said))
        self.screen.table("What now exists", rows)

    @property
    def _file(self) -> str:
        return str(self.file.relative_to(ROOT))

    def _rollouts(self) -> list[Json]:
        """This Application's Rollouts, oldest first."""
        found = self.environment.read_all(API_VERSION, "Rollout", self.namespace)
        mine = [each for each in found if each["spec"]["applicationRef"]["name"] == self.name]
        return sorted(mine, key=lambda each: each["metadata"]["creationTimestamp"])

    def _outcome(self, digest: str) -> str:
        found = [each for each in self._rollouts() if each["spec"]["image"]["digest"] == digest]
        return str((found[-1].get("status") or {}).get("phase")) if found else ""

    def _pods_are_well(self) -> bool:
        found = self.environment.read("apps/v1", "Deployment", self.name, self.namespace) or {}
        status = found.get("status") or {}
        wanted = found.get("spec", {}).get("replicas")
        return all(
            status.get(key) == wanted
            for key in ("updatedReplicas", "availableReplicas", "replicas")
        )


def _short(image: str) -> str:
    name, _, digest = image.partition("@sha256:")
    return f"{name}@sha256:{digest[:12]}"
