"""What pods and Services answer through the sandbox's API server, and what the pretend node says of
logs.
"""

from __future__ import annotations

import pytest

from sandbox.kubernetes import podlife
from tests.kube_fixtures import eventually

UNWELL = "sha256:" + "d" * 64


def test_a_service_answers_by_its_ready_pods(workloads, running_kube):
    """As the program would: well, or 500 where the image says so; nobody there is the API server's
    own 503.
    """
    if running_kube.is_real:
        pytest.skip("a real API server finds no pods of a pretend node")
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}}
    workloads.create(
        "services", {**service, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}
    )
    path = f"{workloads.path('services', 'http:web:80')}/proxy/healthz"
    nobody = workloads.http.get(path)
    assert (nobody.status_code, nobody.json()["reason"]) == (503, "ServiceUnavailable")
    podlife.FATES_OF_DIGESTS[UNWELL] = "unwell"
    workloads.deploy("web", "shop@sha256:" + "e" * 64, 1)
    workloads.wait_rolled_out("web")
    well = workloads.http.get(path)
    assert (well.status_code, well.json()["ok"], well.json()["path"]) == (200, True, "/healthz")
    workloads.set_image("web", f"shop@{UNWELL}")
    workloads.wait_rolled_out("web")
    eventually(
        lambda: workloads.http.get(path).status_code == 500, "the new image answers, and is unwell"
    )
    (pod,) = [
        one for one in workloads.list("pods", "web") if not one["metadata"].get("deletionTimestamp")
    ]
    assert (
        workloads.http.get(f"{workloads.path('pods', pod['metadata']['name'])}/proxy/").status_code
        == 500
    )


def test_a_log_is_what_the_pod_is_annotated_with(workloads, request):
    """From the sandbox's API, and by a real API server from the pretend node."""
    if request.node.callspec.params["running_kube"] == "ours-on-real":
        pytest.skip("our controllers on a real API server run without a kubelet that serves logs")
    workloads.deploy("web", "shop:1", 1)
    workloads.wait_rolled_out("web")
    (pod,) = workloads.list("pods", "web")
    annotations = {"sandbox.kubestorm.io/log": "one\ntwo\nthree\n"}
    workloads.change("pods", pod["metadata"]["name"], {"metadata": {"annotations": annotations}})
    path = f"{workloads.path('pods', pod['metadata']['name'])}/log"
    eventually(
        lambda: workloads.http.get(path, params={"tailLines": "2"}).text == "two\nthree\n",
        "the last two lines",
    )
