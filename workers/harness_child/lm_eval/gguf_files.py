"""What a GGUF file says of its model, as files: transformers reads it only where torch is, in the hf environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

from workers.harness_child.errors import (
    INTERNAL,
    MODEL_NOT_FOUND,
    TOKENIZER_ERROR,
    JobFailedError,
    unreadable,
)
from workers.harness_child.fingerprint import config_file
from workers.protocol.engine import EngineRecipe

TRIES = 3
READER = Path(__file__).with_name("gguf_reader.py")
NO_READER = (
    "gguf_file: the hf backend, which reads such files, is not installed on the coordinator's host;"
    " run `evalq backends install hf` there"
)
_IN_THE_FILE = frozenset({"gguf_file", "subfolder", "add_bos_token", "use_fast_tokenizer"})


@contextmanager
def unpacked(engine: EngineRecipe, python: str | None) -> Iterator[EngineRecipe]:
    """The engine with a folder of plain files for its model, as long as the context lasts; JobFailedError.

    `python` is an interpreter that reads such files, None where there is none.
    """
    if python is None:
        raise JobFailedError(TOKENIZER_ERROR, NO_READER)
    prefix = f"evalq-gguf-{Path('/proc/self/ns/pid').stat().st_ino}-"
    _clear(prefix)
    with TemporaryDirectory(prefix=f"{prefix}{os.getpid()}-") as folder:
        _read(engine, python, Path(folder))
        args = {name: value for name, value in engine.args.items() if name not in _IN_THE_FILE}
        yield replace(engine, model=folder, revision=None, args=args)


def _clear(prefix: str) -> None:
    """Remove what harness children left that were killed while they read; a name says whose it is."""
    for folder in Path(gettempdir()).glob(f"{prefix}*-*"):
        if not Path("/proc", folder.name.removeprefix(prefix).partition("-")[0]).exists():
            shutil.rmtree(folder, ignore_errors=True)


def _read(engine: EngineRecipe, python: str, folder: Path) -> None:
    """Fill the folder; a child that dies is started again, as a harness is."""
    for _ in range(TRIES):
        status = _run(python, _order(engine, folder))
        if status == 0:
            return
        if (told := folder / "error.json").is_file():
            raise _error(engine, json.loads(told.read_text(encoding="utf-8")))
    raise JobFailedError(
        INTERNAL, f"the child that reads gguf_file ended {TRIES} times with status {status}; see the log"
    )


def _run(python: str, order: dict[str, Any]) -> int:
    """The exit status. The child dies with the harness's session; the coordinator's patience is its time limit."""
    env = {name: value for name, value in os.environ.items() if name != "EVALQ_FD"}
    command = [python, "-I", str(READER)]
    return subprocess.run(command, input=json.dumps(order).encode(), env=env, check=False).returncode


def _error(engine: EngineRecipe, error: dict[str, Any]) -> JobFailedError:
    code = MODEL_NOT_FOUND if error["not_found"] else TOKENIZER_ERROR
    message = f"{engine.args['gguf_file']} cannot be read: {error['message']}"
    return unreadable(code, engine.model, message, unreachable=error["unreachable"])


def _order(engine: EngineRecipe, folder: Path) -> dict[str, Any]:
    args = engine.args
    common = {
        "revision": str(engine.revision or "main"),
        "trust_remote_code": bool(args.get("trust_remote_code")),
        "gguf_file": config_file(engine),  # of one in a subfolder transformers does not find the tokenizer
    }
    own = {"add_bos_token": args["add_bos_token"]} if args.get("add_bos_token") is not None else {}
    return {
        "model": engine.model,
        "folder": str(folder),
        "config": common,
        "tokenizer": None if args.get("tokenizer") else common | own,
    }
