"""CPU seconds of log-likelihoods: lm-eval's VLLM class, evalq's stock and fast scoring, and HF's, as a Markdown table.

    .venv/bin/python -m benchmarks.vllm_scoring [--model FOLDER] [--block 32] [--rounds 2]

In turn, with one thread each, on models that are loaded; the best of some rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.settings import Settings
from benchmarks.scoring_shapes import SHAPES, pairs
from benchmarks.service import QUIET
from benchmarks.vllm_speed import ON_CPU, ROOT
from tests.tiny_models import hf_python, tiny_vllm_llama, vllm_python

HEAD = """\
| requests | lm-eval's class | stock | fast | stock / fast | hf | hf fast | other answers |
|---|---|---|---|---|---|---|---|"""
ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "PYTHONPATH": str(ROOT),
}

Ask = Callable[[str], dict[str, Any]]


@contextmanager
def child(python: Path, *words: str) -> Iterator[Ask]:
    """A child with its model loaded, to be asked for shapes."""
    with subprocess.Popen(
        [str(python), "-m", *words],
        env=os.environ | QUIET | ON_CPU | ENVIRONMENT,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        asked, told = process.stdin, process.stdout

        def ask(shape: str) -> dict[str, Any]:
            asked.write(f"{shape}\n")
            asked.flush()
            answer: dict[str, Any] = json.loads(told.readline())
            return answer

        yield ask


def row(shape: str, children: tuple[Ask, Ask], rounds: int) -> str:
    """The best of each way."""
    vllm, hf = children
    turns = [(vllm(shape), hf(shape)) for _ in range(rounds)]
    seconds = [one["seconds"] | other["seconds"] for one, other in turns]
    best = {way: min(turn[way] for turn in seconds) for way in seconds[0]}
    cells = [
        f"{shape}, {len(pairs(shape))}",
        *(f"{best[way]:.2f} s" for way in ("lm_eval", "stock", "fast")),
        f"{best['stock'] / best['fast']:.1f}",
        *(f"{best[way]:.2f} s" for way in ("hf", "hf_fast")),
        str(turns[0][0]["unlike"]),
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Run everything and print the table as it comes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path)
    parser.add_argument("--block", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=2)
    given, cache = parser.parse_args(), Settings().cache_dir
    model = str(given.model or tiny_vllm_llama(cache))
    with (
        child(vllm_python(cache), "benchmarks.vllm_in_process", model, str(given.block)) as vllm,
        child(hf_python(cache), "benchmarks.hf_in_process", model, "float32") as hf,
    ):
        print(HEAD, flush=True)
        for shape in SHAPES:
            print(row(shape, (vllm, hf), given.rounds), flush=True)


if __name__ == "__main__":
    main()
