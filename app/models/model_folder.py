"""What can be known of a model folder without loading weights: its configuration and its safetensors headers."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from app.errors import FaultyField as Fault
from app.models.gguf_header import read_header

DEFAULT_MAX_LENGTH = 2048
"""lm_eval/defaults.py."""

_LENGTH_NAMES = ("n_positions", "max_position_embeddings", "n_ctx")
_UNSET_TOKENIZER_LENGTH = 10**9
"""Tokenizers write 10**30 for "no limit"; no real limit is near this."""
_MOST_OF_ANYTHING = 2**53
"""Bytes, parameters, layers: what a file says beyond this is no model's, and no arithmetic is done with it."""
_LFS_POINTER = b"version https://git-lfs"
_MAX_HEADER_BYTES = 100_000_000
MOST_NAMED = 10
_ONE_FILE_MODELS = (".nemo", ".gguf")


@dataclass(frozen=True)
class ModelFacts:
    """A model as its files describe it; None where they do not say."""

    path: Path
    architecture: str | None = None
    num_attention_heads: int | None = None
    num_key_value_heads: int | None = None
    num_layers: int | None = None
    hidden_size: int | None = None
    head_dim: int | None = None
    vocab_size: int | None = None
    max_positions: int | None = None
    dtype: str | None = None
    quantization: str | None = None
    parameters: int | None = None
    weight_bytes: int | None = None
    config_names: frozenset[str] = frozenset()
    """What its configuration says anything of."""
    faults: tuple[Fault, ...] = ()


class _ModelFolderError(Exception):
    """A file of the folder cannot be what it should be."""


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
        vocab_size=header.number("vocab_size"),
        max_positions=header.number("context_length"),
        parameters=header.parameters,
        weight_bytes=path.stat().st_size,
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
        return ModelFacts(folder, weight_bytes=folder.stat().st_size)
    if not folder.is_dir():
        return ModelFacts(folder, faults=(Fault(fault_path, f"the folder {folder} does not exist"),))
    messages: list[str] = []
    config = _read_or_say(folder / "config.json", messages)
    facts: dict[str, Any] = {} if config is None else _facts_of(config, folder)
    weights = _Weights(folder, messages)
    faults = tuple(Fault(fault_path, message) for message in messages)
    return ModelFacts(
        folder, **facts, parameters=weights.parameters, weight_bytes=weights.bytes, faults=faults
    )


def _facts_of(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    text = config.get("text_config")
    text = text if isinstance(text, dict) and text else config
    heads = _first(text, ("num_attention_heads", "n_head", "num_heads", "n_heads"))
    hidden = _first(text, ("hidden_size", "n_embd", "d_model", "dim"))
    return {
        "config_names": frozenset(config),
        "architecture": _architecture(config),
        "num_attention_heads": heads,
        "num_key_value_heads": _key_value_heads(text, heads),
        "num_layers": _first(text, ("num_hidden_layers", "n_layer", "num_layers", "n_layers")),
        "hidden_size": hidden,
        "head_dim": _first(text, ("head_dim",)) or (hidden // heads if hidden and heads else None),
        "vocab_size": _first(text, ("vocab_size", "padded_vocab_size")),
        "max_positions": _max_positions(text, folder),
        "dtype": _dtype(text) or _dtype(config),
        "quantization": _quantization(config.get("quantization_config") or text.get("quantization_config")),
    }


def _architecture(config: Mapping[str, Any]) -> str | None:
    named = config.get("architectures")
    said = [*(named[:1] if isinstance(named, list) else ()), config.get("model_type")]
    return next((name for name in said if isinstance(name, str) and name), None)


def _first(config: Mapping[str, Any], names: Sequence[str]) -> int | None:
    return next((config[name] for name in names if _is_count(config.get(name))), None)


def _is_count(value: object) -> bool:
    """A number of things that a model can have; any other is as good as not said."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MOST_OF_ANYTHING


def _key_value_heads(config: Mapping[str, Any], heads: int | None) -> int | None:
    if config.get("multi_query") is True and not config.get("new_decoder_architecture"):
        return 1
    return _first(config, ("num_key_value_heads", "num_kv_heads", "n_head_kv")) or heads


def _max_positions(text: Mapping[str, Any], folder: Path) -> int:
    """The order of lm-eval's `resolve_max_length`: configuration, tokenizer, default."""
    said = _first(text, _LENGTH_NAMES)
    if said is not None:
        return said
    tokenizer = _read_or_say(folder / "tokenizer_config.json", []) or {}
    limit = tokenizer.get("model_max_length")
    if isinstance(limit, int | float) and 1 <= limit < _UNSET_TOKENIZER_LENGTH:
        return int(limit)
    return DEFAULT_MAX_LENGTH


def _dtype(config: Mapping[str, Any]) -> str | None:
    dtype = config.get("dtype") or config.get("torch_dtype")
    return dtype.removeprefix("torch.") if isinstance(dtype, str) else None


def _quantization(config: object) -> str | None:
    """Such as `gptq 4-bit`; None for full weights."""
    if not isinstance(config, dict):
        return None
    bits = config.get("bits") or (
        8 if config.get("load_in_8bit") else 4 if config.get("load_in_4bit") else None
    )
    method = str(config.get("quant_method") or "quantized")
    return f"{method} {bits}-bit" if bits else method


class _Weights:
    """The size of what is stored; headers only are read."""

    def __init__(self, folder: Path, messages: list[str]) -> None:
        self.parameters: int | None = None
        self.bytes: int | None = None
        files = _weight_files(folder, messages)
        pointers = [path.name for path in files if _is_pointer(path)]
        if pointers:
            messages.append(
                f"{', '.join(pointers[:3])}: git-lfs pointers, not weights; run `git lfs pull` in the folder"
            )
        elif not files:
            messages.append(f"no weights in {folder}: neither *.safetensors nor *.bin")
        else:
            self._measure(files, messages)

    def _measure(self, files: Sequence[Path], messages: list[str]) -> None:
        if files[0].suffix != ".safetensors":
            self.bytes = sum(path.stat().st_size for path in files)
            return
        try:
            sizes = [size for path in files for size in _tensor_sizes(path)]
        except _ModelFolderError as error:
            messages.append(str(error))
            return
        self.parameters = sum(parameters for parameters, _ in sizes)
        self.bytes = sum(size for _, size in sizes)


def _weight_files(folder: Path, messages: list[str]) -> list[Path]:
    """The files an engine would load: those of the index, else one file, else all of the best kind."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = _names_in(_read_or_say(index, messages) or {})
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            messages.append(f"{len(missing)} of {len(names)} weight files are missing, such as {missing[0]}")
        return [folder / name for name in names if name not in missing]
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    for pattern in ("*.safetensors", "pytorch_model*.bin", "*.bin", "*.gguf"):
        found = sorted(folder.glob(pattern))
        if found:
            return found
    return []


def _names_in(index: Mapping[str, Any]) -> list[str]:
    """The files an index names; anything but a plain name in the same folder is not followed."""
    named = index.get("weight_map")
    names = named.values() if isinstance(named, dict) else ()
    return sorted({name for name in names if isinstance(name, str) and Path(name).name == name})


def _tensor_sizes(path: Path) -> list[tuple[int, int]]:
    """Numbers and bytes of every tensor in a safetensors file."""
    header = _safetensors_header(path)
    try:
        tensors = [tensor for name, tensor in header.items() if name != "__metadata__"]
        return [_size(tensor["shape"], *tensor["data_offsets"]) for tensor in tensors]
    except (KeyError, TypeError, ValueError) as error:
        raise _ModelFolderError(f"{path.name} is no safetensors file: {error!r} in its header") from None


def _size(shape: Any, begin: Any, end: Any) -> tuple[int, int]:
    """Numbers and bytes of one tensor; ValueError where none has them."""
    told = isinstance(shape, list) and all(side == 0 or _is_count(side) for side in shape)
    parameters, size = (prod(shape), end - begin) if told else (-1, -1)
    if not all(number == 0 or _is_count(number) for number in (parameters, size)):
        raise ValueError("a tensor of an impossible size")
    return parameters, size


def _safetensors_header(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else _MAX_HEADER_BYTES + 1
        text = file.read(length) if length <= _MAX_HEADER_BYTES else b""
    try:
        header = json.loads(text)
    except ValueError:
        header = None
    if not isinstance(header, dict):
        raise _ModelFolderError(f"{path.name} is no safetensors file, or was cut off")
    return header


def _is_pointer(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_LFS_POINTER)) == _LFS_POINTER


def _read_or_say(path: Path, messages: list[str]) -> dict[str, Any] | None:
    """A JSON object, or None with the reason added to `messages`."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        messages.append(f"{path.name} is missing in {path.parent}")
    except OSError as error:
        messages.append(f"{path.name} cannot be read: {error.strerror}")
    except ValueError as error:
        messages.append(f"{path.name} is not valid JSON: {error}")
    else:
        if isinstance(document, dict):
            return document
        messages.append(f"{path.name} holds no JSON object")
    return None
