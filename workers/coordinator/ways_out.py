"""What a job in a coordinator's hands is told of its memory: ways out beside a failure, and what its length cuts."""

from __future__ import annotations

import logging
from dataclasses import replace

from app.backends import BACKENDS
from app.domain.failure import Failure
from app.domain.job import Job
from app.domain.prompt_lengths import PromptLengths
from app.services.coordination import CoordinationService
from app.settings import Settings
from app.workloads.lm_eval.reading.failed import Setting, ways_out_of
from app.workloads.lm_eval.spec import LmEvalSpec

log = logging.getLogger(__name__)


class WaysOut:
    """By what is known now: the groups that there are, what engines measured, the job's own prompts."""

    def __init__(self, coordination: CoordinationService, settings: Settings) -> None:
        self._coordination = coordination
        self._settings = settings
        self.prompts: PromptLengths | None = None
        """Once they are built."""

    def beside(self, job: Job, failure: Failure) -> Failure:
        """The failure, with its ways out where it is one of memory."""
        if not failure.of_memory:
            return failure
        binding = self._coordination.binding
        groups = self._coordination.waiting.capacity().groups
        now = Setting(groups, self._settings, binding.recall, self.prompts)
        try:
            found = ways_out_of(LmEvalSpec.from_json(job.spec), job.engine, failure, now)
        except Exception:  # the failure itself is what its user has to hear of
            log.exception("ways out of job %s could not be found", job.id)
            return failure
        return replace(failure, ways_out=tuple(way.to_json() for way in found))

    def cut(self, job: Job) -> str | None:
        """How many prompts are longer than the engine's length; None where none is, or the engine has no such limit."""
        names = BACKENDS[job.engine.backend].memory.lengths
        length = next((job.engine.args[name] for name in names if job.engine.args.get(name)), None)
        if self.prompts is None or not isinstance(length, int) or not (count := self.prompts.cut_by(length)):
            return None
        return f"{count:,} of {self.prompts.total:,} requests are longer than {length:,} tokens, and are cut"
