"""lm-eval's tasks, groups and tags, with the operator's own, from the stored index."""

from __future__ import annotations

from dataclasses import dataclass

from app.errors import UnknownTaskError
from app.harnesses.task_index import TaskIndex
from app.harnesses.task_yaml import IndexEntry
from app.settings import Settings


@dataclass(frozen=True)
class TaskSummary:
    """One name that `tasks` of a job accepts."""

    name: str
    kind: str
    output_type: str | None
    tags: tuple[str, ...]
    path: str | None


@dataclass(frozen=True)
class TaskDetail(TaskSummary):
    """A name with what its YAML says."""

    children: tuple[str, ...]
    num_fewshot: int | None
    dataset_path: str | None
    dataset_name: str | None
    description: str | None


class TaskService:
    """Reads the index; nothing of lm-eval is imported and no dataset loaded."""

    def __init__(self, *, settings: Settings) -> None:
        self._settings = settings

    def search(
        self, text: str | None, limit: int, cursor: str | None
    ) -> tuple[list[TaskSummary], str | None]:
        """Names that contain the text, in alphabetical order after the cursor."""
        page = self._index().search(text or "", limit, cursor)
        return [_summary(entry) for entry in page.entries], page.next_cursor

    def get(self, name: str) -> TaskDetail:
        """One name; UnknownTaskError with near ones."""
        index = self._index()
        entry = index.get(name)
        if entry is None:
            near = ", ".join(index.near(name))
            raise UnknownTaskError(
                f"there is no task, group or tag {name!r}" + (f"; near: {near}" if near else "")
            )
        return TaskDetail(
            **vars(_summary(entry)),
            children=tuple(index.expand([name])) if entry.kind in {"group", "tag"} else (),
            num_fewshot=entry.num_fewshot,
            dataset_path=entry.dataset_path,
            dataset_name=entry.dataset_name,
            description=entry.description,
        )

    def _index(self) -> TaskIndex:
        return TaskIndex.load(self._settings.task_paths)


def _summary(entry: IndexEntry) -> TaskSummary:
    tags = () if entry.kind == "tag" else entry.tags
    path = None if entry.yaml_path is None else str(entry.yaml_path)
    return TaskSummary(entry.name, entry.kind, entry.output_type, tags, path)
