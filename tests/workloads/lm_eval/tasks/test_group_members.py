"""Groups that name what nobody has: told from the index, and only where lm-eval could not build the member."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.workloads.lm_eval.tasks.group_members import MOST_FAULTS, Missing, member_faults, missing_members
from app.workloads.lm_eval.tasks.task_index import TaskIndex


def index(root: Path, **groups: str) -> TaskIndex:
    (root / "fine.yaml").write_text("task: fine\ntag: some\ndataset_path: json\n")
    for name, rest in groups.items():
        (root / f"{name}.yaml").write_text(f"group: {name}\n{rest}\n")
    return TaskIndex.load([root])


@pytest.mark.parametrize(
    ("rest", "missing"),
    [
        ("task: [fine, no_such]", [Missing("g", "no_such")]),
        ("task: [fine, some, arc_easy, ai2_arc, mmlu_stem]", []),
        ("task: [fine, {task: no_such, num_fewshot: 2}]", [Missing("g", "no_such")]),
        ("task: [fine, {task: own, dataset_path: json}]", []),
        ("task: [own, fine]\ndataset_path: json", []),
        ("task: [{group: inner, task: [fine, no_such]}]", [Missing("g::inner", "no_such")]),
        ("task: [{group: inner, dataset_path: json, task: [fine, own]}]", []),
        ("task: [5]", [Missing("g", "5")]),
        ("task: [g, no_such]", [Missing("g", "no_such")]),
    ],
)
def test_a_member_is_missed_where_lm_eval_could_not_build_it(
    tmp_path: Path, rest: str, missing: list[Missing]
) -> None:
    assert missing_members(index(tmp_path, g=rest), ["g"]) == missing


def test_a_member_below_another_group_is_missed_under_the_group_that_names_it(tmp_path: Path) -> None:
    made = index(tmp_path, above="task: [below]", below="task: [fine, no_such]")
    assert missing_members(made, ["above", "fine"]) == [Missing("below", "no_such")]
    assert missing_members(made, ["fine"]) == []


def test_near_names_are_told_and_a_long_list_is_cut(tmp_path: Path) -> None:
    made = index(tmp_path, g="task: [arc_esay]", many=f"task: [{', '.join(f'no_{i}' for i in range(500))}]")
    (fault,) = member_faults(made, ["g"])
    assert fault.message.startswith(
        "group 'g' names 'arc_esay', which is no task, group or tag; did you mean"
    )
    assert fault.allowed is not None
    assert fault.allowed[0] == "arc_easy"
    many = member_faults(made, ["many"])
    assert len(many) == MOST_FAULTS + 1
    assert many[-1].message.startswith("490 more")


@pytest.mark.parametrize("member", ["{task: [fine]}", "{group: {a: 1}}", "{task: null}", "{}"])
def test_a_member_without_a_name_is_told_and_breaks_nothing(tmp_path: Path, member: str) -> None:
    made = index(tmp_path, g=f"task: [fine, {member}]")
    assert made.expand(["g"]) == ["fine"]
    assert ["neither" in fault.message for fault in made.faults(["g"])] == [True]
    assert member_faults(made, ["g"]) == []


def test_every_group_of_lm_eval_has_its_members() -> None:
    made = TaskIndex.load()
    groups = [name for name in made.names if (entry := made.get(name)) and entry.kind == "group"]
    assert missing_members(made, groups) == []
