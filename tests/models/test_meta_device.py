"""The arithmetic of parameters against transformers: it builds every well-known model where none takes memory."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.models.known_models import known_models
from app.models.parameter_count import counted
from app.settings import Settings
from tests.tiny_models import hf_python

BUILDS = Path(__file__).with_name("built_on_meta.py")
WITHOUT_EYES = {"gemma3": "gemma3_text"}


def language_model(config: Mapping[str, Any]) -> dict[str, Any]:
    """What the table says, of a model that sees the part that speaks; in full weights."""
    kind = config["model_type"]
    shape = {name: value for name, value in config.items() if name != "quantization_config"}
    return shape | {"model_type": WITHOUT_EYES.get(kind, kind)}


def test_every_well_known_model_is_counted_as_transformers_builds_it() -> None:
    models = known_models()
    asked = json.dumps([language_model(model.config) for model in models])
    env = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [str(hf_python(Settings().cache_dir)), str(BUILDS)]
    printed = subprocess.run(command, input=asked, env=env, capture_output=True, text=True, check=True).stdout
    built = dict(zip((model.names[0] for model in models), json.loads(printed), strict=True))
    counts = {model.names[0]: counted(model.config) for model in models}
    assert {name: count.total for name, count in counts.items() if count} == built
