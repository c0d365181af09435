"""Run by a backend's own interpreter: what its engine needs is imported, and its devices are counted.

    python probe.py SECONDS DISTRIBUTIONS MODULES

Prints what it found as its last line, as JSON. Standard library only.
"""

from __future__ import annotations

import json
import signal
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any


def main(seconds: str, distributions: str, modules: str) -> None:
    """Ends by itself when its time is over, whatever an import hangs in, also where nobody waits for it."""
    signal.alarm(int(seconds))
    found: dict[str, Any] = {
        "versions": _versions(filter(None, distributions.split(","))),
        "problem": None,
        "no_gpu": None,
    }
    try:
        for module in filter(None, modules.split(",")):
            import_module(module)
        found["no_gpu"] = _why_no_gpu() if "torch" in sys.modules else None
    except Exception as error:  # noqa: BLE001 - whatever an import raises is the answer
        found["problem"] = _in_words(error)
    sys.stdout.write(f"\n{json.dumps(found)}\n")


def _versions(distributions: Any) -> dict[str, str]:
    found = {}
    for distribution in distributions:
        try:
            found[distribution] = version(distribution)
        except PackageNotFoundError:
            continue
    return found


def _why_no_gpu() -> str | None:
    torch = import_module("torch")
    if torch.cuda.is_available():
        return None
    if not torch.version.cuda:
        return f"its torch {torch.__version__} is built for machines without a GPU"
    try:
        torch.cuda.init()
    except Exception as error:  # noqa: BLE001 - the driver's words, whatever their type
        return f"its torch {torch.__version__} finds no GPU: {_in_words(error)}"
    return f"its torch {torch.__version__} finds no GPU"


def _in_words(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300] if lines else 'no words'}"


if __name__ == "__main__":
    main(*sys.argv[1:])
