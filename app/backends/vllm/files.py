"""What a model's own files say against loading it so: known when a job is posted, where they lie in a local folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from app.backends.arguments import Wrong
from app.backends.backend import Loading
from app.backends.vllm.adapters import adapter_faults
from app.backends.vllm.architectures import ARCHITECTURES
from app.domain.model_facts import ModelFacts
from app.models.model_folder import is_local
from app.models.safetensors_header import NoSafetensorsError, stored_tensors

_STORED_QUANTIZED = frozenset(
    {
        *("auto_awq", "awq", "awq_marlin", "auto_gptq", "gptq", "gptq_marlin", "moe_wna16"),
        *("compressed-tensors", "fbgemm_fp8", "fp_quant", "modelopt", "modelopt_fp4", "modelopt_mixed"),
        *("modelopt_mxfp8", "quark", "inc", "gpt_oss_mxfp4", "deepseek_v4_fp8"),
    }
)
"""Methods that load what was quantized before: how, a file of the model says."""
_QUANTIZATION_FILES = ("quantize_config.json", "quant_config.json", "hf_quant_config.json")
_WHOLE = "model.safetensors"
_READ_ALL = (None, "auto", "hf", "safetensors")
_MISTRALS = ("tekken.json", "tokenizer.model.v*")


def file_faults(loading: Loading) -> Iterator[Wrong]:
    """In the order in which vLLM would find them."""
    yield from adapter_faults(loading.args)
    if (facts := loading.facts) is None:
        return
    yield from _architecture_faults(loading.args, facts)
    if facts.path is not None:
        yield from _tokenizer_faults(loading, facts.path)
        yield from _quantization_faults(loading.args, facts, facts.path)
        yield from _weight_faults(loading.args, facts.path)
    yield from _length_faults(loading.args, facts)
    if facts.num_layers and loading.pipeline_parallel_size > facts.num_layers:
        yield Wrong("pipeline_parallel_size", f"is more than the model's {facts.num_layers} layers")


def _weight_faults(args: Mapping[str, Any], folder: Path) -> Iterator[Wrong]:
    """Where others load model.safetensors alone, vLLM reads every file that no index leaves out."""
    if not (folder / _WHOLE).is_file() or args.get("load_format") not in _READ_ALL:
        return
    if any(folder.glob("*.safetensors.index.json")):
        return
    beside = (path for path in folder.glob("*.safetensors") if path.name != _WHOLE and path.is_file())
    try:
        stored_tensors(sorted(beside))
    except (NoSafetensorsError, OSError) as error:
        yield Wrong("pretrained", f"{error}; vLLM reads every *.safetensors of the folder")


def lacks(args: Mapping[str, Any], facts: ModelFacts) -> bool:
    """Whether it has no such architecture; one of its own code, or of another implementation, may be any."""
    own = facts.own_code or args.get("model_impl") not in (None, "auto", "vllm")
    overridden = isinstance(args.get("hf_overrides"), dict)
    return not (not facts.model_class or facts.model_class in ARCHITECTURES or own or overridden)


def _architecture_faults(args: Mapping[str, Any], facts: ModelFacts) -> Iterator[Wrong]:
    if lacks(args, facts):
        named = f"is of architecture {facts.model_class!r}"
        yield Wrong("pretrained", f"{named}, which this version of vLLM does not load")


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


def _quantization_faults(args: Mapping[str, Any], facts: ModelFacts, folder: Path) -> Iterator[Wrong]:
    method, told = args.get("quantization"), facts.quantization or "quantization_config" in facts.config_names
    if method not in _STORED_QUANTIZED or told:
        return
    if not any((folder / name).is_file() for name in _QUANTIZATION_FILES):
        yield Wrong(
            "quantization", f"{method} loads what was quantized before, and the model's files were not"
        )


def _length_faults(args: Mapping[str, Any], facts: ModelFacts) -> Iterator[Wrong]:
    """Only where nothing stretches it: vLLM refuses more tokens than the model was made for."""
    name = "max_length" if args.get("max_length") else "max_model_len"
    asked, longest = args.get(name), facts.made_for
    if isinstance(asked, int) and longest and asked > longest and not args.get("hf_overrides"):
        yield Wrong(name, f"is {asked}, and the model was made for at most {longest} tokens", (str(longest),))


def _any_file(folder: Path, pattern: str) -> bool:
    try:
        return any(folder.glob(pattern))
    except OSError:
        return False
