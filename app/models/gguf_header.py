"""The header of a GGUF file: what it says of its model and how long it must be, read without a tensor.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MOST_ENTRIES = 5_000_000
"""Values, strings and tensors of a header; the largest vocabularies have a tenth of it."""

MOST_BYTES = 256 << 20
MOST_DIMENSIONS = 8

MOST_KEPT = 4096
"""Of an array of numbers; of longer ones, and of strings, only the length is kept."""

_STRING, _ARRAY = 8, 9
_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

# fmt: off
BLOCKS: Mapping[int, tuple[int, int]] = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 40),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292), 16: (256, 66),
    17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136),
    24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54),
    35: (256, 66), 39: (32, 17), 40: (64, 36), 41: (128, 18),
}
# fmt: on
"""Elements and bytes of a block, by type of tensor; a test compares it with the `gguf` package of the hf backend."""


@dataclass(frozen=True)
class GgufHeader:
    """What stands before the tensors."""

    values: Mapping[str, Any]
    parameters: int
    """Elements of all tensors."""
    least_bytes: int
    """A file that is shorter was cut off."""

    @property
    def architecture(self) -> str:
        """Such as llama; it is the prefix of what describes the model."""
        return str(self.values.get("general.architecture", ""))

    def number(self, name: str) -> int | None:
        """A whole number about the model, of one for each layer the largest."""
        value = self.values.get(f"{self.architecture}.{name}")
        if isinstance(value, list) and value and all(isinstance(each, int) for each in value):
            value = max(value)
        return value if isinstance(value, int) and not isinstance(value, bool) else None


def read_header(path: Path) -> GgufHeader:
    """The header; ValueError, in words, where the file has none or has been cut off."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise ValueError("is no GGUF file")
        header = _Reader(file).header()
    if size < header.least_bytes:
        raise ValueError(f"is a GGUF file that was cut off: it has {size:,} of {header.least_bytes:,} bytes")
    return header


class _Reader:
    """Reads on from behind the magic bytes, no further than any header goes: counts and lengths may be anything."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._entries_left = MOST_ENTRIES
        self._bytes_left = MOST_BYTES

    def header(self) -> GgufHeader:
        (version,) = self._numbers("I", 1)
        if version not in VERSIONS:
            raise ValueError(f"is a GGUF file of version {version}; versions 2 and 3 can be read")
        tensors, pairs = self._numbers("Q", 2)
        values = {self._string(): self._value() for _ in self._counted(pairs)}
        sizes = [self._tensor() for _ in self._counted(tensors)]
        if "general.architecture" not in values:
            raise ValueError("is a GGUF file that does not say its architecture")
        alignment = values.get("general.alignment")
        aligned = alignment if isinstance(alignment, int) and alignment > 0 else 32
        start = -(-self._file.tell() // aligned) * aligned
        ends = [start + offset + length for _, offset, length in sizes]
        return GgufHeader(values, sum(elements for elements, _, _ in sizes), max(ends, default=0))

    def _counted(self, count: int) -> range:
        self._entries_left -= count
        if self._entries_left < 0:
            raise ValueError("is a GGUF file with a larger header than any model has")
        return range(count)

    def _numbers(self, kind: str, count: int) -> tuple[Any, ...]:
        format_ = f"<{count}{kind}"
        return struct.unpack(format_, self._bytes(struct.calcsize(format_)))

    def _bytes(self, length: int) -> bytes:
        self._bytes_left -= length
        if self._bytes_left < 0:
            raise ValueError("is a GGUF file with a larger header than any model has")
        found = self._file.read(length)
        if len(found) < length:
            raise ValueError("is a GGUF file that was cut off in its header")
        return found

    def _string(self) -> str:
        (length,) = self._numbers("Q", 1)
        return self._bytes(length).decode("utf-8", errors="replace")

    def _value(self) -> Any:
        (kind,) = self._numbers("I", 1)
        if kind == _STRING:
            return self._string()
        return self._array() if kind == _ARRAY else self._numbers(_format(kind), 1)[0]

    def _array(self) -> Any:
        (kind,), (count,) = self._numbers("I", 1), self._numbers("Q", 1)
        if kind != _STRING:
            numbers = self._numbers(_format(kind), len(self._counted(count)))
            return list(numbers) if count <= MOST_KEPT else count
        for _ in self._counted(count):
            self._bytes(self._numbers("Q", 1)[0])
        return count

    def _tensor(self) -> tuple[int, int, int]:
        """Elements, offset among the tensors, bytes (none where the type is not known)."""
        self._string()
        (dimensions,) = self._numbers("I", 1)
        if dimensions > MOST_DIMENSIONS:
            raise ValueError(f"is a GGUF file with a tensor of {dimensions} dimensions")
        shape = self._numbers("Q", dimensions)
        (kind,), (offset,) = self._numbers("I", 1), self._numbers("Q", 1)
        elements, (block, length) = prod(shape), BLOCKS.get(kind, (1, 0))
        return elements, offset, elements // block * length


def _format(kind: int) -> str:
    if kind not in _FORMATS:
        raise ValueError(f"is a GGUF file with a value of the unknown type {kind}")
    return _FORMATS[kind]
