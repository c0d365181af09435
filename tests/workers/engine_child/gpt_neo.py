"""An engine child that first makes FOLDER an untrained GPT-Neo with the tokenizer of MODEL; its odd layers are KIND."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

import torch
from transformers import AutoTokenizer, GPTNeoConfig, GPTNeoForCausalLM

torch.manual_seed(0)
tokenizer = AutoTokenizer.from_pretrained(os.environ["MODEL"])
layers = {"num_layers": 2, "attention_types": [[["global", os.environ["KIND"]], 1]], "window_size": 64}
sizes = {"hidden_size": 64, "num_heads": 4, "max_position_embeddings": 256, "initializer_range": 0.3}
GPTNeoForCausalLM(GPTNeoConfig(vocab_size=len(tokenizer), **layers, **sizes)).save_pretrained(
    os.environ["FOLDER"]
)
tokenizer.save_pretrained(os.environ["FOLDER"])
runpy.run_path(str(Path(__file__).parents[3] / "workers/engine_child/bootstrap.py"))["load_workers"]()
sys.exit(__import__("workers.engine_child.main", fromlist=["main"]).main())
