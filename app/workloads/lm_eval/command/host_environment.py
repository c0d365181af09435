"""Variables that people set before a command for the host that they sit at: they say nothing of what is measured."""

from __future__ import annotations

import re

_OF_A_HOST = re.compile(
    # where things are kept, and whether they are fetched
    r"HF_(HOME|HUB_CACHE|ASSETS_CACHE|DATASETS_CACHE|XET_CACHE|(HUB|DATASETS)_OFFLINE)|HF_(HUB_(ENABLE|DISABLE)|XET)_\w+"
    r"|HF_HUB_(DOWNLOAD|ETAG)_TIMEOUT|HUGGINGFACE_HUB_CACHE|TRANSFORMERS_(CACHE|OFFLINE|VERBOSITY)|XDG_CACHE_HOME"
    r"|TORCH(INDUCTOR)?_(HOME|CACHE_DIR)|TRITON_CACHE_DIR|VLLM_CACHE_ROOT|MEGATRON_PATH|TMPDIR"
    # how many threads, how processes start, which card is the first
    r"|(OMP|MKL|OPENBLAS|NUMEXPR)_NUM_THREADS|TOKENIZERS_PARALLELISM|CUDA_DEVICE_ORDER|VLLM_WORKER_MULTIPROC_METHOD"
    r"|VLLM_USE_V1|RAY_\w+"
    # what is told, and to whom
    r"|PYTHONUNBUFFERED|PYTHONWARNINGS|LOGLEVEL|DATASETS_VERBOSITY|WANDB_\w+|VLLM_(NO|DO_NOT)\w*|DO_NOT_TRACK"
)
NOT_THE_JOBS = "is left out: it is about the host that a command runs on, and workers have their own"


def is_of_a_host(name: str) -> bool:
    """Whether a variable is about a host, and no answer depends on it."""
    return _OF_A_HOST.fullmatch(name) is not None
