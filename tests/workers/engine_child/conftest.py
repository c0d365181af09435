from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgpack
import pytest

from app.settings import Settings
from tests.tiny_models import hf_python, tiny_llama

from .prompts import GREEDY
from .supervisor import Supervisor, engine_child

REFERENCE = Path(__file__).with_name("reference.py")
Reference = Callable[..., Any]


@pytest.fixture(scope="session")
def python() -> Path:
    return hf_python(Settings().cache_dir)


@pytest.fixture(scope="session")
def model() -> Path:
    return tiny_llama(Settings().cache_dir)


@pytest.fixture(scope="package")
def engine(python: Path, model: Path) -> Iterator[Supervisor]:
    with engine_child(python) as supervisor:
        supervisor.loaded("hf", str(model))
        yield supervisor


@pytest.fixture(scope="package")
def reference(python: Path, model: Path) -> Iterator[Reference]:
    """HFLM's answers to (kind, requests, batch size), each list in one call."""
    env = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [str(python), str(REFERENCE)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env, bufsize=0
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        asked = process.stdin
        answers = msgpack.Unpacker(process.stdout)

        def ask(
            kind: str, requests: Sequence[Any], batch_size: int, gen_kwargs: Mapping[str, Any] = GREEDY
        ) -> Any:
            order = {"model": str(model), "kind": kind, "requests": requests, "batch_size": batch_size}
            asked.write(msgpack.packb(order | {"gen_kwargs": gen_kwargs}))
            asked.flush()
            return next(answers)

        yield ask
        process.kill()
