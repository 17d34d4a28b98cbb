"""Rules on timers, in a running engine."""

from __future__ import annotations

from collections.abc import Callable

from tests.integration.engine.serving import Served, eventually


def test_a_timer_runs_its_rule(serve: Callable[..., Served]) -> None:
    """A rule on an interval leads to one execution after the other, until it is switched off."""
    served = serve("engine_timed")

    runs = eventually(
        lambda: len(found := served.get("/v1/executions", action="core.noop")) >= 2 and found
    )

    instance = served.get(f"/v1/triggerinstances/{runs[0]['trigger_instance']['id']}")
    assert instance["payload"]["schedule"] == {"unit": "seconds", "delta": 1}
    rule = served.get("/v1/rules/engine_timed.each_second")
    served.http.put("/v1/rules/engine_timed.each_second", json={**rule, "enabled": False})
    assert eventually(lambda: not served.get("/v1/rules/engine_timed.each_second")["enabled"])
    count = len(served.get("/v1/executions", action="core.noop"))
    served.stop()
    assert len(serve("engine_timed").get("/v1/executions", action="core.noop")) <= count + 1
