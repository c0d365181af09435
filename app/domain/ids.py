"""Identifiers: UUIDv7 (RFC 9562), which sort by the time they were made."""

from __future__ import annotations

import secrets
import time
from uuid import UUID

HEXES = 32
NONE = (UUID(int=2**128 - 1), UUID(int=0))
"""Bounds that no identifier is between."""


def ids_beginning(text: str) -> tuple[UUID, UUID]:
    """The first and the last identifier that begin so, dashes aside; ValueError where none can."""
    digits = text.replace("-", "")
    if not 1 <= len(digits) <= HEXES:
        return NONE
    return UUID(digits.ljust(HEXES, "0")), UUID(digits.ljust(HEXES, "f"))


def beginning_of(first: UUID, last: UUID) -> str:
    """What all identifiers between these begin with, as `ids_beginning` takes it."""
    free = (first.int ^ last.int).bit_length() // 4
    return first.hex[: HEXES - free] or "-"


def uuid7() -> UUID:
    """A new identifier: 48 bits of Unix milliseconds, then random bits."""
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    return UUID(int=value & ~(0x3 << 62) | 0x2 << 62)
