"""Write configuration and tokenizer of a GGUF file as files of their own. A program for the hf backend's Python.

It reads its order (JSON) from stdin. What goes wrong stands in `error.json` in the order's folder.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from runpy import run_path
from typing import Any

from transformers import AutoConfig, AutoTokenizer


def write(order: dict[str, Any]) -> None:
    """Both as HFLM loads them; the tokenizer only where the job names no other one."""
    AutoConfig.from_pretrained(order["model"], **order["config"]).save_pretrained(order["folder"])
    if order["tokenizer"] is not None:
        AutoTokenizer.from_pretrained(order["model"], **order["tokenizer"]).save_pretrained(order["folder"])


def main() -> int:
    """Carry out the order; the exit status."""
    order = json.load(sys.stdin)
    try:
        write(order)
    except Exception as error:  # noqa: BLE001 - whatever a file does to a library, the harness learns it
        told = {
            "not_found": isinstance(error, OSError),
            "unreachable": run_path(str(Path(__file__).with_name("hub.py")))["unreachable"](error),
            "message": str(error) or type(error).__name__,
        }
        (Path(order["folder"]) / "error.json").write_text(json.dumps(told), encoding="utf-8")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
