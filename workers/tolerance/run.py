"""The story of one measuring: stock twice, fast once, and what lies between them."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from app.backends import look_at
from app.backends.tolerances import folder_of
from app.domain.engine_spec import EngineSpec, Scoring
from app.domain.tolerance import Tolerance
from app.errors import ToleranceError
from app.gpus.cpu import cpu_name
from app.gpus.naming import OwnedDevice, parse_devices, short_name
from app.gpus.nvml import memory_is_free
from app.settings import Settings
from workers.gpu_worker.group import CLEAN_BYTES
from workers.tolerance.documents import documents
from workers.tolerance.engine import MeasuredEngine
from workers.tolerance.gaps import gap
from workers.tolerance.order import ToleranceOrder
from workers.tolerance.prompts import Request, tokenized

PER_CHUNK, PER_CHUNK_AGAIN = 16, 5
"""Documents that are sent together, and when stock is asked once more in another order."""

WARM = 8
"""Documents asked before, so that nothing is compiled while the time runs; none of them is asked again."""

Say: TypeAlias = Callable[[str], None]
Start: TypeAlias = Callable[[EngineSpec], AbstractContextManager[MeasuredEngine]]


def measured(order: ToleranceOrder, settings: Settings, start: Start, say: Say) -> Tolerance:
    """What was measured, not stored yet. ToleranceError."""
    kind, device = device_of(parse_devices(order.devices))
    report = look_at(order.backend, settings.cache_dir, kind)
    if report.problem:
        raise ToleranceError(f"{order.backend} does not work here: {report.problem}")
    asked = tokenized(documents(WARM + order.documents), order)
    warm, asked = asked[:WARM], asked[WARM:]
    with _started(order, Scoring.STOCK, start, say) as engine:
        _check_length(engine, asked)
        engine.ask(warm, PER_CHUNK)
        stock, stock_seconds = engine.ask(asked, PER_CHUNK)
        backwards, _ = engine.ask(asked[::-1], PER_CHUNK_AGAIN)
    with _started(order, Scoring.FAST, start, say) as engine:
        engine.ask(warm, PER_CHUNK)
        fast, fast_seconds = engine.ask(asked, PER_CHUNK)
        told = engine.provenance
    return Tolerance(
        backend=order.backend,
        device=device,
        dtype=str(told.get("dtype")),
        versions=report.versions,
        runner=told.get("model_runner"),
        model=order.model,
        documents=len(asked),
        requests=sum(map(len, asked)),
        fast=gap(fast, stock),
        noise=gap(backwards[::-1], stock),
        stock_rate=len(asked) / stock_seconds,
        fast_rate=len(asked) / fast_seconds,
        measured_at=datetime.now(UTC),
        accepted=order.accept,
    )


@contextmanager
def alone(cache_dir: Path) -> Iterator[None]:
    """One at a time on a host. ToleranceError where another runs, or nothing could be stored."""
    lock = folder_of(cache_dir) / f".{socket.gethostname()}"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ToleranceError(f"nothing can be stored in {lock.parent}: {error.strerror}") from None
    try:
        _take(descriptor)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ToleranceError("fast scoring is being measured on this host: wait for it") from None


def device_of(devices: Sequence[OwnedDevice]) -> tuple[str, str]:
    """Their kind and the name of all of them. ToleranceError where they differ, or somebody holds their memory."""
    gpus = [device.gpu for device in devices if device.gpu]
    if not gpus:
        return "cpu", cpu_name()
    names = sorted({gpu.name for gpu in gpus})
    if len(names) > 1:
        raise ToleranceError(f"these are devices of several kinds: {', '.join(names)}")
    for gpu in gpus:
        if not memory_is_free(gpu.uuid, CLEAN_BYTES):
            busy = f"GPU {short_name(gpu)} is in use"
            raise ToleranceError(f"{busy}: drain its group (`evalq drain GROUP`) and wait until it is free")
    return "cuda", names[0]


@contextmanager
def _started(order: ToleranceOrder, mode: Scoring, start: Start, say: Say) -> Iterator[MeasuredEngine]:
    say(f"loading {order.model} to score {order.documents:,} documents: {mode}")
    with start(order.engine(mode)) as engine:
        yield engine


def _check_length(engine: MeasuredEngine, asked: Sequence[Sequence[Request]]) -> None:
    """The engine cuts contexts that are too long, and would cut nothing off a continuation."""
    most = engine.provenance.get("max_length")
    longest = max(len(choice) for document in asked for _, choice in document)
    if isinstance(most, int) and longest + 2 > most:
        raise ToleranceError(f"the engine takes {most} tokens, and a choice alone has {longest}")
