"""CPU seconds of the hf engine's log-likelihoods, stock and fast, and how far they differ, as a Markdown table.

    .venv/bin/python -m benchmarks.hf_scoring MODEL [--dtype bfloat16] [--share 5] [--rounds 2]

In turn, with one thread, on one loaded model; the best of some rounds. A share of 5 asks a fifth of the documents.
"""

from __future__ import annotations

import argparse

from app.settings import Settings
from benchmarks.scoring_shapes import SHAPES, pairs
from benchmarks.vllm_scoring import Ask, child
from tests.tiny_models import hf_python

HEAD = """\
| requests | stock | fast | stock / fast | largest difference | greedy flips |
|---|---|---|---|---|---|"""


def row(asked: str, ask: Ask, rounds: int) -> str:
    """The best of each way, and what their answers have apart."""
    turns = [ask(asked) for _ in range(rounds)]
    stock, fast = (min(turn["seconds"][way] for turn in turns) for way in ("hf", "hf_fast"))
    name, told = asked.partition("/")[0], turns[0]
    cells = [
        f"{name}, {len(pairs(asked))}",
        f"{stock:.2f} s",
        f"{fast:.2f} s",
        f"{stock / fast:.1f}",
        f"{told['largest']:.1e}",
        str(told["flips"]),
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Run everything and print the table as it comes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--share", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    words = ("benchmarks.hf_in_process", given.model, given.dtype)
    with child(hf_python(Settings().cache_dir), *words) as hf:
        print(HEAD, flush=True)
        for shape in SHAPES:
            print(row(f"{shape}/{given.share}", hf, given.rounds), flush=True)


if __name__ == "__main__":
    main()
