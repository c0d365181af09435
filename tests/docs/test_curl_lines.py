"""Every `curl` of the documents has an answer to compare with; tests/integrators/test_clients.py types them."""

from __future__ import annotations

from tests.integrators.answers import ANSWERS, keys
from tests.integrators.lines import lines


def test_each_line_has_an_answer_of_its_own() -> None:
    """What is added to a document is told there what it must answer; what goes leaves nothing behind."""
    found = {line: keys(line) for line in lines() if line.calls}
    assert {line: several for line, several in found.items() if len(several) != 1} == {}
    assert {key for each in found.values() for key in each} == ANSWERS.keys()
