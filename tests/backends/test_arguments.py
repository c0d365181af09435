"""The names that a backend takes are those of the versions that it pins, and refuse nothing that people run."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
)

from app.backends import BACKENDS
from app.backends.arguments import Wrong
from app.backends.hf import names as hf_names
from app.backends.hf.architectures import ARCHITECTURES
from app.backends.registry import read_parallelism
from app.domain.engine_spec import EngineSpec
from app.settings import Settings
from app.workloads.lm_eval.command.command_line import parse_command
from app.workloads.lm_eval.reading.generation_settings import task_faults
from app.workloads.lm_eval.tasks.packaged_index import installed_tasks_dir
from app.workloads.lm_eval.tasks.task_yaml import read_config, yaml_files
from tests.documents.commands import evaluations
from tests.tiny_models import hf_python

PRINTS = Path(__file__).with_name("hf_names.py")
ENGINE = EngineSpec("hf", "/models/tiny")
HF = BACKENDS["hf"]


def test_the_names_are_those_of_the_pinned_versions() -> None:
    command = [str(hf_python(Settings().cache_dir)), str(PRINTS)]
    env = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    printed = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    found = {name.upper(): frozenset(names) for name, names in json.loads(printed).items()}
    assert {name: getattr(hf_names, name) for name in found} == found


def generation_settings(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from [value["generation_kwargs"]] if value.get("generation_kwargs") else []
        for each in value.values():
            yield from generation_settings(each)
    elif isinstance(value, list):
        for each in value:
            yield from generation_settings(each)


def test_the_settings_of_all_of_lm_evals_own_tasks_are_taken() -> None:
    files = [path for path in yaml_files(installed_tasks_dir()) if b"generation_kwargs" in path.read_bytes()]
    refused = {
        path.name: faults
        for path in files
        for settings in generation_settings(read_config(path))
        if (faults := task_faults({"until": []} | settings, ENGINE))
    }
    assert len(files) > 200
    assert refused == {}


def test_the_arguments_of_documented_commands_are_taken() -> None:
    refused: set[Wrong] = set()
    for command in evaluations():
        fields = parse_command(command.pasted, {}).fields
        if fields.get("model") in HF.model_names:
            args = read_parallelism(fields["model"], fields.get("model_args", {})).engine_args
            refused.update(HF.arguments.model_faults(args, HF.packages))
            refused.update(HF.arguments.generation_faults(fields.get("gen_kwargs") or {}, whole=False))
    assert [wrong.message for wrong in refused] == [
        "needs the package flash-attn, which the backend's environment has not"
    ]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"until": [5]}, "until must be text, or a list of at most 1000 texts, not [5]"),
    ({"until": 5}, "until must be text, or a list of at most 1000 texts, not 5"),
    ({"until": None}, "until must be text, or a list of at most 1000 texts, not None"),
    ({"max_gen_toks": 0}, "max_gen_toks must be a whole number from 1 to 10000000, not 0"),
    ({"max_gen_toks": -5}, "max_gen_toks must be a whole number from 1 to 10000000, not -5"),
    ({"max_gen_toks": [16]}, "max_gen_toks must be a whole number from 1 to 10000000, not [16]"),
    ({"do_sample": "yes"}, "do_sample must be true or false, not 'yes'"),
    ({"do_sample": "false"}, "do_sample must be true or false, not 'false'"),
    ({"temperature": float("nan")}, "temperature must be a number of at least 0, not nan"),
    ({"top_k": float("inf")}, "top_k must be a whole number from -1 to 2147483647, not inf"),
    ({"top_p": "0.5"}, "top_p must be a number of at least 0 and at most 1, not '0.5'"),
    ({"temprature": 0.5}, "temprature is no generation setting of hf; did you mean temperature?"),
    ({"stop": ["\n"]}, "stop is called until by lm-eval"),
    ({"seed": 3}, "seed is not taken: what is drawn follows the job's own `seed`"),
    ({"do_sample": True}, "temperature must be above 0 where do_sample is true, not 0"),
    ({"do_sample": True, "temperature": 0.0}, "temperature must be above 0 where do_sample is true, not 0"),
    ({"temperature": 0.5, "top_k": -1}, "top_k must not be negative where answers are sampled"),
]


@pytest.mark.parametrize(("settings", "says"), REFUSED)
def test_a_tasks_settings_are_judged_by_kind_and_name(settings: dict[str, Any], says: str) -> None:
    (fault,) = task_faults({"until": ["\n"]} | settings, ENGINE)
    assert fault.startswith(f"generation_kwargs.{says}")


@pytest.mark.parametrize(
    "settings",
    [
        {"until": "\n", "max_gen_toks": "16", "max_new_tokens": None},
        {"do_sample": 1, "temperature": 0.3},
        {"top_k": -1, "temprature": None},
        {"num_beams": 2, "early_stopping": True, "no_repeat_ngram_size": 3},
    ],
)
def test_what_lm_eval_and_the_model_run_is_taken(settings: dict[str, Any]) -> None:
    assert task_faults(settings, ENGINE) == []


def test_settings_of_no_sense_are_told_in_few_words() -> None:
    assert len(task_faults({f"no_{i}": i for i in range(150)}, ENGINE)) == 10
    assert len(task_faults({f"no_{i}": i for i in range(10_000)}, ENGINE)) == 1
    assert task_faults([1], ENGINE) == ["generation_kwargs must be an object of settings, not [1]"]


def test_code_of_the_models_own_and_other_backends_may_take_any_name() -> None:
    settings = {"until": [], "its_own": 1}
    assert task_faults(settings, EngineSpec("hf", "m", args={"trust_remote_code": True})) == []
    assert task_faults(settings, EngineSpec("echo", "m")) == []


def test_the_architectures_of_hf_are_those_of_the_pinned_transformers() -> None:
    named = (
        *MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values(),
        *MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES.values(),
    )
    each = {name for names in named for name in ([names] if isinstance(names, str) else names)}
    assert each == ARCHITECTURES
