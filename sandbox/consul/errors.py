"""The one error of the Consul server: a status and Consul's plain-text sentence."""

from __future__ import annotations


class ConsulError(Exception):
    """An answer other than success; the body is plain text, as Consul's is."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def no_leader() -> ConsulError:
    return ConsulError(500, "No cluster leader")
