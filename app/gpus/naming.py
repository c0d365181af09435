"""How people name the devices of a worker, and which those are on this host."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from app.errors import GpuUnavailableError
from app.gpus.nvml import Gpu, discover, islands

CPU_SLOTS = re.compile(r"cpu:([1-9]\d{0,3})")
ISLAND = re.compile(r"nvlink(?::(\d{1,4}))?")
INDEX = re.compile(r"(\d{1,4})(?::(\d{1,4}))?")
UUID = re.compile(r"(GPU|MIG)-[A-Za-z0-9-/]{1,100}")

WAYS = "cpu:2 for CPU slots, GPU indices like 0,1,2,3, slices like 0:1, UUIDs, all, or nvlink"


@dataclass(frozen=True)
class OwnedDevice:
    """What a worker owns: a GPU or a slice of one, named by its UUID, or a CPU slot where `gpu` is None."""

    name: str
    gpu: Gpu | None = None

    def identity(self, host: str, group: str) -> str:
        """The device's id in the database: a GPU's UUID, or `cpu:<host>:<group>:<n>`."""
        return self.name if self.gpu else f"cpu:{host}:{group}:{self.name.removeprefix('cpu-')}"


def says_devices(text: str) -> bool:
    """Whether the text could name devices, of this host or another."""
    words = [word.strip() for word in text.split(",")]
    alone = any(pattern.fullmatch(text.strip()) for pattern in (CPU_SLOTS, ISLAND)) or text.strip() == "all"
    return alone or all(INDEX.fullmatch(word) or UUID.fullmatch(word) for word in words)


def parse_devices(text: str, gpus: Callable[[], Sequence[Gpu]] = discover) -> list[OwnedDevice]:
    """The devices a worker was told to own, in the order of their names: see `WAYS`.

    `nvlink` is the one island of GPUs that NVLink joins, `nvlink:0` the first of several. Raises ValueError for what
    names nothing or a GPU twice, GpuUnavailableError for what this host does not have.
    """
    text = text.strip()
    if slots := CPU_SLOTS.fullmatch(text):
        return [OwnedDevice(f"cpu-{number}") for number in range(int(slots[1]))]
    if not says_devices(text):
        raise ValueError(f"{text!r} names no devices: use {WAYS}")
    return [OwnedDevice(gpu.uuid, gpu) for gpu in _found(text, list(gpus()))]


def visible_devices(devices: Sequence[OwnedDevice]) -> dict[str, str]:
    """The environment in which a child sees exactly these devices."""
    gpus = [device.gpu for device in devices if device.gpu]
    names = ",".join(str(gpu.index) if gpu.slice is None else gpu.uuid for gpu in gpus)
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": names}


def short_name(gpu: Gpu) -> str:
    """As people write it: `0`, or `0:1` for a slice."""
    return str(gpu.index) if gpu.slice is None else f"{gpu.index}:{gpu.slice}"


def _found(text: str, there: list[Gpu]) -> list[Gpu]:
    if text == "all":
        return there or _none(there, "there is no GPU")
    if island := ISLAND.fullmatch(text):
        return _island(there, island[1])
    found = [gpu for word in text.split(",") for gpu in _named(there, word.strip())]
    twice = [short_name(gpu) for gpu in found if found.count(gpu) > 1]
    if twice:
        raise ValueError(f"{text!r} names GPU {twice[0]} twice")
    return found


def _named(there: list[Gpu], word: str) -> Iterator[Gpu]:
    index, uuid = INDEX.fullmatch(word), word
    if index is None:
        found = [gpu for gpu in there if gpu.uuid == uuid]
    else:
        number = None if index[2] is None else int(index[2])
        found = [gpu for gpu in there if gpu.index == int(index[1]) and gpu.slice == number]
    sliced = [gpu for gpu in there if index and gpu.index == int(index[1]) and gpu.slice is not None]
    if not found and sliced and index and index[2] is None:
        _none(sliced, f"GPU {word} is in MIG mode: name its slices")
    yield from found or _none(there, f"there is no GPU {word}")


def _island(there: list[Gpu], number: str | None) -> list[Gpu]:
    joined = [island for island in islands(there) if len(island) > 1]
    which = int(number) if number else 0
    if which < len(joined) and (number is not None or len(joined) == 1):
        return joined[which]
    shown = "; ".join(
        f"nvlink:{place} is GPUs {_listed(island)}" for place, island in enumerate(joined) if place < 16
    )
    raise GpuUnavailableError(
        f"NVLink joins {len(joined)} islands of GPUs here: {shown}"
        if joined
        else "NVLink joins no GPUs of this host"
    )


def _none(there: Sequence[Gpu], what: str) -> list[Gpu]:
    raise GpuUnavailableError(f"{what}: this host has {f'GPUs {_listed(there)}' if there else 'no GPUs'}")


def _listed(gpus: Sequence[Gpu]) -> str:
    return ", ".join(map(short_name, gpus))
