"""GGUF files for tests, byte by byte: their headers, and zeros where tensors are."""

from __future__ import annotations

import struct
from typing import Any

F32, Q8_0 = 0, 8


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def value(content: Any) -> bytes:
    """A value with its type."""
    match content:
        case bool():
            return struct.pack("<I?", 7, content)
        case int():
            return struct.pack("<II", 4, content)
        case float():
            return struct.pack("<If", 6, content)
        case str():
            return struct.pack("<I", 8) + text(content)
        case [str(), *_]:
            return struct.pack("<IIQ", 9, 8, len(content)) + b"".join(map(text, content))
        case _:
            return struct.pack(f"<IIQ{len(content)}I", 9, 4, len(content), *content)


def gguf_bytes(values: dict[str, Any], tensors: dict[str, tuple[list[int], int]], version: int = 3) -> bytes:
    """A whole file; `tensors` maps names to shape and type (F32 or Q8_0)."""
    parts = [b"GGUF", struct.pack("<IQQ", version, len(tensors), len(values))]
    parts += [text(name) + value(content) for name, content in values.items()]
    end = 0
    for name, (shape, kind) in tensors.items():
        parts += [text(name), struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, end)]
        elements = 1
        for size in shape:
            elements *= size
        end += elements * 4 if kind == F32 else elements // 32 * 34
    header = b"".join(parts)
    return header + bytes(-len(header) % 32) + bytes(end)


LLAMA: dict[str, Any] = {
    "general.architecture": "llama",
    "llama.attention.head_count": 32,
    "llama.attention.head_count_kv": [8, 0, 8],
    "llama.block_count": 16,
    "llama.context_length": 8192,
    "llama.embedding_length": 2048,
    "llama.rope.freq_base": 10000.0,
    "tokenizer.ggml.tokens": ["a", "b", "ö"],
    "tokenizer.ggml.add_bos_token": True,
}
TENSORS = {"token_embd.weight": ([64, 10], Q8_0), "output_norm.weight": ([64], F32)}
