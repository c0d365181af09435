"""Prints, in the hf environment, the names that `app.backends.hf.names` keeps: a JSON object of lists."""

from __future__ import annotations

import inspect
import json
import re
import sys
from typing import Any

import transformers
from lm_eval.models.huggingface import HFLM
from transformers.generation.configuration_utils import GenerationConfig
from transformers.models.auto.auto_factory import _BaseAutoModelClass
from transformers.models.auto.configuration_auto import CONFIG_MAPPING, CONFIG_MAPPING_NAMES
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
)
from transformers.utils.generic import TransformersKwargs

MODELS = {*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, *MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES}


def parameters(function: Any) -> set[str]:
    return set(inspect.signature(function).parameters) - {"self", "args", "kwargs", "model_args"}


def taken(function: Any) -> set[str]:
    """What a function takes out of its `**kwargs`, and the names it no longer uses."""
    source = inspect.getsource(function)
    lists = re.findall(r"for name in (\[[^\]]+\])", source) + re.findall(r"_names = (\[[^\]]+\])", source)
    return {*re.findall(r'kwargs\.pop\("(\w+)"', source), *re.findall(r'"(\w+)"', " ".join(lists))}


def loading() -> set[str]:
    functions = (transformers.PreTrainedModel.from_pretrained, _BaseAutoModelClass.from_pretrained)
    return {name for each in functions for name in parameters(each) | taken(each)}


def attributes(model_type: str) -> set[str]:
    """What an argument of the same name would replace: `from_pretrained` asks `hasattr`."""
    try:
        config = CONFIG_MAPPING[model_type]()
    except Exception:  # noqa: BLE001 - some cannot be made without arguments
        return set()
    kind = type(config)
    return {*vars(config), *(n for n in dir(kind) if not callable(getattr(kind, n)))}


def public(names: set[str]) -> list[str]:
    return sorted(name for name in names if not name.startswith("_"))


found = {
    "constructor": parameters(HFLM.__init__),
    "loading": loading(),
    "quantizing": parameters(transformers.BitsAndBytesConfig.__init__),
    "config": {name for kind in MODELS & CONFIG_MAPPING_NAMES.keys() for name in attributes(kind)},
    "generation": set(vars(GenerationConfig())),
    "forward": set(TransformersKwargs.__optional_keys__),
}
json.dump({name: public(names) for name, names in found.items()}, sys.stdout)
