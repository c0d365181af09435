"""API keys: made, listed and revoked by operators; checked for every request, from memory where that will do."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from threading import Lock
from uuid import UUID

from app.db.keys import KeyRepository
from app.db.session import Sessions, make_sessions
from app.domain.ids import uuid7
from app.domain.keys import DEFAULT_TEAM, Key, Role, is_name, is_token, new_token, shown_prefix, token_hash
from app.errors import (
    AlreadyStoredError,
    FaultyField,
    InvalidRequestError,
    UnauthenticatedApiError,
    UnknownKeyError,
)
from app.settings import Settings

CACHE_SECONDS = 5.0
"""How long a process trusts what it read of a key: a revoked key is refused everywhere after this time."""
BOOTSTRAP = "bootstrap"
"""The name of the key of the settings."""
MARGIN_SECONDS = 1.0
"""What was read is promised to be believed for this much less: the promise still holds where it is used."""
USE_NOTED_EVERY = timedelta(minutes=1)


def utc_now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)


class KeyService:
    """One transaction per method; of a key's secret only the hash is kept."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        now: Callable[[], datetime] = utc_now,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sessions = sessions
        self._now = now
        self._clock = clock
        self._lock = Lock()
        self._read: dict[bytes, tuple[float, Key]] = {}
        self._hashes: dict[UUID, bytes] = {}
        self._looked_at = float("-inf")
        self._needed = False

    def create(
        self, *, name: str, role: Role, team: str, lifetime: timedelta | None = None
    ) -> tuple[Key, str]:
        """A new key and its secret, which nobody can read again."""
        named = {"name": name, "team": team}
        rule = "must be letters, digits, '.', '_', '@' or '-', at most 64, the first a letter or digit"
        if faults := [FaultyField(field, rule) for field, text in named.items() if not is_name(text)]:
            raise InvalidRequestError(faults)
        token, now = new_token(), self._now()
        expires_at = None if lifetime is None else now + lifetime
        key = Key(uuid7(), name, role, team, shown_prefix(token), now, expires_at=expires_at)
        with self._sessions.begin() as session:
            KeyRepository(session).add(key, token_hash(token))
        return key, token

    def keep(self, token: str, name: str, role: Role) -> None:
        """Store a key that somebody made elsewhere, once: one that was revoked stays so. InvalidRequestError."""
        if not is_token(token):
            raise InvalidRequestError(
                [FaultyField("EVALQ_BOOTSTRAP_KEY", "must be `evq_` and 43 letters or digits")]
            )
        key = Key(uuid7(), name, role, DEFAULT_TEAM, shown_prefix(token), self._now())
        with (
            suppress(AlreadyStoredError),
            self._sessions.begin() as session,
        ):  # another process keeps it right now
            if KeyRepository(session).by_hash(token_hash(token)) is None:
                KeyRepository(session).add(key, token_hash(token))

    def all(self) -> list[Key]:
        """Every key, oldest first, revoked ones included."""
        with self._sessions.begin() as session:
            return KeyRepository(session).all()

    def revoke(self, key_id: UUID) -> Key:
        """End a key; safe to repeat; UnknownKeyError. Processes follow within CACHE_SECONDS."""
        with self._sessions.begin() as session:
            key = KeyRepository(session).revoke(key_id, self._now())
        if key is None:
            raise UnknownKeyError(f"there is no key {key_id}: `evalq keys list` shows them")
        return key

    def needed(self) -> bool:
        """Whether there is or ever was a key: from the first one on, every request needs one.

        Believed for CACHE_SECONDS while the answer is no, for good once it is yes.
        """
        with self._lock:
            fresh = self._needed or self._clock() - self._looked_at < CACHE_SECONDS
        if not fresh:
            with self._sessions.begin() as session:
                found = KeyRepository(session).any_exist()
            with self._lock:
                self._needed, self._looked_at = self._needed or found, self._clock()
        return self._needed

    def at_hand(self, token: str) -> bool:
        """Whether `needed`, and the `holder` of a token unless it is empty, answer from memory if asked right now."""
        recent = self._clock() - CACHE_SECONDS + MARGIN_SECONDS
        digest = token_hash(token) if is_token(token) else b""
        with self._lock:
            if self._needed or token:
                return digest in self._read and self._read[digest][0] > recent and self._is_known(recent)
            return self._is_known(recent)

    def _is_known(self, since: float) -> bool:
        return self._needed or self._looked_at > since

    def holder(self, token: str) -> Key | None:
        """The usable key behind a secret, or None. Its use is noted once a minute."""
        return self.by_hash(token_hash(token)) if is_token(token) else None

    def by_hash(self, digest: bytes) -> Key | None:
        """The usable key with this hash of its secret, or None. Its use is noted once a minute."""
        with self._lock:
            read_at, key = self._read.get(digest, (float("-inf"), None))
        if key is None or self._clock() - read_at >= CACHE_SECONDS:
            key = self._look_up(digest)
        return key if key is not None and key.usable(self._now()) else None

    def hash_of(self, key_id: UUID) -> bytes | None:
        """The hash of a key's secret, which never changes; None where there is no such key."""
        if key_id not in self._hashes:
            with self._sessions.begin() as session:
                found = KeyRepository(session).hash_of(key_id)
            if found is None:
                return None  # not remembered: guesses must not fill the memory
            self._hashes[key_id] = found
        return self._hashes[key_id]

    def _look_up(self, digest: bytes) -> Key | None:
        now, clock = self._now(), self._clock()
        with self._sessions.begin() as session:
            keys = KeyRepository(session)
            key = keys.by_hash(digest)
            if key is not None and key.usable(now):
                keys.used(key.id, now, now - USE_NOTED_EVERY)
        with self._lock:
            if key is not None:  # what is no key is not remembered: guesses must not fill the memory
                self._read[digest] = (clock, key)
        return key


def keep_bootstrap_key(settings: Settings) -> None:
    """Let the operator's key of the settings open the service; from then on it needs keys."""
    if token := settings.bootstrap_key.get_secret_value():
        sessions = make_sessions(settings)
        try:
            KeyService(sessions=sessions).keep(token, BOOTSTRAP, Role.OPERATOR)
        finally:
            sessions.close()


def check_exposure(settings: Settings) -> None:
    """UnauthenticatedApiError where the API would listen beyond loopback and there is no key."""
    if is_loopback(settings.host) or settings.allow_unauthenticated:
        return
    if not keys_exist(settings):
        raise UnauthenticatedApiError(
            f"refusing to listen on {settings.host} without keys: make one with `evalq keys create`,"
            " use 127.0.0.1, or set EVALQ_ALLOW_UNAUTHENTICATED=true behind a gate of your own"
        )


def keys_exist(settings: Settings) -> bool:
    """Whether a service over this database asks for keys."""
    sessions = make_sessions(settings)
    try:
        return KeyService(sessions=sessions).needed()
    finally:
        sessions.close()


def is_loopback(host: str) -> bool:
    """Whether an address, or the name `localhost`, can be reached from this machine only."""
    if is_address(host):
        return ipaddress.ip_address(host).is_loopback
    return host.lower() == "localhost"


def is_address(host: str) -> bool:
    """Whether a host is given by its number."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
