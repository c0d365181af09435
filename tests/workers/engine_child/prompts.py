"""What engines are asked in these tests."""

from __future__ import annotations

import random

GREEDY = {"until": ["\n"], "do_sample": False, "max_gen_toks": 12}


def sums(rng: random.Random, count: int) -> list[str]:
    """Prompts of very different lengths."""
    sum_ = "Question: What is {} + {}?\nAnswer:"
    texts = [
        "\n\n".join(sum_.format(rng.randint(0, 99), rng.randint(0, 99)) for _ in range(rng.randint(1, 8)))
        for _ in range(count)
    ]
    return list(dict.fromkeys(texts))
