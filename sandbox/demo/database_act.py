"""The first act: a Database becomes an RDS instance, is changed, and is deleted with a snapshot."""

from __future__ import annotations

from sandbox.demo.stage import API_VERSION, EXAMPLES, Json, Player, Stage, example
from sandbox.environment import ROOT

LARGER = "large"


class DatabaseAct(Player):
    """The Database of examples/database.yaml."""

    def __init__(self, stage: Stage) -> None:
        self.file = EXAMPLES / "database.yaml"
        super().__init__(stage, example(self.file, "Database"))

    def create(self) -> None:
        """Apply the example; follow until Ready."""
        self.screen.title(f"kubectl apply -f {self.file.relative_to(ROOT)}")
        self.screen.restart_clock()
        self.apply()
        self.follow("waiting for RDS", self.is_ready)
        self.screen.say(f"Ready {self.screen.elapsed_seconds:.1f} s after apply")

    def show(self) -> None:
        """What exists now, in each service. The password is not among it."""
        found = self.resource() or {}
        rows = [
            ("Kubernetes", f"database {self.namespace}/{self.name}", _ready_text(found["status"]))
        ]
        for instance in self.environment.rds().describe_db_instances()["DBInstances"]:
            rows.append(
                (
                    "AWS RDS",
                    instance["DBInstanceIdentifier"],
                    f"{instance['DBInstanceClass']} {instance['Engine']}",
                )
            )
        for path in self.environment.vault_paths("kubestorm/"):
            rows.append(("Vault", f"secret/{path}", "username, password (not shown)"))
        rows += [
            ("Consul", key, value)
            for key, value in self.environment.consul_tree("kubestorm/").items()
        ]
        self.screen.table("What now exists", rows)

    def resize(self) -> None:
        """Ask for a larger size; follow until it is so."""
        self.screen.title(
            f"kubectl edit database {self.name}: size {self.manifest['spec']['size']} -> {LARGER}"
        )
        self.screen.restart_clock()
        before = self._instance_class()
        self.manifest["spec"]["size"] = LARGER
        self.apply()
        self.follow("waiting for RDS", lambda: self._instance_class() != before and self.is_ready())
        self.screen.say(
            f"{before} -> {self._instance_class()} after {self.screen.elapsed_seconds:.1f} s"
        )

    def delete(self) -> None:
        """Delete with deletionPolicy Snapshot; follow the teardown and show what is left."""
        self.screen.title(f"kubectl delete database {self.name}   (deletionPolicy: Snapshot)")
        self.screen.restart_clock()
        self.environment.delete(API_VERSION, self.kind, self.name, self.namespace)
        self.follow("waiting for the snapshot", lambda: self.resource() is None)
        self.screen.say(f"gone after {self.screen.elapsed_seconds:.1f} s")
        rds = self.environment.rds()
        rows = [
            (
                "AWS RDS",
                snapshot["DBSnapshotIdentifier"],
                f"{snapshot['SnapshotType']} snapshot, {snapshot['Status']}",
            )
            for snapshot in rds.describe_db_snapshots()["DBSnapshots"]
        ]
        left = len(rds.describe_db_instances()["DBInstances"])
        rows += [("AWS RDS", "instances", str(left))]
        for path in self.environment.vault_paths("kubestorm/"):
            rows.append(("Vault", f"secret/{path}", "kept while the snapshot exists"))
        rows.append(
            ("Consul", "kubestorm/", f"{len(self.environment.consul_tree('kubestorm/'))} keys")
        )
        self.screen.table("What is left", rows)

    def _instance_class(self) -> str:
        instances = self.environment.rds().describe_db_instances()["DBInstances"]
        return str(instances[0]["DBInstanceClass"]) if instances else ""


def _ready_text(status: Json) -> str:
    ready: Json = next((c for c in status.get("conditions") or () if c["type"] == "Ready"), {})
    return f"Ready={ready.get('status', 'Unknown')}"
