"""What can go wrong in a job, in the codes the service documents."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from workers.harness_child import hub

DATASET_ERROR = "dataset_error"
TASK_ERROR = "task_error"
TOKENIZER_ERROR = "tokenizer_error"
HUB_UNREACHABLE = "hub_unreachable"
MODEL_NOT_FOUND = "model_not_found"
MODEL_GATED = "model_gated"
INTERNAL = "internal"

NAMED_TASKS = 5
"""Tasks whose messages stand in the error of a job that lost them all."""


class CodedError(Exception):
    """An error whose code says what kind of fault it is."""

    def __init__(self, code: str, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint


class JobFailedError(CodedError):
    """The whole job cannot go on."""


class TaskFailedError(CodedError):
    """One task cannot go on; the others can."""


class CoordinatorGoneError(Exception):
    """The other end closed the socket: nobody wants the results any more."""


def described(error: BaseException, code: str) -> dict[str, str]:
    """An error as frames carry it; `code` unless the error brings its own."""
    return {
        "code": error.code if isinstance(error, CodedError) else code,
        "message": str(error) if isinstance(error, CodedError) else f"{type(error).__name__}: {error}",
        "traceback": "".join(traceback.format_exception(error)),
        **_hint(error),
    }


def _hint(error: BaseException) -> dict[str, str]:
    """What helps, where that is known."""
    hint = error.hint if isinstance(error, CodedError) else hub.HINT if hub.unreachable(error) else None
    return {"hint": hint} if hint else {}


def unreadable(code: str, name: str, message: str, *, unreachable: bool) -> JobFailedError:
    """Why files of a model or a tokenizer were not read; `code` unless it is known better."""
    if unreachable:
        message = f"the hub cannot be reached from the coordinator's host, which has no copy of {name}"
        return JobFailedError(HUB_UNREACHABLE, message, hub.HINT)
    return JobFailedError(MODEL_GATED if "gated repo" in message else code, message)


def loading_code(error: BaseException) -> str:
    """`dataset_error` if the data could not be had, `task_error` if the task itself is at fault."""
    frames = _frames(error.__traceback__)
    downloading = any(name == "download" for _, name in frames)
    in_datasets = bool(frames) and frames[-1][0].partition(".")[0] == "datasets"
    no_documents = "did not find any docs" in str(error)
    return DATASET_ERROR if downloading or in_datasets or no_documents else TASK_ERROR


def all_failed(failures: Mapping[str, Mapping[str, Any]]) -> JobFailedError:
    """The job's error when no task is left: their common code, and what the first ones said."""
    codes = {failure["code"] for failure in failures.values()}
    named = [f"{name}: {failure['message']}" for name, failure in failures.items()]
    more = [f"and {len(named) - NAMED_TASKS} more"] if len(named) > NAMED_TASKS else []
    message = "; ".join(named[:NAMED_TASKS] + more)
    code = codes.pop() if len(codes) == 1 else TASK_ERROR
    hint = next((failure["hint"] for failure in failures.values() if "hint" in failure), None)
    return JobFailedError(code, f"every task failed: {message}", hint)


def _frames(trace: TracebackType | None) -> list[tuple[str, str]]:
    return [
        (frame.f_globals.get("__name__", ""), frame.f_code.co_name) for frame, _ in traceback.walk_tb(trace)
    ]
