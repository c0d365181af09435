"""The header of a safetensors file: what its tensors are, read without one of them.

The format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from app.models.config_facts import is_count

_MAX_HEADER_BYTES = 100_000_000
HEAD = "lm_head.weight"
PACKED = frozenset({"I8", "U8", "I32", "U32", "I64"})
"""Types of no model's full weights: what is stored so is quantized, several numbers in one, or counts something."""


class NoSafetensorsError(Exception):
    """The file is not what its name says."""


@dataclass
class StoredTensors:
    """How much is stored of each type, by safetensors' names: BF16, F32, F8_E4M3, ..."""

    numbers: dict[str, int] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)

    def add(self, dtype: str, numbers: int, size: int) -> None:
        """One more tensor."""
        self.numbers[dtype] = self.numbers.get(dtype, 0) + numbers
        self.bytes[dtype] = self.bytes.get(dtype, 0) + size

    @property
    def packed(self) -> bool:
        """Whether numbers stored are not parameters, one for one."""
        return not PACKED.isdisjoint(self.numbers)


def stored_tensors(files: Iterable[Path], tied: bool = False) -> StoredTensors:
    """Of all the files together; NoSafetensorsError, in words, for the first that is none.

    Where the vocabulary's two matrices are tied, the one that nobody loads does not count.
    """
    stored = StoredTensors()
    spared = {"__metadata__", *((HEAD,) if tied else ())}
    for path in files:
        header = _header(path)
        try:
            for name, tensor in header.items():
                if name not in spared:
                    sizes = _size(tensor["shape"], *tensor["data_offsets"])
                    stored.add(str(tensor.get("dtype"))[:20], *sizes)
        except (KeyError, TypeError, ValueError) as error:
            message = f"{path.name} is no safetensors file: {error!r} in its header"
            raise NoSafetensorsError(message) from None
    return stored


def _size(shape: Any, begin: Any, end: Any) -> tuple[int, int]:
    """Numbers and bytes of one tensor; ValueError where none has them."""
    told = isinstance(shape, list) and all(side == 0 or is_count(side) for side in shape)
    parameters, size = (prod(shape), end - begin) if told else (-1, -1)
    if not all(number == 0 or is_count(number) for number in (parameters, size)):
        raise ValueError("a tensor of an impossible size")
    return parameters, size


def _header(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else _MAX_HEADER_BYTES + 1
        text = file.read(length) if length <= _MAX_HEADER_BYTES else b""
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise NoSafetensorsError(f"{path.name} is no safetensors file, or was cut off")
    return header
