"""API keys: what one looks like, what its holder may do, and whose jobs its holder sees."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

PREFIX = "evq_"
SHOWN_CHARACTERS = 8
"""Of a key's random part, what is stored and listed so that people can tell keys apart."""
DEFAULT_TEAM = "default"
_TOKEN = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


class Role(StrEnum):
    """What a key is good for; each role may do all that those before it may."""

    VIEWER = "viewer"
    SUBMITTER = "submitter"
    OPERATOR = "operator"

    def permits(self, needed: Role) -> bool:
        """Whether this role may do what `needed` may."""
        roles = list(Role)
        return roles.index(self) >= roles.index(needed)


@dataclass(frozen=True)
class Caller:
    """Who asks: the owner of what they submit, the team they see, what they may do."""

    name: str
    team: str
    role: Role

    @property
    def sees(self) -> str | None:
        """The team whose jobs they see; None for all teams."""
        return None if self.role is Role.OPERATOR else self.team


ANONYMOUS = Caller("anonymous", DEFAULT_TEAM, Role.OPERATOR)
"""Whoever reaches an API that has no keys."""


@dataclass(frozen=True)
class Key:
    """A key as it is stored: without the secret."""

    id: UUID
    name: str
    role: Role
    team: str
    prefix: str
    created_at: datetime
    last_used_at: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    @property
    def caller(self) -> Caller:
        """Its holder."""
        return Caller(self.name, self.team, self.role)

    def usable(self, now: datetime) -> bool:
        """Neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def new_token() -> str:
    """256 random bits that nobody has seen before."""
    return PREFIX + secrets.token_urlsafe(32)


def is_token(text: str) -> bool:
    """Whether a text has the shape of a key; what has not is never looked up."""
    return _TOKEN.fullmatch(text) is not None


def shown_prefix(token: str) -> str:
    """The part of a key that may be shown."""
    return token[: len(PREFIX) + SHOWN_CHARACTERS]


def token_hash(token: str) -> bytes:
    """What is stored of a key, and what it is found by.

    A plain SHA-256 is right here: slow, salted hashes protect passwords, which can be guessed; 256 random bits
    cannot. Looking up by the hash leaks no useful timing: who probes cannot choose the hash of a guess.
    """
    return hashlib.sha256(token.encode()).digest()


def is_name(text: str) -> bool:
    """Whether a text can name a key or a team: letters, digits, `.`, `_`, `@` and `-`, at most 64."""
    return _NAME.fullmatch(text) is not None
