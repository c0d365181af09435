"""What is told of tasks: nothing of where the server keeps them."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.errors import UnknownTaskError
from app.services.tasks import TaskService
from app.settings import Settings
from app.workloads.lm_eval.tasks.task_index import TaskIndex

TASK = "task: {name}\ndataset_path: {dataset}\noutput_type: multiple_choice\n"


@pytest.fixture
def tasks(tmp_path: Path) -> TaskService:
    root = tmp_path / "ours"
    (root / "inner").mkdir(parents=True)
    (root / "inner" / "mine.yaml").write_text(TASK.format(name="mine", dataset="/data/secret/set"))
    return TaskService(settings=Settings(task_paths=(root,)))


def test_a_file_is_named_from_its_root_on(tasks: TaskService) -> None:
    assert tasks.get("gsm8k").path == "lm_eval/tasks/gsm8k/gsm8k.yaml"
    assert tasks.get("mine").path == "ours/inner/mine.yaml"


def test_no_answer_holds_a_folder_of_the_server(tasks: TaskService, tmp_path: Path) -> None:
    found, _ = tasks.search(None, 100_000, None)
    assert not [task.name for task in found if (task.path or "").startswith("/")]
    assert tasks.get("mine").dataset_path == "set"
    assert str(tmp_path) not in str(tasks.search("mine", 10, None))


def test_a_name_of_any_length_is_answered_at_once(tasks: TaskService) -> None:
    with pytest.raises(UnknownTaskError) as unknown:
        tasks.get("gsm8kk" * 20_000)
    assert len(str(unknown.value)) < 500


def test_who_only_wonders_is_told_of_no_near_names(
    tasks: TaskService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(TaskIndex, "near")
    assert tasks.find("gsm8kk") is None
    assert tasks.find("gsm8k") == tasks.get("gsm8k")
