"""What a model's own files say against loading it so: known when a job is posted, where they lie in a local folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from app.backends.arguments import Wrong
from app.backends.backend import Loading
from app.backends.vllm.architectures import ARCHITECTURES
from app.backends.vllm.names import CHOICES
from app.domain.model_facts import ModelFacts
from app.models.config_facts import is_count
from app.models.model_folder import is_local

RANKS: tuple[int, ...] = CHOICES["max_lora_rank"]
DEFAULT_RANK = 16
_STORED_QUANTIZED = frozenset(
    {
        *("auto_awq", "awq", "awq_marlin", "auto_gptq", "gptq", "gptq_marlin", "moe_wna16"),
        *("compressed-tensors", "fbgemm_fp8", "fp_quant", "modelopt", "modelopt_fp4", "modelopt_mixed"),
        *("modelopt_mxfp8", "quark", "inc", "gpt_oss_mxfp4", "deepseek_v4_fp8"),
    }
)
"""Methods that load what was quantized before: how, a file of the model says."""
_QUANTIZATION_FILES = ("quantize_config.json", "quant_config.json", "hf_quant_config.json")
_MOST_BYTES = 10_000_000
_MISTRALS = ("tekken.json", "tokenizer.model.v*")


def file_faults(loading: Loading) -> Iterator[Wrong]:
    """In the order in which vLLM would find them."""
    yield from _adapter_faults(loading.args)
    if loading.facts is None or loading.facts.path is None:
        return
    folder = loading.facts.path
    config = _object_in(folder / "config.json")
    yield from _architecture_faults(loading, config)
    yield from _tokenizer_faults(loading, folder)
    yield from _quantization_faults(loading, folder, config)
    yield from _length_faults(loading, config)
    if (layers := loading.facts.num_layers) and loading.pipeline_parallel_size > layers:
        yield Wrong("pipeline_parallel_size", f"is more than the model's {layers} layers")


def _adapter_faults(args: Mapping[str, Any]) -> Iterator[Wrong]:
    path = args.get("lora_local_path")
    if not isinstance(path, str) or not is_local(path):
        return
    if (config := _object_in(Path(path) / "adapter_config.json")) is None:
        yield Wrong(
            "lora_local_path", "is no folder of an adapter: it has no adapter_config.json that can be read"
        )
        return
    rank, most = config.get("r"), args.get("max_lora_rank") or DEFAULT_RANK
    if isinstance(rank, int) and isinstance(most, int) and rank > most:
        enough = tuple(str(allowed) for allowed in RANKS if allowed >= rank)
        yield Wrong("max_lora_rank", f"is {most}, and the adapter's rank is {rank}", enough)
    if config.get("use_dora"):
        yield Wrong("lora_local_path", "is an adapter with DoRA, which vLLM does not load")


def _architecture_faults(loading: Loading, config: Mapping[str, Any] | None) -> Iterator[Wrong]:
    """One of its own code, or of another implementation, may be any."""
    named = (config or {}).get("architectures")
    first = named[0] if isinstance(named, list) and named and isinstance(named[0], str) else None
    own = (config or {}).get("auto_map") or loading.args.get("model_impl") not in (None, "auto", "vllm")
    overridden = isinstance(loading.args.get("hf_overrides"), dict)
    if first and first not in ARCHITECTURES and not own and not overridden:
        yield Wrong(
            "pretrained", f"is of architecture {first[:80]!r}, which this version of vLLM does not load"
        )


def _tokenizer_faults(loading: Loading, folder: Path) -> Iterator[Wrong]:
    """Where vLLM would take Mistral's own tokenizer, prompts would be cut by another than the harness has."""
    named = loading.args.get("tokenizer")
    place = folder if named is None else Path(str(named)) if is_local(str(named)) else None
    if place is None or loading.args.get("tokenizer_mode") not in (None, "auto"):
        return
    if _any_file(place, "consolidated*.safetensors") and any(_any_file(place, name) for name in _MISTRALS):
        yield Wrong(
            "tokenizer_mode",
            "would be Mistral's own, which evalq does not prepare prompts with: say tokenizer_mode=hf",
            ("hf",),
        )


def _quantization_faults(loading: Loading, folder: Path, config: Mapping[str, Any] | None) -> Iterator[Wrong]:
    method = loading.args.get("quantization")
    told = loading.facts and loading.facts.quantization
    if method not in _STORED_QUANTIZED or told or "quantization_config" in (config or {}):
        return
    if not any((folder / name).is_file() for name in _QUANTIZATION_FILES):
        yield Wrong(
            "quantization", f"{method} loads what was quantized before, and the model's files were not"
        )


def _length_faults(loading: Loading, config: Mapping[str, Any] | None) -> Iterator[Wrong]:
    """Only where nothing stretches it: vLLM refuses more tokens than the model was made for."""
    name = "max_length" if loading.args.get("max_length") else "max_model_len"
    asked, longest = loading.args.get(name), _longest(loading.facts, config or {})
    if isinstance(asked, int) and longest and asked > longest and not loading.args.get("hf_overrides"):
        yield Wrong(name, f"is {asked}, and the model was made for at most {longest} tokens", (str(longest),))


def _longest(facts: ModelFacts | None, config: Mapping[str, Any]) -> int | None:
    text = config.get("text_config")
    text = text if isinstance(text, dict) and text else config
    stretched = any(isinstance(text.get(name), dict) and "factor" in text[name] for name in _STRETCHING)
    said = None if stretched or facts is None else text.get("max_position_embeddings")
    return said if is_count(said) else None


_STRETCHING = ("rope_scaling", "rope_parameters")


def _any_file(folder: Path, pattern: str) -> bool:
    try:
        return any(folder.glob(pattern))
    except OSError:
        return False


def _object_in(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None where there is none of a sane size."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            return None
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
