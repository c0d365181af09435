from typing import Any

import pytest

from app.backends.parallelism import Parallelism
from app.backends.registry import read_parallelism


def _widths(read: Parallelism) -> tuple[int, int, int | None, int | None]:
    return read.tensor_parallel_size, read.pipeline_parallel_size, read.replicas, read.gpus_per_replica


@pytest.mark.parametrize(
    ("model", "args", "widths"),
    [
        ("vllm", {}, (1, 1, None, None)),
        ("vllm", {"tensor_parallel_size": 4, "data_parallel_size": 2}, (4, 1, 2, 4)),
        ("vllm", {"tensor_parallel_size": 2, "pipeline_parallel_size": 2}, (2, 2, None, 4)),
        ("vllm", {"data_parallel_size": 4}, (1, 1, 4, None)),
        ("sglang", {"tp_size": 4}, (4, 1, None, 4)),
        ("sglang", {"dp_size": 4, "tp_size": 1, "pp_size": 2}, (1, 2, 4, 2)),
        ("hf", {"parallelize": True}, (1, 1, None, None)),
        ("hf", {"parallelize": True, "device_map": {"": 0, "lm_head": 1}}, (1, 1, None, 2)),
        ("nemo_lm", {"devices": 8}, (1, 1, 8, 1)),
        ("nemo_lm", {"devices": 4, "tensor_model_parallel_size": 4}, (4, 1, 1, 4)),
        (
            "nemo_lm",
            {"devices": 4, "tensor_model_parallel_size": 2, "pipeline_model_parallel_size": 2},
            (2, 2, 1, 4),
        ),
        ("nemo_lm", {}, (1, 1, None, None)),
        ("megatron_lm", {"devices": 2, "tensor_model_parallel_size": 2}, (2, 1, 1, 2)),
        ("somebody-elses", {"tp_size": 4}, (1, 1, None, None)),
    ],
)
def test_parallelism_is_read_where_the_backend_has_it(
    model: str, args: dict[str, Any], widths: tuple[int, int, int | None, int | None]
) -> None:
    read = read_parallelism(model, {"pretrained": "x", **args})
    assert read.faults == ()
    assert _widths(read) == widths


def test_the_rest_of_the_arguments_stays_for_the_engine() -> None:
    args = {
        "pretrained": "x", "tensor_parallel_size": 4, "data_parallel_size": 2, "data_parallel_backend": "ray",
        "gpu_memory_utilization": 0.8, "batch_size": "auto:4", "max_batch_size": 32, "device": "cuda:0",
    }  # fmt: skip
    read = read_parallelism("vllm", args)
    assert read.engine_args == {"pretrained": "x", "gpu_memory_utilization": 0.8}
    assert (read.batch_size, read.max_batch_size) == ("auto:4", 32)
    assert len(read.notes) == 2
    assert "device" in args, "the caller's arguments are left alone"


def test_hf_keeps_how_it_places_a_model() -> None:
    args = {
        "pretrained": "x",
        "parallelize": True,
        "max_memory_per_gpu": "40GB",
        "offload_folder": "./offload",
    }
    assert read_parallelism("hf", args).engine_args == args


@pytest.mark.parametrize("indices", [{"": -1}, {"": 1, "lm_head": -5}])
@pytest.mark.parametrize("name", ["device_map", "device_map_option"])
def test_a_device_map_of_devices_that_cannot_be_is_refused(name: str, indices: dict[str, int]) -> None:
    read = read_parallelism("hf", {"parallelize": True, name: indices})
    assert [(fault.path, fault.message) for fault in read.faults] == [
        ("model_args.device_map", "names devices by numbers from 0 on")
    ]
    assert read.gpus_per_replica is None


def test_the_guides_device_map_option_is_device_map() -> None:
    read = read_parallelism("hf", {"parallelize": True, "device_map_option": "balanced"})
    assert read.engine_args == {"parallelize": True, "device_map": "balanced"}
    assert len(read.notes) == 1
    assert len(read_parallelism("hf", {"device_map_option": "balanced"}).notes) == 2


@pytest.mark.parametrize(
    ("dtype", "cure"),
    [("int8", "load_in_8bit=True"), ("torch.int8", "load_in_8bit=True"), ("int4", "load_in_4bit=True")],
)
def test_an_integer_dtype_is_answered_with_what_quantizes(dtype: str, cure: str) -> None:
    (fault,) = read_parallelism("hf", {"dtype": dtype}).faults
    assert fault.path == "model_args.dtype"
    assert cure in fault.message


@pytest.mark.parametrize(
    ("model", "args", "path"),
    [
        ("nemo_lm", {"num_nodes": 2}, "model_args.num_nodes"),
        ("sglang", {"nnodes": 2}, "model_args.nnodes"),
        ("nemo_lm", {"devices": 4, "tensor_model_parallel_size": 3}, "model_args.devices"),
        (
            "megatron_lm",
            {"devices": 2, "pipeline_model_parallel_size": 2},
            "model_args.pipeline_model_parallel_size",
        ),
        (
            "megatron_lm",
            {"devices": 2, "expert_model_parallel_size": 2},
            "model_args.expert_model_parallel_size",
        ),
        ("vllm", {"tensor_parallel_size": 0}, "model_args.tensor_parallel_size"),
        ("vllm", {"tensor_parallel_size": "4"}, "model_args.tensor_parallel_size"),
        ("vllm", {"tensor_parallel_size": True}, "model_args.tensor_parallel_size"),
        ("vllm", {"tp_size": 4}, "model_args.tp_size"),
        ("hf", {"tensor_parallel_size": 8}, "model_args.tensor_parallel_size"),
        ("hf", {"data_parallel_size": 8}, "model_args.data_parallel_size"),
        ("hf", {"tp_plan": "auto"}, "model_args.tp_plan"),
        ("sglang", {"tensor_parallel_size": 8}, "model_args.tensor_parallel_size"),
    ],
)
def test_what_cannot_work_is_refused_in_words(model: str, args: dict[str, Any], path: str) -> None:
    (fault,) = read_parallelism(model, args).faults
    assert fault.path == path


def test_the_right_name_is_offered_for_another_backends() -> None:
    (fault,) = read_parallelism("vllm", {"tp_size": 4}).faults
    assert fault.allowed == ("tensor_parallel_size",)
    (fault,) = read_parallelism("hf", {"tensor_parallel_size": 4}).faults
    assert "parallelize=True with gpus_per_replica" in fault.message
