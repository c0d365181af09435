"""Counts, names and moments in words, as reasons have them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime


def none_leads(led_at: datetime | None) -> str:
    """Since when no scheduler does, as far as that is known."""
    return "none leads" + (f" since {at(led_at)}" if led_at else "")


def count(number: int, noun: str) -> str:
    """So many of them."""
    return f"{number} {noun}{'s' if number != 1 else ''}"


def named(groups: Iterable[str]) -> str:
    """`group a`, or `groups a and b`."""
    names = list(dict.fromkeys(groups))
    if len(names) == 1:
        return f"group {names[0]}"
    return f"groups {', '.join(names[:-1])} and {names[-1]}"


def at(moment: datetime) -> str:
    """The second, in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
