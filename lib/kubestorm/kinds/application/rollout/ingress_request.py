"""One request to an ingress host as its users send it: the name is resolved once, the address is
checked, and the connection goes to the address that was checked.

A name that resolves to another address a moment later is not followed there. The name is used for
TLS verification and the Host header. Redirects are not followed.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from typing import Callable, Dict, List, Mapping, Optional, Sequence, Tuple
from urllib.parse import urlsplit

import urllib3
import urllib3.exceptions

from kubestorm.clients.kube import FIELD_MANAGER, Answer, read_answer
from kubestorm.core.errors import DefinitionError
from kubestorm.core.untrusted import Network, check_address, check_headers, check_host, check_path

Resolver = Callable[[str, int], Sequence[str]]
"""Host and port to addresses. Raises OSError."""


@dataclass(frozen=True)
class IngressRoute:
    """How ingress hosts are reached from here, and what may be reached."""

    address: str = ""
    """Operations' own (`https://10.0.0.5`): every request goes there, and no name is resolved."""
    tls: bool = True
    """Without an address: https to port 443, else http to port 80."""
    verify_tls: bool = True
    private: Tuple[Network, ...] = ()
    """Networks of private addresses that hosts may resolve to."""
    port: int = 0
    """Another than the scheme's."""


def resolve(host: str, port: int) -> List[str]:
    """The addresses of a host, by the system's resolver."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


def get(
    route: IngressRoute,
    host: str,
    path: str,
    *,
    headers: Mapping[str, str],
    timeout_seconds: float,
    resolver: Resolver = resolve,
    allow_loopback: bool = False,
    tls: Optional[ssl.SSLContext] = None,
) -> Answer:
    """GET a path of a host. DefinitionError where that is refused; urllib3's errors and OSError
    where there is no answer.

    `allow_loopback` and `tls` are for tests: servers of their own with certificates of their own.
    """
    check_host(host)
    sent = {**check_headers(headers), "Host": host, "User-Agent": FIELD_MANAGER}
    check_path(path)
    address, port, is_tls = _destination(route, host, resolver, allow_loopback=allow_loopback)
    with _pool(
        route, host, address, port, tls=(tls or _context(route)) if is_tls else None
    ) as pool:
        response = pool.urlopen(
            "GET",
            path,
            headers=sent,
            timeout=urllib3.Timeout(connect=timeout_seconds, read=timeout_seconds),
            retries=False,
            redirect=False,
            assert_same_host=False,
            preload_content=False,
        )
        return read_answer(response, timeout_seconds)


def _destination(
    route: IngressRoute, host: str, resolver: Resolver, *, allow_loopback: bool
) -> Tuple[str, int, bool]:
    if route.address:
        parts = urlsplit(route.address)
        is_tls = parts.scheme == "https"
        return parts.hostname or "", parts.port or (443 if is_tls else 80), is_tls
    port = route.port or (443 if route.tls else 80)
    addresses = resolver(host, port)
    # One that is refused among good ones is an attempt as well.
    for address in addresses:
        try:
            check_address(address, private=route.private, allow_loopback=allow_loopback)
        except DefinitionError as error:
            raise DefinitionError(f"host {host} is not requested: {error}") from error
    if not addresses:
        raise DefinitionError(f"host {host} has no address")
    return addresses[0], port, route.tls


def _context(route: IngressRoute) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not route.verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _pool(
    route: IngressRoute, host: str, address: str, port: int, *, tls: Optional[ssl.SSLContext]
) -> urllib3.HTTPConnectionPool:
    if tls is None:
        return urllib3.HTTPConnectionPool(address, port, maxsize=1)
    names: Dict[str, object] = {"server_hostname": host}
    names["assert_hostname"] = host if tls.check_hostname else False
    return urllib3.HTTPSConnectionPool(address, port, maxsize=1, ssl_context=tls, **names)
