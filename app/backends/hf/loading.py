"""How the hf backend loads a model: over which devices, and in which numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from app.backends.backend import Loading
from app.backends.memory_names import MemoryNames
from app.backends.parallelism import ArgumentNames, Reading, Widths
from app.domain.ways_out import Levers

WIDE_DTYPES = frozenset({"float32", "float", "float64", "double"})
"""In which numbers lose nothing worth a note."""
_WEIGHTS_IN_BITS = {"int8": 8, "8bit": 8, "uint8": 8, "int4": 4, "4bit": 4, "nf4": 4, "fp4": 4}


def _placed(reading: Reading, widths: Widths) -> Widths:
    """As `device_map` says, where it names devices."""
    _read_device_map(reading)
    _refuse_bits(reading)
    if reading.args.get("tp_plan") is not None:
        message = "tp_plan needs one process per GPU; use parallelize=True, or vllm with tensor_parallel_size"
        reading.fault("tp_plan", message)
    placement = reading.args.get("device_map")
    places = placement.values() if isinstance(placement, dict) else ()
    indices = [place for place in places if isinstance(place, int)]
    if any(index < 0 for index in indices):
        reading.fault("device_map", "names devices by numbers from 0 on")
        return replace(widths, gpus=None)
    return replace(widths, gpus=max(indices) + 1 if indices else None)


def _read_device_map(reading: Reading) -> None:
    option = reading.args.pop("device_map_option", None)
    if option is None:
        return
    reading.args.setdefault("device_map", option)
    reading.notes.append("model_args.device_map_option is read as device_map, which is lm-eval's name for it")
    if reading.args.get("parallelize") is not True:
        reading.notes.append("device_map spreads the model only together with parallelize=True")


def _refuse_bits(reading: Reading) -> None:
    dtype = reading.args.get("dtype", "")
    bits = _WEIGHTS_IN_BITS.get(str(dtype).lower().removeprefix("torch."))
    if bits:
        message = (
            f"weights cannot be loaded as {dtype}; for {bits} bits write load_in_{bits}bit=True "
            "(bitsandbytes), or gptqmodel=True for a model that was saved quantized"
        )
        reading.fault("dtype", message, ("auto", "float32", "float16", "bfloat16"))


PARALLELISM = ArgumentNames(switch="parallelize", accelerate=True, finish=_placed)
_SWITCHES = (("load_in_4bit", "bitsandbytes 4-bit"), ("load_in_8bit", "bitsandbytes 8-bit"))
MEMORY = MemoryNames(
    lengths=("max_length",),
    limit="max_memory_per_gpu",
    switches=_SWITCHES,
    levers=Levers(
        length="max_length",
        batch="batch_size",
        fewer_bits=tuple((name, True, method) for name, method in reversed(_SWITCHES)),
    ),
)


def settle(loading: Loading) -> tuple[dict[str, Any], list[str]]:
    """Note what a narrow dtype costs; name lm-eval's softmax, since older engines took float32 unasked."""
    args: dict[str, Any] = dict(loading.args)
    notes: list[str] = []
    softmax = args.setdefault("softmax_dtype")
    given = str(args.get("dtype") or "auto").removeprefix("torch.")
    dtype = given if given != "auto" else loading.stored_dtype or "the model's own dtype"
    if dtype in WIDE_DTYPES:
        return args, notes
    if softmax is None:
        notes.append(
            f"log-likelihoods are computed in {dtype}, as lm_eval computes them: more exact with"
            " softmax_dtype=float32 in model_args"
        )
    if str(loading.batch_size).startswith("auto"):
        notes.append(
            f"numbers in {dtype} depend on what is batched together, and auto does not choose lm_eval's batches:"
            " with a batch_size the command gives the same numbers"
        )
    return args, notes
