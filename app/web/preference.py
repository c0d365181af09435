"""What a client would rather read: the `Accept` header (RFC 9110, 12.5.1)."""

from __future__ import annotations

import re
from collections.abc import Collection

MOST_RANGES = 100
_MEDIA_RANGE = re.compile(r"[^\s/]+/[^\s/]+")
_QUALITY = re.compile(r"[01](\.\d{0,3})?")


def preferred(accept: str, *offered: str) -> str:
    """The media type among those offered that suits best; the first where none does or nothing is said.

    The highest `q` wins, then what is named more exactly, then what is named first.
    """
    ranges = [_range(part, at) for at, part in enumerate(accept.split(",", MOST_RANGES)[:MOST_RANGES])]
    return max(offered, key=lambda media_type: _suits(media_type, ranges))


def accepts(accept: str, offered: Collection[str]) -> bool:
    """Whether a client reads any of these; one that says nothing that can be understood reads all."""
    ranges = [_range(part, at) for at, part in enumerate(accept.split(",", MOST_RANGES)[:MOST_RANGES])]
    said = [each for each in ranges if _MEDIA_RANGE.fullmatch(each[0])]
    return not said or any(_suits(media_type, said)[0] > 0 for media_type in offered)


def _range(part: str, at: int) -> tuple[str, float, int]:
    """A media range with its quality and place; a quality that is none counts as none given."""
    name, *parameters = (word.strip().lower() for word in part.split(";"))
    given = (text for key, _, text in (word.partition("=") for word in parameters) if key.strip() == "q")
    quality = next((text.strip() for text in given), "1")
    return name, float(quality) if _QUALITY.fullmatch(quality) else 1.0, at


def _suits(media_type: str, ranges: list[tuple[str, float, int]]) -> tuple[float, int, int]:
    """How well; the most exact range that covers the type speaks for it, and may rule it out."""
    exactness = {media_type: 2, f"{media_type.partition('/')[0]}/*": 1, "*/*": 0}
    found = [(exactness[name], quality, -at) for name, quality, at in ranges if name in exactness]
    exact, quality, place = max(found, default=(0, 0.0, 0))
    ruled_out = bool(found) and quality == 0
    return (-1.0, 0, 0) if ruled_out else (min(quality, 1.0), exact, place)
