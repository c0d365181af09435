"""What people export for the host that they sit at is left out of a pasted command, and said."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.errors import InvalidJobError
from app.workloads.lm_eval.command.host_environment import NOT_THE_JOBS
from app.workloads.lm_eval.reading.read import Submission, read
from tests.workloads.lm_eval.reading.desk import Desk

COMMAND = "lm_eval --model hf --model_args pretrained=gpt2 --tasks ours"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(tmp_path_factory.mktemp("desk"))


def pasted(desk: Desk, text: str, *allowed: str) -> Submission:
    return read({"command": text}, (), desk.settings.model_copy(update={"env_allowed": allowed}))


@pytest.mark.parametrize(
    "name",
    [
        *("HF_HOME", "HF_HUB_OFFLINE", "HF_HUB_ENABLE_HF_TRANSFER", "TRANSFORMERS_CACHE", "XDG_CACHE_HOME"),
        *("TOKENIZERS_PARALLELISM", "OMP_NUM_THREADS", "CUDA_DEVICE_ORDER", "PYTHONUNBUFFERED", "WANDB_MODE"),
        *("VLLM_WORKER_MULTIPROC_METHOD", "VLLM_USE_V1", "VLLM_NO_USAGE_STATS", "RAY_DEDUP_LOGS", "LOGLEVEL"),
    ],
)
@pytest.mark.parametrize("form", ["{} {}", "export {}\n{}"])
def test_it_is_left_out_and_said(desk: Desk, name: str, form: str) -> None:
    taken = pasted(desk, form.format(f"{name}=1", COMMAND))
    assert taken.spec.env == {}
    assert f"{name} {NOT_THE_JOBS}" in taken.notes


def test_the_operator_may_take_it(desk: Desk) -> None:
    assert pasted(desk, f"OMP_NUM_THREADS=8 {COMMAND}", "OMP_NUM_THREADS").spec.env == {
        "OMP_NUM_THREADS": "8"
    }


@pytest.mark.parametrize("name", ["HF_ENDPOINT", "LD_LIBRARY_PATH", "PYTHONPATH", "VLLM_ATTENTION_BACKEND"])
def test_what_could_change_an_answer_is_refused(desk: Desk, name: str) -> None:
    with pytest.raises(InvalidJobError) as refusal:
        pasted(desk, f"HF_HOME=/x {name}=1 {COMMAND}")
    assert [fault.path for fault in refusal.value.faults] == [f"env.{name}"]


def test_a_job_that_says_it_itself_is_refused(tmp_path: Path) -> None:
    assert Desk(tmp_path).faults(env={"HF_HOME": "/x"}).keys() == {"env.HF_HOME"}
