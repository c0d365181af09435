"""A model's size as people write it: 70B, 1.5b, 350M."""

from __future__ import annotations

import re

_SIZE = re.compile(r"(\d{1,6}(?:\.\d{1,6})?) ?([MBT])", re.ASCII | re.IGNORECASE)
_UNITS = {"M": 10**6, "B": 10**9, "T": 10**12}
_MOST = 10**14


def stated_parameters(size: str) -> int:
    """How many parameters it means; ValueError, in words, where it means none."""
    found = _SIZE.fullmatch(size.strip())
    number = round(float(found[1]) * _UNITS[found[2].upper()]) if found else 0
    if not 0 < number <= _MOST:
        raise ValueError("is a number of parameters, such as 70B, 1.5B or 350M")
    return number
