"""Weights and adapters that vLLM would not load, known by their files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.workloads.lm_eval.reading.desk import Desk

EMPTY = b"\x02\0\0\0\0\0\0\0{}"
PLAIN = {"r": 8, "lora_alpha": 16, "target_modules": ["q_proj"]}


@pytest.fixture
def there(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def found(there: Desk, model: str = "vllm", **args: object) -> dict[str, str]:
    return there.faults(model=model, model_args={"pretrained": str(there.model), **args})


@pytest.mark.parametrize(
    ("config", "args", "says"),
    [
        ("{", {}, "has no adapter_config.json that can be read"),
        ("[]", {}, "has no adapter_config.json that can be read"),
        ("{}", {}, "lacks r, lora_alpha, target_modules"),
        (PLAIN | {"r": 32}, {}, "is 16, and the adapter's rank is 32"),
        (PLAIN | {"r": 17}, {}, "is 16, and the adapter's rank is 17"),
        (PLAIN | {"r": 64}, {"max_lora_rank": 32}, "is 32, and the adapter's rank is 64"),
        (PLAIN | {"rank_pattern": {"q_proj": 64}}, {}, "is 16, and the adapter's rank is 64"),
        (PLAIN | {"r": 17}, {"max_lora_rank": 32}, None),
        (PLAIN | {"r": 1}, {"max_lora_rank": 1}, None),
        (PLAIN | {"r": "odd"}, {}, "no whole number of at least 1"),
        (PLAIN | {"r": 0}, {}, "no whole number of at least 1"),
        (PLAIN | {"r": -8}, {}, "no whole number of at least 1"),
        (PLAIN | {"r": 2.5}, {}, "no whole number of at least 1"),
        (PLAIN | {"r": True}, {}, "no whole number of at least 1"),
        (PLAIN | {"rank_pattern": {"q_proj": 0}}, {}, "no whole number of at least 1"),
        (PLAIN | {"rank_pattern": [], "alpha_pattern": None}, {}, None),
        (PLAIN | {"use_dora": True}, {}, "DoRA"),
        (PLAIN | {"bias": "all"}, {}, "has biases (all)"),
        (PLAIN | {"peft_type": "IA3"}, {}, "is an adapter of type IA3"),
        (PLAIN | {"peft_type": "LORA", "bias": "none", "modules_to_save": None}, {}, None),
        (PLAIN | {"modules_to_save": ["lm_head"]}, {}, "whole modules"),
        (PLAIN | {"modules_to_save": ["score"]}, {}, None),
        (PLAIN | {"init_lora_weights": "pissa"}, {}, "was begun as pissa"),
        (PLAIN | {"init_lora_weights": "gaussian"}, {}, None),
    ],
)
def test_an_adapter_is_looked_at(
    there: Desk, config: str | dict[str, Any], args: dict[str, Any], says: str | None
) -> None:
    adapter = there.models / "adapter"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(EMPTY)
    text = config if isinstance(config, str) else json.dumps(config)
    (adapter / "adapter_config.json").write_text(text)
    faults = found(there, lora_local_path=str(adapter), **args)
    assert bool(faults) == bool(says), faults
    assert all(says in message for message in faults.values() if says)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("readme.txt", b"", "has no weights: none of adapter_model.safetensors, adapter_model.bin"),
        ("adapter_model.safetensors", EMPTY + b"x", "adapter_model.safetensors is damaged"),
        ("adapter_model.safetensors", b"", "is no safetensors file"),
        ("adapter_model.bin", b"", None),
    ],
)
def test_an_adapters_weights_have_to_be_whole(
    there: Desk, name: str, content: bytes, says: str | None
) -> None:
    adapter = there.models / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps(PLAIN))
    (adapter / name).write_bytes(content)
    faults = found(there, lora_local_path=str(adapter))
    assert (faults == {}) if says is None else says in faults["model_args.lora_local_path"]


def test_a_file_beside_the_weights_spoils_them_for_vllm_alone(there: Desk) -> None:
    beside = there.model / "other.safetensors"
    beside.write_bytes(EMPTY)
    assert found(there) == {}
    beside.write_bytes(EMPTY + b"more")
    assert "other.safetensors is damaged" in found(there)["model_args.pretrained"]
    assert found(there, "hf") == {}
    assert found(there, load_format="dummy") == {}
    (there.model / "consolidated.safetensors.index.json").write_text('{"weight_map": {}}')
    assert found(there) == {}


@pytest.mark.parametrize("model", ["hf", "vllm", "vllm-cpu"])
def test_a_model_that_was_cut_off_is_refused_when_its_job_is_posted(there: Desk, model: str) -> None:
    (there.model / "model.safetensors").write_bytes(EMPTY[:-1] + b"}more")
    assert "is damaged" in found(there, model)["model_args.pretrained"]
