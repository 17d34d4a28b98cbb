"""The listener's certificate, read again when its files change, as cert-manager and certbot replace
them.
"""

from __future__ import annotations

import ssl
import threading
from pathlib import Path
from typing import Optional, Tuple

from kubestorm.core.errors import DefinitionError
from kubestorm.sources.listener.settings import ListenerSettings


class TlsContext:
    """Certificate and key from two files."""

    def __init__(self, certificate_file: str, key_file: str) -> None:
        """Raises DefinitionError for files that cannot be used."""
        self._files = Path(certificate_file).expanduser(), Path(key_file).expanduser()
        self._lock = threading.Lock()
        try:
            self._seen, self._context = self._stamp(), self._load()
        except (OSError, ssl.SSLError) as error:
            why = (
                getattr(error, "reason", None)
                or getattr(error, "strerror", None)
                or type(error).__name__
            )
            raise DefinitionError(
                f"The listener's certificate_file {certificate_file} and key_file {key_file} "
                f"cannot be used: {why}.",
                field="listener.certificate_file",
            ) from error

    @classmethod
    def of(cls, settings: ListenerSettings) -> Optional[TlsContext]:
        """None where the listener does not speak TLS."""
        if settings.certificate_file and settings.key_file:
            return cls(settings.certificate_file, settings.key_file)
        return None

    def current(self) -> ssl.SSLContext:
        """The context of the newest files that fit together; while they do not, the one before."""
        with self._lock:
            try:
                stamp = self._stamp()
                if stamp != self._seen:
                    self._context = self._load()
                    self._seen = stamp
            except (OSError, ssl.SSLError):
                pass  # in the middle of being replaced: looked at again with the next connection
            return self._context

    def _stamp(self) -> Tuple[Tuple[int, int], ...]:
        found = tuple(path.stat() for path in self._files)
        return tuple((each.st_mtime_ns, each.st_ino) for each in found)

    def _load(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(*(str(path) for path in self._files))
        return context
