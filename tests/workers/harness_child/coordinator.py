"""A coordinator and an engine for tests: deterministic answers, and every message on record."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml

from app.domain.engine_spec import EngineSpec
from app.workloads.lm_eval.reading.generation_settings import task_faults
from app.workloads.lm_eval.spec import LmEvalSpec
from workers.coordinator.orders import engine_rules
from workers.harness_child.lm_eval import evaluate
from workers.protocol.channel import Channel
from workers.protocol.engine import EngineRecipe, ScoringMode
from workers.protocol.frames import Connection, pair
from workers.protocol.harness import (
    FROM_HARNESS,
    AllCut,
    ChunkCut,
    EvaluateOrder,
    FactsTold,
    FailureTold,
    Found,
    FromHarness,
    JobFailed,
    JudgeSettings,
    LookUp,
    QualityTold,
    RequestFailed,
    Responses,
    Results,
    SampleRows,
    SettingsJudged,
    Stored,
    TaskEntry,
    TaskFailed,
    TaskFinished,
    TellFacts,
    ToHarness,
)
from workers.protocol.payload import ResponseNote, pack_note, pack_response, unpack_requests


def score(context: Sequence[int], continuation: Sequence[int]) -> tuple[float, bool]:
    """A made-up log-probability of a continuation."""
    number = _number(list(context), list(continuation))
    return -(number % 9973) / 997.0, number % 3 == 0


def generation(context: str, settings: dict[str, Any]) -> str:
    """A made-up continuation of a text."""
    number = _number(context, sorted(settings.items(), key=repr))
    return f" about {number % 23}, or {number % 7}"


def _number(*parts: object) -> int:
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:6], "big")


KILLS = FailureTold("engine_died", "the request kills every engine")
M = TypeVar("M")


@dataclass
class Ordered:
    """An order to evaluate tasks of a folder."""

    model: Path
    folder: Path
    names: Sequence[str]
    engine_args: dict[str, Any] = field(default_factory=dict)
    spec: dict[str, Any] = field(default_factory=dict)
    job_id: str = "job-1"
    salt: str | None = None
    backend: str = "hf"
    scoring_mode: ScoringMode = ScoringMode.STOCK
    gguf_python: str | None = None
    given_up: dict[str, FailureTold] = field(default_factory=dict)

    @property
    def model_args(self) -> dict[str, Any]:
        return {"pretrained": str(self.model), **self.engine_args}

    @property
    def fields(self) -> dict[str, Any]:
        """The job's spec as it is stored."""
        return {
            "model": self.backend,
            "model_args": self.model_args,
            "tasks": list(self.names),
            "batch_size": 4,
            "seed": [0, 1234, 1234, 1234],
            "bootstrap_iters": 100,
            "name": "a field the child has no use for",
            **self.spec,
        }

    def message(self) -> EvaluateOrder:
        return EvaluateOrder(
            job_id=self.job_id,
            spec=LmEvalSpec.from_json(self.fields),
            engine=EngineRecipe(
                self.backend, str(self.model), args=self.engine_args, scoring_mode=self.scoring_mode
            ),
            entries=index(self.folder),
            rules=replace(engine_rules(self.backend), key="k1"),
            salt=self.salt,
            gguf_python=self.gguf_python,
            given_up=self.given_up,
        )


def index(folder: Path) -> tuple[TaskEntry, ...]:
    """Entries of a task folder."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!function", lambda loader, node: node.value)
    entries: list[TaskEntry] = []
    tags: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*.yaml")):
        config = yaml.load(path.read_text(), Loader=Loader)  # noqa: S506 - a subclass of SafeLoader
        kind = "group" if "group" in config else "task"
        entries.append(TaskEntry(config[kind], kind, str(path)))
        if "tag" in config:
            tags.setdefault(config["tag"], []).append(config["task"])
    return (*entries, *(TaskEntry(name, "tag", tags=tuple(members)) for name, members in tags.items()))


@dataclass
class Run:
    """Answers a harness child to the end; `store` and `pending` outlive it to test resuming."""

    store: dict[bytes, Any] = field(default_factory=dict)
    pending: dict[bytes, Any] = field(default_factory=dict)
    refuse: str | None = None
    """Requests whose text contains this fail."""
    fault: FailureTold = KILLS
    note: ResponseNote | None = None
    """What an engine is said to have told of each response that it gives from now on."""
    notes: dict[bytes, bytes] = field(default_factory=dict)
    facts: dict[str, Any] | None = None
    """What an engine is said to have told."""
    messages: list[FromHarness] = field(default_factory=list)
    status: int | None = None

    def serve(self, order: Ordered) -> Run:
        """Run the child in this thread and the coordinator in another."""
        ours, theirs = pair()
        channel: Channel[EvaluateOrder | ToHarness, FromHarness] = Channel(ours, FROM_HARNESS)
        thread = threading.Thread(target=self.coordinate, args=(channel, order))
        thread.start()
        child = Connection(theirs)
        try:
            self.status = evaluate.serve(child)
        finally:
            theirs.shutdown(2)
            thread.join()
            child.close()
            ours.close()
        return self

    def coordinate(self, channel: Channel[EvaluateOrder | ToHarness, FromHarness], order: Ordered) -> None:
        asked = order.message()
        channel.send(asked)
        while (message := channel.receive()) is not None:
            self.messages.append(message)
            match message:
                case JudgeSettings(settings):
                    engine = EngineSpec(asked.engine.backend, asked.engine.model, args=asked.engine.args)
                    channel.send(SettingsJudged(tuple(task_faults(json.loads(settings), engine))))
                case LookUp(keys):
                    channel.send(self._found(keys))
                case AllCut():
                    for answer in self._answers():
                        channel.send(answer)
                case TellFacts():
                    channel.send(FactsTold(self.facts))

    def _found(self, keys: tuple[bytes, ...]) -> Found:
        known = [key for key in keys if key in self.store]
        return Found(self._packed(known), tuple(key for key in keys if key in self.pending))

    def _answers(self) -> Iterator[ToHarness]:
        for chunk in self.of(ChunkCut):
            items = unpack_requests(chunk.payload)
            values = {key: self._value(chunk, item) for key, item in zip(chunk.keys, items, strict=True)}
            yield self._answered({key: value for key, value in values.items() if value is not None})
            for key, value in values.items():
                if value is None:
                    yield RequestFailed(key, self.fault)
        if self.pending:
            yield self._answered(self.pending)

    def _answered(self, values: Mapping[bytes, Any]) -> Responses:
        assert not values.keys() & self.store.keys(), "a request was asked twice"
        self.store |= values
        if self.note is not None:
            self.notes |= dict.fromkeys(values, pack_note(self.note))
        return Responses(self._packed(values))

    def _packed(self, keys: Iterable[bytes]) -> tuple[Stored, ...]:
        return tuple((key, pack_response(self.store[key]), self.notes.get(key)) for key in keys)

    def _value(self, chunk: ChunkCut, item: Any) -> Any:
        if chunk.gen_kwargs is not None:
            refused = self.refuse is not None and self.refuse in item
            return None if refused else generation(item, dict(chunk.gen_kwargs))
        return score(*item)

    def of(self, kind: type[M]) -> list[M]:
        return [message for message in self.messages if isinstance(message, kind)]

    def one(self, kind: type[M]) -> M:
        (message,) = self.of(kind)
        return message

    @property
    def fault_of_the_job(self) -> FailureTold:
        return self.one(JobFailed).fault

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.one(Results).document)
        return document

    @property
    def failures(self) -> dict[str, str]:
        return {failed.task: failed.fault.code for failed in self.of(TaskFailed)}

    def rows(self, task: str) -> list[str]:
        return [row.line for some in self.of(SampleRows) if some.task == task for row in some.rows]

    def quality(self, task: str) -> QualityTold:
        (told,) = [finished.quality for finished in self.of(TaskFinished) if finished.task == task]
        assert told
        return told


def message(run: Run, task: str) -> str:
    """What is told of a task that failed."""
    (error,) = [failed.fault for failed in run.of(TaskFailed) if failed.task == task]
    return error.message
