"""What actions bring, against what they say of it: secrets are masked, and on request the rest is
checked.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.integration.engine.serving import Served

PIN = "c0rrect-horse"


def test_output_is_masked_and_checked(serve: Callable[..., Served]) -> None:
    """With --validate-output what does not fit has failed in StackStorm's words; secrets are stars,
    also in workflows above."""
    served = serve("engine_outputs", options=("--validate-output",))
    fits = served.run("engine_outputs.bring", output={"count": 1, "pin": "a-pin", "key_a": "a-key"})
    assert fits["status"] == "succeeded"
    assert fits["result"]["result"] == {"count": 1, "pin": "********", "key_a": "********"}
    wrong = served.run("engine_outputs.bring", output={"count": "many", "pin": PIN})
    assert wrong["status"] == "failed"
    assert wrong["result"] == {
        "error": "'many' is not of type 'integer' (output result.count)",
        "message": "Error validating output. See error output for more details.",
    }
    through = served.run("engine_outputs.bring_through", output={"count": 1, "pin": PIN})
    assert (through["status"], through["result"]["output"]["brought"]["pin"]) == (
        "succeeded",
        "********",
    )
    child = served.get(f"/v1/executions/{through['children'][0]}")
    assert child["result"]["result"]["pin"] == "********"
    failed = served.run("engine_outputs.bring_through", output={"pin": PIN})
    assert failed["status"] == "failed", "a task whose output does not fit has failed"


def test_a_secret_default_is_masked_where_it_shows(serve: Callable[..., Served]) -> None:
    """A default read from the datastore is as secret as a value that was given: in the result, and
    as it is written.
    """
    served = serve("engine_outputs")
    assert (
        served.http.put("/v1/keys/door.pin", json={"value": PIN, "secret": True}).status_code == 200
    )
    told = served.run("engine_outputs.tell")
    assert (told["status"], told["result"]["stdout"]) == ("succeeded", "********")
    output = served.http.get(f"/v1/executions/{told['id']}/output").text
    assert "the pin is ********" in output
    assert PIN not in output + served.http.get("/v1/executions").text


def test_output_is_not_checked_by_default(serve: Callable[..., Served]) -> None:
    """As in StackStorm, the schema then says what is secret and no more."""
    brought = serve("engine_outputs").run(
        "engine_outputs.bring", output={"count": "many", "pin": PIN}
    )
    assert brought["status"] == "succeeded"
    assert brought["result"]["result"] == {"count": "many", "pin": "********"}
