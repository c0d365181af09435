"""What a backend calls what bears on memory, and how a job's arguments are read by these names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.domain.memory import MemoryTerms
from app.domain.model_weights import Precision
from app.domain.ways_out import NO_LEVERS, Levers

USUAL_STATIC = 0.85
"""About what SGLang takes of itself: by width and device from 0.79 to 0.88."""
_MOST = 2**53
_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?) ?([KMGT]I?B)?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class MemoryNames:
    """Arguments of one backend; of several names for one thing the first that is given counts."""

    serves: bool = False
    """Whether its engines take their share of a device at once, for a cache of many requests."""
    lengths: tuple[str, ...] = ()
    cache_dtype: str | None = None
    usual_length: int | None = None
    """The longest request where none of these is given; None: as long as the model's own."""
    utilization: str | None = None
    static: str | None = None
    """The share that weights and cache may take, all else being beside it."""
    sequences: str | None = None
    tokens: str | None = None
    limit: str | None = None
    """What it may take of each device, as a size."""
    quantization: str | None = None
    """Names a method."""
    switches: tuple[tuple[str, str], ...] = ()
    """Arguments that are true or not, and the quantization that each switches on."""
    levers: Levers = NO_LEVERS


LEAST_SHARE = 0.001
"""Of a device: what asks for less is not reckoned with."""

NO_MEMORY_NAMES = MemoryNames()


def terms_of(names: MemoryNames, args: Mapping[str, Any], batch_size: int | str) -> MemoryTerms:
    """How the model will be loaded; a value that is at fault, and told elsewhere, counts as not given."""
    ordinary = MemoryTerms(serves=names.serves)
    lengths = [length for name in names.lengths if (length := _count(args.get(name)))]
    return MemoryTerms(
        serves=names.serves,
        precision=Precision(_text(args.get("dtype")), _quantization(names, args)),
        cache_dtype=_text(args.get(names.cache_dtype or "")),
        length=lengths[0] if lengths else names.usual_length,
        utilization=_share(args.get(names.utilization or "")) or ordinary.utilization,
        static=(_share(args.get(names.static)) or USUAL_STATIC) if names.static else None,
        sequences=_count(args.get(names.sequences or "")) or ordinary.sequences,
        tokens=_count(args.get(names.tokens or "")) or ordinary.tokens,
        batch=batch_size if isinstance(batch_size, int) and not names.serves and batch_size > 0 else 1,
        limit=bytes_of(args.get(names.limit or "")),
    )


def bytes_of(size: object) -> int | None:
    """40GB, 40GiB or a number of bytes, as accelerate reads them; None for anything else."""
    found = _SIZE.fullmatch(str(size).strip()) if isinstance(size, str | int) else None
    number = int(float(found[1]) * _UNITS[(found[2] or "").upper()]) if found else 0
    return number if 0 < number <= _MOST else None


def _quantization(names: MemoryNames, args: Mapping[str, Any]) -> str | None:
    switched = next((method for name, method in names.switches if args.get(name) is True), None)
    return switched or _text(args.get(names.quantization or ""))


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MOST else None


def _share(value: object) -> float | None:
    given = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if given and LEAST_SHARE <= value <= 1 else None  # type: ignore[arg-type,operator]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
