"""The vllm-cpu backend: vLLM on machines without a GPU. It serves what is asked of vllm where no worker has that."""

from collections.abc import Iterator
from dataclasses import replace

from app.backends.arguments import Wrong
from app.backends.backend import Loading
from app.backends.remedies import Limit, server_remedies
from app.backends.vllm import BACKEND as VLLM
from app.backends.vllm import LIMITS
from app.backends.vllm.arguments import arguments
from app.backends.vllm.files import file_faults
from app.backends.vllm.names import NOT_ON_CPU
from app.backends.vllm.scoring import on_cpus

HEADS = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
"""Sizes of a head that vLLM's attention takes on a CPU (v1/attention/backends/cpu_attn.py)."""

BLOCK = 32
"""Tokens: vLLM's attention on a CPU takes blocks of a multiple of it."""

LEAST_SHARE = 0.05
"""Of the host's memory, which is much: what is left of that may be enough to remember prompts in."""


def _file_faults(loading: Loading) -> Iterator[Wrong]:
    yield from file_faults(loading)
    if loading.pipeline_parallel_size > 1:
        yield Wrong("pipeline_parallel_size", "vLLM answers nothing over a pipeline on CPUs", ("1",))
    block = loading.args.get("block_size")
    if isinstance(block, int) and block % BLOCK:
        yield Wrong("block_size", f"must be a multiple of {BLOCK} on a CPU, not {block}")
    size = loading.facts.head_dim if loading.facts else None
    if size and size not in HEADS:
        sizes = ", ".join(map(str, HEADS))
        yield Wrong("pretrained", f"has attention heads of size {size}: on a CPU vLLM takes {sizes}")


BACKEND = replace(
    VLLM,
    name="vllm-cpu",
    model_names=("vllm-cpu",),
    lock="vllm-cpu.txt",
    lock_is_whole=True,
    versions=("vllm-cpu", *VLLM.versions[1:]),
    devices=frozenset({"cpu"}),
    stands_in_for="vllm",
    arguments=arguments(NOT_ON_CPU),
    parallelism=replace(VLLM.parallelism, has_stages=False),
    memory=replace(VLLM.memory, levers=replace(VLLM.memory.levers, pipeline=None)),
    files=_file_faults,
    scoring=on_cpus,
    remedy=server_remedies(
        LIMITS | {"max_num_batched_tokens": Limit(4096, 512)}, least_utilization=LEAST_SHARE
    ),
)
