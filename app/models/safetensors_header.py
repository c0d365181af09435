"""The header of a safetensors file: what its tensors are, read without one of them.

The format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import os
import struct
from collections.abc import Collection, Iterable, Mapping, Sequence
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

_BITS: Mapping[str, int] = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
"""Of a number; what a type that is not here takes is not known."""
NUMBER_BYTES = {dtype: _BITS[dtype] // 8 for dtype in ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")}
"""Of one of full weights: who counts numbers of these types counts parameters."""
_COMPUTED = (".inv_freq", ".masked_bias")
"""What engines compute by themselves: it need not be stored."""


class NoSafetensorsError(Exception):
    """The file is not what its name says, or is damaged."""


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


@dataclass(frozen=True)
class _Tensor:
    """Where one lies behind the header, and what it is."""

    name: str
    dtype: str
    numbers: int
    begin: int
    end: int


def stored_tensors(
    files: Iterable[Path], tied: bool = False, indexed: Mapping[str, Collection[str]] | None = None
) -> StoredTensors:
    """Of all the files together; NoSafetensorsError, in words, for the first that no engine would load.

    Where the vocabulary's two matrices are tied, the one that nobody loads does not count. `indexed`: the tensors that
    an index says are in each file, by its name.
    """
    stored, left = StoredTensors(), MOST_HEADER_BYTES
    spared = {HEAD} if tied else set()
    for path in files:
        with path.open("rb") as file:
            header, length = _header(path.name, file, left)
            data_bytes = os.fstat(file.fileno()).st_size - LENGTH_BYTES - length
        left -= length
        tensors = _tensors(path.name, header)
        _check_places(path.name, tensors, data_bytes)
        _check_index(path.name, (indexed or {}).get(path.name, ()), spared.union(header))
        for tensor in tensors:
            if tensor.name not in spared:
                stored.add(tensor.dtype, tensor.numbers, tensor.end - tensor.begin)
    return stored


def _tensors(name: str, header: Mapping[str, Any]) -> list[_Tensor]:
    """In their order in the file."""
    try:
        told = [_tensor(tensor, told) for tensor, told in header.items() if tensor != METADATA]
    except (KeyError, TypeError, ValueError) as error:
        message = f"{name} is no safetensors file: {str(error)[:200]!r} in its header"
        raise NoSafetensorsError(message) from None
    return sorted(told, key=lambda tensor: (tensor.begin, tensor.end))


def _tensor(name: str, told: Any) -> _Tensor:
    """KeyError, TypeError or ValueError where that is none."""
    begin, end = told["data_offsets"]
    numbers, size = _size(told["shape"], begin, end)
    dtype = str(told.get("dtype"))[:20]
    if dtype in _BITS and numbers * _BITS[dtype] != 8 * size:
        raise ValueError(f"{numbers} numbers of {dtype} in {size} bytes")
    return _Tensor(name, dtype, numbers, begin, end)


def _check_places(name: str, tensors: Sequence[_Tensor], data_bytes: int) -> None:
    """One lies behind the other, from the header to the file's end."""
    end = max((tensor.end for tensor in tensors), default=0)
    if end > data_bytes:
        message = f"{name} was cut off: it has {data_bytes:,} of {end:,} bytes behind its header"
        raise NoSafetensorsError(message)
    if end < data_bytes:
        message = f"{name} is damaged: it has {data_bytes:,} bytes behind its header, which tells of {end:,}"
        raise NoSafetensorsError(message)
    places = [0, *(place for tensor in tensors for place in (tensor.begin, tensor.end))]
    if any(before != behind for before, behind in zip(places[::2], places[1::2], strict=False)):
        raise NoSafetensorsError(f"{name} is damaged: by its header tensors overlap, or leave a gap")


def _check_index(name: str, named: Iterable[str], held: Collection[str]) -> None:
    lacking = sorted(tensor for tensor in named if tensor not in held and not tensor.endswith(_COMPUTED))
    if lacking:
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        which = f"it lacks {lacking[0][:100]}{more}"
        raise NoSafetensorsError(f"{name} is damaged, or the index is another model's: {which}")


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
