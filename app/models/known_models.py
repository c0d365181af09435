"""Well-known models by name, so that there is a plan for them where nobody can be asked.

The rule of `known_models.json`: one line a model; `config` says what its `config.json` says, under the same names, and
`parameters` is the published number, which a test holds against the arithmetic. A line that is `like` another differs
from it in what it says. Whose repository it is counts for nothing, since copies keep the name; words that change no
size are not part of a name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from app.domain.model_facts import ModelFacts
from app.models.config_facts import LENGTH_NAMES, facts_of, first
from app.models.parameter_count import counted

TABLE = Path(__file__).with_suffix(".json")

_SAY_NOTHING = frozenset(
    {"base", "bf16", "chat", "deduped", "fp16", "hf", "instruct", "it", "meta", "pt", "unsloth"}
)
# fmt: off
_QUANTIZED: Mapping[str, str] = {
    "awq": "awq 4-bit", "gptq": "gptq 4-bit", "fp8": "fp8", "nvfp4": "nvfp4 4-bit", "int4": "int 4-bit",
    "int8": "int 8-bit", "w4a16": "int 4-bit", "w8a16": "int 8-bit", "w8a8": "int 8-bit", "4bit": "bitsandbytes 4-bit",
    "8bit": "bitsandbytes 8-bit",
}
# fmt: on
_BESIDE_QUANTIZED = frozenset({"bnb", "dynamic", "quantized", "g128"})


@dataclass(frozen=True)
class KnownModel:
    """One line of the table, whole."""

    names: tuple[str, ...]
    parameters: int
    config: Mapping[str, Any]
    beside: int = 0
    """Parameters of what sees or hears, which the arithmetic of a language model leaves out."""


def known_facts(pretrained: str) -> ModelFacts | None:
    """What the table says of a model on the hub; None for one that it does not have."""
    words = pretrained.lower().rpartition("/")[2].replace("_", "-").replace("quantized.", "quantized-")
    kept = [word for word in words.split("-") if word not in _QUANTIZED.keys() | _BESIDE_QUANTIZED]
    spared = [word for word in kept if word not in _SAY_NOTHING]
    found = next((known for name in (kept, spared) if (known := _by_name().get("-".join(name)))), None)
    return _facts(found, _quantization(words)) if found else None


def _quantization(name: str) -> str | None:
    said = [word for word in name.split("-") if word in _QUANTIZED]
    if "gptq" in said and {"int8", "8bit"} & set(said):
        return "gptq 8-bit"
    return _QUANTIZED[said[0]] if said else None


def _facts(model: KnownModel, quantization: str | None) -> ModelFacts:
    described = facts_of(model.config)
    described["quantization"] = quantization or described["quantization"]
    count = counted(model.config)
    return ModelFacts(
        **described,
        max_positions=first(model.config, LENGTH_NAMES),
        parameters=model.parameters,
        quantizable=count.quantizable if count else None,
        source=f"the table of well-known models ({model.names[0]})",
    )


@cache
def known_models() -> tuple[KnownModel, ...]:
    """The whole table."""
    lines = json.loads(TABLE.read_text(encoding="utf-8"))
    written = {line["names"][0]: line for line in lines}
    return tuple(_whole(line, written[line.get("like", line["names"][0])]) for line in lines)


def _whole(line: Mapping[str, Any], model: Mapping[str, Any]) -> KnownModel:
    config = {**model["config"], **line["config"]}
    return KnownModel(tuple(line["names"]), model["parameters"], config, model.get("parameters_of_vision", 0))


@cache
def _by_name() -> Mapping[str, KnownModel]:
    return {name.replace("_", "-"): model for model in known_models() for name in model.names}
