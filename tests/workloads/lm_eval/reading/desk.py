"""Jobs read as the service reads them, with one model and one task in the operator's folders, and no database."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.domain.group import GroupView
from app.errors import InvalidJobError
from app.settings import Settings
from app.workloads.lm_eval.reading.read import Submission, read
from tests.faults.model import make_model

TASK = "task: {name}\ndataset_path: json\noutput_type: multiple_choice\n"


class Desk:
    """Takes jobs for one model in the operator's folder."""

    def __init__(self, root: Path, groups: Sequence[GroupView] = ()) -> None:
        root = root.resolve()
        self.models, self.tasks, self.outside = root / "models", root / "tasks", root / "outside"
        for folder in (self.models, self.tasks, self.outside):
            folder.mkdir()
        self.model = make_model(self.models / "tiny")
        (self.model / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
        (self.tasks / "ours.yaml").write_text(TASK.format(name="ours"))
        self.settings = Settings(
            model_paths=(self.models,), task_paths=(self.tasks,), HF_HOME=root / "huggingface"
        )
        self.groups = groups

    def submit(self, settings: dict[str, Any] | None = None, /, **fields: Any) -> Submission:
        body = {"model": "hf", "model_args": {"pretrained": str(self.model)}, "tasks": ["ours"]} | fields
        return read(body, self.groups, self.settings.model_copy(update=settings or {}))

    def faults(self, settings: dict[str, Any] | None = None, /, **fields: Any) -> dict[str, str]:
        """Where and what; nothing for a job that is taken."""
        try:
            self.submit(settings, **fields)
        except InvalidJobError as error:
            return {fault.path: fault.message for fault in error.faults}
        return {}

    def with_args(self, **args: Any) -> dict[str, str]:
        return self.faults(model_args={"pretrained": str(self.model), **args})
