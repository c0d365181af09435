"""How the processes of an engine come to the package `workers`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from workers.engine_child import bootstrap
from workers.engine_child.vllm.measuring import EXTENSION


def test_a_process_that_a_backend_spawns_finds_what_its_ranks_are_extended_with(tmp_path: Path) -> None:
    """As multiprocessing's spawn begins one, and as vLLM then looks the name up."""
    module, _, name = EXTENSION.rpartition(".")
    code = (
        f"import runpy; runpy.run_path({str(Path(bootstrap.__file__))!r}, run_name='__mp_main__')\n"
        f"import importlib; print(getattr(importlib.import_module({module!r}), {name!r}).__name__)"
    )
    command = [sys.executable, "-I", "-S", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == f"{name}\n", done.stderr
