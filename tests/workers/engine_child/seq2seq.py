"""An engine child that first makes FOLDER an untrained T5 with the tokenizer of MODEL."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

import torch
from transformers import AutoTokenizer, T5Config, T5ForConditionalGeneration

torch.manual_seed(0)
tokenizer = AutoTokenizer.from_pretrained(os.environ["MODEL"])
sizes = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
ends = {"decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1}
T5ForConditionalGeneration(T5Config(vocab_size=len(tokenizer), **sizes, **ends)).save_pretrained(
    os.environ["FOLDER"]
)
tokenizer.save_pretrained(os.environ["FOLDER"])
runpy.run_path(str(Path(__file__).parents[3] / "workers/engine_child/bootstrap.py"))["load_workers"]()
sys.exit(__import__("workers.engine_child.main", fromlist=["main"]).main())
