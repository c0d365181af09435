"""Writes how wide the widest tree is of requests that begin alike, by device and attention."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import torch

from workers.engine_child.hf.sharing import TreeScoring


def widest(device: str, attention: str) -> int:
    """Of requests that have 3,000 tokens in common, in a model for which 8,795 in a row would pay."""
    config = SimpleNamespace(hidden_size=4096, _attn_implementation=attention)
    config.get_text_config = lambda: config
    model = torch.nn.Module()
    model.config, model.dtype = config, torch.float32
    lm = SimpleNamespace(
        model=model, max_length=8192, mixed_precision_dtype=None, device=torch.device(device)
    )
    pairs = [([1] * 3000 + [place] * 40, [2]) for place in range(300)]
    return len(TreeScoring(lm).rows(pairs, 1 << 20)[0].tokens)


sys.stdout.write(
    json.dumps([widest(*each) for each in (("cpu", "sdpa"), ("cuda", "eager"), ("cuda", "sdpa"))])
)
