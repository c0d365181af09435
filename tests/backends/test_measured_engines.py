"""An engine's measures go by all that its memory depends on, and by nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.backends.measured_engines import name_of_engine
from app.domain.engine_spec import EngineSpec
from tests.models.folders import LLAMA, write_json, write_weights

HUB = EngineSpec("vllm", "some/model", args={"dtype": "bfloat16"})


@pytest.fixture
def local(tmp_path: Path) -> EngineSpec:
    write_json(tmp_path / "config.json", LLAMA)
    write_weights(tmp_path / "model.safetensors", head=[64, 64])
    return replace(HUB, model=str(tmp_path))


@pytest.mark.parametrize("engine", [HUB, replace(HUB, backend="hf")])
@pytest.mark.parametrize(
    "args",
    [
        {"dtype": "float32"},
        {"dtype": "bfloat16", "quantization": "fp8"},
        {"dtype": "bfloat16", "max_num_seqs": 8},
        {},
    ],
)
def test_another_dtype_or_quantization_is_another_engine(engine: EngineSpec, args: dict[str, Any]) -> None:
    assert name_of_engine(replace(engine, args=args)) != name_of_engine(engine)


@pytest.mark.parametrize(
    "change",
    [{"backend": "vllm-cpu"}, {"model": "some/other"}, {"revision": "v2"}, {"env": {"VLLM_USE_V2": "1"}}],
)
def test_so_is_another_backend_model_revision_or_environment(change: dict[str, Any]) -> None:
    assert name_of_engine(replace(HUB, **change)) != name_of_engine(HUB)


@pytest.mark.parametrize(
    "args",
    [{"max_model_len": 512}, {"max_length": 512}, {"gpu_memory_utilization": 0.5}, {"quantization": None}],
)
def test_what_says_how_much_it_may_take_or_nothing_makes_no_difference(args: dict[str, Any]) -> None:
    assert name_of_engine(replace(HUB, args={**HUB.args, **args})) == name_of_engine(HUB)
    assert name_of_engine(replace(HUB, revision="main", tensor_parallel_size=2, gpus=2)) == name_of_engine(
        HUB
    )


def test_the_switch_that_spreads_a_model_is_no_part_of_it() -> None:
    engine = replace(HUB, backend="hf")
    assert name_of_engine(replace(engine, args={**HUB.args, "parallelize": True})) == name_of_engine(engine)


def test_a_folder_that_holds_another_model_by_now_has_no_measures(local: EngineSpec) -> None:
    before, folder = name_of_engine(local), Path(local.model)
    write_weights(folder / "model.safetensors", head=[64, 64])
    assert name_of_engine(local) == before
    write_weights(folder / "model.safetensors", head=[64, 128])
    assert name_of_engine(local) not in (before, None)
    write_weights(folder / "model.safetensors", head=[64, 64])
    write_json(folder / "config.json", LLAMA | {"dtype": "float32"})
    assert name_of_engine(local) not in (before, None)


def test_a_folder_that_cannot_be_read_has_no_name(tmp_path: Path) -> None:
    assert name_of_engine(replace(HUB, model=str(tmp_path / "gone"))) is None
