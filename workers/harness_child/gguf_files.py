"""What a GGUF file says of its model, as files: transformers reads it only where torch is, in the hf environment."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from workers.harness_child.errors import MODEL_NOT_FOUND, TOKENIZER_ERROR, JobFailedError, unreadable
from workers.harness_child.fingerprint import config_file
from workers.harness_child.job import Engine

READER = Path(__file__).with_name("gguf_reader.py")
NO_READER = (
    "gguf_file: the hf backend, which reads such files, is not installed on the coordinator's host;"
    " run `evalq backends install hf` there"
)
_IN_THE_FILE = frozenset({"gguf_file", "subfolder", "add_bos_token", "use_fast_tokenizer"})


@contextmanager
def unpacked(engine: Engine, python: str | None) -> Iterator[Engine]:
    """The engine with a folder of plain files for its model, as long as the context lasts; JobFailedError.

    `python` is the hf backend's interpreter, None where there is none.
    """
    if python is None:
        raise JobFailedError(TOKENIZER_ERROR, NO_READER)
    with TemporaryDirectory(prefix="evalq-gguf-") as folder:
        _read(engine, python, Path(folder))
        args = {name: value for name, value in engine.args.items() if name not in _IN_THE_FILE}
        yield replace(engine, model=folder, revision=None, args=args)


def _read(engine: Engine, python: str, folder: Path) -> None:
    """Fill the folder. The child dies with the harness's session; the coordinator's patience is its time limit."""
    done = subprocess.run(
        [python, "-I", str(READER)],
        input=json.dumps(_order(engine, folder)).encode(),
        env={name: value for name, value in os.environ.items() if name != "EVALQ_FD"},
        check=False,
    )
    if done.returncode == 0:
        return
    try:
        error = json.loads((folder / "error.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        message = f"the child that reads gguf_file ended with status {done.returncode}; see the log"
        raise JobFailedError(TOKENIZER_ERROR, message) from None
    code = MODEL_NOT_FOUND if error["not_found"] else TOKENIZER_ERROR
    message = f"{engine.args['gguf_file']} cannot be read: {error['message']}"
    raise unreadable(code, engine.model, message, unreachable=error["unreachable"])


def _order(engine: Engine, folder: Path) -> dict[str, Any]:
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
