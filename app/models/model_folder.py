"""What can be known of a model folder without loading weights: its configuration and its safetensors headers."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from app.domain.model_facts import DEFAULT_MAX_LENGTH, ModelFacts
from app.errors import FaultyField as Fault
from app.models.config_facts import LENGTH_NAMES, facts_of, first, text_config
from app.models.gguf_header import read_header
from app.models.json_file import MOST_BYTES, NoJsonObjectError, read_object
from app.models.parameter_count import counted, is_tied
from app.models.safetensors_header import NoSafetensorsError, stored_tensors

_UNSET_TOKENIZER_LENGTH = 10**9
"""Tokenizers write 10**30 for "no limit"; no real limit is near this."""
_LFS_POINTER = b"version https://git-lfs"
MOST_NAMED = 10
MOST_INDEX_BYTES = 50_000_000
"""Of an index that names every tensor; the largest models have one of 15 MB."""
_INDEX = "model.safetensors.index.json"
_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{1,6})-of-(?P<count>\d{1,6})\.(safetensors|bin)")
_ONE_FILE_MODELS = (".nemo", ".gguf")


def is_local(pretrained: str) -> bool:
    """Whether a model is named by a path rather than by a repository id; never asks the file system."""
    if pretrained.startswith(("/", "./", "../", "~")) or pretrained in (".", ".."):
        return True
    return pretrained.count("/") > 1 or pretrained.endswith("/..") or pretrained.endswith(_ONE_FILE_MODELS)


def within(path: str | Path, roots: Iterable[Path]) -> bool:
    """Whether a path lies in one of the roots, after symbolic links and `..` are followed."""
    resolved = Path(path).resolve()
    return any(resolved.is_relative_to(root.resolve()) for root in roots)


def inspect_gguf(path: Path, fault_path: str = "model_args.gguf_file") -> ModelFacts:
    """Read the header of a GGUF file; everything that would keep an engine from loading it is a fault."""
    try:
        return _gguf_facts(path) if path.is_file() else _without_gguf(path, fault_path)
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
    except ValueError as error:
        message = str(error)
    return ModelFacts(path, faults=(Fault(fault_path, f"{path.name} {message}"),))


def _without_gguf(path: Path, fault_path: str) -> ModelFacts:
    near = tuple(sorted(other.name for other in path.parent.glob("*.gguf"))[:MOST_NAMED])
    message = f"there is no file {path.name} in {path.parent}"
    return ModelFacts(path, faults=(Fault(fault_path, message, near),))


def _gguf_facts(path: Path) -> ModelFacts:
    if _is_pointer(path):
        raise ValueError("is a git-lfs pointer, not weights; run `git lfs pull` in the folder")
    header = read_header(path)
    parts = header.values.get("split.count")
    if isinstance(parts, int) and parts > 1:
        raise ValueError(f"is one of {parts} parts: join them first (llama-gguf-split --merge)")
    heads, hidden = header.number("attention.head_count"), header.number("embedding_length")
    return ModelFacts(
        path,
        architecture=header.architecture,
        num_attention_heads=heads,
        num_key_value_heads=header.number("attention.head_count_kv") or heads,
        num_layers=header.number("block_count"),
        hidden_size=hidden,
        head_dim=header.number("attention.key_length") or (hidden // heads if hidden and heads else None),
        vocab_size=header.number("vocab_size") or first(header.values, ("tokenizer.ggml.tokens",)),
        max_positions=header.number("context_length"),
        parameters=header.parameters,
        weight_bytes=path.stat().st_size,
        source="the header of its GGUF file",
    )


def inspect_model(path: str | Path, fault_path: str = "model_args.pretrained") -> ModelFacts:
    """Read a model folder; everything that would keep an engine from loading it is a fault."""
    folder = Path(path)
    try:
        return _inspect(folder, fault_path)
    except OSError as error:
        return ModelFacts(folder, faults=(Fault(fault_path, f"{folder} cannot be read: {error.strerror}"),))


def _inspect(folder: Path, fault_path: str) -> ModelFacts:
    if folder.suffix in _ONE_FILE_MODELS and folder.is_file():
        return ModelFacts(folder, weight_bytes=folder.stat().st_size, source="the size of its file")
    if not folder.is_dir():
        return ModelFacts(folder, faults=(Fault(fault_path, f"the folder {folder} does not exist"),))
    messages: list[str] = []
    config = _read_or_say(folder / "config.json", messages)
    facts = {} if config is None else {**facts_of(config), "max_positions": _max_positions(config, folder)}
    weights = _weights(folder, config or {}, messages)
    faults = tuple(Fault(fault_path, message) for message in messages)
    return ModelFacts(folder, **facts, **weights, faults=faults)


def _max_positions(config: Mapping[str, Any], folder: Path) -> int:
    """The order of lm-eval's `resolve_max_length`: configuration, tokenizer, default."""
    said = first(text_config(config), LENGTH_NAMES)
    if said is not None:
        return said
    tokenizer = _read_or_say(folder / "tokenizer_config.json", []) or {}
    limit = tokenizer.get("model_max_length")
    if isinstance(limit, int | float) and 1 <= limit < _UNSET_TOKENIZER_LENGTH:
        return int(limit)
    return DEFAULT_MAX_LENGTH


def _weights(folder: Path, config: Mapping[str, Any], messages: list[str]) -> dict[str, Any]:
    """How much is stored, as fields of `ModelFacts`; headers only are read."""
    index = folder / _INDEX
    said = _read_or_say(index, messages, MOST_INDEX_BYTES) if index.is_file() else None
    indexed = {} if said is None else _indexed(said, messages)
    files = _weight_files(folder, indexed, messages)
    pointers = [path.name for path in files if _is_pointer(path)]
    if pointers:
        messages.append(
            f"{', '.join(pointers[:3])}: git-lfs pointers, not weights; run `git lfs pull` in the folder"
        )
    elif not files:
        messages.append(f"no weights in {folder}: neither *.safetensors nor *.bin")
    else:
        return _measured(files, config, indexed, messages)
    return {}


def _measured(
    files: Sequence[Path],
    config: Mapping[str, Any],
    indexed: Mapping[str, Collection[str]],
    messages: list[str],
) -> dict[str, Any]:
    count = counted(config)
    sizes: dict[str, Any] = {"quantizable": count.quantizable} if count else {}
    if files[0].suffix != ".safetensors":
        sizes |= {"source": "the sizes of its files", "parameters": count.total if count else None}
        return sizes | {"weight_bytes": sum(path.stat().st_size for path in files)}
    try:
        stored = stored_tensors(files, is_tied(config), indexed)
    except NoSafetensorsError as error:
        messages.append(str(error))
        return {}
    told = sum(stored.numbers.values())
    return sizes | {
        "parameters": (count.total if count else None) if stored.packed else told,
        "weight_bytes": sum(stored.bytes.values()),
        "bytes_by_dtype": stored.bytes,
        "source": "the headers of its safetensors files",
    }


def _weight_files(folder: Path, indexed: Iterable[str], messages: list[str]) -> list[Path]:
    """The files an engine would load: those of the index, else one file, else all of the best kind."""
    if named := list(indexed):
        missing = [name for name in named if not (folder / name).is_file()]
        if missing:
            messages.append(f"{len(missing)} of {len(named)} weight files are missing, such as {missing[0]}")
        return [folder / name for name in named if name not in missing]
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    for pattern in ("*.safetensors", "pytorch_model*.bin", "*.bin", "*.gguf"):
        found = sorted(path for path in folder.glob(pattern) if path.is_file())
        if found:
            messages += _missing_shards([path.name for path in found])
            return found
    return []


def _missing_shards(names: Sequence[str]) -> Iterator[str]:
    """Of files that say how many they are: `model-00001-of-00003.safetensors`."""
    parts = [found for name in names if (found := _SHARD.fullmatch(name))]
    for stem, count in sorted({(part["stem"], part["count"]) for part in parts}):
        there = {int(part["number"]) for part in parts if (part["stem"], part["count"]) == (stem, count)}
        if len(there) < int(count):
            gone = next(number for number in itertools.count(1) if number not in there)
            yield f"of {int(count)} weight files there are {len(there)}: number {gone} of {stem} is missing"


def _indexed(index: Mapping[str, Any], messages: list[str]) -> dict[str, set[str]]:
    """The tensors an index names, by file; anything but a plain name in the same folder is not followed."""
    named = index.get("weight_map")
    tensors: dict[str, set[str]] = {}
    strange = not (isinstance(named, dict) and named)
    for tensor, name in named.items() if isinstance(named, dict) else ():
        if isinstance(name, str) and Path(name).name == name:
            tensors.setdefault(name, set()).add(tensor)
        else:
            strange = True
    if strange:
        messages.append(f"{_INDEX} names what is no file of the folder, or nothing")
    return dict(sorted(tensors.items()))


def _is_pointer(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_LFS_POINTER)) == _LFS_POINTER


def _read_or_say(path: Path, messages: list[str], most_bytes: int = MOST_BYTES) -> dict[str, Any] | None:
    """A JSON object, or None with the reason added to `messages`."""
    try:
        return read_object(path, most_bytes)
    except FileNotFoundError:
        messages.append(f"{path.name} is missing in {path.parent}")
    except NoJsonObjectError as error:
        messages.append(f"{path.name} {error}")
    return None
