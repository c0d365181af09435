"""A coordinator and an engine for tests: deterministic answers, and every frame on record."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from app.domain.engine_spec import EngineSpec
from app.workloads.lm_eval.reading.generation_settings import task_faults
from workers.harness_child.lm_eval import evaluate
from workers.protocol.frames import Connection, Frame, pair
from workers.protocol.payload import unpack_requests


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


KILLS = {"code": "engine_died", "message": "the request kills every engine"}


@dataclass
class Order:
    """An order to evaluate tasks of a folder."""

    model: Path
    folder: Path
    names: Sequence[str]
    engine_args: dict[str, Any] = field(default_factory=dict)
    spec: dict[str, Any] = field(default_factory=dict)
    job_id: str = "job-1"
    salt: str | None = None
    backend: str = "hf"
    hf_python: str | None = None
    given_up: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def model_args(self) -> dict[str, Any]:
        return {"pretrained": str(self.model), **self.engine_args}

    def frame(self) -> Frame:
        spec = {
            "model": self.backend,
            "model_args": self.model_args,
            "tasks": list(self.names),
            "batch_size": 4,
            "seed": [0, 1234, 1234, 1234],
            "bootstrap_iters": 100,
            "name": "a field the child has no use for",
            **self.spec,
        }
        engine = {
            "backend": self.backend,
            "model": str(self.model),
            "revision": None,
            "args": self.engine_args,
        }
        return {
            "type": "evaluate",
            "job_id": self.job_id,
            "spec": spec,
            "engine": engine,
            "tasks": index(self.folder),
            "backend_key": "k1",
            "salt": self.salt,
            "hf_python": self.hf_python,
            "given_up": dict(self.given_up),
        }


def index(folder: Path) -> list[dict[str, Any]]:
    """Entries of a task folder."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!function", lambda loader, node: node.value)
    entries: list[dict[str, Any]] = []
    tags: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*.yaml")):
        config = yaml.load(path.read_text(), Loader=Loader)  # noqa: S506 - a subclass of SafeLoader
        kind = "group" if "group" in config else "task"
        entries.append({"name": config[kind], "kind": kind, "yaml_path": str(path), "tags": []})
        if "tag" in config:
            tags.setdefault(config["tag"], []).append(config["task"])
    return entries + [
        {"name": name, "kind": "tag", "yaml_path": None, "tags": members} for name, members in tags.items()
    ]


@dataclass
class Run:
    """Answers a harness child to the end; `store` and `pending` outlive it to test resuming."""

    store: dict[bytes, Any] = field(default_factory=dict)
    pending: dict[bytes, Any] = field(default_factory=dict)
    refuse: str | None = None
    """Requests whose text contains this fail."""
    error: Frame = field(default_factory=lambda: dict(KILLS))
    facts: dict[str, Any] | None = None
    """What an engine is said to have told."""
    frames: list[Frame] = field(default_factory=list)
    status: int | None = None

    def serve(self, order: Order) -> Run:
        """Run the child in this thread and the coordinator in another."""
        ours, theirs = pair()
        thread = threading.Thread(target=self.coordinate, args=(ours, order))
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

    def coordinate(self, connection: Connection, order: Order) -> None:
        connection.send(order.frame())
        while (frame := connection.receive()) is not None:
            self.frames.append(frame)
            match frame["type"]:
                case "settings":
                    engine = EngineSpec(**order.frame()["engine"])
                    faults = task_faults(json.loads(frame["settings"]), engine)
                    connection.send({"type": "judged", "faults": faults})
                case "lookup":
                    connection.send(self._found(frame["keys"]))
                case "planned":
                    self._answer_all(connection)
                case "engine":
                    connection.send({"type": "engine", "facts": self.facts})

    def _found(self, keys: list[bytes]) -> Frame:
        return {
            "type": "found",
            "responses": [[key, self.store[key]] for key in keys if key in self.store],
            "pending": [key for key in keys if key in self.pending],
        }

    def _answer_all(self, connection: Connection) -> None:
        for chunk in self.of("chunk"):
            items = unpack_requests(chunk["payload"])
            answers = [
                [key, self._value(chunk, item)] for key, item in zip(chunk["keys"], items, strict=True)
            ]
            failed = [key for key, value in answers if value is None]
            self._send(connection, [answer for answer in answers if answer[1] is not None])
            for key in failed:
                connection.send({"type": "request_failed", "key": key, "error": self.error})
        if self.pending:
            self._send(connection, [[key, value] for key, value in self.pending.items()])

    def _send(self, connection: Connection, answers: list[list[Any]]) -> None:
        connection.send({"type": "responses", "responses": answers})
        for key, value in answers:
            assert key not in self.store, "a request was asked twice"
            self.store[key] = value

    def _value(self, chunk: Frame, item: Any) -> Any:
        if chunk["kind"] == "generate_until":
            refused = self.refuse is not None and self.refuse in item
            return None if refused else generation(item, chunk["gen_kwargs"])
        return score(*item)

    def of(self, kind: str) -> list[Frame]:
        return [frame for frame in self.frames if frame["type"] == kind]

    def one(self, kind: str) -> Frame:
        (frame,) = self.of(kind)
        return frame

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.one("results")["document"])
        return document

    @property
    def failures(self) -> dict[str, str]:
        return {frame["task"]: frame["error"]["code"] for frame in self.of("task_failed")}

    def rows(self, task: str) -> list[str]:
        return [row for frame in self.of("sample_rows") if frame["task"] == task for row, _ in frame["rows"]]
