"""The plans of the documents' evaluation commands on the first cluster of `plans.py`, by document and line."""

from __future__ import annotations

from collections.abc import Mapping

from tests.documents.expected import LEFT_OUT
from tests.documents.plans import Planned


def no_engine(model: str) -> str:
    return (
        f"model: evalq has no engine for {model} yet, so that no worker has it: this job is planned, not run"
    )


def elsewhere(path: str) -> str:
    return f"model_args.path: '{path}' is outside the operator's model folders (EVALQ_MODEL_PATHS)"


NO_TASK = "tasks.0: no task, group or tag is called 'task_name'; did you mean ask_gec, arc_ne, ask_gec_p4?"
DOTS = (
    f"command: {LEFT_OUT}",
    "tasks: at least one task, group or tag is required; `GET /v1/tasks?search=` finds them",
    "model_args.pretrained: is required: a hub name or a model folder",
)

FIRST: Mapping[tuple[str, int], Planned] = {
    ("distributed-evaluation", 24): Planned(
        "hf: TP 1 x PP 1, 8 replicas of 1 GPU, world size 8, ranks 0 to 7; 16.2 GB by rule, 34.4 GiB a "
        "GPU: fits"
    ),
    ("distributed-evaluation", 41): Planned(
        "hf: TP 1 x PP 1, replicas of 2 GPUs, as many as are free and pay; 82.8 GB by rule, 69.7 GiB a "
        "GPU: fits"
    ),
    ("distributed-evaluation", 54): Planned(
        "hf: TP 1 x PP 1, replicas of 4 GPUs, as many as are free and pay; 41.4 GB by rule, 32.6 GiB a "
        "GPU: fits"
    ),
    ("distributed-evaluation", 77): Planned(
        "hf: TP 1 x PP 1, 2 replicas of 2 GPUs, world size 4, ranks 0 to 3; 82.8 GB by rule, 69.7 GiB a "
        "GPU: fits"
    ),
    ("distributed-evaluation", 103): Planned(
        "hf: TP 1 x PP 1, replicas of 1 GPU, as many as are free and pay; 16.2 GB by rule, 13.9 GiB a GPU: "
        "fits"
    ),
    ("distributed-evaluation", 116): Planned(
        "vllm: TP 4 x PP 1, replicas of 4 GPUs, as many as are free and pay; 41.4 GB by rule, 35.4 GiB a "
        "GPU: fits"
    ),
    ("distributed-evaluation", 132): Planned(
        "vllm: TP 1 x PP 1, 4 replicas of 1 GPU, world size 4, ranks 0 to 3; 16.2 GB by rule, 15.6 GiB a "
        "GPU: fits"
    ),
    ("distributed-evaluation", 148): Planned(
        "vllm: TP 4 x PP 1, 2 replicas of 4 GPUs, world size 8, ranks 0 to 7; 41.4 GB by rule, 35.4 GiB a "
        "GPU: fits"
    ),
    ("distributed-evaluation", 170): Planned(
        "vllm: TP 8 x PP 1, replicas of 8 GPUs, as many as are free and pay; 20.7 GB by rule, 19.0 GiB a "
        "GPU: fits"
    ),
    ("distributed-evaluation", 184): Planned(
        "nemo_lm: TP 1 x PP 1, 8 replicas of 1 GPU, world size 8, ranks 0 to 7; memory not known",
        (no_engine("nemo_lm"), elsewhere("/path/to/model.nemo")),
    ),
    ("distributed-evaluation", 199): Planned(
        "nemo_lm: TP 4 x PP 1, 1 replica of 4 GPUs, world size 4, ranks 0 to 3; memory not known",
        (no_engine("nemo_lm"), elsewhere("/path/to/70b_model.nemo")),
    ),
    ("distributed-evaluation", 213): Planned(
        "nemo_lm: TP 2 x PP 2, 1 replica of 4 GPUs, world size 4, ranks 0 to 3; memory not known",
        (no_engine("nemo_lm"), elsewhere("/path/to/model.nemo")),
    ),
    ("distributed-evaluation", 235): Planned(
        (
            "sglang: TP 4 x PP 1, replicas of 4 GPUs, as many as are free and pay; 41.4 GB by rule, 35.4 GiB a "
            "GPU: fits"
        ),
        (no_engine("sglang"),),
    ),
    ("distributed-evaluation", 249): Planned(
        (
            "sglang: TP 1 x PP 1, 4 replicas of 1 GPU, world size 4, ranks 0 to 3; 16.2 GB by rule, 15.6 GiB a "
            "GPU: fits"
        ),
        (no_engine("sglang"),),
    ),
    ("distributed-evaluation", 332): Planned(
        "hf: TP 1 x PP 1, 32 replicas of 1 GPU, world size 32, ranks 0 to 31; 16.2 GB by rule, 34.4 GiB a "
        "GPU: fits"
    ),
    ("distributed-evaluation", 342): Planned(
        "",
        (
            (
                "command: sbatch hands a script to a queue of its own: paste the script itself (evalq submit "
                "eval_job.sh)"
            ),
        ),
    ),
    ("distributed-evaluation", 349): Planned(
        "hf: TP 1 x PP 1, 32 replicas of 1 GPU, world size 32, ranks 0 to 31; 16.2 GB by rule, 13.9 GiB a "
        "GPU: fits"
    ),
    ("distributed-evaluation", 371): Planned(
        "hf: TP 1 x PP 1, replicas of 2 GPUs, as many as are free and pay; 82.8 GB by rule, 64.9 GiB a "
        "GPU: fits"
    ),
    ("distributed-evaluation", 381): Planned(
        "hf: TP 1 x PP 1, replicas of 1 GPU, as many as are free and pay; memory not known", DOTS
    ),
    ("distributed-evaluation", 459): Planned(
        "hf: TP 1 x PP 1, replicas of 1 GPU, as many as are free and pay; 16.2 GB by rule, 13.9 GiB a GPU: "
        "fits"
    ),
    ("distributed-evaluation", 481): Planned(
        "hf: TP 1 x PP 1, 8 replicas of 1 GPU, world size 8, ranks 0 to 7; 16.2 GB by rule, 56.3 GiB a "
        "GPU: fits"
    ),
    ("distributed-evaluation", 497): Planned(
        (
            "vllm: TP 8 x PP 1, replicas of 8 GPUs, as many as are free and pay; 20.7 GB by rule, 19.0 GiB a "
            "GPU: fits"
        ),
        ("tasks: task humaneval runs code that the model wrote: it needs confirm_run_unsafe_code",),
    ),
    ("multi-gpu-evaluation.ko", 31): Planned(
        "hf: TP 1 x PP 1, replicas of 1 GPU, as many as are free and pay; 3.4 GB by rule, 17.9 GiB a GPU: "
        "fits"
    ),
    ("multi-gpu-evaluation.ko", 41): Planned(
        "hf: TP 1 x PP 1, 4 replicas of 1 GPU, world size 4, ranks 0 to 3; 3.7 GB by rule, 23.3 GiB a GPU: "
        "fits"
    ),
    ("multi-gpu-evaluation.ko", 65): Planned(
        "hf: TP 1 x PP 1, replicas of 2 GPUs, as many as are free and pay; 82.8 GB by rule, 69.7 GiB a "
        "GPU: fits"
    ),
    ("multi-gpu-evaluation.ko", 75): Planned(
        "hf: TP 1 x PP 1, replicas of 8 GPUs, as many as are free and pay; memory not known"
    ),
    ("multi-gpu-evaluation.ko", 92): Planned(
        "hf: TP 1 x PP 1, 2 replicas of 4 GPUs, world size 8, ranks 0 to 7; memory not known"
    ),
    ("multi-gpu-evaluation.ko", 113): Planned(
        "vllm: TP 4 x PP 1, replicas of 4 GPUs, as many as are free and pay; 7.8 GB by rule, 9.5 GiB a "
        "GPU: fits"
    ),
    ("multi-gpu-evaluation.ko", 123): Planned(
        "vllm: TP 1 x PP 1, 4 replicas of 1 GPU, world size 4, ranks 0 to 3; memory not known"
    ),
    ("multi-gpu-evaluation.ko", 133): Planned(
        "vllm: TP 2 x PP 1, 2 replicas of 2 GPUs, world size 4, ranks 0 to 3; memory not known"
    ),
    ("multi-gpu-evaluation.ko", 159): Planned(
        "sglang: TP 1 x PP 1, 4 replicas of 1 GPU, world size 4, ranks 0 to 3; memory not known",
        (no_engine("sglang"),),
    ),
    ("multi-gpu-evaluation.ko", 169): Planned(
        "sglang: TP 4 x PP 1, replicas of 4 GPUs, as many as are free and pay; memory not known",
        (
            (
                "tasks.0: no task, group or tag is called 'multiple_choice_task'; did you mean multiple_choice, "
                "bigbench_multiple_choice_a, bigbench_multiple_choice_b?"
            ),
            no_engine("sglang"),
        ),
    ),
    ("multi-gpu-evaluation.ko", 181): Planned(
        "hf: TP 1 x PP 1, 4 replicas of 1 GPU, world size 4, ranks 0 to 3; 6.7 GB by rule, 43.6 GiB a GPU: "
        "fits"
    ),
    ("multi-gpu-evaluation.ko", 192): Planned(
        "vllm: TP 1 x PP 1, 4 replicas of 1 GPU, world size 4, ranks 0 to 3; 16.2 GB by rule, 15.6 GiB a "
        "GPU: fits"
    ),
    ("multi-gpu-evaluation.ko", 202): Planned(
        "vllm: TP 8 x PP 1, replicas of 8 GPUs, as many as are free and pay; 20.7 GB by rule, 19.0 GiB a "
        "GPU: fits"
    ),
    ("multi-gpu-evaluation.ko", 212): Planned(
        "vllm: TP 4 x PP 1, 2 replicas of 4 GPUs, world size 8, ranks 0 to 7; memory not known"
    ),
    ("multi-gpu-evaluation.ko", 224): Planned(
        "hf: TP 1 x PP 1, replicas of 1 GPU, as many as are free and pay; memory not known", (NO_TASK,)
    ),
    ("multi-gpu-evaluation.ko", 234): Planned(
        "hf: TP 1 x PP 1, replicas of 1 GPU, as many as are free and pay; memory not known"
    ),
    ("multi-gpu-evaluation.ko", 244): Planned(
        "hf: TP 1 x PP 1, replicas of 1 GPU, as many as are free and pay; memory not known"
    ),
    ("multi-gpu-evaluation.ko", 255): Planned(
        "hf: TP 1 x PP 1, replicas of 1 GPU, as many as are free and pay; memory not known",
        (
            NO_TASK,
            (
                "model_args.attn_implementation: needs the package flash-attn, which the backend's environment has "
                "not"
            ),
        ),
    ),
    ("multi-gpu-evaluation.ko", 276): Planned(
        "hf: TP 1 x PP 1, replicas of 1 GPU, as many as are free and pay; 0.6 GB by rule, 0.8 GiB a GPU: fits"
    ),
    ("multi-gpu-evaluation.ko", 284): Planned(
        "hf: TP 1 x PP 1, 4 replicas of 1 GPU, world size 4, ranks 0 to 3; 0.6 GB by rule, 0.8 GiB a GPU: "
        "fits"
    ),
    ("multi-gpu-evaluation.ko", 330): Planned("", (f"command: {LEFT_OUT}",)),
    ("multi-gpu-evaluation.ko", 349): Planned(
        "hf: TP 1 x PP 1, replicas of 1 GPU, as many as are free and pay; memory not known", DOTS
    ),
    ("multi-gpu-evaluation.ko", 356): Planned(
        "hf: TP 1 x PP 1, replicas of 1 GPU, as many as are free and pay; memory not known", DOTS
    ),
}
