"""Sign-ins of browsers: made from a key, sealed with what is stored of it, and over when it is."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from datetime import datetime

from app.domain.keys import Key, token_hash
from app.domain.sign_in import change_token, holds, read_sign_in, sign_in
from app.services.keys import KeyService, utc_now


class SignInService:
    """Keeps nothing: a cookie says whose it is and until when, and its seal that it was made here.

    The secret of a seal is the key's stored hash with `pepper`, which is no part of the database: who reads a backup of
    it can seal nothing.
    """

    def __init__(self, *, keys: KeyService, pepper: bytes, now: Callable[[], datetime] = utc_now) -> None:
        self._keys = keys
        self._pepper = pepper
        self._now = now

    def begin(self, token: str) -> str | None:
        """The cookie for a key's secret; None where it is no usable key."""
        key = self._keys.holder(token)
        return None if key is None else sign_in(key.id, self._now()).sealed(self._secret(token_hash(token)))

    def holder(self, cookie: str) -> Key | None:
        """The usable key behind a cookie that was made here and has not ended, or None."""
        digest = self._digest(cookie)
        if digest is None or not holds(cookie, self._secret(digest), self._now()):
            return None
        return self._keys.by_hash(digest)

    def change_token(self, cookie: str) -> str:
        """What changes made by this sign-in must carry; nothing where there is no such key."""
        digest = self._digest(cookie)
        return "" if digest is None else change_token(cookie, self._secret(digest))

    def _digest(self, cookie: str) -> bytes | None:
        claimed = read_sign_in(cookie)
        return None if claimed is None else self._keys.hash_of(claimed.key_id)

    def _secret(self, digest: bytes) -> bytes:
        return hmac.digest(digest, b"evalq sign-in " + self._pepper, "sha256")
