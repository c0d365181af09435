"""How the echo engine fails when it is asked to: with the texts of real engines, on real conditions."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

from workers.engine_child.echo.answers import is_marked

log = logging.getLogger("engine")

LOOK_SECONDS = 0.1
"""So often a request that takes longer asks whether it is still wanted."""

PROCESS = "EchoCore"
DEATH = 70
"""Exit status of an engine that was asked to die."""


class EchoError(ValueError):
    """A request that was marked to fail."""


class OutOfMemoryError(RuntimeError):
    """As torch names it."""


class DistBackendError(RuntimeError):
    """As torch.distributed names it."""


OutOfMemoryError.__module__ = "torch"
DistBackendError.__module__ = "torch.distributed"


def check_loading(args: Mapping[str, Any]) -> None:
    """Raise what the arguments ask for while the model is loaded."""
    _check_length(args)
    _check_share(args)
    _check_devices(args, "loading")


def check_answering(args: Mapping[str, Any]) -> None:
    """Raise what the arguments ask for while a chunk is answered."""
    _check_devices(args, "answering")


def check_request(args: Mapping[str, Any], request: Any, died: Callable[[str, int], None]) -> None:
    """Raise where the request is marked to fail; end the process where it is marked to, as an engine's core would."""
    if is_marked(args.get("dies_on"), request):
        died(PROCESS, -signal.SIGSEGV)
        log.error("%s process died unexpectedly (exit code: %s)", PROCESS, -signal.SIGSEGV)
        os._exit(DEATH)
    if is_marked(args.get("fail_on"), request):
        raise EchoError(f"asked to fail on {args['fail_on']!r}")


def pause(seconds: float, look: Callable[[], None]) -> None:
    """Let the time pass that a request takes, and look up now and then."""
    over_at = time.monotonic() + seconds
    while (left := over_at - time.monotonic()) > 0:
        time.sleep(min(left, LOOK_SECONDS))
        look()


def _check_devices(args: Mapping[str, Any], moment: str) -> None:
    """`needs_devices`; and `fails_with`, on the device `fails_on` only if one is named."""
    if args.get("fails_while", "loading") != moment:
        return
    own, kind = own_devices(), args.get("fails_with")
    if len(own) < int(args.get("needs_devices", 0)):
        raise OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB of which"
            " 1.02 GiB is free."
        )
    if kind and str(args.get("fails_on", "")) in {"", *own}:
        raise _HARDWARE[str(kind)]()


def own_devices() -> list[str]:
    """The GPUs or CPU slots that this process was given."""
    slots = os.environ.get("CPU_SLOTS") or os.environ.get("CUDA_VISIBLE_DEVICES") or ""
    return [slot for slot in slots.split(",") if slot]


def _check_length(args: Mapping[str, Any]) -> None:
    """`longest`: tokens that the cache holds."""
    length = args.get("max_length") or args.get("max_model_len") or 32768
    if int(length) > int(args.get("longest", length)):
        raise ValueError(
            f"To serve at least one request with the models's max seq len ({length}), (4.00 GiB KV cache is needed,"
            " which is larger than the available KV cache memory (1.00 GiB). Based on the available memory, the"
            f" estimated maximum model length is {args['longest']}. Try increasing `gpu_memory_utilization` or"
            " decreasing `max_model_len` when initializing the engine."
        )


def _check_share(args: Mapping[str, Any]) -> None:
    """`free_share`: of the device's memory, what others leave free."""
    share, free = float(args.get("gpu_memory_utilization", 0.9)), float(args.get("free_share", 1))
    if share > free:
        raise ValueError(
            f"Free memory on device cuda:0 ({80 * free:.2f}/80.0 GiB) on startup is less than desired GPU memory"
            f" utilization ({share}, {80 * share:.2f} GiB). Decrease GPU memory utilization or reduce GPU memory used"
            " by other processes."
        )


_HARDWARE: Mapping[str, Callable[[], RuntimeError]] = {
    "ecc": lambda: RuntimeError(
        "CUDA error: uncorrectable ECC error encountered\n"
        "CUDA kernel errors might be asynchronously reported at some other API call."
    ),
    "nccl": lambda: DistBackendError(
        "NCCL error in: ../torch/csrc/distributed/c10d/NCCLUtils.hpp:268, unhandled cuda error, NCCL version 2.21.5"
    ),
}
