"""lm-eval's HFLM on a loaded model. Run with the hf backend's Python: -m benchmarks.hf_in_process MODEL."""

from __future__ import annotations

import sys

from lm_eval.models.huggingface import HFLM

from benchmarks.scoring_shapes import Ways, lm_evals, serve


def load() -> Ways:
    """In float32, batches of 16."""
    lm = HFLM(sys.argv[1], dtype="float32", device="cpu", batch_size=16)
    return {"hf": lambda pairs: lm_evals(lm, pairs)}


if __name__ == "__main__":
    serve(load)
