"""Recognises why an engine or a harness failed, from its exception, its log and how it ended. Pure."""

from __future__ import annotations

import signal
from dataclasses import replace
from uuid import UUID

from app.backends.plain_words import plain
from app.backends.signatures import DIED, HUB_BELOW, REACH_THE_HUB, REFUSED, STOPPED, FailureTexts
from app.domain.failure import Failure, FailureCode
from app.domain.redaction import redact
from workers.supervision.log_tail import cause_of, first_error_block

_EXCEPTION_CHARACTERS = 50_000
_MESSAGE_CHARACTERS = 2000

_SIGNAL_HINTS: dict[int, str] = {
    signal.SIGKILL: "something outside evalq killed it; a new engine goes on where it stopped",
    signal.SIGBUS: "often a full /dev/shm: give the container more shared memory (shm_size)",
}
_WAS_STOPPED = (
    "something outside evalq stopped it without ending it (SIGSTOP, a debugger, a frozen container):"
    " see what does"
)
_OUT_OF_HOST_MEMORY = (
    "the kernel ended it for want of memory: run fewer engines at once or give the host more"
)
_OUTGREW = (
    "take a smaller model or batch_size; the operator's bounds are EVALQ_ENGINE_MEMORY_SHARE and"
    " EVALQ_CHILD_PROCESSES"
)
_READ_THE_LOG = "see the end of the log"
_SEE_ARGUMENTS = "the engine refuses an argument or its value: see the message, and model_args of the job"


def classify(
    texts: FailureTexts,
    exit_status: int | None,
    exception_type: str | None,
    message: str | None,
    log_text: str,
    *,
    loading: bool = False,
    oom_killed: bool = False,
) -> Failure:
    """Name the failure. `exit_status`: negative for a signal nobody here sent, None while the child lives.

    An exception that only says that another process failed is explained by the log's first error.
    `oom_killed`: the kernel's out-of-memory count rose meanwhile (`oom.oom_kills`).
    """
    if exit_status == -signal.SIGKILL and oom_killed:
        return Failure(FailureCode.HOST_OUT_OF_MEMORY, _end_words(exit_status), hint=_OUT_OF_HOST_MEMORY)
    said = redact(": ".join(part for part in (exception_type, message) if part))[:_EXCEPTION_CHARACTERS]
    exception = _in_short(said)
    found = texts.failure_in(said, exception, loading=loading)
    if found is None and (not exception or texts.opaque.search(exception)):
        found = _from_log(texts, exit_status, exception, log_text, loading=loading, oom_killed=oom_killed)
    return _judged(found or _unknown(exception, log_text, loading=loading))


def with_log(failure: Failure, texts: FailureTexts, lines: tuple[str, ...], job_id: UUID | None) -> Failure:
    """The failure with the last lines of the log, and the facts that they tell of it."""
    told = texts.facts_in("\n".join(lines))
    told.pop("refused", None)  # whether it is, its own words say
    return replace(failure, log_tail=lines, job_id=job_id, facts={**told, **failure.facts})


def _judged(failure: Failure) -> Failure:
    """Where the start was refused for what it was given, the failure says so: another try would fail alike."""
    refused = failure.code is FailureCode.ENGINE_START_FAILED and REFUSED.match(failure.message)
    return replace(failure, facts={**failure.facts, "refused": True}) if refused else failure


def _in_short(exception: str) -> str:
    return plain(exception)[:_MESSAGE_CHARACTERS]


def _unknown(exception: str, log_text: str, *, loading: bool) -> Failure:
    """The failure of an exception that no signature knows."""
    if loading and HUB_BELOW.search(log_text):
        return Failure(FailureCode.HUB_UNREACHABLE, exception, hint=REACH_THE_HUB)
    code = FailureCode.ENGINE_START_FAILED if loading else FailureCode.INTERNAL
    refused = loading and exception.startswith(("TypeError: ", "ValueError: "))
    return Failure(code, exception, hint=_SEE_ARGUMENTS if refused else _READ_THE_LOG)


def outgrown(words: str) -> Failure:
    """The failure of an engine that was ended because it passed its bounds."""
    return Failure(FailureCode.HOST_OUT_OF_MEMORY, words, hint=_OUTGREW)


def _from_log(
    texts: FailureTexts,
    exit_status: int | None,
    exception: str,
    log_text: str,
    *,
    loading: bool,
    oom_killed: bool,
) -> Failure:
    block = redact(first_error_block(log_text))
    cause = _in_short(cause_of(block))
    found = texts.failure_in(block or log_text, cause, loading=loading)
    if found is not None:
        return found
    if oom_killed and "exit code: -9" in log_text + exception:
        return Failure(FailureCode.HOST_OUT_OF_MEMORY, exception or cause, hint=_OUT_OF_HOST_MEMORY)
    code = FailureCode.ENGINE_START_FAILED if loading else FailureCode.ENGINE_DIED
    message = cause or exception or _end_words(exit_status)
    return Failure(code, message, hint=_hint(exit_status, message))


def _hint(exit_status: int | None, message: str) -> str:
    if STOPPED.search(message):
        return _WAS_STOPPED
    return _SIGNAL_HINTS.get(-_status(exit_status, message), _READ_THE_LOG)


def _status(exit_status: int | None, message: str) -> int:
    """Of the process that ended first, as far as that is told; otherwise 0."""
    told = DIED.search(message)
    return int(told["status"]) if told else exit_status or 0


def _end_words(exit_status: int | None) -> str:
    if exit_status is None:
        return "the process stopped answering"
    if exit_status < 0:
        return f"the process was ended by {signal.Signals(-exit_status).name}"
    return f"the process ended with exit code {exit_status}"
