"""Parallelism, read from where users already write it: a backend's own load-time arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.errors import FaultyField as Fault

HF_MODELS = frozenset({"hf", "hf-auto", "huggingface", "hf-multimodal"})
_VLLM_MODELS = frozenset({"vllm", "vllm-vlm"})
_NEMO_MODELS = frozenset({"nemo_lm", "megatron_lm"})
_WEIGHTS_IN_BITS = {"int8": 8, "8bit": 8, "uint8": 8, "int4": 4, "4bit": 4, "nf4": 4, "fp4": 4}
_LIFTED = ("batch_size", "max_batch_size")


@dataclass(frozen=True)
class ArgumentNames:
    """What one backend calls its parallelism; the first name of each is the usual one."""

    tensor: tuple[str, ...] = ()
    pipeline: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    split: str | None = None
    """The argument that spreads one model over GPUs."""


_NO_NAMES = ArgumentNames()
_HF = ArgumentNames(split="parallelize")
_VLLM = ArgumentNames(
    ("tensor_parallel_size",),
    ("pipeline_parallel_size",),
    ("data_parallel_size",),
    (),
    "tensor_parallel_size",
)
_SGLANG = ArgumentNames(("tp_size",), ("pp_size",), ("dp_size",), ("nnodes",), "tp_size")
_NEMO = ArgumentNames(
    ("tensor_model_parallel_size",),
    ("pipeline_model_parallel_size",),
    ("devices",),
    ("num_nodes",),
    "tensor_model_parallel_size",
)


def argument_names(model: str) -> ArgumentNames:
    """What the backend behind lm-eval's `--model` name calls its parallelism; no names for an unknown one."""
    families = ((HF_MODELS, _HF), (_VLLM_MODELS, _VLLM), ({"sglang"}, _SGLANG), (_NEMO_MODELS, _NEMO))
    return next((names for models, names in families if model in models), _NO_NAMES)


@dataclass(frozen=True)
class Parallelism:
    """A model's arguments without its parallelism, and the parallelism in evalq's words.

    None means "not said": the planner decides.
    """

    engine_args: dict[str, Any]
    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    replicas: int | None = None
    gpus_per_replica: int | None = None
    batch_size: int | str | None = None
    max_batch_size: int | None = None
    notes: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()


def read_parallelism(model: str, model_args: Mapping[str, Any]) -> Parallelism:
    """Take the parallelism out of `model_args`. Data parallelism always means replicas."""
    reading = _Reading(dict(model_args), argument_names(model))
    lifted = {name: reading.args.pop(name) for name in _LIFTED if reading.args.get(name) is not None}
    reading.drop_device()
    tensor, pipeline = reading.size(reading.names.tensor), reading.size(reading.names.pipeline)
    replicas = reading.size(reading.names.data)
    reading.refuse_nodes()
    reading.refuse_other_backends_names(model)
    gpus = (tensor or 1) * (pipeline or 1) if tensor or pipeline else None
    if model in _NEMO_MODELS:
        replicas, gpus = reading.nemo(model, replicas, tensor or 1, pipeline or 1)
    elif model in HF_MODELS:
        gpus = reading.hf()
    elif model in _VLLM_MODELS:
        reading.vllm()
    return Parallelism(
        reading.args,
        tensor or 1,
        pipeline or 1,
        replicas,
        gpus,
        lifted.get("batch_size"),
        lifted.get("max_batch_size"),
        tuple(reading.notes),
        tuple(reading.faults),
    )


@dataclass
class _Reading:
    """The arguments while they are being read; every reader takes away what it understood."""

    args: dict[str, Any]
    names: ArgumentNames
    notes: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def size(self, names: tuple[str, ...]) -> int | None:
        """The first of `names` that is given, as a whole number of at least 1."""
        for name in names:
            value = self.args.pop(name, None)
            if value is None:
                continue
            if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
                return value
            self.fault(name, f"{value!r} is not a whole number of at least 1")
        return None

    def fault(self, name: str, message: str, allowed: tuple[str, ...] | None = None) -> None:
        self.faults.append(Fault(f"model_args.{name}", message, allowed))

    def drop_device(self) -> None:
        if self.args.pop("device", None) is not None:
            self.notes.append("model_args.device is left out: evalq chooses the GPUs")

    def refuse_nodes(self) -> None:
        for name in self.names.nodes:
            nodes = self.args.pop(name, 1)
            if nodes != 1:
                message = (
                    f"{name}={nodes} is not supported: the backend runs on one node; use replicas for more"
                )
                self.fault(name, message, ("1",))

    def refuse_other_backends_names(self, model: str) -> None:
        """A name of another backend would be lost or break the load; say what this backend calls it."""
        if self.names is _NO_NAMES:
            return
        for other in (_VLLM, _SGLANG, _NEMO):
            for kind in ("tensor", "pipeline", "data"):
                for name in getattr(other, kind):
                    if name in self.args:
                        self.fault(name, *self._instead(model, kind))

    def _instead(self, model: str, kind: str) -> tuple[str, tuple[str, ...] | None]:
        split = self.names.split or ""
        right: tuple[str, ...] = getattr(self.names, kind) or ((split,) if kind != "data" else ("replicas",))
        shown = "parallelize=True with gpus_per_replica" if right[0] == "parallelize" else right[0]
        return f"{model} has no such argument; it is {shown} there", right

    def hf(self) -> int | None:
        self._hf_device_map()
        self._hf_dtype()
        if self.args.get("tp_plan") is not None:
            message = (
                "tp_plan needs one process per GPU; use parallelize=True, or vllm with tensor_parallel_size"
            )
            self.fault("tp_plan", message)
        placement = self.args.get("device_map")
        indices = placement.values() if isinstance(placement, dict) else ()
        return max((index + 1 for index in indices if isinstance(index, int)), default=None)

    def _hf_device_map(self) -> None:
        option = self.args.pop("device_map_option", None)
        if option is None:
            return
        self.args.setdefault("device_map", option)
        self.notes.append(
            "model_args.device_map_option is read as device_map, which is lm-eval's name for it"
        )
        if self.args.get("parallelize") is not True:
            self.notes.append("device_map spreads the model only together with parallelize=True")

    def _hf_dtype(self) -> None:
        bits = _WEIGHTS_IN_BITS.get(str(self.args.get("dtype", "")).lower().removeprefix("torch."))
        if bits:
            message = (
                f"weights cannot be loaded as {self.args['dtype']}; for {bits} bits write load_in_{bits}bit=True "
                "(bitsandbytes), or gptqmodel=True for a model that was saved quantized"
            )
            self.fault("dtype", message, ("auto", "float32", "float16", "bfloat16"))

    def vllm(self) -> None:
        for name in [name for name in self.args if name.startswith("data_parallel_")]:
            del self.args[name]
            self.notes.append(f"model_args.{name} is left out: replicas do the data parallelism")

    def nemo(
        self, model: str, devices: int | None, tensor: int, pipeline: int
    ) -> tuple[int | None, int | None]:
        """`devices` is TP x PP, or with neither a number of replicas (nemo_lm.py, lines 211 to 235)."""
        if model == "megatron_lm" and pipeline > 1:
            self.fault(
                "pipeline_model_parallel_size",
                "megatron_lm has no pipeline parallelism",
                ("1",),
            )
        if self.args.get("expert_model_parallel_size", 1) != 1:
            self.fault("expert_model_parallel_size", "expert parallelism is not supported here", ("1",))
        width = tensor * pipeline
        if devices is None or width == devices:
            return (None if devices is None else 1), width if devices or width > 1 else None
        if width == 1:
            return devices, 1
        message = (
            f"devices={devices} must be tensor x pipeline parallel size ({tensor} x {pipeline} = {width})"
        )
        self.fault("devices", message, (str(width),))
        return None, width
