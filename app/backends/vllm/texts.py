"""How vLLM says why it failed: texts of its own, before those that it shares with others."""

from __future__ import annotations

from app.backends.signatures import (
    HOST_SIGNATURES,
    HUB_SIGNATURES,
    SERVER_SIGNATURES,
    TORCH_SIGNATURES,
    FailureTexts,
    sign,
)
from app.backends.vllm.names import CHOICES
from app.domain.failure import FailureCode

_START, _MISSING = FailureCode.ENGINE_START_FAILED, FailureCode.MODEL_NOT_FOUND
_REFUSED = {"refused": True}
"""The same files or arguments would be refused again."""

_DAMAGED = "the model's files are damaged or incomplete here: compare their sizes with the hub's and fetch them again"
_OTHERS_SHAPE = (
    "config.json and weights are not of one model: the files are mixed up or incomplete, fetch them again"
)

MODEL_SIGNATURES = (
    sign(
        r"SafetensorError|Error while deserializing header|is not a valid JSON file|JSONDecodeError"
        r"|UnpicklingError: |PytorchStreamReader failed",
        _START,
        _DAMAGED,
        facts=_REFUSED,
    ),
    sign(
        r"weights were not initialized from checkpoint|exceeds dimension size|StrictDataclass\w*ValidationError"
        r"|Attempted to load weight .* into parameter|param_data\.shape == loaded_weight\.shape"
        r"|There is no module or parameter named|size mismatch for|KeyError: '(?:model\.)?layers\.",
        _START,
        _OTHERS_SHAPE,
        facts=_REFUSED,
    ),
    sign(
        r"Cannot find any model weights|Repo id must be in the form"
        r"|Invalid repository ID or local directory specified",
        _MISSING,
        "a folder needs config.json, tokenizer and weights, at the same place on the gpu worker's host; else name a"
        " repository of the hub",
    ),
    sign(
        r"LoRA rank (?P<rank>\d+) is greater than max_lora_rank",
        _START,
        f"set max_lora_rank to {{rank}} or the next of {', '.join(map(str, CHOICES['max_lora_rank']))}",
        facts=_REFUSED,
    ),
    sign(
        r"adapter_config\.json|expected target modules in|No adapter found for",
        _START,
        "lora_local_path names a folder with adapter_config.json and weights, of an adapter for this model",
        facts=_REFUSED,
    ),
)

ARGUMENT_SIGNATURES = (
    sign(
        r"User-specified max_model_len \(\d+\) is greater than the derived max_model_len \([^)]*?=(?P<longest>\d+)",
        _START,
        "the model takes at most {longest} tokens: lower max_model_len, or leave it out",
    ),
    sign(
        r"__init__\(\) got an unexpected keyword argument '(?P<argument>[^']*)'",
        _START,
        "vLLM has no engine argument {argument} in this version: see its spelling, or leave it out",
    ),
    sign(
        r"Cannot find the config file for (?P<method>\w+)|Quantization method specified in the model config",
        _START,
        "the model's weights are not quantized so: leave out `quantization`, or name a model that is",
    ),
    sign(
        r"^TypeError: Unexpected keyword argument '(?P<setting>[^']*)'",
        FailureCode.TASK_ERROR,
        "vLLM has no generation setting {setting}: take it out of the task's generation_kwargs or the job's gen_kwargs",
    ),
    sign(
        r"longer than the maximum model length of (?P<most>\d+)",
        FailureCode.TASK_ERROR,
        "what is asked and generated must fit into {most} tokens: raise max_model_len, or lower max_gen_toks or"
        " num_fewshot",
    ),
    sign(
        r"Token id \d+ is out of vocabulary",
        FailureCode.TOKENIZER_ERROR,
        "the tokenizer has tokens that the model has not: name the model's own (model_args tokenizer=...)",
    ),
)

HOST_SIGNATURES_OF_VLLM = (
    sign(
        r"requested memory for kv \((?:-[\d.]+|0\.0+)/",
        FailureCode.KV_CACHE_TOO_SMALL,
        "the model fills its share of the memory alone: raise gpu_memory_utilization, or give it more devices",
    ),
    sign(
        r"(?s)Available memory on node \d+ \((?P<free_gib>[\d.]+)/(?P<total_gib>[\d.]+) GiB\).*is less than"
        r"(?! requested memory for kv \((?:-|0\.0+/))"
        r"(?: desired CPU memory utilization \((?P<share>[\d.]+))?",
        _START,
        "others hold memory of this host: wait for them or end them, or lower gpu_memory_utilization (on CPU, the"
        " share of the host's memory) or VLLM_CPU_KVCACHE_SPACE",
        facts={"in_use": True},
    ),
    sign(
        r"Insufficient space in /dev/shm for shared-memory allocation: (?P<needed_mib>\d+) MiB required",
        _START,
        "give the container {needed_mib} MiB of shared memory and more (shm_size, --shm-size), or free what lies in"
        " /dev/shm",
    ),
    sign(
        r"ipc path .* is longer than \d+ characters|AF_UNIX path too long",
        _START,
        "the gpu worker's folder for temporary files (TMPDIR) has too long a name for sockets: name a shorter one",
    ),
    sign(
        r"Address already in use|EADDRINUSE",
        _START,
        "another process listens on the port: leave VLLM_PORT and MASTER_PORT out of `env`, and vLLM takes a free one",
    ),
    sign(
        r"(?:RPC call to (?P<call>\w+)|Call to \w+) timed out",
        FailureCode.ENGINE_DIED,
        "one of vLLM's processes did not answer in VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS (300 unless the job's `env` says"
        " otherwise); a new engine goes on",
    ),
)

TEXTS = FailureTexts(
    (
        *HOST_SIGNATURES,
        *ARGUMENT_SIGNATURES,
        *HOST_SIGNATURES_OF_VLLM,
        *SERVER_SIGNATURES,
        *MODEL_SIGNATURES,
        *TORCH_SIGNATURES,
        *HUB_SIGNATURES,
    )
)
