"""The plans on the second cluster of `plans.py`, where they are others than on the first."""

from __future__ import annotations

from collections.abc import Mapping

from tests.documents.planned import no_engine
from tests.documents.plans import Planned

WIDE = "gpus_per_replica: one replica needs 8 devices of one group; the largest usable group has 4"
SECOND: Mapping[tuple[str, int], Planned] = {
    ("distributed-evaluation", 41): Planned(
        "hf: TP 1 x PP 1, replicas of 4 GPUs, as many as are free and pay; 41.4 GB by rule, 36.3 GiB a "
        "GPU: fits"
    ),
    ("distributed-evaluation", 77): Planned(
        "hf: TP 1 x PP 1, 2 replicas of 4 GPUs, world size 8, ranks 0 to 7; 41.4 GB by rule, 36.3 GiB a "
        "GPU: fits"
    ),
    ("distributed-evaluation", 116): Planned(
        "vllm: TP 4 x PP 1, replicas of 4 GPUs, as many as are free and pay; 41.4 GB by rule, 35.4 GiB a "
        "GPU: tight"
    ),
    ("distributed-evaluation", 148): Planned(
        (
            "vllm: TP 4 x PP 1, 2 replicas of 4 GPUs, world size 8, ranks 0 to 7; 41.4 GB by rule, 35.4 GiB a "
            "GPU: no"
        ),
        (
            (
                "model_args.pretrained: the model does not fit: weights: 68,976,648,192 parameters x 2 bytes "
                "(float16) = 128.48 GiB; / 4 GPUs (TP 4 x PP 1) = 32.12 GiB; + activations of 8,192 tokens and "
                "1,024 sequences at once = 0.83 GiB; + CUDA and NCCL = 2.15 GiB; + cache of one request of 4,096 "
                "tokens (80 KiB each) = 0.31 GiB; the rule of thumb (parameters x bytes x 1.2 / GPUs) says 41.4 "
                "GB; at least 35.41 GiB on each of 4 devices; the largest device has 39.5 GiB; it fits with "
                "model_args.quantization=fp8 (16.2 GiB of weights and 0.3 of cache on each of 4 devices of 39.5 "
                "GiB; scores change: it is another model)"
            ),
        ),
    ),
    ("distributed-evaluation", 170): Planned(
        (
            "vllm: TP 8 x PP 1, replicas of 8 GPUs, as many as are free and pay; 20.7 GB by rule, 19.0 GiB a "
            "GPU: not judged"
        ),
        (WIDE,),
    ),
    ("distributed-evaluation", 235): Planned(
        (
            "sglang: TP 4 x PP 1, replicas of 4 GPUs, as many as are free and pay; 41.4 GB by rule, 35.4 GiB a "
            "GPU: tight"
        ),
        (no_engine("sglang"),),
    ),
    ("distributed-evaluation", 371): Planned(
        "hf: TP 1 x PP 1, replicas of 4 GPUs, as many as are free and pay; 41.4 GB by rule, 32.6 GiB a "
        "GPU: fits"
    ),
    ("distributed-evaluation", 481): Planned(
        "hf: TP 1 x PP 1, 8 replicas of 2 GPUs, world size 16, ranks 0 to 15; 8.1 GB by rule, 34.0 GiB a "
        "GPU: fits"
    ),
    ("distributed-evaluation", 497): Planned(
        (
            "vllm: TP 8 x PP 1, replicas of 8 GPUs, as many as are free and pay; 20.7 GB by rule, 19.0 GiB a "
            "GPU: not judged"
        ),
        ("tasks: task humaneval runs code that the model wrote: it needs confirm_run_unsafe_code", WIDE),
    ),
    ("multi-gpu-evaluation.ko", 65): Planned(
        "hf: TP 1 x PP 1, replicas of 4 GPUs, as many as are free and pay; 41.4 GB by rule, 36.3 GiB a "
        "GPU: fits"
    ),
    ("multi-gpu-evaluation.ko", 75): Planned(
        "hf: TP 1 x PP 1, replicas of 4 GPUs, as many as are free and pay; memory not known"
    ),
    ("multi-gpu-evaluation.ko", 181): Planned(
        "hf: TP 1 x PP 1, 4 replicas of 2 GPUs, world size 8, ranks 0 to 7; 3.3 GB by rule, 31.0 GiB a "
        "GPU: fits"
    ),
    ("multi-gpu-evaluation.ko", 202): Planned(
        (
            "vllm: TP 8 x PP 1, replicas of 8 GPUs, as many as are free and pay; 20.7 GB by rule, 19.0 GiB a "
            "GPU: not judged"
        ),
        (WIDE,),
    ),
}
