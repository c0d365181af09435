"""What the hub tells of a model, as facts: its metadata, and the `config.json` of one revision."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from app.domain.model_facts import ModelFacts
from app.models.config_facts import LENGTH_NAMES, facts_of, first, is_count, text_config
from app.models.known_models import known_facts
from app.models.parameter_count import counted
from app.models.safetensors_header import NUMBER_BYTES

_SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")
_WEIGHTS = ("model.safetensors", "*.safetensors", "pytorch_model*.bin", "*.bin")


def hub_facts(
    name: str, info: Mapping[str, Any], config: Mapping[str, Any] | None, source: str
) -> ModelFacts | None:
    """None where it tells no size. Without a `config.json` the shape is that of the well-known model of this name."""
    parts = info.get("config")
    described = config if config is not None else parts if isinstance(parts, dict) else {}
    shape = ModelFacts(**facts_of(described), max_positions=first(text_config(described), LENGTH_NAMES))
    if config is None and (known := known_facts(name)):
        shape = replace(known, quantization=shape.quantization or known.quantization)
    count, numbers = counted(described), _numbers(info)
    plain = numbers if numbers.keys() <= NUMBER_BYTES.keys() else {}
    by_dtype = {dtype: number * NUMBER_BYTES[dtype] for dtype, number in plain.items()}
    facts = replace(
        shape,
        parameters=sum(plain.values()) or (count.total if count else shape.parameters),
        quantizable=count.quantizable if count else shape.quantizable,
        weight_bytes=sum(by_dtype.values()) or _file_bytes(info),
        bytes_by_dtype=by_dtype,
        source=source,
    )
    return facts if facts.parameters or facts.weight_bytes else None


def file_names(info: Mapping[str, Any]) -> Mapping[str, int | None]:
    """The repository's files and their bytes, where they are told."""
    listed = info.get("siblings")
    files = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    named = ((each.get("rfilename"), each.get("size")) for each in files)
    return {name: size if is_count(size) else None for name, size in named if isinstance(name, str)}


def _numbers(info: Mapping[str, Any]) -> dict[str, int]:
    """Numbers stored of each type, as the hub counted them; none where it did not, or not believably."""
    told = info.get("safetensors")
    counts = told.get("parameters") if isinstance(told, dict) else None
    if not isinstance(counts, dict) or not counts or not all(map(is_count, counts.values())):
        return {}
    return counts if is_count(sum(counts.values())) else {}


def _file_bytes(info: Mapping[str, Any]) -> int | None:
    """Of the files that an engine would load; None where one is not told."""
    files = file_names(info)
    sizes = [files[name] for name in _loaded(files)]
    total = sum(size for size in sizes if size is not None)
    return total if sizes and None not in sizes and is_count(total) else None


def _loaded(names: Collection[str]) -> Sequence[str]:
    top = [name for name in names if "/" not in name]
    shards = [name for name in top if _SHARD.fullmatch(name)]
    matching = ([name for name in top if fnmatchcase(name, pattern)] for pattern in _WEIGHTS)
    return shards or next((found for found in matching if found), [])
