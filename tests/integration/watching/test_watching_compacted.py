"""What only a real control plane can do to a watch: forget its history, and be away."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kubestorm.clients.kube import KubeSettings, connect

from sandbox.realkube import RealKube
from tests.integration.watching.conftest import Recorder, StartWatching, Widgets, define
from tests.kube_fixtures import SKIPPED_BECAUSE

pytestmark = pytest.mark.realkube


@pytest.fixture(scope="module")
def own_kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealKube]:
    """A control plane of this file's own: other tests do not like its outages."""
    assets = RealKube.assets_from_environment()
    if assets is None:
        pytest.skip(SKIPPED_BECAUSE)
    with RealKube(assets, tmp_path_factory.mktemp("ownkube"), controller_manager=False) as kube:
        yield kube


@pytest.fixture
def own_widgets(own_kube: RealKube) -> Iterator[Widgets]:
    """The kind, defined there, in the default namespace; its objects are removed afterwards."""
    client = connect(KubeSettings(kubeconfig=str(own_kube.kubeconfig)))
    made = Widgets(client, define(client, "watching.example.org"), "default")
    yield made
    for obj in list(client.list_all(made.resource, "default")):
        made.delete(obj["metadata"]["name"])
    client.close()


def test_history_compacted_during_downtime_gives_the_differences(
    own_kube: RealKube, own_widgets: Widgets, start_watching: StartWatching
) -> None:
    """etcd forgot the version that was read last: 410, a list, and only what differs is told."""
    before = Recorder()
    for name in ("kept", "changed", "gone"):
        own_widgets.make(name)
    hub = start_watching(own_widgets.client, before, own_widgets.parameters)
    before.wait(lambda: len(before.payloads) == 3, "three objects")
    hub.stop()
    own_widgets.change("changed", size=2)
    own_widgets.delete("gone")
    own_kube.compact()
    after = Recorder(before.values)
    start_watching(own_widgets.client, after, own_widgets.parameters)
    after.wait(lambda: len(after.payloads) >= 2, "the differences")
    own_widgets.make("last")
    after.wait(lambda: len(after.payloads) >= 3, "the last")
    assert sorted(after.told) == [("created", "last"), ("deleted", "gone"), ("updated", "changed")]
    after.wait_line("watch.listed")


def test_an_outage_is_one_line_and_no_event(
    own_kube: RealKube, own_widgets: Widgets, start_watching: StartWatching
) -> None:
    """The API server goes away under an open watch and comes back with an empty memory: nothing is
    repeated.
    """
    recorder = Recorder()
    own_widgets.make("one")
    start_watching(own_widgets.client, recorder, own_widgets.parameters)
    recorder.wait_told(("created", "one"))
    own_kube.stop_api()
    recorder.wait_line("watch.unavailable")
    own_kube.start_api()
    own_widgets.change("one", size=2)
    recorder.wait_told(("created", "one"), ("updated", "one"))
    assert sum("watch.unavailable" in line for line in recorder.lines) == 1
