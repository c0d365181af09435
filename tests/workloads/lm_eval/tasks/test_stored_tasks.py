"""The stored index against lm-eval's own: one slow look at all its task files, shared by the tests here."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from lm_eval.api.task import Task
from lm_eval.config.group import AggMetricConfig
from lm_eval.tasks import TaskManager, _factory
from lm_eval.tasks._index import Entry
from lm_eval.tasks._index import TaskIndex as LmEvalIndex

from app.workloads.lm_eval.tasks.packaged_index import INDEX_FILE, installed_tasks_dir, load_packaged, packed
from app.workloads.lm_eval.tasks.task_index import TaskIndex
from app.workloads.lm_eval.tasks.task_yaml import scan


@pytest.fixture(scope="module")
def theirs() -> dict[str, Entry]:
    return LmEvalIndex.build([installed_tasks_dir()])


@pytest.fixture(scope="module")
def ours() -> TaskIndex:
    return TaskIndex.load()


class _NamedTask(Task):
    """A task that knows its name and loads no data."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._name = config["task"]

    @property
    def task_name(self) -> str:
        return self._name


_NamedTask.__abstractmethods__ = frozenset()


@pytest.fixture
def manager(theirs: dict[str, Entry], monkeypatch: pytest.MonkeyPatch) -> TaskManager:
    """lm-eval's own manager over its own index, with tasks that load no data."""
    configs = {entry.yaml_path: entry.cfg for entry in theirs.values() if entry.yaml_path}

    def load_yaml(path: Path, *, resolve_func: bool) -> dict[str, Any]:
        return {key: value for key, value in (configs[path] or {}).items() if key != "class"}

    monkeypatch.setattr(_factory, "load_yaml", load_yaml)
    monkeypatch.setattr(_factory, "ConfigurableTask", _NamedTask)
    monkeypatch.setattr(
        AggMetricConfig, "__post_init__", lambda self: None
    )  # it wants functions, not their names
    manager = TaskManager.__new__(TaskManager)
    manager._index = dict(theirs)
    manager._factory = _factory.TaskFactory()
    return manager


def test_names_kinds_tags_and_files_are_lm_evals_own(ours: TaskIndex, theirs: dict[str, Entry]) -> None:
    def seen(entry: Any) -> tuple[str, str, Path | None, frozenset[str]]:
        kind = entry.kind if isinstance(entry.kind, str) else entry.kind.name.lower()
        return entry.name, kind, entry.yaml_path, frozenset(entry.tags)

    assert ours.lm_eval_version == version("lm_eval")
    assert {seen(ours.get(name)) for name in ours.names} == {seen(entry) for entry in theirs.values()}


def test_the_stored_file_is_what_the_builder_writes() -> None:
    tasks_dir = installed_tasks_dir()
    assert packed(scan(tasks_dir).entries, tasks_dir, version("lm_eval")) == INDEX_FILE.read_bytes()
    assert load_packaged().rows


def test_every_group_and_tag_expands_as_lm_eval_expands_it(ours: TaskIndex, manager: TaskManager) -> None:
    wrong = []
    for name in ours.names:
        entry = ours.get(name)
        if entry and entry.kind in ("group", "tag") and not ours.faults([name]):
            built = list(manager.load([name])["tasks"])
            wrong += [(name, built, ours.expand([name]))] if built != ours.expand([name]) else []
    assert wrong == []


@pytest.mark.parametrize("names", [["mmlu", "mmlu_anatomy"], ["mmlu_stem", "mmlu"]])
def test_what_is_a_duplicate_here_is_refused_by_lm_eval(
    ours: TaskIndex, manager: TaskManager, names: list[str]
) -> None:
    assert ours.duplicates(names)
    with pytest.raises(ValueError, match="Duplicate task"):
        manager.load(names)


@pytest.mark.parametrize("names", [["ai2_arc", "arc_easy"], ["mmlu", "openllm"], ["mmlu", "mmlu"]])
def test_what_is_no_duplicate_here_is_taken_by_lm_eval(
    ours: TaskIndex, manager: TaskManager, names: list[str]
) -> None:
    assert ours.duplicates(names) == []
    assert set(manager.load(names)["tasks"]) == set(ours.expand(names))
