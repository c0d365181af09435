"""The header of a safetensors file: what its tensors are, read without one of them.

The format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import os
import struct
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

from app.models.config_facts import is_count
from app.models.json_file import NoJsonObjectError, object_in

MOST_HEADER_BYTES = 100_000_000
"""Of all files of a model together: the largest models have a fifth of it."""

LENGTH_BYTES = 8
MOST_SIDES = 16
METADATA = "__metadata__"
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
    stored, left = StoredTensors(), MOST_HEADER_BYTES
    spared = frozenset({METADATA, *((HEAD,) if tied else ())})
    for path in files:
        with path.open("rb") as file:
            header, length = _header(path.name, file, left)
            data_bytes = os.fstat(file.fileno()).st_size - LENGTH_BYTES - length
        left -= length
        _add(stored, path.name, header, data_bytes, spared)
    return stored


def _add(
    stored: StoredTensors, name: str, header: Mapping[str, Any], data_bytes: int, spared: Collection[str]
) -> None:
    """Count a file's tensors, which must all lie in what stands behind its header."""
    needed = 0
    try:
        for tensor, told in header.items():
            if tensor == METADATA:
                continue
            begin, end = told["data_offsets"]
            numbers, size = _size(told["shape"], begin, end)
            needed = max(needed, end)
            if tensor not in spared:
                stored.add(str(told.get("dtype"))[:20], numbers, size)
    except (KeyError, TypeError, ValueError) as error:
        message = f"{name} is no safetensors file: {str(error)[:200]!r} in its header"
        raise NoSafetensorsError(message) from None
    if needed > data_bytes:
        message = f"{name} was cut off: it has {data_bytes:,} of {needed:,} bytes behind its header"
        raise NoSafetensorsError(message)


def _size(shape: Any, begin: Any, end: Any) -> tuple[int, int]:
    """Numbers and bytes of one tensor; ValueError where none has them."""
    told = (
        isinstance(shape, list)
        and len(shape) <= MOST_SIDES
        and all(side == 0 or is_count(side) for side in shape)
    )
    placed = all(place == 0 or is_count(place) for place in (begin, end))
    parameters, size = (prod(shape), end - begin) if told and placed else (-1, -1)
    if not all(number == 0 or is_count(number) for number in (parameters, size)):
        raise ValueError("a tensor of an impossible size")
    return parameters, size


def _header(name: str, file: BinaryIO, most_bytes: int) -> tuple[dict[str, Any], int]:
    """It, and how long it is."""
    start = file.read(LENGTH_BYTES)
    length = struct.unpack("<Q", start)[0] if len(start) == LENGTH_BYTES else MOST_HEADER_BYTES + 1
    try:
        return object_in(file.read(length) if length <= most_bytes else b""), length
    except NoJsonObjectError:
        raise NoSafetensorsError(f"{name} is no safetensors file, or was cut off") from None
