"""Starts and requests that vLLM refuses: for their arguments, the model's files, an adapter, or a hub."""

from __future__ import annotations

from app.domain.failure import FailureCode
from tests.vllm_failures.case import SHORT, Ask, Case
from tests.vllm_failures.models import adapter, begins_with, config, cut, without

START, MISSING = FailureCode.ENGINE_START_FAILED, FailureCode.MODEL_NOT_FOUND

HOSTILE = Ask("generate_until", ((5, 6, 7),), {"until": [], "max_gen_toks": 4, "num_beams": 2})

ARGUMENTS = (
    Case(
        "cache",
        "a model of 4 million tokens, 1 GiB of cache",
        FailureCode.KV_CACHE_TOO_SMALL,
        "estimated maximum model length is",
        "max_model_len of the model -> ",
        config(max_position_embeddings=4_000_000),
    ),
    Case(
        "length", "`max_model_len` beyond the model's", START, "max_model_len", args={"max_model_len": 4096}
    ),
    Case(
        "heads",
        "3 attention heads over 2 ranks",
        START,
        "attention heads",
        spoil=config(num_attention_heads=3, num_key_value_heads=3, hidden_size=96),
        wide=2,
    ),
    Case(
        "architecture",
        "an architecture that vLLM has not",
        FailureCode.TOKENIZER_ERROR,
        "NoSuchForCausalLM",
        spoil=config(architectures=["NoSuchForCausalLM"]),
    ),
    Case(
        "model type",
        "a model type that transformers has not",
        FailureCode.TOKENIZER_ERROR,
        "qwen9",
        spoil=config(model_type="qwen9", architectures=["Qwen9ForCausalLM"]),
    ),
    Case("argument", "an argument that vLLM has not", START, "colour", args={"colour": "red"}),
    Case("dtype", "a dtype that there is not", START, "float12", args={"dtype": "float12"}),
    Case(
        "quantization",
        "`quantization=awq`, weights without it",
        START,
        "config file for awq",
        args={"quantization": "awq"},
    ),
    Case(
        "utilization",
        "99 % of a host's memory, of which others hold some",
        START,
        "Available memory",
        "started once more",
        args={"gpu_memory_utilization": 0.99},
        env={"VLLM_CPU_KVCACHE_SPACE": ""},
    ),
    Case(
        "setting",
        "a generation setting that vLLM has not",
        FailureCode.TASK_ERROR,
        "num_beams",
        asks=(HOSTILE,),
    ),
)

FILES = (
    Case(
        "header",
        "weights whose header says 2^60 bytes",
        START,
        "header too large",
        spoil=begins_with(b"\0" * 7 + b"\x10"),
    ),
    Case(
        "garbage",
        "weights that begin with other bytes",
        START,
        "header too large",
        spoil=begins_with(b"<html>" * 9),
    ),
    Case("cut", "half of the weights", START, "not fully covered", spoil=cut),
    Case("missing", "no weights", MISSING, "Cannot find any model weights", spoil=without("*.safetensors")),
    Case(
        "wider",
        "weights wider than the configuration",
        START,
        "exceeds dimension size",
        spoil=config(intermediate_size=512),
    ),
    Case(
        "narrower",
        "weights narrower than the configuration",
        START,
        "exceeds dimension size",
        spoil=config(intermediate_size=1024),
    ),
    Case(
        "deeper",
        "fewer layers than the configuration says",
        START,
        "not initialized",
        spoil=config(num_hidden_layers=6),
    ),
    Case(
        "no tokenizer", "no tokenizer", FailureCode.TOKENIZER_ERROR, "tokenizer", spoil=without("tokenizer*")
    ),
    Case(
        "no configuration", "no config.json", MISSING, "Invalid repository ID", spoil=without("config.json")
    ),
    Case(
        "bad configuration",
        "a config.json cut in its midst",
        START,
        "not a valid JSON",
        spoil=lambda model: (model / "config.json").write_text('{"a": '),
    ),
    Case("no folder", "a folder that is not there", MISSING, "Repo id must be", model="/no/such/model"),
)

ADAPTERS = (
    Case(
        "rank",
        "a LoRA adapter of rank 32, `max_lora_rank` 16",
        START,
        "rank",
        spoil=adapter(32, "q_proj"),
        args={"lora_local_path": "{model}/adapter"},
        asks=(SHORT,),
    ),
    Case(
        "target",
        "a LoRA adapter for a module that the model has not",
        START,
        "expected target modules",
        spoil=adapter(8, "wings"),
        args={"lora_local_path": "{model}/adapter"},
        asks=(SHORT,),
    ),
    Case(
        "no adapter",
        "a LoRA adapter that is not there",
        START,
        "No adapter found",
        args={"lora_local_path": "{model}/adapter"},
        asks=(SHORT,),
    ),
    Case(
        "odd rank",
        "`max_lora_rank=17`",
        START,
        "max_lora_rank",
        args={"lora_local_path": "{model}/adapter", "max_lora_rank": 17},
        spoil=adapter(8, "q_proj"),
    ),
)

HUB = (
    Case(
        "offline",
        "a name of the hub, `HF_HUB_OFFLINE=1`",
        FailureCode.HUB_UNREACHABLE,
        "LocalEntryNotFound",
        model="nobody/nothing",
        env={"HF_HUB_OFFLINE": "1"},
    ),
    Case(
        "unreachable",
        "a name of the hub that does not answer",
        FailureCode.HUB_UNREACHABLE,
        "couldn't connect",
        model="nobody/nothing",
        env={"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"},
    ),
    Case(
        "gated",
        "a model of the hub whose terms are not accepted",
        FailureCode.MODEL_GATED,
        "gated repo",
        model="nobody/gated",
        env={"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "{hub}"},
    ),
    Case(
        "unknown",
        "a name that the hub does not know",
        MISSING,
        "not a valid model identifier",
        model="nobody/unknown",
        env={"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "{hub}"},
    ),
    Case(
        "hub down",
        "a hub that answers 503",
        FailureCode.HUB_UNREACHABLE,
        "couldn't connect",
        model="nobody/down",
        env={"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "{hub}"},
    ),
)
