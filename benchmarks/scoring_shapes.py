"""Log-likelihoods of several shapes, and what a child does: shapes by name on stdin, their seconds on stdout."""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

Pairs = list[tuple[list[int], list[int]]]
Ways = Mapping[str, Callable[[Pairs], list[Any]]]
"""By name how pairs are scored; nothing is remembered from one call to the next."""

SHAPES: dict[str, tuple[int, int, int, int, int]] = {
    "letters, 5-shot": (40, 450, 110, 4, 1),
    "letters, 0-shot": (40, 1, 110, 4, 1),
    "sentences, 5-shot": (25, 450, 90, 4, 13),
    "sentences, 2-shot": (40, 60, 40, 4, 10),
    "sentences, 0-shot": (40, 1, 25, 4, 10),
    "one answer, 5-shot": (25, 450, 90, 1, 13),
    "one answer, 0-shot": (100, 1, 25, 1, 10),
}
"""Documents, tokens of the examples, of a question, answers to it, and tokens of each."""


def pairs(asked: str) -> Pairs:
    """Of drawn tokens, as a chunk holds them: in their order; `NAME/5` is a fifth of them."""
    name, _, share = asked.partition("/")
    documents, examples, question, answers, length = SHAPES[name]
    documents //= int(share or 1)
    rng = random.Random(documents + question)  # noqa: S311 - made-up questions, no secrets

    def drawn(count: int) -> list[int]:
        return [rng.randrange(5, 500) for _ in range(count)]

    few = drawn(examples)
    contexts = [[*few, *drawn(question)] for _ in range(documents)]
    return sorted((context, drawn(length)) for context in contexts for _ in range(answers))


def lm_evals(lm: Any, pairs: Pairs) -> list[Any]:
    """As a class of lm-eval's answers them."""
    asked = [(("", str(number)), *pair) for number, pair in enumerate(pairs)]
    return list(lm._loglikelihood_tokens(asked, disable_tqdm=True))


def serve(load: Callable[[], Ways]) -> None:
    """CPU seconds of this process for each way, and how far their answers are apart."""
    told = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what engines write
    ways = load()
    for line in sys.stdin:
        asked, seconds, answers = pairs(line.strip()), {}, []
        for name, score in ways.items():
            begun = time.process_time()
            answers.append([tuple(answer) for answer in score(asked)])
            seconds[name] = time.process_time() - begun
        print(json.dumps({"seconds": seconds, **_compared(answers)}), file=told, flush=True)


def _compared(answers: list[list[Any]]) -> dict[str, float]:
    """Over all requests: in how many the ways differ, by how many nats at most, and how often about being greedy."""
    alike = list(zip(*answers, strict=True))
    return {
        "unlike": sum(len(set(each)) > 1 for each in alike),
        "largest": max(abs(value - each[0][0]) for each in alike for value, _ in each),
        "flips": sum(len({greedy for _, greedy in each}) > 1 for each in alike),
    }
