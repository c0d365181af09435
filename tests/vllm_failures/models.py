"""Ways to spoil a copy of a model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

WEIGHTS = "model.safetensors"


def config(**changes: Any) -> Callable[[Path], object]:
    """Another configuration over the same weights."""

    def spoil(model: Path) -> None:
        path = model / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return spoil


def without(*names: str) -> Callable[[Path], object]:
    """Some of its files are not there."""

    def spoil(model: Path) -> None:
        for name in names:
            for path in model.glob(name):
                path.unlink()

    return spoil


def begins_with(start: bytes) -> Callable[[Path], object]:
    """Its weights begin with other bytes."""

    def spoil(model: Path) -> None:
        path = model / WEIGHTS
        path.write_bytes(start + path.read_bytes()[len(start) :])

    return spoil


def cut(model: Path) -> None:
    """Half of its weights have arrived."""
    path = model / WEIGHTS
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def adapter(rank: int, *targets: str) -> Callable[[Path], object]:
    """A LoRA adapter in a folder beside the weights: of this rank, for these modules, of zeros."""

    def spoil(model: Path) -> None:
        folder = model / "adapter"
        folder.mkdir()
        settings = {"peft_type": "LORA", "r": rank, "lora_alpha": 16, "target_modules": list(targets)}
        (folder / "adapter_config.json").write_text(json.dumps(settings))
        width = json.loads((model / "config.json").read_text())["hidden_size"]
        (folder / "adapter_model.safetensors").write_bytes(_zeros(_shapes(rank, width, targets)))

    return spoil


def _shapes(rank: int, width: int, targets: tuple[str, ...]) -> dict[str, list[int]]:
    layer = "base_model.model.model.layers.0.self_attn"
    down = {f"{layer}.{target}.lora_A.weight": [rank, width] for target in targets}
    return down | {f"{layer}.{target}.lora_B.weight": [width, rank] for target in targets}


def _zeros(shapes: dict[str, list[int]]) -> bytes:
    header, end = {}, 0
    for name, (rows, columns) in shapes.items():
        begin, end = end, end + 4 * rows * columns
        header[name] = {"dtype": "F32", "shape": [rows, columns], "data_offsets": [begin, end]}
    described = json.dumps(header).encode()
    return len(described).to_bytes(8, "little") + described + bytes(end)
