"""Which failures are a device's own: it is drained then, until an operator gives it back."""

from __future__ import annotations

from app.domain.failure import Failure, FailureCode


def blames_device(failure: Failure) -> bool:
    """Whether the failure shows that a device is broken, whatever engine is on it."""
    return bool(failure.facts.get("broken_device"))


def may_be_devices(failure: Failure) -> bool:
    """Whether devices, or the links between them, may have failed whatever was asked of them."""
    return blames_device(failure) or failure.code is FailureCode.NCCL_ERROR


def drain_reason(failure: Failure, before: Failure | None) -> str | None:
    """Why a failed replica's devices are given out no more; `before` is how the replica before it on them failed."""
    if blames_device(failure):
        return "uncorrectable ECC error: reset or replace the GPU, then resume its group"
    if before and failure.code is before.code is FailureCode.NCCL_ERROR:
        return "two NCCL errors in a row on these devices: check their links, then resume their group"
    return None
