"""Counts parameters of models as transformers builds them: runs in the hf environment.

Reads a list of configurations from standard input, and writes as many numbers. A meta device takes no memory.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM


def parameters(config: dict[str, Any]) -> int:
    """A matrix that is tied counts once."""
    told = dict(config)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(told.pop("model_type"), **told))
    return sum(each.numel() for each in model.parameters())


if __name__ == "__main__":
    sys.stdout.write(json.dumps([parameters(config) for config in json.load(sys.stdin)]))
