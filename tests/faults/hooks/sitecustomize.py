"""Loaded by processes under test, which know nothing of it: they find this folder on PYTHONPATH.

EVALQ_FAILPOINT=before:serving.answer:3:changed makes a part SIGKILL itself at a named commit: the service's module
and method, and at which of its commits, of any or of those that changed something.
FAULTS_JOURNAL=FILE makes gpu workers write down what engines have answered.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections import Counter
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

POINT = os.environ.get("EVALQ_FAILPOINT")
JOURNAL = os.environ.get("FAULTS_JOURNAL")


def _service_method() -> str:
    """Which service's method is committing."""
    frame = sys._getframe(2)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.parent.name == "services" and path.parent.parent.name == "app":
            return f"{path.stem}.{frame.f_code.co_name}"
        frame = frame.f_back  # type: ignore[assignment]
    return ""


_CHANGE = re.compile(r"\b(INSERT\s+INTO|DELETE\s+FROM|UPDATE\s+\S+(\s+AS\s+\w+)?\s+SET)\b", re.IGNORECASE)


def _die_at(when: str, method: str, number: int, counted: str) -> None:
    from sqlalchemy import Engine, event
    from sqlalchemy.orm import Session

    seen: Counter[str] = Counter()

    def executed(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if cursor.rowcount and _CHANGE.search(statement):
            connection.info["changed"] = True

    def begun(connection: Any) -> None:
        connection.info["changed"] = False

    def prepared(session: Session) -> None:
        pending = session.new or session.dirty or session.deleted
        session.info["counts"] = counted == "any" or pending or session.connection().info["changed"]

    def reached(session: Session) -> None:
        if _service_method() != method or not session.info["counts"]:
            return
        seen[method] += 1
        if seen[method] == number:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Engine, "after_cursor_execute", executed)
    event.listen(Engine, "begin", begun)
    event.listen(Session, "before_commit", prepared)
    event.listen(Session, f"{when}_commit", reached)


class _JournalFinder:
    """Imports `workers.protocol.frames` so that answers are written down as soon as they are received."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != "workers.protocol.frames":
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            execute(module)
            _journal(module.Connection)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _journal(connection: Any) -> None:
    receive = connection.receive

    def receiving(self: Any, *args: Any) -> Any:
        frame = receive(self, *args)
        if frame and frame["type"] == "Answered":
            with Path(str(JOURNAL)).open("a", encoding="ascii") as file:
                file.write(f"{frame['chunk']} {len(frame['responses'])}\n")
        return frame

    connection.receive = receiving


if POINT:
    _when, _method, _number, _counted = POINT.split(":")
    _die_at(_when, _method, int(_number), _counted)
if JOURNAL:
    sys.meta_path.insert(0, _JournalFinder())
