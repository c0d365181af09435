from __future__ import annotations

import json
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from app.backends import BACKENDS, environment_path, health, look_at
from app.backends.environments import MARKER
from tests.backends.wheels import write_wheel

WITHOUT_A_GPU = """
class cuda:
    is_available = staticmethod(lambda: False)
    def init(): raise RuntimeError("Found no NVIDIA driver on your system.\\nSecond line")
class version:
    cuda = {cuda!r}
__version__ = "9.9"
"""


def put(environment: Path, name: str, source: str) -> Path:
    """A module of this source becomes what an engine of `small` imports."""
    [packages] = environment.glob("lib/python*/site-packages")
    zipfile.ZipFile(write_wheel(environment.parent, name, source)).extractall(packages)
    BACKENDS["small"] = replace(BACKENDS["small"], imports=(name,), versions=(name, "absent"))
    return packages / f"{name}.py"


def test_a_healthy_environment_is_looked_at_once(environment: Path, tmp_path: Path) -> None:
    module = put(environment, "grain", "import pathlib; pathlib.Path(__file__ + '.seen').touch()")
    seen = module.with_name("grain.py.seen")
    report = look_at("small", tmp_path)
    assert (report.name, report.versions, report.problem) == ("small", {"grain": "1.0"}, None)
    assert report.size_bytes is not None
    assert 1e3 < report.size_bytes < 1e9
    seen.unlink()
    assert look_at("small", tmp_path, "cuda") == report
    assert not seen.exists()
    os.utime(environment / MARKER)  # installed again
    look_at("small", tmp_path)
    assert seen.exists()
    (environment / health.REMEMBERED).write_text("not what it should be")
    seen.unlink()
    assert look_at("small", tmp_path).problem is None
    assert seen.exists()


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("import nothing_of_this_name", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("raise ImportError('libGL.so.1: cannot open\\nmore')", "ImportError: libGL.so.1: cannot open"),
        ("raise ValueError", "ValueError: no words"),
        ("raise SystemExit('no licence')", "importing it ended with exit code 1: no licence"),
        ("import os; os.kill(os.getpid(), 4)", "importing it ended with signal 4 (SIGILL): it said nothing"),
        (
            "import signal; signal.alarm(1); signal.pause()",
            "importing it takes longer than 180 s: it said nothing",
        ),
    ],
)
def test_what_cannot_be_imported_is_said_in_words_and_not_remembered(
    environment: Path, tmp_path: Path, source: str, problem: str
) -> None:
    module = put(environment, "grain", source)
    assert look_at("small", tmp_path).problem == problem
    assert not (environment / health.REMEMBERED).exists()
    module.write_text("")
    assert look_at("small", tmp_path).problem is None


@pytest.mark.parametrize(
    ("cuda", "problem"),
    [
        (None, "its torch 9.9 is built for machines without a GPU"),
        ("13.0", "its torch 9.9 finds no GPU: RuntimeError: Found no NVIDIA driver on your system."),
    ],
)
def test_a_torch_that_finds_no_gpu_serves_cpus_alone(
    environment: Path, tmp_path: Path, cuda: str | None, problem: str
) -> None:
    put(environment, "torch", WITHOUT_A_GPU.format(cuda=cuda))
    assert look_at("small", tmp_path).problem is None
    assert look_at("small", tmp_path, "cpu").problem is None
    assert look_at("small", tmp_path, "cuda").problem == problem
    BACKENDS["small"] = replace(BACKENDS["small"], devices=frozenset({"cuda"}))
    assert look_at("small", tmp_path).problem == problem


def test_an_environment_that_is_gone_or_not_to_be_written_is_no_error(
    lock_file: Path, tmp_path: Path
) -> None:
    environment = environment_path("small", tmp_path)
    assert look_at("small", tmp_path).problem == "its Python cannot be started: No such file or directory"
    assert not environment.exists()
    assert look_at("echo", tmp_path).problem is None


def test_what_an_import_prints_is_no_answer(environment: Path, tmp_path: Path) -> None:
    put(
        environment,
        "grain",
        f"import atexit; atexit.register(print, '{{}}'); print({json.dumps(json.dumps({'problem': 'loud'}))}, end='')",
    )
    assert look_at("small", tmp_path).problem is None
