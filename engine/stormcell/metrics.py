"""Counts of what the engine did, for `/metrics` in Prometheus' text form."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Metrics:
    """The engine's own registry, so that two engines in one process (tests) do not share counts."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.trigger_instances = Counter(
            "stormcell_trigger_instances",
            "Trigger instances taken in, by outcome.",
            ["status"],
            registry=self._registry,
        )
        self.rules_matched = Counter(
            "stormcell_rules_matched", "Rules that matched.", registry=self._registry
        )
        self.enforcements_failed = Counter(
            "stormcell_rule_enforcements_failed",
            "Rules that could not be judged or enforced.",
            registry=self._registry,
        )
        self.executions = Counter(
            "stormcell_executions",
            "Executions that ended, by status and runner.",
            ["status", "runner"],
            registry=self._registry,
        )
        self.execution_seconds = Histogram(
            "stormcell_execution_seconds",
            "From start to end of an execution.",
            ["runner"],
            buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 60, 600),
            registry=self._registry,
        )
        self.running = Gauge(
            "stormcell_executions_running",
            "Executions that run.",
            ["runner"],
            registry=self._registry,
        )
        self.queued = Gauge(
            "stormcell_executions_queued",
            "Executions that wait.",
            ["runner"],
            registry=self._registry,
        )
        self.write_failures = Gauge(
            "stormcell_store_write_failures",
            "Transactions that the disk refused.",
            registry=self._registry,
        )

        self._ends: dict[tuple[str, str], tuple[Counter, Histogram]] = {}

    def ended(self, status: str, runner: str, seconds: float) -> None:
        """Count an end. What the labels stand for is looked up once."""
        found = self._ends.get((status, runner))
        if found is None:
            found = self.executions.labels(status, runner), self.execution_seconds.labels(runner)
            self._ends[(status, runner)] = found
        count, histogram = found
        count.inc()
        histogram.observe(seconds)

    def render(self) -> bytes:
        return generate_latest(self._registry)
