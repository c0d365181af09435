"""Which failures take a device out of use."""

from app.domain.device_faults import drain_reason
from app.domain.failure import Failure, FailureCode

ECC = Failure(FailureCode.ENGINE_DIED, "it broke", facts={"broken_device": True})
NCCL = Failure(FailureCode.NCCL_ERROR, "NCCL error in: NCCLUtils.hpp:268")
KERNEL = Failure(FailureCode.ENGINE_DIED, "CUDA error: an illegal memory access was encountered")


def test_an_ecc_error_drains_at_once() -> None:
    assert "uncorrectable ECC error" in (drain_reason(ECC, None) or "")


def test_nccl_drains_only_the_second_time_in_a_row() -> None:
    assert drain_reason(NCCL, None) is None
    assert drain_reason(NCCL, KERNEL) is None
    assert "two NCCL errors in a row" in (drain_reason(NCCL, NCCL) or "")


def test_a_failed_kernel_says_nothing_of_the_device() -> None:
    assert drain_reason(KERNEL, KERNEL) is None
