"""Engines that are ended or stopped from outside, and hosts that lack what they need."""

from __future__ import annotations

import signal
from functools import partial

from app.domain.failure import FailureCode
from tests.vllm_failures.case import SHORT, Ask, Case, Running
from workers.containment.shared_memory import ROOM

START, DIED = FailureCode.ENGINE_START_FAILED, FailureCode.ENGINE_DIED

CORE, RANK, ANY_RANK = "VLLM::EngineCore", "VLLM::Worker_TP1", "VLLM::Worker"

LONG = Ask(
    "generate_until",
    tuple((5, 6, 7, first) for first in range(10, 138)),
    {"until": [], "max_gen_toks": 400, "min_tokens": 400, "do_sample": False},
)
BUSY = (SHORT, LONG)


def while_loading(number: int, running: Running) -> None:
    """A signal to the engine core as soon as it has a rank."""
    running.await_process(ANY_RANK)
    running.signal(number, CORE)


def while_answering(number: int, title: str, running: Running) -> None:
    """A signal to a process in the midst of an answer."""
    running.await_answering()
    running.signal(number, title)


def small(folder: str) -> str:
    """A line of shell that leaves a folder almost no room."""
    return f"mkdir -p {folder}; mount -t tmpfs -o size=64k none {folder}"


def full(folder: str) -> str:
    """A line of shell that leaves a folder no room for a single file."""
    return f"mkdir -p {folder}; mount -t tmpfs -o size=64k,nr_inodes=1 none {folder}"


DEATHS = (
    Case(
        "core killed loading",
        "the engine core killed while it loads",
        START,
        "EngineCore",
        act=partial(while_loading, signal.SIGKILL),
    ),
    Case(
        "core killed",
        "the engine core killed while it answers",
        DIED,
        "EngineCore",
        asks=BUSY,
        act=partial(while_answering, signal.SIGKILL, CORE),
    ),
    Case(
        "rank killed",
        "one rank of two killed while it answers",
        DIED,
        "Worker_TP1",
        asks=BUSY,
        wide=2,
        act=partial(while_answering, signal.SIGKILL, RANK),
    ),
    Case(
        "rank frozen",
        "one rank of two frozen, `VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS=20`",
        DIED,
        "timed out",
        asks=BUSY,
        wide=2,
        act=partial(while_answering, signal.SIGSTOP, RANK),
        env={"VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS": "20"},
    ),
    Case(
        "core frozen",
        "the engine core frozen while it answers",
        DIED,
        "stopped by a signal",
        asks=BUSY,
        act=partial(while_answering, signal.SIGSTOP, CORE),
    ),
    Case(
        "core frozen loading",
        "the engine core frozen while it loads",
        START,
        "stopped by a signal",
        act=partial(while_loading, signal.SIGSTOP),
    ),
    Case(
        "shim killed",
        "the shim around the engine killed while it answers",
        DIED,
        "SIGKILL",
        asks=BUSY,
        act=partial(while_answering, signal.SIGKILL, "shim.py"),
    ),
    Case(
        "child killed",
        "the engine child killed while it answers",
        DIED,
        "SIGKILL",
        asks=BUSY,
        act=partial(while_answering, signal.SIGKILL, "bootstrap.py"),
    ),
    Case(
        "aborted",
        "the engine core ended by SIGABRT, as by an assertion in C++",
        DIED,
        "EngineCore",
        asks=BUSY,
        act=partial(while_answering, signal.SIGABRT, CORE),
    ),
)

HOST = (
    Case(
        "memory",
        "`EVALQ_ENGINE_MEMORY_SHARE=0.02`",
        FailureCode.HOST_OUT_OF_MEMORY,
        "more than",
        settings={"engine_memory_share": 0.02},
    ),
    Case(
        "shared memory",
        "a `/dev/shm` of 64 KiB",
        START,
        "Insufficient space in /dev/shm",
        wide=2,
        before=small(str(ROOM)),
    ),
    Case(
        "cache disk",
        "a disk of 64 KiB for `VLLM_CACHE_ROOT`",
        START,
        "",
        before=small("$VLLM_CACHE_ROOT"),
        env={"VLLM_CACHE_ROOT": "{model}/cache"},
        args={"enforce_eager": False},
    ),
    Case(
        "temporary disk",
        "a disk for `TMPDIR` that takes no file",
        None,
        "",
        before=full("$TMPDIR"),
        wide=2,
    ),
    Case(
        "port",
        "a taken port, named by `VLLM_PORT`",
        None,
        "",
        wide=2,
        env={"VLLM_PORT": "{taken}"},
        asks=(SHORT,),
    ),
    Case(
        "processes",
        "`EVALQ_CHILD_PROCESSES=3`",
        FailureCode.HOST_OUT_OF_MEMORY,
        "",
        settings={"child_processes": 3},
    ),
    Case("files", "`EVALQ_CHILD_FILES=40`", FailureCode.HOST_OUT_OF_MEMORY, "", settings={"child_files": 40}),
)
