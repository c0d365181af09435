"""Jobs as `lm_eval run` does them, several in one process, whose start takes longest."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from app.backends import backend_key
from app.settings import Settings
from tests.e2e.stack import TASKS
from tests.reference import Reference, written
from tests.tiny_models import vllm_python

Words = Sequence[str]
"""What follows `lm_eval run`, but for where it writes."""

SCRIPT = Path(__file__).with_name("lm_eval_runs.py")
QUIET = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
IN_PROCESS = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # loads in seconds, and answers the same
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_CI_ENV": "1",
    "VLLM_NO_USAGE_STATS": "1",
}


def lm_eval_runs(
    python: Path, runs: Mapping[str, Words], folder: Path, env: Mapping[str, str] = QUIET
) -> dict[str, Reference]:
    """What each run writes below a folder, by name."""
    outputs = {name: folder / name for name in runs}
    commands = [
        ["run", "--include_path", str(TASKS), "--log_samples", "--output_path", str(outputs[name]), *words]
        for name, words in runs.items()
    ]
    with tempfile.TemporaryDirectory() as elsewhere:
        done = subprocess.run(
            [str(python), str(SCRIPT)],
            input=json.dumps(commands),
            env=os.environ | env,
            cwd=elsewhere,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-4000:]
    return {name: written(output) for name, output in outputs.items()}


def vllm_words(model: Path, args: Mapping[str, object], *more: str) -> Words:
    """A run of vLLM on a CPU."""
    typed = ",".join(f"{name}={value}" for name, value in {"pretrained": model, **args}.items())
    return ["--model", "vllm", "--device", "cpu", "--batch_size", "auto", "--model_args", typed, *more]


def vllm_runs(runs: Mapping[str, Words]) -> dict[str, Reference]:
    """The same of vLLM, its engine in lm-eval's process; made once for the same environment, tasks and words."""
    cache = Settings().cache_dir
    kept = cache / "references" / _digest(runs)
    if not kept.is_dir():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
            lm_eval_runs(vllm_python(cache), runs, Path(scratch) / "made", QUIET | IN_PROCESS)
            with suppress(OSError):  # of two at once, either one's is kept
                (Path(scratch) / "made").rename(kept)
    return {name: written(kept / name) for name in runs}


def _digest(runs: Mapping[str, Words]) -> str:
    told = (
        backend_key("vllm-cpu"),
        sorted(IN_PROCESS.items()),
        str(TASKS),
        runs,
    )  # the document names its tasks' files
    digest = hashlib.sha256(str(told).encode())
    for file in (SCRIPT, *_task_files()):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _task_files() -> Iterable[Path]:
    return sorted(path for path in TASKS.iterdir() if path.suffix in {".py", ".yaml"})
