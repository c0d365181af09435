"""What an adapter's own files say against loading it: known when a job is posted, where they lie in a local folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from app.backends.arguments import Wrong
from app.backends.vllm.names import CHOICES
from app.models.config_facts import is_count
from app.models.json_file import NoJsonObjectError, read_object
from app.models.model_folder import is_local
from app.models.safetensors_header import NoSafetensorsError, stored_tensors

ARGUMENT = "lora_local_path"
RANKS: tuple[int, ...] = CHOICES["max_lora_rank"]
DEFAULT_RANK = 16
_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin", "adapter_model.pt")
_NEEDED = ("r", "lora_alpha", "target_modules")
_LACKING: Mapping[str, str] = {
    "use_dora": "DoRA",
    "lora_bias": "biases",
    "alora_invocation_tokens": "invocation tokens",
    "layer_replication": "replicated layers",
    "use_bdlora": "blocks on the diagonal",
    "use_qalora": "QALoRA",
}
"""What vLLM does not do (lora/peft_helper.py)."""
_PLAIN_BEGINNINGS = frozenset({"gaussian", "eva", "orthogonal", "mica", "lora_ga"})
"""Of training; others change the model's own weights."""


def adapter_faults(args: Mapping[str, Any]) -> Iterator[Wrong]:
    """In the order in which vLLM would find them."""
    path = args.get(ARGUMENT)
    if not isinstance(path, str) or not is_local(path):
        return
    folder = Path(path)
    try:
        config = read_object(folder / "adapter_config.json")
    except (FileNotFoundError, NoJsonObjectError):
        yield Wrong(ARGUMENT, "is no folder of an adapter: it has no adapter_config.json that can be read")
        return
    if missing := [name for name in _NEEDED if name not in config]:
        yield Wrong(ARGUMENT, f"lacks {', '.join(missing)} in adapter_config.json")
        return
    yield from _rank_faults(config, args.get("max_lora_rank") or DEFAULT_RANK)
    yield from _feature_faults(config)
    yield from _weight_faults(folder)


def _rank_faults(config: Mapping[str, Any], most: Any) -> Iterator[Wrong]:
    ranks = [config.get("r"), *_values(config.get("rank_pattern"))]
    if not all(map(is_count, ranks)):
        yield Wrong(ARGUMENT, "has a rank (r) in adapter_config.json that is no whole number of at least 1")
    elif is_count(most) and max(ranks) > most:
        enough = tuple(str(allowed) for allowed in RANKS if allowed >= max(ranks))
        yield Wrong("max_lora_rank", f"is {most}, and the adapter's rank is {max(ranks)}", enough)


def _values(pattern: Any) -> list[Any]:
    return list(pattern.values()) if isinstance(pattern, dict) else []


def _feature_faults(config: Mapping[str, Any]) -> Iterator[Wrong]:
    kind, begun = config.get("peft_type"), config.get("init_lora_weights")
    if kind not in (None, "LORA"):
        yield Wrong(ARGUMENT, f"is an adapter of type {str(kind)[:40]}, and vLLM loads LORA")
    for name, words in _LACKING.items():
        if config.get(name):
            yield Wrong(ARGUMENT, f"is an adapter with {words}, which vLLM does not load")
    if isinstance(begun, str) and begun.lower() not in _PLAIN_BEGINNINGS:
        yield Wrong(
            ARGUMENT, f"was begun as {begun[:40]}, which changes the model itself: convert it to plain LoRA"
        )
    if set(map(str, _listed(config.get("modules_to_save")))) - {"classifier", "score"}:
        yield Wrong(ARGUMENT, "holds whole modules (modules_to_save), which vLLM does not load")
    if config.get("bias", "none") != "none":
        yield Wrong(ARGUMENT, f"has biases ({str(config['bias'])[:40]}), which vLLM does not load")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _weight_faults(folder: Path) -> Iterator[Wrong]:
    there = [name for name in _WEIGHTS if (folder / name).is_file()]
    if not there:
        yield Wrong(ARGUMENT, f"has no weights: none of {', '.join(_WEIGHTS)}")
    elif there[0] == _WEIGHTS[0]:
        try:
            stored_tensors([folder / there[0]])
        except (NoSafetensorsError, OSError) as error:
            yield Wrong(ARGUMENT, f"cannot be loaded: {error}")
