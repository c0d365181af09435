"""Which arguments the hf backend takes, and what is known to be wrong with them before an engine is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from app.backends.arguments import Arguments, Names, Wrong
from app.backends.hf import names

_FLASH = {
    "flash_attention_2": "flash-attn",
    "flash_attention_3": "flash-attn-3",
    "flash_attention_4": "flash-attn-4",
}
_PAGED = "paged|"


def _attentions(value: Any) -> Iterator[str]:
    """Every name of `attn_implementation`, which may have one for each part of a model."""
    if isinstance(value, Mapping):
        for each in value.values():
            yield from _attentions(each)
    elif value is not None:
        yield str(value)


def _attention_package(value: Any) -> str | None:
    names = [name.removeprefix(_PAGED) for name in _attentions(value)]
    needed = ("kernels" if "/" in name else _FLASH.get(name) for name in names)
    return next(filter(None, needed), None)


def _packages(name: str, value: Any) -> str | None:
    match name:
        case "attn_implementation":
            return _attention_package(value)
        case "autogptq":
            return "auto-gptq" if value else None
        case "gptqmodel":
            return "gptqmodel" if value else None
        case _:
            return None


def _excluded(args: Mapping[str, Any]) -> Iterator[Wrong]:
    """As HFLM's constructor judges them."""
    if args.get("enable_thinking") and args.get("think_end_token") is None:
        yield Wrong("think_end_token", "is needed where enable_thinking is true")
    for name in _attentions(args.get("attn_implementation")):
        plain = name.removeprefix(_PAGED)
        # transformers reads paged|sdpa as sdpa.
        if plain not in {name, "sdpa"} and not _attention_package(plain):
            yield Wrong("attn_implementation", f"{name} is for serving alone: say {plain}", (plain,))
            break
    for one, other in (("peft", "delta"), ("autogptq", "gptqmodel")):
        if args.get(one) and args.get(other):
            yield Wrong(other, f"excludes {one}")
    switches = names.QUANTIZING & {"load_in_4bit", "load_in_8bit"}
    if not any(args.get(switch) for switch in switches):
        for name in sorted((names.QUANTIZING - switches) & args.keys()):
            yield Wrong(name, "says nothing without load_in_4bit=True or load_in_8bit=True")


def _contradictions(settings: Mapping[str, Any], whole: bool) -> Iterator[Wrong]:
    """As HFLM's `_model_generate` and the warpers of transformers judge them."""
    temperature, sampled = settings.get("temperature"), settings.get("do_sample")
    if sampled and not temperature and (whole or temperature is not None):
        yield Wrong("temperature", f"must be above 0 where do_sample is true, not {temperature or 0}")
    if (sampled or (sampled is None and temperature)) and (settings.get("top_k") or 0) < 0:
        yield Wrong("top_k", "must not be negative where answers are sampled; 0 switches it off")
    if settings.get("return_dict_in_generate"):
        yield Wrong("return_dict_in_generate", "must be false: lm-eval reads tokens")


_GIVEN = "is set by lm-eval itself"
_JOBS_SEED = "is not taken: what is drawn follows the job's own `seed`"
_GENERATION = (
    names.GENERATION | names.FORWARD | {"until", "max_gen_toks", "max_tokens", "max_completion_tokens"}
)
_MODEL = names.CONSTRUCTOR | names.LOADING | names.QUANTIZING | names.CONFIG

ARGUMENTS = Arguments(
    model=Names(
        "argument of hf",
        _MODEL,
        dict.fromkeys(_GENERATION - _MODEL, "is a generation setting: it belongs into gen_kwargs")
        | {
            "gpus": "is set by lm-eval itself: say gpus_per_replica",
            "max_model_len": "is called max_length by hf",
            "quantization_config": "is read from the model by lm-eval: say load_in_4bit=True or load_in_8bit=True",
            "seed": _JOBS_SEED,
        },
    ),
    generation=Names(
        "generation setting of hf",
        _GENERATION | {"custom_generate", "trust_remote_code"},
        dict.fromkeys(
            ("attention_mask", "context", "input_ids", "pad_token_id", "stopping_criteria", "use_cache"),
            _GIVEN,
        )
        | {
            "max_model_len": "is called max_length by hf, and an argument of the model",
            "seed": _JOBS_SEED,
            "stop": "is called until by lm-eval",
            "stop_strings": "is called until by lm-eval",
        },
    ),
    packages=_packages,
    excluded=_excluded,
    contradictions=_contradictions,
)
