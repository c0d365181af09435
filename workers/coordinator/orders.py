"""What a harness child is told to do: a job, with what this host knows of its tasks and backends."""

from __future__ import annotations

from collections.abc import Mapping

from app.backends import BACKENDS, backend_key, installed
from app.domain.failure import Failure
from app.domain.job import Job
from app.settings import Settings
from app.workloads.lm_eval.spec import LmEvalSpec
from app.workloads.lm_eval.tasks.task_index import TaskIndex
from workers.protocol.engine import EngineRecipe, ScoringMode
from workers.protocol.harness import EngineRules, EvaluateOrder, FailureTold, PromptShapes, TaskEntry


def order_to_evaluate(job: Job, given_up: Mapping[str, Failure], settings: Settings) -> EvaluateOrder:
    """The order of a job; tasks that were given up before are left out there."""
    index, engine = TaskIndex.load(settings.task_paths), job.engine
    spec = LmEvalSpec.from_json(job.spec)
    return EvaluateOrder(
        job_id=str(job.id),
        spec=spec,
        engine=EngineRecipe(
            engine.backend,
            engine.model,
            engine.revision,
            engine.args,
            engine.env,
            scoring_mode=ScoringMode(engine.scoring_mode),
        ),
        entries=tuple(TaskEntry(**entry.to_json()) for entry in index.closure(spec.tasks)),
        rules=engine_rules(engine.backend),
        salt=None if spec.reuse_responses else str(job.id),
        gguf_python=gguf_python(settings),
        given_up={name: FailureTold(failure.code, failure.message) for name, failure in given_up.items()},
    )


def engine_rules(name: str) -> EngineRules:
    """What a harness child is told of the backend."""
    backend = BACKENDS[name]
    return EngineRules(
        key=backend_key(name),
        shapes=PromptShapes(backend.shapes),
        whole_batches=backend.batching.whole,
        grouped=backend.batching.grouped,
        answers=backend.answers,
        neutral=tuple(sorted(backend.neutral)),
    )


def gguf_python(settings: Settings) -> str | None:
    """An interpreter that reads GGUF files on this host: the first one of a backend that does."""
    found = installed(settings.cache_dir).items()
    return next((str(python) for name, python in found if BACKENDS[name].gguf), None)
