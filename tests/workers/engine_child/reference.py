"""Whole lists, each answered by one HFLM call. Run with the hf backend's Python; msgpack on stdin and stdout.

In: {"model", "kind", "requests", "batch_size", "gen_kwargs"}..., requests as a task gives them: pairs of tokens
for log-likelihoods, texts for the other kinds. Out: HFLM's answers...
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any, cast

os.environ["TQDM_DISABLE"] = "1"

import msgpack
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM


def answers(lm: Any, order: dict[str, Any]) -> Any:
    if order["kind"] == "loglikelihood":
        return lm._loglikelihood_tokens([(None, *pair) for pair in order["requests"]])
    more = (order["gen_kwargs"],) if order["kind"] == "generate_until" else ()
    instances = [
        Instance(request_type=order["kind"], doc={}, arguments=(text, *more), idx=i)
        for i, text in enumerate(order["requests"])
    ]
    return getattr(lm, order["kind"])(instances)


if __name__ == "__main__":
    for order in msgpack.Unpacker(cast("io.BufferedReader", sys.stdin.buffer).raw):
        torch.manual_seed(1234)
        lm = HFLM(order["model"], device="cpu", batch_size=order["batch_size"])
        sys.stdout.buffer.write(msgpack.packb(answers(lm, order)))
        sys.stdout.buffer.flush()
