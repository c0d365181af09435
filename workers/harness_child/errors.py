"""What can go wrong in a job, in the codes the service documents."""

from __future__ import annotations

import errno
import os
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from workers.harness_child.lm_eval import hub
from workers.harness_child.lm_eval.places import data_fault, place
from workers.protocol.harness import FailureTold

DATASET_ERROR = "dataset_error"
HOST_OUT_OF_MEMORY = "host_out_of_memory"
TASK_ERROR = "task_error"
TOKENIZER_ERROR = "tokenizer_error"
HUB_UNREACHABLE = "hub_unreachable"
MODEL_NOT_FOUND = "model_not_found"
MODEL_GATED = "model_gated"
INTERNAL = "internal"

NAMED_TASKS = 5
"""Tasks whose messages stand in the error of a job that lost them all."""

MOST_CHARACTERS = 20_000
"""Of a message or a traceback: an exception may repeat a whole data set."""

OWN_FILES = f"{Path(__file__).parents[1]}{os.sep}"

_FULL = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})

T = TypeVar("T")


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


class CoordinatorGoneError(BaseException):
    """The other end closed the socket: nobody wants the results any more."""


@contextmanager
def caught(failed: Callable[[BaseException], None]) -> Iterator[None]:
    """Hand whatever task code raises to `failed`, an exit of the process included."""
    try:
        yield
    except CoordinatorGoneError:
        raise
    except BaseException as error:  # noqa: BLE001 - the code of a task may raise anything
        failed(error)


def described(error: BaseException, code: str, samples: Sequence[int] | None = None) -> FailureTold:
    """An error as messages carry it: what, and where in the task; `code` unless the error brings its own."""
    fault = None if isinstance(error, CodedError) else _attempt(data_fault, error)
    trace = _attempt(_trace, error, code) or []
    return FailureTold(
        code=_code_of(error) or (DATASET_ERROR if fault else code),
        message=sayable(fault or said(error, samples)),
        traceback=sayable("".join(trace)[-MOST_CHARACTERS:]),
        hint=_hint(error),
    )


def _trace(error: BaseException, code: str) -> list[str]:
    """As Python prints it; without evalq's own frames where it is not evalq that is at fault."""
    whole = traceback.TracebackException.from_exception(error)
    part: traceback.TracebackException | None = whole
    while part is not None and code != INTERNAL:
        frames = [frame for frame in part.stack if not frame.filename.startswith(OWN_FILES)]
        part.stack = traceback.StackSummary.from_list(frames)
        part = part.__cause__ or part.__context__
    return list(whole.format())


def _code_of(error: BaseException) -> str | None:
    """The code that an error brings itself, or that its kind alone tells."""
    if isinstance(error, CodedError):
        return error.code
    full = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _FULL)
    return HOST_OUT_OF_MEMORY if full else None


def _hint(error: BaseException) -> str | None:
    """What helps, where that is known."""
    if isinstance(error, CodedError):
        return error.hint
    return hub.HINT if _attempt(hub.unreachable, error) else None


def unreadable(code: str, name: str, message: str, *, unreachable: bool) -> JobFailedError:
    """Why files of a model or a tokenizer were not read; `code` unless it is known better."""
    if unreachable:
        message = f"the hub cannot be reached from the coordinator's host, which has no copy of {name}"
        return JobFailedError(HUB_UNREACHABLE, message, hub.HINT)
    return JobFailedError(MODEL_GATED if "gated repo" in message else code, message)


def said(error: BaseException, samples: Sequence[int] | None = None) -> str:
    """An error in words, with its place in the task."""
    if isinstance(error, CodedError):
        return str(error)
    kind, words = type(error).__name__, (_attempt(str, error) or "")[:MOST_CHARACTERS]
    where = str(_attempt(place, error, samples) or "")
    return (f"{kind}: {words}" if words else kind) + (f" ({where})" if where else "")


def _attempt(call: Callable[..., T], *args: Any) -> T | None:
    """None where an object of task code does not even say what it is."""
    found: list[T] = []
    with caught(lambda _: None):
        found.append(call(*args))
    return found[0] if found else None


def sayable(text: str) -> str:
    """The text as it can be kept and shown: NUL and half a surrogate pair are escaped."""
    return text.encode(errors="backslashreplace").decode().replace("\x00", "\\x00")


def loading_code(error: BaseException) -> str:
    """`dataset_error` if the data could not be had, `task_error` if the task itself is at fault."""
    frames = _frames(error.__traceback__)
    downloading = any(name == "download" for _, name in frames)
    in_datasets = bool(frames) and frames[-1][0].partition(".")[0] == "datasets"
    no_documents = "did not find any docs" in (_attempt(str, error) or "")
    return DATASET_ERROR if downloading or in_datasets or no_documents else TASK_ERROR


def all_failed(faults: Mapping[str, FailureTold]) -> JobFailedError:
    """The job's error when no task is left: their common code, and what the first ones said."""
    codes = {fault.code for fault in faults.values()}
    named = [f"{name}: {fault.message}" for name, fault in faults.items()]
    more = [f"and {len(named) - NAMED_TASKS} more"] if len(named) > NAMED_TASKS else []
    message = "; ".join(named[:NAMED_TASKS] + more)
    code = codes.pop() if len(codes) == 1 else TASK_ERROR
    hint = next((fault.hint for fault in faults.values() if fault.hint), None)
    return JobFailedError(code, f"every task failed: {message}", hint)


def _frames(trace: TracebackType | None) -> list[tuple[str, str]]:
    return [
        (frame.f_globals.get("__name__", ""), frame.f_code.co_name) for frame, _ in traceback.walk_tb(trace)
    ]
