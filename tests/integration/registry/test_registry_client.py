"""The distribution API as the pack asks it: of the real docker-registry, and of one that does what
others do.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from kubestorm.clients.registry.client import DOCKER_MANIFEST, OCI_INDEX, Look
from kubestorm.clients.services import open_services
from kubestorm.core.errors import DefinitionError, NotFoundError, PermanentError, TemporaryError
from kubestorm.core.image_names import ImageName
from kubestorm.core.secrets import Secret
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from sandbox.registry import MANIFEST_TYPE, RegistryProcess, push_image
from sandbox.serving import Server, make_certificate
from tests.integration.registry.conftest import client_of, needs_registry

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


def insecure(host: str, **more: Any) -> dict[str, Any]:
    return {"host": host, "insecure_http": True, **more}


def digest_of(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def test_a_real_registry_is_asked(registry):
    """Digest, media type, tags over many pages, the time of an image, and what does not exist."""
    image = ImageName(registry.host, "team/asked")
    client = client_of(insecure(registry.host))
    with registry.client() as pusher:
        digests = {
            tag: push_image(pusher, "team/asked", tag) for tag in ("1.0.0", "1.1.0", "main-1")
        }
    assert {tag: client.resolve(image, tag) for tag in digests} == digests
    assert client.resolve(image, digests["1.0.0"]) == digests["1.0.0"]
    assert client.look(image, "1.0.0") == Look(digests["1.0.0"], MANIFEST_TYPE)
    assert client.look(image, "1.0.0", known=digests["1.0.0"]) == Look(
        digests["1.0.0"], changed=False
    )
    assert client.look(image, "1.0.0", known=digests["1.1.0"]).changed
    assert sorted(client.tags(image)) == sorted(digests)
    assert client.image_created(image, digests["1.0.0"]) == dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    with pytest.raises(NotFoundError, match="team/asked"):
        client.resolve(image, "2.0.0")
    with pytest.raises(NotFoundError):
        client.tags(ImageName(registry.host, "team/none"))
    client.close()


def test_tags_are_read_page_by_page(registry, monkeypatch):
    """The registry's Link header leads from one page to the next."""
    monkeypatch.setattr("kubestorm.clients.registry.client.PAGE_SIZE", 2)
    with registry.client() as pusher:
        for number in range(5):
            push_image(pusher, "team/pages", f"1.{number}.0", content="same")
    tags = client_of(insecure(registry.host)).tags(ImageName(registry.host, "team/pages"))
    assert sorted(tags) == [f"1.{number}.0" for number in range(5)]


@needs_registry
def test_a_registry_with_a_password_and_tls(tmp_path):
    """The password comes from a file or Vault and is read again; without it, or without its
    authority, it is said.
    """
    certificate = make_certificate()
    (tmp_path / "ca.pem").write_text(certificate.ca)
    (tmp_path / "password").write_text("right\n")
    with RegistryProcess(tmp_path / "r", users={"ci": "right"}, certificate=certificate) as process:
        host, image = process.host, ImageName(process.host, "team/cart")
        with process.client() as pusher:
            digest = push_image(pusher, "team/cart", "1.0.0")
        trusted = {"host": host, "ca_file": str(tmp_path / "ca.pem")}
        login = {"username": "ci", "password_file": str(tmp_path / "password")}
        assert client_of({**trusted, "credentials": login}).resolve(image, "1.0.0") == digest

        class Vault:
            def full_path(self, path):
                return f"secret/{path}"

            def read_values(self, path):
                return (
                    {"username": Secret("ci"), "password": Secret("right")}
                    if path == "registry"
                    else None
                )

        in_vault = {**trusted, "credentials": {"vault_path": "registry"}}
        assert client_of(in_vault, vault=Vault()).resolve(image, "1.0.0") == digest
        with pytest.raises(NotFoundError, match="secret/none"):
            client_of({**trusted, "credentials": {"vault_path": "none"}}, vault=Vault()).resolve(
                image, "1.0.0"
            )
        with pytest.raises(PermanentError, match=r"registries\.hosts"):
            client_of(trusted).resolve(image, "1.0.0")
        with pytest.raises(PermanentError, match="ca_file"):
            client_of({"host": host}).resolve(image, "1.0.0")
        (tmp_path / "password").write_text("wrong")
        with pytest.raises(PermanentError) as refused:
            client_of({**trusted, "credentials": login}).resolve(image, "1.0.0")
        assert "wrong" not in str(refused.value)
        (tmp_path / "password").unlink()
        with pytest.raises(DefinitionError, match="password_file"):
            client_of({**trusted, "credentials": login}).resolve(image, "1.0.0")


@pytest.mark.parametrize("port", ["closed", "silent"])
def test_a_registry_that_is_away_is_worth_another_try(port):
    """Refused at once, or silent until the time is up."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        host = f"127.0.0.1:{server.getsockname()[1]}"
        if port == "closed":
            server.close()
        with pytest.raises(TemporaryError, match=host):
            client_of(insecure(host, timeout_seconds=0.2)).resolve(ImageName(host, "a"), "1")


class Odd:
    """A registry with token authentication that does what it is told to, and writes down what it
    was asked.
    """

    def __init__(self) -> None:
        self.config = json.dumps({"created": "2026-02-03T04:05:06.789Z"}).encode()
        self.manifest = json.dumps(
            {"schemaVersion": 2, "config": {"digest": digest_of(self.config)}}
        ).encode()
        index = {
            "manifests": [
                {
                    "digest": "sha256:" + "0" * 64,
                    "platform": {"os": "unknown", "architecture": "unknown"},
                },
                {
                    "digest": "sha256:" + "1" * 64,
                    "platform": {"os": "linux", "architecture": "arm64"},
                },
                {
                    "digest": digest_of(self.manifest),
                    "platform": {"os": "linux", "architecture": "amd64"},
                },
            ]
        }
        self.index = json.dumps(index).encode()
        self.answers: list[Response] = []
        self.asked: list[tuple[str, str, str]] = []
        self.tokens: list[tuple[str, dict[str, str]]] = []
        self.expires_in: int | None = 300
        self.needs_token, self.names_digest = False, True
        self.elsewhere: Server | None = None
        app = Starlette()
        app.add_route("/token", self.token)
        app.add_route("/{path:path}", self.api, methods=["GET", "HEAD"])
        self.server = Server(app).start()
        self.host = self.server.url.partition("://")[2]
        self.image = ImageName(self.host, "team/cart")

    async def token(self, request: Request) -> Response:
        self.tokens.append((request.headers.get("authorization", ""), dict(request.query_params)))
        document = {"token": f"t{len(self.tokens)}"}
        if self.expires_in is not None:
            document["expires_in"] = self.expires_in
        return Response(json.dumps(document))

    async def api(self, request: Request) -> Response:
        authorization = request.headers.get("authorization", "")
        self.asked.append((request.method, request.url.path, authorization))
        if self.answers:
            return self.answers.pop(0)
        if self.needs_token and authorization != f"Bearer t{len(self.tokens)}":
            challenge = (
                "Bearer "
                f'realm="{self.server.url}/token",service="odd",scope="repository:team/cart:pull"'
            )
            return Response(status_code=401, headers={"WWW-Authenticate": challenge})
        if request.url.path.startswith("/v2/team/cart/blobs/") and self.elsewhere:
            return RedirectResponse(f"{self.elsewhere.url}/blob")
        kinds = {
            "index": (self.index, OCI_INDEX),
            digest_of(self.index): (self.index, OCI_INDEX),
            digest_of(self.manifest): (self.manifest, DOCKER_MANIFEST),
            digest_of(self.config): (self.config, "application/octet-stream"),
        }
        body, kind = kinds.get(
            request.url.path.rpartition("/")[2], (self.manifest, DOCKER_MANIFEST)
        )
        headers = {"Docker-Content-Digest": digest_of(body)} if self.names_digest else {}
        return Response(body if request.method == "GET" else b"", media_type=kind, headers=headers)

    def client(self, **more: Any) -> Any:
        return client_of(insecure(self.host, **more), now=lambda: NOON)


@pytest.fixture
def odd() -> Iterator[Odd]:
    found = Odd()
    yield found
    found.server.stop()
    if found.elsewhere:
        found.elsewhere.stop()


def test_a_token_is_fetched_where_the_registry_says(odd, tmp_path):
    """With the login, for pulling one repository; it is used again until it ends, and fetched anew
    when refused.
    """
    (tmp_path / "password").write_text("hush")
    odd.needs_token = True
    client = odd.client(credentials={"username": "ci", "password_file": str(tmp_path / "password")})
    assert (
        client.resolve(odd.image, "1") == client.resolve(odd.image, "2") == digest_of(odd.manifest)
    )
    basic = "Basic " + base64.b64encode(b"ci:hush").decode()
    assert odd.tokens == [(basic, {"service": "odd", "scope": "repository:team/cart:pull"})]
    assert [authorization for _, _, authorization in odd.asked] == ["", "Bearer t1", "Bearer t1"]
    odd.tokens.append(("", {}))  # as if the registry had forgotten the first
    assert client.resolve(odd.image, "3") == digest_of(odd.manifest)
    assert len(odd.tokens) == 3


def test_a_token_that_ends_at_once_is_fetched_each_time(odd):
    """Nothing is used beyond the time that the token service gave it."""
    odd.needs_token, odd.expires_in = True, 5
    client = odd.client()
    client.resolve(odd.image, "1")
    client.resolve(odd.image, "1")
    assert len(odd.tokens) == 2
    assert odd.tokens[0][0] == ""


def test_a_token_service_without_tls_gets_no_password(odd, tmp_path):
    """A registry that is asked by HTTPS cannot make the pack send its password in the clear."""
    certificate = make_certificate()

    async def challenge(request: Request) -> Response:
        return Response(
            status_code=401, headers={"WWW-Authenticate": f'Bearer realm="{odd.server.url}/token"'}
        )

    app = Starlette()
    app.add_route("/{path:path}", challenge, methods=["GET", "HEAD"])
    server = Server(app, certificate=certificate).start()
    (tmp_path / "ca.pem").write_text(certificate.ca)
    host = server.url.partition("://")[2]
    try:
        with pytest.raises(PermanentError, match="token service"):
            client_of({"host": host, "ca_file": str(tmp_path / "ca.pem")}).resolve(
                ImageName(host, "a"), "1"
            )
    finally:
        server.stop()
    assert odd.tokens == []


def test_a_digest_that_is_not_said_is_computed(odd):
    """Some registries leave the header out of answers to HEAD."""
    odd.names_digest = False
    assert odd.client().resolve(odd.image, "1") == digest_of(odd.manifest)


def test_the_time_of_an_image_for_several_platforms_is_that_of_one(odd):
    """Of linux/amd64; attestations are passed over, and the config may be on another host, which
    gets no token.
    """
    seen: list[str | None] = []

    async def blob(request: Request) -> Response:
        seen.append(request.headers.get("authorization"))
        return Response(odd.config)

    app = Starlette()
    app.add_route("/blob", blob)
    odd.elsewhere = Server(app).start()
    odd.needs_token = True
    created = odd.client().image_created(odd.image, digest_of(odd.index))
    assert created == dt.datetime(2026, 2, 3, 4, 5, 6, 789000, tzinfo=dt.UTC)
    assert seen == [None]


def test_contents_that_do_not_fit_their_digest_are_not_believed(odd):
    """Whoever changed them on the way."""
    odd.answers = [Response(b'{"config": {}}')]
    with pytest.raises(TemporaryError, match="something else"):
        odd.client().image_created(odd.image, digest_of(odd.manifest))


ELSEWHERE = '<https://evil.example/x>; rel="next"'
REFUSALS = {
    "rate limit": (
        Response(status_code=429, headers={"Retry-After": "30"}),
        TemporaryError,
        "rate limited",
    ),
    "trouble": (Response(status_code=503), TemporaryError, "unavailable"),
    "not found": (Response(status_code=404), NotFoundError, "no such image"),
    "forbidden": (Response(status_code=403), PermanentError, "credentials"),
    "odd": (Response(status_code=418), PermanentError, "418"),
    "to another origin's page": (
        Response(b"{}", headers={"Link": '<https://evil.example/x>; rel="next"'}),
        PermanentError,
        "elsewhere",
    ),
    "no JSON": (Response(b"<html>"), TemporaryError, "no JSON"),
    "a list": (Response(b"[]"), TemporaryError, "no JSON"),
    "too much": (Response(b"x" * (9 * 1024 * 1024)), PermanentError, "more than"),
    "in circles": (None, PermanentError, "circles"),
    "to no address": (RedirectResponse("http://[x/"), PermanentError, "address"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_the_registry_refuses_is_said(odd, name):
    """In the branch that tells whether to try again, with the registry's name."""
    answer, kind, word = REFUSALS[name]
    odd.answers = [answer] if answer else [RedirectResponse("/v2/again") for _ in range(9)]
    with pytest.raises(kind, match=word) as caught:
        odd.client().tags(odd.image)
    assert caught.value.service == "Registry"
    if name == "rate limit":
        assert caught.value.retry_after_seconds == 30


def test_docker_hubs_official_images_are_below_library(odd):
    """`docker.io/redis` is asked for as library/redis, where a mirror is configured too."""
    client = client_of({"host": "docker.io", "url": odd.server.url, "insecure_http": True})
    client.resolve(ImageName("docker.io", "redis"), "7")
    client.resolve(ImageName("docker.io", "acme/cart"), "7")
    assert [path for _, path, _ in odd.asked] == [
        "/v2/library/redis/manifests/7",
        "/v2/acme/cart/manifests/7",
    ]


def test_services_have_the_registry(registry):
    """Actions and sensors reach it as all else, by the pack's configuration."""
    with registry.client() as pusher:
        digest = push_image(pusher, "team/served", "1.0.0")
    services = open_services({"cluster": "dev", "registries": {"hosts": [insecure(registry.host)]}})
    assert services.registry.resolve(ImageName(registry.host, "team/served"), "1.0.0") == digest
    assert services.registry is services.registry
    assert httpx.get(f"{registry.url}/v2/").status_code == 200


def test_ecr_is_asked_with_a_password_from_aws(odd, monkeypatch):
    """boto3 gets it for the registry's region; the registry sees name and password."""
    from sandbox.aws import AwsServer
    from sandbox.environment import AWS_ENVIRONMENT

    for key, value in AWS_ENVIRONMENT.items():
        monkeypatch.setenv(key, value)
    with AwsServer() as aws:
        monkeypatch.setenv("AWS_ENDPOINT_URL", aws.url)
        odd.answers = [Response(status_code=401, headers={"WWW-Authenticate": 'Basic realm="ecr"'})]
        host = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
        client = client_of(
            {
                "host": host,
                "url": odd.server.url,
                "insecure_http": True,
                "credentials": {"cloud": "ecr"},
            }
        )
        assert client.resolve(ImageName(host, "team/cart"), "1") == digest_of(odd.manifest)
    sent = base64.b64decode(odd.asked[-1][2].partition(" ")[2]).decode()
    assert sent.startswith("AWS:")


@pytest.mark.skipif(not shutil.which("skopeo"), reason="skopeo is not installed (Debian: skopeo)")
def test_what_skopeo_pushes_is_seen_as_it_is(registry, tmp_path):
    """An image in another family of types, copied by the tool that people use: digest, type and
    time agree.
    """
    with registry.client() as pusher:
        push_image(pusher, "team/source", "1.0.0")
    copy = [
        "skopeo",
        "--insecure-policy",
        "copy",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
    ]
    subprocess.run(
        [
            *copy,
            "--format",
            "v2s2",
            f"docker://{registry.host}/team/source:1.0.0",
            f"docker://{registry.host}/team/copied:1.0.0",
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    image, client = ImageName(registry.host, "team/copied"), client_of(insecure(registry.host))
    found = client.look(image, "1.0.0")
    inspected = subprocess.run(
        ["skopeo", "inspect", "--tls-verify=false", f"docker://{image}:1.0.0"],
        check=True,
        capture_output=True,
        timeout=60,
    )
    assert (found.digest, found.media_type) == (
        json.loads(inspected.stdout)["Digest"],
        DOCKER_MANIFEST,
    )
    assert client.image_created(image, found.digest) == dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
