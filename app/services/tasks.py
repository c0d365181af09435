"""lm-eval's tasks, groups and tags, with the operator's own, from the stored index."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app.arguments.kinds import shown
from app.errors import UnknownTaskError
from app.settings import Settings
from app.workloads.lm_eval.tasks.packaged_index import installed_tasks_dir
from app.workloads.lm_eval.tasks.task_index import TaskIndex
from app.workloads.lm_eval.tasks.task_yaml import IndexEntry

MOST_CHARACTERS = 300
"""Of a name that is compared with thousands."""


@dataclass(frozen=True)
class TaskSummary:
    """One name that `tasks` of a job accepts."""

    name: str
    kind: str
    output_type: str | None
    tags: tuple[str, ...]
    path: str | None
    """From the name of its root on."""


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
        return [self._summary(entry) for entry in page.entries], page.next_cursor

    def get(self, name: str) -> TaskDetail:
        """One name; UnknownTaskError with near ones."""
        found = self.find(name)
        if found is None:
            near = ", ".join(self._index().near(name[:MOST_CHARACTERS]))
            raise UnknownTaskError(
                f"there is no task, group or tag {shown(name)}" + (f"; near: {near}" if near else "")
            )
        return found

    def find(self, name: str) -> TaskDetail | None:
        """The same, or None: near ones take as long as thousands of names that are known."""
        index = self._index()
        entry = index.get(name)
        if entry is None:
            return None
        return TaskDetail(
            **vars(self._summary(entry)),
            children=tuple(index.expand([name])) if entry.kind in {"group", "tag"} else (),
            num_fewshot=entry.num_fewshot,
            dataset_path=_without_folders(entry.dataset_path),
            dataset_name=entry.dataset_name,
            description=entry.description,
        )

    def _index(self) -> TaskIndex:
        return TaskIndex.load(self._settings.task_paths)

    def _summary(self, entry: IndexEntry) -> TaskSummary:
        tags = () if entry.kind == "tag" else entry.tags
        return TaskSummary(entry.name, entry.kind, entry.output_type, tags, self._shown(entry.yaml_path))

    def _shown(self, path: Path | None) -> str | None:
        """A task file from its root's name on: where the root lies is the server's own affair."""
        if path is None:
            return None
        roots = {installed_tasks_dir(): "lm_eval/tasks"} | {
            root: root.name for root in self._settings.task_paths
        }
        named = (
            f"{name}/{path.relative_to(root)}" for root, name in roots.items() if path.is_relative_to(root)
        )
        return next(named, path.name)


def _without_folders(dataset: str | None) -> str | None:
    """A dataset's name on the hub; of a folder on the server only its own name."""
    return Path(dataset).name if dataset and dataset.startswith(("/", "~")) else dataset
