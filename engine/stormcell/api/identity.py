"""Who a credential stands for: API keys, tokens, and the users who may have a token.

A token is `<what it says>.<signature>`: nothing is kept of it, it lives through a restart and ends
by its own expiry. It names the credential it was given for (a line of the file DATA/users, or an
API key) and ends with that, too.
Source of behaviour: st2auth/controllers/v1/auth.py and st2common/services/access.py of StackStorm
3.9.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from stormcell.errors import ForbiddenError, InvalidInputError
from stormcell.ids import new_id
from stormcell.rbac import SYSTEM_USERS
from stormcell.running import is_named
from stormcell.store import Execution, Store
from stormcell.store.access import ApiKey
from stormcell.store.sealing import load_key
from stormcell.store.store import KEY

USERS_FILE = "users"
LONGEST_TOKEN_SECONDS = 24 * 60 * 60
_SCRYPT = {"n": 2**14, "r": 8, "p": 1, "dklen": 32}  # 16 MB and some 50 ms for each guess
_NO_PASSWORD = "!"  # noqa: S105 - the sign that there is none
_EXECUTION, _SESSION = "execution:", "session:"
_PACK_CODE_SECONDS = 365 * 24 * 60 * 60  # they end earlier, with what they were given for
_PURPOSE = b"stormcell tokens v1"


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who calls, and how that is known."""

    user: str
    method: str
    expires_at: float | None = None
    location: str = "header"
    scopes: tuple[str, ...] = ()
    """What the key is narrowed down to; none: all that the user may do."""
    is_person: bool = True
    """Whether this is somebody with a password: a person speaks for nobody else."""
    is_pack_code: bool = False
    """An action or a sensor, by the token that it was given: it may do what its user may, except
    for what decides who may do what."""
    execution_id: str = ""
    """The running execution whose token it is."""
    is_account: bool = True
    """False for a person whom stormcell's own user named, as somebody in a chat, and who has no
    account here."""


class _Claims(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    user: str
    credential: str
    expires_at: float


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A new token; `text` is it, in clear, for the only time."""

    id: str
    user: str
    text: str
    expires_at: float


class Identity:
    """Knows callers and gives tokens."""

    def __init__(
        self,
        store: Store,
        *,
        running: Callable[[str], Execution | None] = lambda execution_id: None,
    ) -> None:
        """`running`: the execution with this id where it runs, for its token ends with it."""
        self._running = running
        self._session = store.session
        self._api_keys = store.api_keys
        self._users = Users(store.folder / USERS_FILE)
        # A key of its own for each purpose, derived from the one that is in the data folder.
        self._key = hmac.digest(load_key(store.folder / KEY), _PURPOSE, "sha256")

    def of(self, credential: str) -> Caller | None:
        """The caller behind an API key or a token; None for anything else, and for what has
        expired.
        """
        key = self._api_keys.enabled(credential)
        if key is not None:
            return self._caller(key) if self._is_present(key) else None
        claims = self._claims(credential)
        if claims is None or claims.expires_at <= time.time():
            return None
        caller = self._behind(claims)
        if caller is None:
            return None
        return msgspec.structs.replace(
            caller, method="authentication token", expires_at=claims.expires_at
        )

    def of_key(self, name: str, password: str) -> str | None:
        """Check an API key given as the password of its user. Return what a token for it hangs on."""
        key = self._api_keys.enabled(password)
        if key is None or key.user != name or not self._is_present(key):
            return None
        return _fingerprint(key.key_hash)

    def of_password(self, name: str, password: str) -> str | None:
        """Check a password of the file of users; return what a token for it hangs on. Slow on
        purpose: call it off the event loop."""
        return self._users.check(name, password)

    def token(self, user: str, credential: str, ttl_seconds: int | None = None) -> Token:
        """Give a token. InvalidInputError where it would live longer than is allowed."""
        ttl = LONGEST_TOKEN_SECONDS if ttl_seconds is None else ttl_seconds
        if ttl > LONGEST_TOKEN_SECONDS:
            raise InvalidInputError(
                f"TTL specified {ttl} is greater than max allowed {LONGEST_TOKEN_SECONDS}."
            )
        return self._signed(user, credential, ttl)

    def execution_token(self, execution_id: str, user: str) -> str:
        """A token for the time that an execution runs."""
        return self._signed(user, f"{_EXECUTION}{execution_id}", _PACK_CODE_SECONDS).text

    def session_token(self, user: str) -> str:
        """A token for the time that this process has the data folder open."""
        return self._signed(user, f"{_SESSION}{self._session}", _PACK_CODE_SECONDS).text

    def _signed(self, user: str, credential: str, ttl: int) -> Token:
        claims = _Claims(
            id=new_id(), user=user, credential=credential, expires_at=time.time() + ttl
        )
        body = base64.urlsafe_b64encode(msgspec.json.encode(claims)).decode("ascii").rstrip("=")
        text = f"{body}.{self._signature(body)}"
        return Token(id=claims.id, user=user, text=text, expires_at=claims.expires_at)

    def account_for_key(self, caller: Caller, user: str) -> str:
        """Check that a caller may make a key for a user; return the id of the user's entry.

        ForbiddenError for anybody's key but one's own; stormcell's own user makes those of service
        accounts.
        """
        account = self._users.account(user)
        is_own = user == caller.user
        if not is_own and (caller.user not in SYSTEM_USERS or account is None or account.is_person):
            raise ForbiddenError(
                "A key is its maker's own. For a program, "
                "`stormcell user add NAME --service` and `stormcell user key NAME`."
            )
        return account.id if account is not None else ""

    def _claims(self, text: str) -> _Claims | None:
        body, dot, signature = text.partition(".")
        if not dot or not hmac.compare_digest(
            self._signature(body).encode(), signature.encode("utf-8", "replace")
        ):
            return None
        try:
            padded = body + "=" * (-len(body) % 4)
            return msgspec.json.decode(base64.urlsafe_b64decode(padded), type=_Claims)
        except (binascii.Error, msgspec.MsgspecError, ValueError):
            return None

    def _signature(self, body: str) -> str:
        return hmac.digest(self._key, body.encode("utf-8", "replace"), "sha256").hex()

    def _behind(self, claims: _Claims) -> Caller | None:
        """Who a token was given to, where what it was given for is still there."""
        if claims.credential.startswith(_EXECUTION):
            id_ = claims.credential.removeprefix(_EXECUTION)
            execution = self._running(id_)
            if execution is None:
                return None
            account = self._users.account(claims.user)
            return Caller(
                user=claims.user,
                method="",
                is_person=account is None or account.is_person,
                is_pack_code=True,
                execution_id=id_,
                # A user who is not there although nobody named one was removed.
                is_account=account is not None or not is_named(execution.context),
            )
        if claims.credential == f"{_SESSION}{self._session}":
            return Caller(user=claims.user, method="", is_pack_code=True)
        if claims.credential == self._users.fingerprint(claims.user):
            return Caller(user=claims.user, method="")
        for key in self._api_keys.list():
            if _fingerprint(key.key_hash) == claims.credential and key.user == claims.user:
                return self._caller(key) if key.enabled and self._is_present(key) else None
        return None

    def _caller(self, key: ApiKey) -> Caller:
        account = self._users.account(key.user)
        is_person = account is not None and account.is_person
        return Caller(user=key.user, method="api key", scopes=key.scopes, is_person=is_person)

    def _is_present(self, key: ApiKey) -> bool:
        """Whether the user that a key was made for is still there."""
        if key.user in SYSTEM_USERS:
            return True
        account = self._users.account(key.user)
        return account is not None and account.id == key.account


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the file of users."""

    id: str
    """Of this entry: a name that is removed and added again has another."""
    is_person: bool
    """Whether there is a password; a service account has keys alone."""


class Users:
    """The file DATA/users: lines `name:salt:hash:id`, read again when it changes. `stormcell user`
    writes it. A service account has `!` for salt and hash.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._read_at: tuple[int, int] | None = None
        self._lines: dict[str, str] = {}

    def check(self, name: str, password: str) -> str | None:
        """Return the fingerprint of the user's line where the password fits. The time tells nothing
        of who exists.
        """
        line = self._present().get(name, "")
        salt, expected, _ = _parts(line)
        given = _scrypt(password, salt or "00" * 16)
        fits = given and hmac.compare_digest(given, expected)
        return _fingerprint(line) if line and fits else None

    def account(self, name: str) -> Account | None:
        line = self._present().get(name)
        if line is None:
            return None
        salt, _, account_id = _parts(line)
        return Account(id=account_id, is_person=salt != _NO_PASSWORD)

    def fingerprint(self, name: str) -> str | None:
        line = self._present().get(name)
        return None if line is None else _fingerprint(line)

    def put(self, name: str, password: str | None) -> None:
        """Add a user or change the password; without one it is a service account.

        InvalidInputError for a name that cannot be, or that of a person for a service account.
        """
        if not name or any(character in name for character in ":\n\r"):
            raise InvalidInputError(
                "The name of a user has at least one character, and neither a colon nor a new line."
            )
        if name in SYSTEM_USERS:
            raise InvalidInputError(f"{name} is a user of stormcell itself. Choose another name.")
        present = self.account(name)
        if present is not None and present.is_person != (password is not None):
            raise InvalidInputError(f"{name} is there already. Remove that user first.")
        salt = secrets.token_hex(16)
        hashed = f"{_NO_PASSWORD}:{_NO_PASSWORD}"
        if password is not None:
            hashed = f"{salt}:{_scrypt(password, salt)}"
        account_id = new_id() if present is None else present.id
        self._write({**self._present(), name: f"{hashed}:{account_id}"})

    def remove(self, name: str) -> bool:
        lines = dict(self._present())
        found = lines.pop(name, None) is not None
        self._write(lines)
        return found

    def names(self) -> list[str]:
        return sorted(self._present())

    def _present(self) -> dict[str, str]:
        try:
            status = self._file.stat()
        except FileNotFoundError:
            return {}
        stamp = (status.st_mtime_ns, status.st_ino)
        if stamp != self._read_at:
            pairs = (
                line.partition(":") for line in self._file.read_text(encoding="utf-8").splitlines()
            )
            self._lines = {
                name: rest for name, colon, rest in pairs if colon and not name.startswith("#")
            }
            self._read_at = stamp
        return self._lines

    def _write(self, lines: dict[str, str]) -> None:
        draft = self._file.with_name(f"{self._file.name}.new")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as target:
            target.writelines(f"{name}:{rest}\n" for name, rest in sorted(lines.items()))
        draft.replace(self._file)


def _scrypt(password: str, salt: str) -> str:
    try:
        return hashlib.scrypt(
            password.encode("utf-8", "replace"), salt=bytes.fromhex(salt), **_SCRYPT
        ).hex()
    except ValueError:
        return ""  # a line that somebody wrote by hand


def _parts(line: str) -> tuple[str, str, str]:
    """Salt, hash and id; lines of older versions have no id."""
    salt, hashed, account_id = [*line.split(":"), "", "", ""][:3]
    return salt, hashed, account_id


def _fingerprint(text: str) -> str:
    return hashlib.sha256(f"credential:{text}".encode()).hexdigest()[:16]
