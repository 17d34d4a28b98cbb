"""The parts of the listener by themselves: JSON within bounds, who sent it, secrets that change,
settings.
"""

from __future__ import annotations

import base64
import hmac
import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubestorm.core.errors import DefinitionError, NotFoundError, TemporaryError
from kubestorm.core.secrets import Secret
from kubestorm.sources.listener import (
    Answer,
    BasicCheck,
    FileSecrets,
    HmacCheck,
    Listener,
    ListenerSettings,
    QueryCheck,
    RefusedError,
    Request,
    Route,
    TokenCheck,
    Unsigned,
    VaultSecrets,
)
from kubestorm.sources.listener.messages import MAX_DEPTH, parse_json

BODY = b'{"a": 1}'


class Known:
    """Secrets that are there."""

    def __init__(self, *texts: str) -> None:
        self._texts = texts

    def secrets(self):
        return tuple(Secret(text) for text in self._texts)


def request(
    body: bytes = BODY, *, path: str = "/a", query: str = "", method: str = "POST", **headers: str
) -> Request:
    named = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    return Request(method, path, query, {"content-type": "application/json", **named}, body)


def digest(secret: str, body: bytes = BODY, algorithm: str = "sha256") -> bytes:
    return hmac.new(secret.encode(), body, algorithm).digest()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"a": NaN}',
        b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
        b'{"a":' * 100_000,
        b"1" * 5000,
        b'{"a": 1} x',
        '{"a": 1}'.encode("utf-16"),
    ],
    ids=["empty", "half", "no text", "NaN", "deep", "very deep", "many digits", "rest", "UTF-16"],
)
def test_a_body_that_is_not_json_within_bounds_is_refused(body):
    """Whatever it is, the one error comes out, and soon."""
    with pytest.raises(DefinitionError):
        parse_json(body)


DOCUMENTS = st.recursive(
    st.none() | st.integers(-(2**63), 2**64) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(DOCUMENTS)
def test_json_comes_back_as_it_was(document):
    """Brackets inside texts do not count as depth."""
    assert parse_json(json.dumps(document).encode()) == document


def test_brackets_in_texts_are_no_depth():
    """A text may hold any number of brackets and quoted quotes."""
    text = '[{"\\' * 200
    assert parse_json(json.dumps([text]).encode()) == [text]


SIGNED = digest("k")
GITHUB = HmacCheck(Known("old", "k"), "X-Hub-Signature-256", prefix="sha256=")
QUAY = HmacCheck(Known("k"), "X-Sig", "sha1", "base64")


@pytest.mark.parametrize(
    "check, headers, status",
    [
        (GITHUB, {"X_Hub_Signature_256": "sha256=" + SIGNED.hex()}, None),
        (GITHUB, {"X_Hub_Signature_256": "sha256=" + SIGNED.hex().upper()}, None),
        (GITHUB, {"X_Hub_Signature_256": "sha256=" + digest("old").hex()}, None),
        (GITHUB, {"X_Hub_Signature_256": SIGNED.hex()}, 403),
        (GITHUB, {"X_Hub_Signature_256": "sha256=" + digest("other").hex()}, 403),
        (GITHUB, {"X_Hub_Signature_256": "sha256=" + SIGNED.hex()[:-2]}, 403),
        (GITHUB, {"X_Hub_Signature_256": "sha256=zz"}, 403),
        (GITHUB, {"X_Hub_Signature_256": "sha256=ü"}, 403),
        (GITHUB, {}, 401),
        (QUAY, {"X_Sig": base64.b64encode(digest("k", algorithm="sha1")).decode()}, None),
        (QUAY, {"X_Sig": base64.b64encode(SIGNED).decode()}, 403),
        (QUAY, {"X_Sig": "="}, 403),
        (TokenCheck(Known("t", "u")), {"Authorization": "Bearer u"}, None),
        (TokenCheck(Known("t")), {"Authorization": "bearer  t"}, None),
        (TokenCheck(Known("t")), {"Authorization": "t"}, 403),
        (TokenCheck(Known("t")), {"Authorization": "Basic t"}, 403),
        (TokenCheck(Known("t")), {"Authorization": "Bearer é"}, 403),
        (TokenCheck(Known("t")), {}, 401),
        (TokenCheck(Known("t"), "X-Token", ""), {"X_Token": "t"}, None),
        (TokenCheck(Known("t"), "X-Token", ""), {"X_Token": "Bearer t"}, 403),
        (
            BasicCheck(Known("p:q"), "ann"),
            {"Authorization": "Basic " + base64.b64encode(b"ann:p:q").decode()},
            None,
        ),
        (
            BasicCheck(Known("p"), "ann"),
            {"Authorization": "Basic " + base64.b64encode(b"bob:p").decode()},
            401,
        ),
        (
            BasicCheck(Known("p"), "ann"),
            {"Authorization": "Basic " + base64.b64encode(b"ann:x").decode()},
            401,
        ),
        (BasicCheck(Known("p"), "ann"), {"Authorization": "Basic !"}, 401),
        (BasicCheck(Known("p"), "ann"), {}, 401),
        (QueryCheck(Known("t")), {"query": "a=b&token=t"}, None),
        (QueryCheck(Known("t&=ü"), "key"), {"query": "key=t%26%3D%C3%BC"}, None),
        (QueryCheck(Known("t")), {"query": "token=u"}, 403),
        (QueryCheck(Known("t")), {"query": "token="}, 401),
        (QueryCheck(Known("t")), {"query": "&".join(["token=t"] * 50)}, 401),
        (QueryCheck(Known("t")), {}, 401),
        (Unsigned(), {}, None),
    ],
)
def test_a_sender_is_known_or_refused(check, headers, status):
    """Missing is 401, wrong is 403; any of several secrets holds; odd letters are wrong and no
    fault.
    """
    if status is None:
        assert check(request(**headers)) is None
        return
    with pytest.raises(RefusedError) as caught:
        check(request(**headers))
    assert caught.value.status_code == status


@given(st.text(), st.sampled_from(["authorization", "x-hub-signature-256", "x-sig"]))
def test_no_header_but_the_right_one_passes(value, name):
    """Any other text is refused, and never an error of another kind."""
    for check in (
        GITHUB,
        QUAY,
        TokenCheck(Known("secret-token")),
        BasicCheck(Known("secret"), "ann"),
    ):
        with pytest.raises(RefusedError):
            check(Request("POST", "/a", "", {name: value}, BODY))


def test_a_file_of_secrets_is_read_again_when_it_changed(tmp_path):
    """Rewritten in place or replaced, the next look sees it; gone or empty is said, and mended by
    itself.
    """
    path = tmp_path / "secret"
    path.write_text("one\n")
    source = FileSecrets(str(path), field="registries.sources[0].secret_file")

    def seen():
        return [secret.reveal() for secret in source.secrets()]

    assert seen() == ["one"]
    path.write_text("one\n\n two \n")
    assert seen() == ["one", "two"]
    (tmp_path / "new").write_text("six")
    (tmp_path / "new").replace(path)
    assert seen() == ["six"]
    path.write_text("\n")
    with pytest.raises(DefinitionError, match="empty"):
        source.secrets()
    path.unlink()
    with pytest.raises(DefinitionError, match=r"registries.sources\[0\].secret_file"):
        source.secrets()
    path.write_text("back")
    assert seen() == ["back"]


def test_vault_is_asked_once_a_minute():
    """What it said holds for a minute, and nothing is not remembered."""
    now, texts, asked = [0.0], ["one", "two", "", "three"], []

    def read(path):
        asked.append(path)
        return {"token": Secret(texts.pop(0))}

    source = VaultSecrets(read, "webhooks/harbor", "token", clock=lambda: now[0])
    assert [source.secrets()[0].reveal() for _ in range(3)] == ["one"] * 3
    now[0] = 60.0
    assert source.secrets()[0].reveal() == "two"
    now[0] = 120.0
    with pytest.raises(NotFoundError):
        source.secrets()
    assert source.secrets()[0].reveal() == "three"
    assert asked == ["webhooks/harbor"] * 4


@pytest.mark.parametrize(
    "section, field",
    [
        ({"prot": 1}, "a.b.prot"),
        ({"port": "80"}, "a.b.port"),
        ({"port": 70000}, "a.b.port"),
        ({"port": True}, "a.b.port"),
        ({"max_body_bytes": 0}, "a.b.max_body_bytes"),
        ({"max_body_bytes": 1.5}, "a.b.max_body_bytes"),
        ({"host": 1}, "a.b.host"),
        ({"certificate_file": "x"}, "a.b.certificate_file"),
        ({"health_path": "x"}, "a.b.health_path"),
    ],
    ids=str,
)
def test_a_setting_that_is_wrong_is_named(section, field):
    """The error's field is the path of the setting."""
    with pytest.raises(DefinitionError) as caught:
        ListenerSettings.from_config(section, field="a.b")
    assert caught.value.field == field


def test_what_the_operator_left_out_has_defaults():
    """StackStorm fills in empty values; they are not said."""
    assert ListenerSettings.from_config({"host": "", "port": None}, field="x") == ListenerSettings()
    assert ListenerSettings.from_config(None, field="x") == ListenerSettings()


UNSIGNED = Unsigned()


def listener(
    receive=lambda request: Answer.text(202, "Taken."), check=UNSIGNED, clock=lambda: 0.0
) -> Listener:
    made = Listener(
        ListenerSettings(),
        [Route("/a", "a", check, receive)],
        logging.getLogger("test"),
        clock=clock,
    )
    made.stop()
    return made


def raising(error):
    def receive(request):
        raise error

    return receive


@pytest.mark.parametrize(
    "receive, sent, status, outcome",
    [
        (lambda request: Answer.text(202, "Taken."), request(), 202, {"a": {"accepted": 1}}),
        (
            lambda request: Answer.text(200, "-", outcome="ignored"),
            request(),
            200,
            {"a": {"ignored": 1}},
        ),
        (None, request(path="/b"), 404, {"-": {"unknown_path": 1}}),
        (None, request(method="GET"), 405, {"a": {"wrong_method": 1}}),
        (None, request(content_type="text/plain"), 415, {"a": {"wrong_type": 1}}),
        (None, request(content_type=""), 415, {"a": {"wrong_type": 1}}),
        (None, request(content_encoding="gzip"), 415, {"a": {"wrong_type": 1}}),
        (lambda request: request.json(), request(b"{"), 400, {"a": {"malformed": 1}}),
        (
            raising(TemporaryError("x", retry_after_seconds=7)),
            request(),
            503,
            {"a": {"unavailable": 1}},
        ),
        (raising(NotFoundError("x")), request(), 503, {"a": {"unavailable": 1}}),
        (raising(ZeroDivisionError()), request(), 500, {"a": {"failed": 1}}),
    ],
)
def test_each_outcome_has_its_status_and_is_counted(receive, sent, status, outcome):
    """Whatever the route's own code raises becomes an answer."""
    made = listener(receive)
    assert made.handle(sent).status == status
    assert made.counters.snapshot() == outcome


def test_a_question_by_options_needs_no_content_type():
    """It has no body; who asks is checked all the same, and where it is not taken it is refused."""
    secrets = Known("t")
    route = Route(
        "/a", "a", TokenCheck(secrets), lambda request: Answer(200), methods=("POST", "OPTIONS")
    )
    made = Listener(ListenerSettings(), [route], logging.getLogger("test"))
    made.stop()
    ask = Request("OPTIONS", "/a", "", {"authorization": "Bearer t"}, b"")
    assert made.handle(ask).status == 200
    assert made.handle(Request("OPTIONS", "/a", "", {}, b"")).status == 401
    assert listener().handle(ask).status == 405


def test_a_content_type_may_have_parameters_and_any_letters():
    """Only the media type itself counts."""
    assert listener().handle(request(content_type="Application/JSON; charset=UTF-8")).status == 202


def test_a_secret_that_cannot_be_read_is_no_fault_of_the_sender(tmp_path):
    """503, so that it sends again; the sentence about our file goes into the log and not over the
    wire.
    """
    source = FileSecrets(str(tmp_path / "gone"), field="x")
    answer = listener(check=TokenCheck(source)).handle(request(authorization="Bearer t"))
    assert answer.status == 503
    assert "Retry-After" in answer.headers
    assert b"gone" not in answer.body


def test_refusals_are_logged_once_a_minute(caplog):
    """A flood fills no disk: the first of its kind is written, the rest is counted."""
    now = [0.0]
    made = listener(clock=lambda: now[0])
    for _ in range(100):
        made.handle(request(path="/b"))
    now[0] = 60.0
    made.handle(request(path="/b"))
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "listener.unknown_path"
    ] * 2
    assert made.counters.snapshot() == {"-": {"unknown_path": 101}}


def test_two_routes_cannot_have_one_path():
    """Nor can a route have the path of the health page."""
    route = Route("/a", "a", Unsigned(), lambda request: Answer(200))
    for routes in (
        [route, route],
        [Route("/healthz", "a", Unsigned(), lambda request: Answer(200))],
    ):
        with pytest.raises(DefinitionError):
            Listener(ListenerSettings(), routes, logging.getLogger("test"))
