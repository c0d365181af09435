"""Loaded by a part under test: SIGKILLs it at a named commit, EVALQ_FAILPOINT=before:serving.answer:3.

The name is the service's module and method; the number says at which of its commits. Production code knows
nothing of this: the part finds this file on PYTHONPATH.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from pathlib import Path

POINT = os.environ.get("EVALQ_FAILPOINT")


def _service_method() -> str:
    """Which service's method is committing."""
    frame = sys._getframe(2)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.parent.name == "services" and path.parent.parent.name == "app":
            return f"{path.stem}.{frame.f_code.co_name}"
        frame = frame.f_back  # type: ignore[assignment]
    return ""


def _install(when: str, method: str, number: int) -> None:
    from sqlalchemy import event
    from sqlalchemy.orm import Session

    seen: Counter[str] = Counter()

    def reached(_session: Session) -> None:
        if _service_method() != method:
            return
        seen[method] += 1
        if seen[method] == number:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Session, f"{when}_commit", reached)


if POINT:
    _when, _method, _number = POINT.split(":")
    _install(_when, _method, int(_number))
