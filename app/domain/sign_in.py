"""Signing in with a key: what a browser keeps instead of it, and the token that its changes carry."""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

LIFETIME = timedelta(hours=12)
_COOKIE = re.compile(r"([0-9a-f]{32})\.([0-9]{1,11})\.([0-9a-f]{64})")


@dataclass(frozen=True)
class SignIn:
    """The right of a browser to act for the holder of a key, for a time; worth nothing without its seal."""

    key_id: UUID
    ends_at: datetime

    @property
    def claim(self) -> str:
        """What is sealed."""
        return f"{self.key_id.hex}.{int(self.ends_at.timestamp())}"

    def sealed(self, secret: bytes) -> str:
        """As the browser keeps it."""
        return f"{self.claim}.{_seal(secret, self.claim)}"


def sign_in(key_id: UUID, now: datetime) -> SignIn:
    """One that begins now."""
    return SignIn(key_id, now + LIFETIME)


def read_sign_in(cookie: str) -> SignIn | None:
    """What a cookie claims, whoever wrote it; None where it has not the shape of one."""
    if (found := _COOKIE.fullmatch(cookie)) is None:
        return None
    return SignIn(UUID(hex=found[1]), datetime.fromtimestamp(int(found[2]), UTC))


def holds(cookie: str, secret: bytes, now: datetime) -> bool:
    """Whether it was sealed with this secret and has not ended."""
    claimed = read_sign_in(cookie)
    return (
        claimed is not None and hmac.compare_digest(claimed.sealed(secret), cookie) and now < claimed.ends_at
    )


def change_token(cookie: str, secret: bytes) -> str:
    """What a change must carry that was made on a page of this sign-in: another site's page cannot read it."""
    return _seal(secret, f"change {cookie}")


def _seal(secret: bytes, text: str) -> str:
    return hmac.digest(secret, text.encode(), "sha256").hex()
