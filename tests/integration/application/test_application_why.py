"""`why` asks the API for what is about the object, on both servers."""

from __future__ import annotations

from kubestorm.people.chat.why import why


def test_only_the_events_and_rollouts_of_the_object_are_read(world):
    """By a field selector and by a label: those of a neighbour are not among them."""
    services = world.services()
    for name in ("cart", "neighbour"):
        resource = world.apply(name)
        services.kube.create_event(resource, reason="Odd", message=f"About {name}.", type="Warning")
    world.want_image("a", "neighbour")
    found = [
        (one["title"], one["text"]) for one in why(services, world.namespace, "cart")["findings"]
    ]
    services.close()
    assert found == [("Odd", "About cart.")]
