"""docs/security.md names beside each promise the tests that hold it, and they are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECURITY = (ROOT / "docs" / "security.md").read_text()
NAMED = re.compile(r"`(test_\w+)`")
DEFINED = re.compile(r"^(?:async )?def (test_\w+)\(", re.MULTILINE)
PROMISES, _, UNDEFENDED = SECURITY.partition("\n## What is not defended\n")


def blocks() -> list[str]:
    """Every bullet and every paragraph that promises something: no heading, no command, no table."""
    text = re.sub(r"^```.*?^```$", "", PROMISES, flags=re.DOTALL | re.MULTILINE)
    parts = re.split(r"\n\n+|\n(?=\* |## )", text)
    introduction = 2
    return [part for part in map(str.strip, parts[introduction:]) if part and not part.startswith(("#", "|"))]


def test_each_named_test_is_there() -> None:
    defined = {
        name for path in (ROOT / "tests").rglob("test_*.py") for name in DEFINED.findall(path.read_text())
    }
    assert sorted(set(NAMED.findall(SECURITY)) - defined) == []


@pytest.mark.parametrize("block", blocks(), ids=lambda block: block[:30])
def test_each_promise_names_a_test(block: str) -> None:
    assert NAMED.search(block), block


def test_what_is_not_defended_is_said() -> None:
    assert UNDEFENDED.strip()
