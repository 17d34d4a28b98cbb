"""The third act: a commit becomes an image, and the image a rollout. It needs git, buildah and
docker-registry.
"""

from __future__ import annotations

import copy
import os
import subprocess
from pathlib import Path

from sandbox.demo.application_act import ApplicationAct
from sandbox.demo.stage import API_VERSION, Json, Player, Stage

NAME, BRANCH = "site", "main"
DOCKERFILE = "FROM scratch\nCOPY index.html /index.html\n"


class BuildAct:
    """An ImageBuild of a git repository on this machine, and an Application that follows what it
    builds.
    """

    def __init__(self, stage: Stage, like: ApplicationAct) -> None:
        self.stage, self.screen, self.environment = stage, stage.screen, stage.environment
        self.source = stage.environment.folder / "site.git-work"
        namespace = like.namespace
        repository = f"{namespace}/{NAME}"
        site = copy.deepcopy(like.manifest)
        site["metadata"]["name"] = NAME
        site["spec"] |= {"image": {"repository": repository}, "follow": {"branch": BRANCH}}
        self.application = Player(stage, site)
        spec = {
            "source": {"url": f"file://{self.source.resolve()}", "branch": BRANCH},
            "images": [{"name": NAME, "repository": repository}],
        }
        metadata = {"name": NAME, "namespace": namespace}
        self.build = Player(
            stage,
            {"apiVersion": API_VERSION, "kind": "ImageBuild", "metadata": metadata, "spec": spec},
        )

    def create(self) -> None:
        """Commit, apply, and wait until the commit's image runs."""
        self.source.mkdir()
        self._git("init", "--quiet", f"--initial-branch={BRANCH}")
        commit = self._commit("<h1>Hello</h1>\n")
        self.screen.title(
            f"git commit ({commit[:8]}); kubectl apply of an ImageBuild and an Application, both {NAME}"
        )
        self.screen.restart_clock()
        self.build.apply()
        self.application.apply()
        self.build.follow("waiting for buildah", lambda: self._is_built(commit))
        self.application.follow("waiting for the pods", lambda: self._runs(commit))
        self.screen.say(f"the commit runs {self.screen.elapsed_seconds:.1f} s after apply")

    def change(self) -> None:
        """Commit again: nobody calls, the branch is looked at."""
        commit = self._commit("<h1>Hello again</h1>\n")
        self.screen.title(f"git commit ({commit[:8]})")
        self.screen.restart_clock()
        self.build.follow(
            "waiting for the branch to be looked at, and for buildah",
            lambda: self._is_built(commit),
        )
        self.application.follow("waiting for the pods", lambda: self._runs(commit))
        self.screen.say(f"the commit runs {self.screen.elapsed_seconds:.1f} s after it was made")

    def show(self) -> None:
        """What was built, and what runs."""
        status = (self.build.resource() or {})["status"]
        rows = [
            (
                "ImageBuild",
                image["name"],
                f"{', '.join(image['tags'])} in {image.get('durationSeconds', 0):.1f} s",
            )
            for image in status["images"]
        ]
        image = self._deployed()
        rows.append(("Deployment", NAME, f"runs {image.partition('@')[2][:19]}"))
        self.screen.table("What now exists", rows)

    def _commit(self, text: str) -> str:
        Path(self.source, "Dockerfile").write_text(DOCKERFILE)
        Path(self.source, "index.html").write_text(text)
        self._git("add", "--all")
        self._git(
            "-c",
            "user.name=demo",
            "-c",
            "user.email=demo@example.com",
            "commit",
            "--quiet",
            "--message=Change",
        )
        return self._git("rev-parse", "HEAD")

    def _git(self, *arguments: str) -> str:
        environment = {**os.environ, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.source,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"git {arguments[0]} failed: {done.stderr.strip()}")
        return done.stdout.strip()

    def _image(self) -> Json:
        images = ((self.build.resource() or {}).get("status") or {}).get("images") or [{}]
        found: Json = images[0]
        return found

    def _is_built(self, commit: str) -> bool:
        good = self._image().get("lastGood") or {}
        if self._image().get("state") == "Failed":
            raise RuntimeError(
                f"the build failed: {self._image().get('message')}\n{self._image().get('logTail', '')}"
            )
        return good.get("commit") == commit and self.build.is_ready()

    def _runs(self, commit: str) -> bool:
        good = self._image().get("lastGood") or {}
        return (
            good.get("commit") == commit
            and good["digest"] in self._deployed()
            and self.application.is_ready()
        )

    def _deployed(self) -> str:
        namespace = self.application.namespace
        found = self.environment.read("apps/v1", "Deployment", NAME, namespace) or {}
        containers = found.get("spec", {}).get("template", {}).get("spec", {}).get(
            "containers"
        ) or [{}]
        return str(containers[0].get("image", ""))
