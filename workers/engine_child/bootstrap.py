"""Start an engine child: run this file with a backend's Python.

The package `workers` is loaded by its path, so that nothing installed beside it is importable here: the backend's
environment pins its own versions.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path


def load_workers() -> None:
    """Make `workers` importable, and nothing else."""
    folder = Path(__file__).resolve().parents[1]
    spec = spec_from_file_location(
        "workers", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{folder} is not the package `workers`")
    sys.modules["workers"] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules["workers"])


if __name__ == "__mp_main__":  # in a process that a backend spawned from this one, such as a rank of vLLM's
    load_workers()

if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # this file's own folder
    load_workers()
    status = import_module("workers.engine_child.main").main()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)  # a backend would wait for processes of its own, which may be dead or frozen
