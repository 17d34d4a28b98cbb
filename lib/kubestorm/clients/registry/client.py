"""The OCI distribution API through requests: what a tag points to, which tags there are, when an
image was made.

Nothing is changed and nothing is pulled. Digests that are read are computed where the registry does
not say them. A password goes to the registry and to the token service that it names, never along
with a redirect to another host. Source: the OCI distribution specification 1.1, and distribution's
docs/spec/auth for tokens.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import threading
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple
from urllib.parse import urljoin, urlsplit

from kubestorm.clients.registry.challenges import (
    Challenge,
    next_page,
    parse_challenge,
    retry_after_seconds,
)
from kubestorm.clients.registry.credentials import Login, read_login
from kubestorm.clients.registry.settings import ConnectionSettings, Registries
from kubestorm.core.errors import Error, NotFoundError, PermanentError, TemporaryError
from kubestorm.core.image_names import DIGEST, DOCKER_HUB, ImageName
from kubestorm.core.secrets import Secret
from kubestorm.core.settings import AwsSettings
from kubestorm.core.times import parse_time

SERVICE = "Registry"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
MANIFEST_TYPES = (OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST)
MAX_MANIFEST_BYTES = 4 * 1024 * 1024
"""What registries have to take at least, and mostly take at most."""
MAX_ANSWER_BYTES = 8 * 1024 * 1024
MAX_PAGES = 100
PAGE_SIZE = 1000
MAX_REDIRECTS = 5
MAX_INDEX_DEPTH = 2
TOKEN_SECONDS = 60.0
"""How long a token holds that does not say it (distribution's token.md)."""
TOKEN_MARGIN_SECONDS = 10.0
LOGIN_SECONDS = 60.0
PREFERRED_PLATFORM = ("linux", "amd64")
REPRODUCIBLE = dt.datetime(1980, 1, 2, tzinfo=dt.timezone.utc)
"""Builders that make the same image from the same source write 1970 or 1980 as its time, which is
none.
"""


class Look(NamedTuple):
    """What a tag points to now."""

    digest: str
    media_type: str = ""
    changed: bool = True
    """False where the registry said that it is what we knew."""


@dataclass(frozen=True)
class _Token:
    text: Secret
    until: float
    """Seconds of the clock."""


@dataclass(frozen=True)
class _Reply:
    """An answer that was read."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str


class RegistryClient:
    """All registries, each as its connection says. Thread-safe; raises the pack's errors only."""

    def __init__(
        self,
        settings: Registries,
        *,
        vault: Callable[[], Any],
        aws: AwsSettings,
        now: Callable[[], dt.datetime],
    ) -> None:
        self._settings, self._vault, self._aws, self._now = settings, vault, aws, now
        self._hosts: Dict[str, _Host] = {}
        self._lock = threading.Lock()

    def resolve(self, image: ImageName, reference: str) -> str:
        """The digest that a tag points to (a digest is itself, when it is there). NotFoundError
        where it is not.
        """
        return self.look(image, reference).digest

    def look(self, image: ImageName, reference: str, *, known: str = "") -> Look:
        """The same with its media type. With `known`, a digest, the registry need not say what we
        knew.
        """
        host, path = self._host(image), f"{_path(image)}/manifests/{reference}"
        headers = {"Accept": ", ".join(MANIFEST_TYPES)}
        if known:
            headers["If-None-Match"] = f'"{known}"'
        reply = host.ask("HEAD", path, image, headers=headers)
        if reply.status == 304:
            return Look(known, changed=False)
        digest, media_type = reply.headers.get("docker-content-digest", ""), _media_type(reply)
        if not DIGEST.fullmatch(digest):
            digest, media_type = self._digest_of(
                host.ask("GET", path, image, headers=headers), image
            )
        return Look(digest, media_type, digest != known)

    def tags(self, image: ImageName) -> List[str]:
        """All tags, in the registry's order. An empty repository has none; NotFoundError where
        there is none such.
        """
        found: List[str] = []
        host, path = self._host(image), f"{_path(image)}/tags/list?n={PAGE_SIZE}"
        for _ in range(MAX_PAGES):
            reply = host.ask("GET", path, image, headers={"Accept": "application/json"})
            document = _document(reply, image)
            found.extend(tag for tag in document.get("tags") or () if isinstance(tag, str))
            further = next_page(reply.headers.get("link", ""), reply.url)
            if further is None or further == reply.url:
                return found
            path = host.own_path(further, image)
        raise PermanentError(
            f"{image} has more than {MAX_PAGES * PAGE_SIZE} tags.", service=SERVICE
        )

    def image_created(self, image: ImageName, digest: str) -> Optional[dt.datetime]:
        """When an image was made; None where it does not say, or says the year of a reproducible
        build.

        Of an image for several platforms it is the one for linux/amd64, or else the first.
        """
        host, reference = self._host(image), digest
        for _ in range(MAX_INDEX_DEPTH):
            reply = host.ask(
                "GET",
                f"{_path(image)}/manifests/{reference}",
                image,
                headers={"Accept": ", ".join(MANIFEST_TYPES)},
                most=MAX_MANIFEST_BYTES,
            )
            _check_digest(reply.body, reference, image)
            manifest = _document(reply, image)
            config = (manifest.get("config") or {}).get("digest", "")
            if DIGEST.fullmatch(str(config)):
                reply = host.ask(
                    "GET", f"{_path(image)}/blobs/{config}", image, headers={"Accept": "*/*"}
                )
                _check_digest(reply.body, config, image)
                return parse_created(_document(reply, image).get("created"))
            reference = _for_platform(manifest)
            if not reference:
                return None
        return None

    def check(self, host: str) -> None:
        """Whether a registry answers and takes the login. Source: `GET /v2/` of the OCI
        distribution specification. Raises the pack's errors.
        """
        image = ImageName(host, "kubestorm/doctor")
        self._host(image).ask("GET", "/v2/", image, headers={"Accept": "application/json"})

    def close(self) -> None:
        """Give up pooled connections. Safe to repeat; a later use opens them again."""
        with self._lock:
            hosts, self._hosts = self._hosts, {}
        for host in hosts.values():
            host.close()

    def _host(self, image: ImageName) -> _Host:
        with self._lock:
            if image.registry not in self._hosts:
                connection = self._settings.connection(image.registry)
                login = lambda: read_login(connection, self._vault, self._aws)  # noqa: E731
                self._hosts[image.registry] = _Host(connection, login, self._now)
            return self._hosts[image.registry]

    def _digest_of(self, reply: _Reply, image: ImageName) -> Tuple[str, str]:
        if not reply.body:
            raise TemporaryError(
                f"{image.registry} sent a manifest of {image} without contents.", service=SERVICE
            )
        return f"sha256:{hashlib.sha256(reply.body).hexdigest()}", _media_type(reply)


class _Host:
    """One registry: a session, its tokens, and errors in words of ours."""

    def __init__(
        self,
        connection: ConnectionSettings,
        login: Callable[[], Optional[Login]],
        now: Callable[[], dt.datetime],
    ) -> None:
        import requests
        from requests.adapters import HTTPAdapter
        from urllib3.util.retry import Retry

        self._connection, self._login, self._now = connection, login, now
        self._session = requests.Session()
        self._session.auth = _nobody  # else requests would take a password from ~/.netrc
        # A pooled connection that the registry closed meanwhile is no failure.
        retry = Retry(
            total=1,
            connect=0,
            read=1,
            status=0,
            redirect=0,
            respect_retry_after_header=False,
            raise_on_status=False,
        )
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))
        self._tokens: Dict[Tuple[str, ...], _Token] = {}
        self._challenge: Optional[Challenge] = None
        self._kept_login: Tuple[float, Optional[Login]] = (0.0, None)
        self._lock = threading.Lock()

    def close(self) -> None:
        self._session.close()

    def own_path(self, url: str, image: ImageName) -> str:
        """The path of an address of this registry. Others are refused: they'd see a password."""
        parts = urlsplit(urljoin(self._connection.base_url, url))
        if _origin(parts.geturl()) != _origin(self._connection.base_url):
            raise PermanentError(
                f"{image.registry} names a next page of {image} elsewhere.", service=SERVICE
            )
        return f"{parts.path}?{parts.query}" if parts.query else parts.path

    def ask(
        self,
        method: str,
        path: str,
        image: ImageName,
        *,
        headers: Mapping[str, str],
        most: int = MAX_ANSWER_BYTES,
    ) -> _Reply:
        """One request, with a token where the registry asks for one. Returns 2xx and 304, raises
        the rest.
        """
        url = f"{self._connection.base_url}{path}"
        reply = self._send(
            method, url, {**headers, **self._authorization(image, fresh=False)}, most
        )
        if reply.status == 401:
            self._challenge = parse_challenge(reply.headers.get("www-authenticate", ""))
            authorization = self._authorization(image, fresh=True)
            if authorization:
                reply = self._send(method, url, {**headers, **authorization}, most)
        if reply.status in (200, 304):
            return reply
        raise self._refusal(reply, image)

    def _send(self, method: str, url: str, headers: Mapping[str, str], most: int) -> _Reply:
        """Follow redirects by hand: without authorization to another origin, and never from HTTPS
        to HTTP.
        """
        origin, named = _origin(url), dict(headers)
        for _ in range(MAX_REDIRECTS):
            with self._translated():
                answer = self._session.request(
                    method,
                    url,
                    headers=named,
                    timeout=self._connection.timeout_seconds,
                    verify=self._connection.ca_file or True,
                    allow_redirects=False,
                    stream=True,
                )
                with contextlib.closing(answer):
                    if answer.is_redirect:
                        target = urljoin(url, answer.headers["location"])
                    else:
                        body = _read(answer, most) if method != "HEAD" else b""
                        names = {name.lower(): value for name, value in answer.headers.items()}
                        return _Reply(answer.status_code, names, body, url)
            if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
                raise PermanentError(
                    f"{self._connection.host} redirects from HTTPS to HTTP.", service=SERVICE
                )
            url = target
            if _origin(url) != origin:
                named.pop("Authorization", None)  # for good, also where it comes back
        raise PermanentError(f"{self._connection.host} redirects in circles.", service=SERVICE)

    def _authorization(self, image: ImageName, *, fresh: bool) -> Dict[str, str]:
        """The header that the last challenge asks for; none where there was no challenge, or no
        login for it.
        """
        challenge = self._challenge
        if challenge is None:
            return {}
        if challenge.scheme == "basic":
            login = self._current_login(fresh=fresh)
            return {"Authorization": _basic(login)} if login else {}
        if challenge.scheme != "bearer":
            return {}
        realm, service = (
            challenge.parameters.get("realm", ""),
            challenge.parameters.get("service", ""),
        )
        scope = f"repository:{image.repository}:pull"
        key = (realm, service, scope)
        with self._lock:
            token = self._tokens.get(key)
        if fresh or token is None or token.until <= self._now().timestamp():
            token = self._new_token(realm, service, scope)
            with self._lock:
                self._tokens[key] = token
        return {"Authorization": f"Bearer {token.text.reveal()}"}

    def _current_login(self, *, fresh: bool) -> Optional[Login]:
        """Name and password, read again once a minute, and when the registry did not take them."""
        until, login = self._kept_login
        if fresh or until <= self._now().timestamp():
            login = self._login()
            self._kept_login = self._now().timestamp() + LOGIN_SECONDS, login
        return login

    def _new_token(self, realm: str, service: str, scope: str) -> _Token:
        """Source: distribution's docs/spec/auth/token.md."""
        if urlsplit(realm).scheme != "https" and not self._connection.insecure_http:
            raise PermanentError(
                f"{self._connection.host} names a token service that is not HTTPS, so it gets "
                "no password.",
                service=SERVICE,
            )
        parameters = {"service": service, "scope": scope}
        headers, login = {}, self._current_login(fresh=False)
        if login:
            headers["Authorization"] = _basic(login)
        with self._translated():
            answer = self._session.get(
                realm,
                params={key: value for key, value in parameters.items() if value},
                headers=headers,
                timeout=self._connection.timeout_seconds,
                verify=self._connection.ca_file or True,
                allow_redirects=False,
                stream=True,
            )
            with contextlib.closing(answer):
                body = _read(answer, MAX_ANSWER_BYTES)
        names = {name.lower(): value for name, value in answer.headers.items()}
        if answer.status_code != 200:
            raise self._refusal(_Reply(answer.status_code, names, body, realm), None)
        try:
            said = json.loads(body)
            text = said.get("token") or said["access_token"]
            seconds = float(said.get("expires_in") or TOKEN_SECONDS)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise TemporaryError(
                f"The token service of {self._connection.host} sent no token.", service=SERVICE
            ) from error
        until = self._now().timestamp() + max(0.0, seconds - TOKEN_MARGIN_SECONDS)
        return _Token(Secret(str(text)), until)

    def _refusal(self, reply: _Reply, image: Optional[ImageName]) -> Error:
        host, status = self._connection.host, reply.status
        what = f"{image}" if image else "a token"
        if status == 404:
            return NotFoundError(
                f"{host} has no such image: {what}.", service=SERVICE, status_code=status
            )
        if status in (401, 403):
            return PermanentError(
                f"{host} denies reading {what} ({status}): set registries.hosts with the host "
                f"{host} and its credentials.",
                service=SERVICE,
                status_code=status,
            )
        if status == 429 or status >= 500 or status == 408:
            wait = retry_after_seconds(reply.headers.get("retry-after"), self._now())
            why = "rate limited" if status == 429 else "unavailable"
            return TemporaryError(
                f"{host}: {why} ({status}) while reading {what}.",
                service=SERVICE,
                status_code=status,
                retry_after_seconds=wait,
            )
        return PermanentError(
            f"{host} answered {status} while reading {what}.", service=SERVICE, status_code=status
        )

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        import requests
        import urllib3.exceptions

        host = self._connection.host
        try:
            yield
        except requests.exceptions.SSLError as error:
            raise PermanentError(
                f"The certificate of {host} is not trusted; set ca_file of its entry in "
                "registries.hosts, or "
                "insecure_http where it speaks plain HTTP.",
                service=SERVICE,
            ) from error
        except requests.exceptions.Timeout as error:
            raise TemporaryError(
                f"{host} did not answer within {self._connection.timeout_seconds:g} seconds.",
                service=SERVICE,
            ) from error
        except ValueError as error:  # requests' own for addresses are ValueErrors too
            raise PermanentError(
                f"{host} names an address that is none.", service=SERVICE
            ) from error
        except (
            requests.exceptions.RequestException,
            urllib3.exceptions.HTTPError,
            OSError,
        ) as error:
            raise TemporaryError(
                f"{host} cannot be reached: {type(error).__name__}.", service=SERVICE
            ) from error


def parse_created(text: Any) -> Optional[dt.datetime]:
    """The `created` of an image's config, RFC 3339 with any number of decimals; None for what is no
    real time.
    """
    instant = parse_time(text)
    return instant if instant is not None and instant >= REPRODUCIBLE else None


def _for_platform(index: Mapping[str, Any]) -> str:
    """The digest of one manifest in an index: of the preferred platform, or else of the first that
    is an image.
    """
    found = ""
    for entry in index.get("manifests") or ():
        platform = entry.get("platform") or {}
        digest = str(entry.get("digest", ""))
        if platform.get("architecture") == "unknown" or not DIGEST.fullmatch(digest):
            continue  # an attestation of BuildKit's
        if (platform.get("os"), platform.get("architecture")) == PREFERRED_PLATFORM:
            return digest
        found = found or digest
    return found


def _path(image: ImageName) -> str:
    # Docker Hub keeps its official images below library/, which nobody writes.
    is_official = image.registry == DOCKER_HUB and "/" not in image.repository
    return f"/v2/{'library/' if is_official else ''}{image.repository}"


def _check_digest(body: bytes, digest: str, image: ImageName) -> None:
    algorithm, _, expected = digest.partition(":")
    if algorithm in ("sha256", "sha512") and hashlib.new(algorithm, body).hexdigest() != expected:
        raise TemporaryError(
            f"{image.registry} sent something else than {image}@{digest}.", service=SERVICE
        )


def _document(reply: _Reply, image: ImageName) -> Dict[str, Any]:
    try:
        found = json.loads(reply.body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise TemporaryError(f"{image.registry} sent no JSON about {image}.", service=SERVICE)
    return found


def _media_type(reply: _Reply) -> str:
    return reply.headers.get("content-type", "").partition(";")[0].strip()


def _read(answer: Any, most: int) -> bytes:
    parts, size = [], 0
    for part in answer.iter_content(65536):
        parts.append(part)
        size += len(part)
        if size > most:
            raise PermanentError(
                f"An answer of more than {most} bytes is not a manifest or a list.", service=SERVICE
            )
    return b"".join(parts)


def _origin(url: str) -> Tuple[str, str, Optional[int]]:
    parts = urlsplit(url)
    try:
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        port = None  # no port at all: requests says so when it is asked
    return parts.scheme, (parts.hostname or "").lower(), port


def _basic(login: Login) -> str:
    import base64

    return (
        "Basic " + base64.b64encode(f"{login.username}:{login.password.reveal()}".encode()).decode()
    )


def _nobody(request: Any) -> Any:
    return request
