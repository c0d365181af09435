"""The vllm-cpu backend: vLLM on machines without a GPU. It serves what is asked of vllm where no worker has that."""

from dataclasses import replace

from app.backends.vllm import BACKEND as VLLM

BACKEND = replace(
    VLLM,
    name="vllm-cpu",
    model_names=("vllm-cpu",),
    lock="vllm-cpu.txt",
    lock_is_whole=True,
    devices=frozenset({"cpu"}),
    stands_in_for="vllm",
)
