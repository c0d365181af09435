"""Every evaluation command of the documents has the whole plan that the table says, on both clusters."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.documents.commands import Evaluation, evaluations
from tests.documents.planned import FIRST
from tests.documents.planned_mixed import SECOND
from tests.documents.plans import CLUSTERS, planned
from tests.workloads.lm_eval.reading.desk import Desk

COMMANDS = evaluations()
H100, MIXED = CLUSTERS


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(tmp_path_factory.mktemp("desk"))


def test_every_command_has_a_plan_or_a_refusal() -> None:
    assert {(command.document, command.line) for command in COMMANDS} == FIRST.keys()
    assert FIRST.keys() > SECOND.keys()
    assert all(found.plan or found.faults for found in (*FIRST.values(), *SECOND.values()))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda each: f"{each.document}:{each.line}")
def test_a_command_is_planned_as_the_table_says(command: Evaluation, desk: Desk) -> None:
    at = (command.document, command.line)
    assert planned(command, CLUSTERS[H100], desk) == FIRST[at]
    assert planned(command, CLUSTERS[MIXED], desk) == SECOND.get(at, FIRST[at])


def test_without_any_worker_the_same_widths_are_planned(tmp_path: Path) -> None:
    """Where the documents say them; what is open then has one GPU, and as many as there are is not known."""
    taken = Desk(tmp_path)
    for command in COMMANDS:
        said = FIRST[command.document, command.line].plan
        if "as many as are free" not in said and "parallelize" not in command.text:
            assert planned(command, (), taken).plan.partition(";")[0] == said.partition(";")[0]
