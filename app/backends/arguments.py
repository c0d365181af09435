"""Which arguments a backend takes, and what is known to be wrong with them before an engine is asked."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from app.backends import hf_arguments as hf

NEAR = 3
ALIKE = 0.75


class Wrong(NamedTuple):
    """An argument, what is wrong with it, and what would be right."""

    name: str
    message: str
    near: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Names:
    """What may be given; `told` says in words why some names may not."""

    what: str
    known: frozenset[str]
    told: Mapping[str, str]

    def fault(self, name: str) -> Wrong | None:
        """What is wrong with a name, or None."""
        if name in self.told:
            return Wrong(name, self.told[name])
        if name in self.known:
            return None
        near = tuple(difflib.get_close_matches(name, sorted(self.known), n=NEAR, cutoff=ALIKE))
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        return Wrong(name, f"is no {self.what}{hint}", near or None)


@dataclass(frozen=True)
class Arguments:
    """What a backend takes of a job."""

    model: Names
    generation: Names
    packages: Callable[[str, Any], str | None]
    """The package that an argument of this value needs beyond the ones that are always there."""
    excluded: Callable[[Mapping[str, Any]], Iterator[Wrong]]
    """Arguments of the model that loading refuses together, or one without the other."""
    contradictions: Callable[[Mapping[str, Any], bool], Iterator[Wrong]]
    """Generation settings that no model takes together; the flag says that nothing more is merged into them."""

    def model_faults(
        self, args: Mapping[str, Any], installed: Collection[str], own: Collection[str] = ()
    ) -> Iterator[Wrong]:
        """Names that loading refuses, but for the model's `own`; and what needs a package that is not installed."""
        for name, value in args.items():
            needed = self.packages(name, value)
            if wrong := None if name in own else self.model.fault(name):
                yield wrong
            elif needed and needed not in installed:
                yield Wrong(name, f"needs the package {needed}, which the backend's environment has not")
        yield from self.excluded(args)

    def generation_faults(self, settings: Mapping[str, Any], *, whole: bool) -> Iterator[Wrong]:
        """Names that generation refuses, and values that contradict each other; null is as good as not given."""
        given = {name: value for name, value in settings.items() if value is not None}
        yield from filter(None, map(self.generation.fault, given))
        yield from self.contradictions(given, whole)


def _hf_packages(name: str, value: Any) -> str | None:
    match name:
        case "attn_implementation":
            return {
                "flash_attention_2": "flash-attn",
                "flash_attention_3": "flash-attn-3",
                "flash_attention_4": "flash-attn-4",
            }.get(str(value))
        case "autogptq":
            return "auto-gptq" if value else None
        case "gptqmodel":
            return "gptqmodel" if value else None
        case _:
            return None


def _hf_excluded(args: Mapping[str, Any]) -> Iterator[Wrong]:
    """As HFLM's constructor judges them."""
    if args.get("enable_thinking") and args.get("think_end_token") is None:
        yield Wrong("think_end_token", "is needed where enable_thinking is true")
    for one, other in (("peft", "delta"), ("autogptq", "gptqmodel")):
        if args.get(one) and args.get(other):
            yield Wrong(other, f"excludes {one}")
    switches = hf.QUANTIZING & {"load_in_4bit", "load_in_8bit"}
    if not any(args.get(switch) for switch in switches):
        for name in sorted((hf.QUANTIZING - switches) & args.keys()):
            yield Wrong(name, "says nothing without load_in_4bit=True or load_in_8bit=True")


def _hf_contradictions(settings: Mapping[str, Any], whole: bool) -> Iterator[Wrong]:
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
_GENERATION = hf.GENERATION | hf.FORWARD | {"until", "max_gen_toks", "max_tokens", "max_completion_tokens"}
_MODEL = hf.CONSTRUCTOR | hf.LOADING | hf.QUANTIZING | hf.CONFIG

HF = Arguments(
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
    packages=_hf_packages,
    excluded=_hf_excluded,
    contradictions=_hf_contradictions,
)
