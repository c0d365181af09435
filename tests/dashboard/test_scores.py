"""What a group has scored so far, and what guessing would score."""

from __future__ import annotations

import math
from typing import Any

import pytest

from app.dashboard.rendering import rendered
from app.dashboard.views.scores import chance_of, so_far
from app.dashboard.views.tasks import IndexedTasks, tree
from app.domain.job import JobStatus, JobTask, TaskStatus
from tests.dashboard.test_job import view

DONE = TaskStatus.SUCCEEDED


def scored(name: str, documents: int, acc: Any, error: Any = 0.1, total: int = 400, **more: Any) -> JobTask:
    metrics = {"sample_len": documents, "acc,none": acc, "acc_stderr,none": error, **more}
    return JobTask(name, DONE, total, total, metrics)


def test_a_group_that_runs_has_the_mean_of_its_finished_tasks() -> None:
    tasks = (scored("a", 100, 0.5), scored("b", 300, 0.9), JobTask("c", TaskStatus.RUNNING, 1, 9))
    running = view(tasks=tasks, status=JobStatus.RUNNING)
    known = IndexedTasks({"g": ("a", "b", "c"), "some_tag": ()}, averaged={"g"}, choosing={"a"})
    [group] = tree(running, known, {})
    [line] = group.line.scores
    assert line.value == pytest.approx(0.8)
    error = math.sqrt((100 * 0.1) ** 2 + (300 * 0.1) ** 2) / 400
    assert line.high == pytest.approx(0.8 + 1.96 * error)
    assert group.line.partial == "of 2 of 3 tasks so far"
    assert [leaf.scores[0].chance for leaf in group.leaves[:2]] == [0.25, None]
    ended = view(tasks=tasks, status=JobStatus.FAILED)
    assert tree(ended, known, {})[0].line.scores == [], "what it lacks does not come any more"
    assert tree(running, IndexedTasks(known.groups), {})[0].line.scores == [], "a tag has no score"
    whole = tree(running, known, {"g": {"acc,none": 0.7}})[0].line
    assert (whole.scores[0].value, whole.partial) == (0.7, "")


def test_only_what_all_have_and_what_is_a_mean_is_averaged() -> None:
    both = [scored("a", 10, 0.5, word_perplexity=9.0), scored("b", 10, 0.7, "N/A", word_perplexity=9.0)]
    assert so_far(both) == {"acc,none": pytest.approx(0.6)}
    assert so_far([scored("a", 10, float("nan")), scored("b", 10, 1.0)]) == {}
    assert so_far([JobTask("a"), JobTask("b", metrics={"acc,none": 1.0})]) == {}
    assert so_far([]) == {}


@pytest.mark.parametrize(
    ("documents", "total", "more", "chance"),
    [
        (100, 400, {}, 0.25),
        (1172, 4687, {}, 0.25),  # ARC: a few of its questions have three or five
        (100, 200, {}, 0.5),
        (100, 350, {}, None),
        (100, 100, {}, None),
        (0, 400, {}, None),
        (True, 4, {}, None),
        (100, None, {}, None),
        (100, 800, {"acc_mutual_info,none": 0.5}, None),
    ],
)
def test_the_chance_of_a_guess_is_told_where_it_is_one(
    documents: Any, total: Any, more: dict[str, Any], chance: float | None
) -> None:
    assert chance_of(scored("a", documents, 0.5, total=total, **more)) == chance


def test_chance_and_what_is_partial_are_drawn() -> None:
    tasks = (scored("a", 100, 0.5), JobTask("c", TaskStatus.RUNNING, 1, 9))
    running = view(tasks=tasks, status=JobStatus.RUNNING)
    known = IndexedTasks({"g": ("a", "c")}, averaged={"g"}, choosing={"a"})
    branches = tree(running, known, {})
    text = rendered("job/tasks-panel.html", screen={"tasks": branches}, job=running.job, files=[])
    assert text.count('class="chance" x1="25.0%"') == 1
    assert text.count("at so-far") == 1
    assert "of 1 of 2 tasks so far" in text
