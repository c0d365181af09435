"""Folders of models that a test makes: a small configuration, and weights that are zeros."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from app.models.model_folder import inspect_model

LLAMA = {
    "architectures": ["LlamaForCausalLM"], "num_attention_heads": 9, "num_key_value_heads": 3, "hidden_size": 576,
    "num_hidden_layers": 30, "vocab_size": 49152, "max_position_embeddings": 8192, "dtype": "bfloat16",
}  # fmt: skip


def write_json(path: Path, document: object) -> None:
    path.write_text(json.dumps(document))


def write_weights(path: Path, **shapes: list[int]) -> None:
    """A safetensors file of bfloat16 zeros."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        size = 2 * shape[0] * shape[1]
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))


def messages(folder: Path) -> list[str]:
    return [fault.message for fault in inspect_model(folder).faults]
