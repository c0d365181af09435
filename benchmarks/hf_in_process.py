"""lm-eval's HFLM and fast scoring, on one loaded model.

Run with the hf backend's Python: -m benchmarks.hf_in_process MODEL DTYPE.
"""

from __future__ import annotations

import sys
from typing import Any

from lm_eval.models.huggingface import HFLM

from benchmarks.scoring_shapes import Pairs, Ways, lm_evals, serve
from workers.engine_child.hf.sharing import TreeScoring

BATCH = 16


def load() -> Ways:
    """In batches of 16, or of as many tokens."""
    lm = HFLM(sys.argv[1], dtype=sys.argv[2], device="cpu", batch_size=BATCH)
    sharing = TreeScoring(lm)

    def fast(pairs: Pairs) -> list[Any]:
        most = BATCH * max(len(context) + len(continuation) for context, continuation in pairs)
        return sharing.answers(sharing.rows(pairs, most), most, lambda _: None)

    return {"hf": lambda pairs: lm_evals(lm, pairs), "hf_fast": fast}


if __name__ == "__main__":
    serve(load)
