"""What an action is given for the API: a token that ends with its execution."""

from __future__ import annotations

import base64

import httpx

from tests.integration.engine.serving import Served

CALL = (
    "import os, urllib.request as u; "
    "print(u.urlopen(u.Request(os.environ['ST2_ACTION_API_URL'] + '{path}', method='{method}', "
    "headers=dict([('X-Auth-Token', os.environ['ST2_ACTION_AUTH_TOKEN'])]))).status)"
)


def _called(served: Served, path: str, method: str = "GET") -> str:
    code = CALL.format(path=path, method=method)
    result = served.run("core.local", cmd=f'python3 -c "{code}"')["result"]
    return str(result["stdout"]) + result["stderr"]


def test_the_token_of_an_action_serves_it_and_no_other(served: Served) -> None:
    """It lists executions; it makes no keys, and is worth nothing once the action has ended."""
    assert _called(served, "/executions") == "200"
    assert "403" in _called(served, "/apikeys")
    assert "403" in _called(served, "/apikeys", "POST")
    shown = served.run("core.local", cmd="echo $ST2_ACTION_AUTH_TOKEN | base64 -w0")["result"]
    clear = base64.b64decode(shown["stdout"]).decode().strip()
    assert "." in clear
    answer = httpx.get(
        f"{served.url}/v1/executions", headers={"X-Auth-Token": clear}, trust_env=False
    )
    assert answer.status_code == 401


def test_neither_key_nor_token_is_in_what_is_kept(served: Served) -> None:
    """`env` prints a token that is masked, and nothing of the administrator's key."""
    execution = served.run("core.local", cmd="env")
    assert "ST2_ACTION_AUTH_TOKEN=********" in execution["result"]["stdout"]
    assert served.key not in str(execution)
    keyed = served.run("core.local", cmd="""echo "{\\"$ST2_ACTION_AUTH_TOKEN\\": 1}" """)
    assert keyed["result"]["stdout"] == {"********": 1}
    output = served.http.get(f"/v1/executions/{execution['id']}/output").text
    assert "ST2_ACTION_AUTH_TOKEN=********" in output
