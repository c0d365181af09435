"""What a reader of a job's scores must know of how its tasks were asked and answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.domain.job import JobTask
from app.domain.quality import TaskQuality, remarks


@dataclass(frozen=True)
class QualityNotes:
    """A sentence for each thing out of the ordinary."""

    notes: Sequence[str]
    of_tasks: int
    """Tasks of which it is known."""
    whole: bool
    """All that could be out of the ordinary was noted, for every one of them."""


def quality_of(tasks: Sequence[JobTask]) -> QualityNotes:
    """Of the tasks that are scored."""
    known = {task.name: task.quality for task in tasks if task.quality}
    return QualityNotes(remarks(known), len(known), all(_whole(each) for each in known.values()))


def _whole(quality: TaskQuality) -> bool:
    return quality.prompts_cut is not None and quality.answers_truncated is not None
