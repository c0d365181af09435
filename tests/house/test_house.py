"""The bounds of the house. Where one breaks, the finding says file and line; docs/house.md says whose room it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.house import measures
from tests.house.source import File, body_lines, files, nesting

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def source() -> list[File]:
    found = files(ROOT, "app", "workers")
    assert len(found) > 200
    return found


def test_messages_are_types(source: list[File]) -> None:
    """A text that looks up a field is misspelt without anybody noticing; a type checker reads an attribute."""
    assert measures.untyped_messages(source) == []
    assert len(measures.frame_lookups(source)) <= 5, measures.frame_lookups(source)


def test_a_spec_is_read_once(source: list[File]) -> None:
    """Behind the reading of what was posted a field has a type and a default, and is no text."""
    assert len(measures.spec_lookups(source)) <= 10, measures.spec_lookups(source)


def test_nobody_else_knows_a_backend_by_name(source: list[File]) -> None:
    """A new backend would be forgotten there."""
    assert measures.backend_comparisons(source) == []


def test_a_class_name_means_one_thing(source: list[File]) -> None:
    """Who reads `Event` in a signature should not have to look where it was imported from."""
    assert measures.double_names(source) == {}


def test_open_dictionaries_stay_few(source: list[File]) -> None:
    """What has fields is a dataclass; JSON that goes through unopened may be a dictionary."""
    assert measures.open_dictionaries(source) / sum(file.lines for file in source) * 1000 <= 5


def test_files_and_functions_are_small_enough_to_be_read_at_once(source: list[File]) -> None:
    functions = {f"{file.path}:{each.lineno}": each for file in source for each in file.functions()}
    assert {str(file.path): file.lines for file in source if file.lines > 350} == {}
    assert {place: lines for place, each in functions.items() if (lines := body_lines(each)) > 45} == {}
    assert {place: depth for place, each in functions.items() if (depth := nesting(each)) > 4} == {}
