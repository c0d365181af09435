"""docs/house.md has every room and no other, and the glossary says each word once."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def told() -> set[str]:
    """What the first columns of the map name."""
    columns = re.findall(r"^\|([^|]*)\|", (DOCS / "house.md").read_text(), re.MULTILINE)
    return {path for column in columns for path in re.findall(r"`([\w./]+)`", column)}


def test_the_map_has_every_room_and_no_other() -> None:
    rooms = [path for part in ("app", "workers") for path in (ROOT / part).glob("*/__init__.py")]
    assert {str(path.parent.relative_to(ROOT)) for path in rooms} <= told()
    assert [path for path in told() if not (ROOT / path).exists()] == []


def test_a_word_means_one_thing() -> None:
    words = re.findall(r"^\| ([\w ]+?) \|", (DOCS / "glossary.md").read_text(), re.MULTILINE)
    assert len(words) >= 40
    assert {word for word in words if words.count(word) > 1} == {"word"}


def test_every_decision_says_what_why_and_what_not() -> None:
    records = sorted((DOCS / "decisions").glob("*.md"))
    assert [path.name[:4] for path in records] == [f"{number:04}" for number in range(1, len(records) + 1)]
    for path in records:
        text = path.read_text()
        assert text.startswith(f"# {path.name[:4]} ")
        assert [part in text for part in ("**What.**", "**Why.**", "**Not chosen.**")] == [True] * 3
