"""Runs the checks one after the other: a line for each, and a file with all figures."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx

from app.gpus.nvml import Gpu, discover, driver_versions
from app.settings import Settings
from tests.gpu.bench import ON_CPU, ON_GPU, TASKS, Bench, Figures, make_model
from tests.gpu.checks.cold import cold_starts, vllm_cold_starts
from tests.gpu.checks.inventory import inventory
from tests.gpu.checks.kills import kills, vllm_kills
from tests.gpu.checks.ladder import ladder
from tests.gpu.checks.memory import memory
from tests.gpu.checks.offload import offload
from tests.gpu.checks.parity import parity, vllm_parity
from tests.gpu.checks.scoring import scoring
from tests.gpu.checks.speed import speed, vllm_speed
from tests.gpu.checks.starts import CACHES, starts
from tests.gpu.engines import EXACT, HF, QUIET, RUNNER, VLLM, tested
from tests.gpu.service import Service
from workers.gpu_worker.group import CLEAN_BYTES

NO_GPU = "no NVIDIA GPU"


@dataclass(frozen=True)
class Check:
    """Something that should hold; it returns figures, or raises what it found instead."""

    name: str
    run: Callable[[Bench], Figures]
    needs_gpu: bool = False
    model: str = HF
    """What its jobs say."""


CHECKS = {
    check.name: check
    for check in (
        Check("inventory", inventory, needs_gpu=True),
        Check("parity", parity),
        Check("memory", memory, needs_gpu=True),
        Check("kills", kills),
        Check("offload", offload, needs_gpu=True),
        Check("speed", speed),
        Check("cold-starts", cold_starts),
        Check("vllm-starts", starts, model=VLLM),
        Check("vllm-parity", vllm_parity, model=VLLM),
        Check("vllm-ladder", ladder, model=VLLM),
        Check("vllm-kills", vllm_kills, model=VLLM),
        Check("vllm-speed", vllm_speed, model=VLLM),
        Check("vllm-scoring", scoring, model=VLLM),
        Check("vllm-cold-starts", vllm_cold_starts, model=VLLM),
    )
}


@dataclass(frozen=True)
class Outcome:
    """What became of a check: `held`, `failed` or `not run`."""

    name: str
    status: str
    seconds: float = 0.0
    figures: Figures = field(default_factory=dict)
    reason: str = ""
    traceback: str = ""

    def line(self) -> str:
        """For a terminal."""
        told = self.reason or ", ".join(f"{name} {value}" for name, value in self.figures.items())
        return f"{self.status:8} {self.name:12} {self.seconds:6.1f} s  {told}"


class Paper:
    """The file of figures; `device` is the GPU's name, or says that it was a CPU slot."""

    def __init__(self, out: Path, gpu: Gpu | None) -> None:
        self._out = out
        self._device = gpu.name if gpu else "CPU slot"
        self._driver = driver_versions() if gpu else None
        self._begun = time.monotonic()
        self.outcomes: list[Outcome] = []

    def write(self, more: Sequence[Outcome]) -> None:
        """Add outcomes; what was written before is kept whatever ends the run."""
        self.outcomes += more
        document: dict[str, Any] = {
            "device": self._device,
            "driver": asdict(self._driver) if self._driver else None,
            "seconds": round(time.monotonic() - self._begun, 1),
            "checks": [asdict(outcome) for outcome in self.outcomes],
        }
        self._out.parent.mkdir(parents=True, exist_ok=True)
        self._out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def run(out: Path, logs: Path | None, *, cpu: bool, only: Sequence[str] = ()) -> int:
    """The exit code: 0 where nothing failed. GpuUnavailableError where there is a driver that does not answer.

    `out` gets the figures after every check, `logs` a copy of the service's own logs.
    """
    gpus = [] if cpu else discover()
    idle = [gpu for gpu in gpus if gpu.memory_used_bytes <= CLEAN_BYTES]
    if gpus and not idle:
        print(
            f"failed: none of this machine's {len(gpus)} GPUs is idle; these checks need one for themselves"
        )
        return 1
    gpu = idle[0] if idle else None
    paper = Paper(out, gpu)
    if gpu or cpu:
        _all(gpu, logs, only, paper)
    else:
        paper.write([Outcome(name, "not run", reason=NO_GPU) for name in CHECKS])
        print(f"not run: {NO_GPU} on this machine (--cpu tries the checks themselves)")
    return 1 if any(outcome.status == "failed" for outcome in paper.outcomes) else 0


def _all(gpu: Gpu | None, logs: Path | None, only: Sequence[str], paper: Paper) -> None:
    cache_dir = Settings().cache_dir
    scale = ON_GPU if gpu else ON_CPU
    models = {HF, *(CHECKS[name].model for name in only or CHECKS)}
    engines = {model: tested(model, cache_dir, gpu=gpu is not None) for model in sorted(models)}
    with tempfile.TemporaryDirectory(prefix="evalq-gpu-", ignore_cleanup_errors=True) as place:
        folder = Path(place)
        folder.chmod(0o755)  # Postgres runs as another account where we are root
        model = make_model(engines[HF].python, scale, cache_dir, folder / "model")
        env = (
            EXACT
            | QUIET
            | {
                "EVALQ_TASK_PATHS": str(TASKS),
                "EVALQ_MAX_BATCH_SIZE": "128" if gpu else "8",
                "EVALQ_ENV_ALLOWED": ",".join((RUNNER, *CACHES)),
            }
        )
        try:
            with Service(folder, str(gpu.index) if gpu else "cpu:1", env) as service:
                bench = Bench(service, engines, model, scale, folder, gpu, env)
                for name in only or CHECKS:
                    paper.write([_try(CHECKS[name], bench)])
        finally:
            if logs:
                shutil.copytree(folder / "data" / "logs", logs, dirs_exist_ok=True)


def _try(check: Check, bench: Bench) -> Outcome:
    begun = time.monotonic()
    if check.needs_gpu and bench.gpu is None:
        outcome = Outcome(check.name, "not run", reason=NO_GPU)
    else:
        try:
            figures = check.run(bench)
            outcome = Outcome(check.name, "held", time.monotonic() - begun, figures)
        except (AssertionError, OSError, ValueError, LookupError, httpx.HTTPError) as error:
            told = str(error).splitlines() or [type(error).__name__]
            outcome = Outcome(
                check.name,
                "failed",
                time.monotonic() - begun,
                reason=told[0][:400],
                traceback=traceback.format_exc(),
            )
    print(outcome.line(), flush=True)
    return outcome
