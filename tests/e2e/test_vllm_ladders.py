"""Starts of a real vLLM that fail, and the other settings that its jobs go on with by themselves."""

from __future__ import annotations

import json
import math
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.stack import Stack
from tests.gpu.difference import outcome

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

BLOCK_BYTES = 32 * 512
"""Of the tiny model's cache: 32 tokens of two layers, in float32; vLLM keeps one for itself."""

START_BYTES = 900 << 20
"""What a rank holds before it has weights, about."""

WIDTH, LAYERS = 1024, 22
WEIGHTS_BYTES = 4 * LAYERS * 16 * WIDTH**2
"""Of the model that `broad` makes."""


def changes(stack: Stack, job_id: str) -> list[str]:
    """The steps that were told as events."""
    events = stack.events(job_id)
    return [e["data"]["change"] for e in events if e["type"] == "job.retrying" and "change" in e["data"]]


def with_args(body: dict[str, Any], **args: Any) -> dict[str, Any]:
    return body | {"model_args": body["model_args"] | args, "limit": 10}


def ran(stack: Stack, body: dict[str, Any]) -> dict[str, Any]:
    """The job's end, which is a success after several starts."""
    job = stack.finished(stack.submit(body), 600)
    assert job["status"] == "succeeded", job["error"]
    return job


def failed(job: dict[str, Any]) -> list[str]:
    return [replica["error"]["code"] for replica in job["replicas"] if replica["error"]]


def test_a_cache_too_small_takes_the_length_that_vllm_names(
    vllm_stack: Stack, vllm_body: dict[str, Any]
) -> None:
    job = ran(vllm_stack, with_args(vllm_body, kv_cache_memory_bytes=4 * BLOCK_BYTES))
    assert changes(vllm_stack, job["id"]) == ["max_model_len 128 -> 96"]
    assert failed(job) == ["kv_cache_too_small"]
    (step,) = vllm_stack.results(job["id"])["evalq"]["ladder"]
    assert "estimated maximum model length is 96" in step["message"]
    straight = ran(vllm_stack, with_args(vllm_body, max_model_len=96))
    (_, ours), (_, theirs) = (outcome(vllm_stack, each["id"]) for each in (job, straight))
    assert ours == theirs, "prompts are cut for the length that ran"


def test_memory_that_others_hold_is_left_to_them(vllm_stack: Stack, vllm_body: dict[str, Any]) -> None:
    greedy = with_args(vllm_body, gpu_memory_utilization=0.99, num_gpu_blocks_override=64)
    job = ran(vllm_stack, greedy)
    told = changes(vllm_stack, job["id"])
    assert re.fullmatch(r"gpu_memory_utilization 0\.99 -> 0\.\d+", told[0]), told
    assert failed(job)[:2] == ["engine_start_failed"] * 2, "it is started once more as it is"
    error = job["replicas"][0]["error"]
    assert error["message"].startswith("ValueError: Available memory on node ")
    assert "lower gpu_memory_utilization" in error["hint"]


def test_a_model_that_fills_its_share_of_memory_is_spread(
    vllm_stack: Stack, vllm_body: dict[str, Any], vllm_model: Path
) -> None:
    share = (START_BYTES + 3 * WEIGHTS_BYTES // 4) / psutil.virtual_memory().total
    with tempfile.TemporaryDirectory(dir=vllm_model.parent) as room:
        args = {
            "pretrained": str(broad(vllm_model, Path(room) / "broad")),
            "load_format": "dummy",
            "max_model_len": 64,
            "gpu_memory_utilization": round(share, 3),
        }
        job = ran(vllm_stack, with_args(vllm_body, **args) | {"limit": 2, "replicas": "auto"})
    assert changes(vllm_stack, job["id"]) == ["devices of one replica 1 -> 2"]
    assert failed(job) == ["kv_cache_too_small"]
    assert job["plan"]["tensor_parallel_size"] == 2


def broad(model: Path, folder: Path) -> Path:
    """The model with larger layers, whose weights vLLM makes up: its file says of which shapes, and is empty."""
    shutil.copytree(model, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    config = json.loads((model / "config.json").read_text())
    heads = {"num_attention_heads": 32, "num_key_value_heads": 32, "head_dim": 32}
    sizes = {"hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_hidden_layers": LAYERS}
    (folder / "config.json").write_text(json.dumps(config | heads | sizes))
    header, end = {}, 0
    for name, shape in shapes(config["vocab_size"]).items():
        begin, end = end, end + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
    words = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(words).to_bytes(8, "little") + words)
        file.truncate(8 + len(words) + end)
    return folder


def shapes(vocabulary: int) -> dict[str, list[int]]:
    """Of all weights of that model, by name."""
    square, norm = [WIDTH, WIDTH], [WIDTH]
    attention = {f"self_attn.{each}_proj.weight": square for each in "qkvo"}
    mlp = {f"mlp.{each}_proj.weight": [4 * WIDTH, WIDTH] for each in ("gate", "up")}
    norms = {f"{each}_layernorm.weight": norm for each in ("input", "post_attention")}
    layer = {**attention, **mlp, "mlp.down_proj.weight": [WIDTH, 4 * WIDTH], **norms}
    layers = {
        f"model.layers.{number}.{name}": shape for number in range(LAYERS) for name, shape in layer.items()
    }
    embedding = [vocabulary, WIDTH]
    ends = {"model.embed_tokens.weight": embedding, "lm_head.weight": embedding, "model.norm.weight": norm}
    return layers | ends
