"""What others named, as the name of a file."""

from __future__ import annotations

import re
from collections.abc import Container

_NEVER = re.compile(r'["<>:/|\\?*\[\]]+')
"""What lm-eval writes as two underscores in the names of models (0.4.13, `lm_eval/utils.py`)."""
MOST_BYTES = 180
"""A file system takes 255, and something stands around it."""


def as_file_name(text: str) -> str:
    """As lm-eval would write it, and always one name: no folder, nothing unseen, not too long, never empty."""
    seen = "".join(character if character.isprintable() else "_" for character in text)
    name = _NEVER.sub("__", seen).encode()[:MOST_BYTES].decode(errors="ignore")
    return name if name.strip(". ") else "_"


def unused(place: str, taken: Container[str]) -> str:
    """The place, or one like it where another file has that."""
    beginning, dot, ending = place.rpartition(".")
    count, found = 1, place
    while found in taken:
        count += 1
        found = f"{beginning}_{count}{dot}{ending}"
    return found
