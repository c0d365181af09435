"""Stand-ins for what needs lm-eval's index and installed backends: the API's own work is under test here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from app.errors import FaultyField, InvalidJobError, UnknownTaskError
from app.workloads.lm_eval.reading.read import Submission
from tests.jobs import submission

TASKS = ("arc_easy", "gsm8k", "toy")
KEPT = ("name", "priority", "tags", "metadata", "gen_kwargs", "deadline_seconds")


class FakeSubmissions:
    """Knows three tasks; `before` runs while a job is being checked."""

    def __init__(self) -> None:
        self.before: Callable[[], None] = lambda: None

    def check(self, fields: Mapping[str, Any]) -> Submission:
        self.before()
        faults = []
        if "model" not in fields:
            faults.append(FaultyField("model", "is missing"))
        names = fields.get("tasks") or []
        names = names.split(",") if isinstance(names, str) else names
        for index, name in enumerate(names):
            if name not in TASKS:
                faults.append(FaultyField(f"tasks.{index}", f"there is no task {name}", TASKS))
        if faults:
            raise InvalidJobError(faults)
        kept = {name: fields[name] for name in KEPT if fields.get(name) is not None}
        return submission(tasks=tuple(names), **kept)


@dataclass(frozen=True)
class FakeTask:
    name: str
    kind: str = "task"
    output_type: str | None = "multiple_choice"
    tags: tuple[str, ...] = ("a tag",)
    path: str | None = "arc/arc_easy.yaml"
    children: tuple[str, ...] = ()
    num_fewshot: int | None = 0
    dataset_path: str | None = "allenai/ai2_arc"
    dataset_name: str | None = None
    description: str | None = None


class FakeTasks:
    """Three tasks, one page."""

    def search(self, text: str | None, limit: int, cursor: str | None) -> tuple[list[FakeTask], str | None]:
        found = [name for name in TASKS if (text or "") in name and name > (cursor or "")]
        return [FakeTask(name) for name in found[:limit]], found[limit - 1] if len(found) > limit else None

    def get(self, name: str) -> FakeTask:
        if name not in TASKS:
            raise UnknownTaskError(f"there is no task {name}; near: {', '.join(TASKS)}")
        return FakeTask(name)

    def find(self, name: str) -> FakeTask | None:
        return FakeTask(name) if name in TASKS else None
