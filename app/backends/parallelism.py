"""Parallelism, read from where users already write it: a backend's own load-time arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from app.errors import FaultyField as Fault

_LIFTED = ("batch_size", "max_batch_size")


@dataclass(frozen=True)
class Widths:
    """How a model is spread; None means "not said": the planner decides."""

    tensor: int | None = None
    pipeline: int | None = None
    replicas: int | None = None
    gpus: int | None = None
    """Of one replica."""


def _as_named(_: Reading, widths: Widths) -> Widths:
    return widths


@dataclass(frozen=True)
class ArgumentNames:
    """What one backend calls its parallelism; the first name of each is the usual one."""

    tensor: tuple[str, ...] = ()
    pipeline: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    has_stages: bool = True
    """Whether its pipeline may be longer than one stage, where it has a name for it."""
    switch: str | None = None
    """The argument that spreads one model over a replica's devices when it is true, where a width is not named."""
    data_counts_devices: bool = False
    """Whether the argument for data parallelism counts devices, not replicas."""
    accelerate: bool = False
    """Whether lm-eval runs its replicas under `accelerate launch`."""
    finish: Callable[[Reading, Widths], Widths] = _as_named
    """What else the backend's arguments say of it."""

    @property
    def split(self) -> str | None:
        """The argument that spreads one model over GPUs."""
        return self.switch or next(iter(self.tensor), None)

    @property
    def own(self) -> frozenset[str]:
        """Every argument that names a width."""
        return frozenset((*self.tensor, *self.pipeline, *self.data))


NO_NAMES = ArgumentNames()


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


def read_arguments(
    model: str, names: ArgumentNames, others: Iterable[ArgumentNames], model_args: Mapping[str, Any]
) -> Parallelism:
    """Take the parallelism out of `model_args`. Data parallelism always means replicas.

    What `others` call theirs would be lost or break the load: it is refused, with this backend's name for it.
    """
    reading = Reading(dict(model_args), model, names)
    lifted = {name: reading.args.pop(name) for name in _LIFTED if reading.args.get(name) is not None}
    reading.drop_device()
    tensor, pipeline = reading.size(names.tensor), reading.size(names.pipeline)
    widths = Widths(tensor, pipeline, reading.size(names.data))
    reading.refuse_nodes()
    if names != NO_NAMES:
        reading.refuse_names_of(others)
    if tensor or pipeline:
        widths = replace(widths, gpus=(tensor or 1) * (pipeline or 1))
    widths = names.finish(reading, widths)
    return Parallelism(
        reading.args,
        widths.tensor or 1,
        widths.pipeline or 1,
        widths.replicas,
        widths.gpus,
        lifted.get("batch_size"),
        lifted.get("max_batch_size"),
        tuple(reading.notes),
        tuple(reading.faults),
    )


@dataclass
class Reading:
    """The arguments while they are being read; every reader takes away what it understood."""

    args: dict[str, Any]
    model: str
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
        """Refuse one argument, in words."""
        self.faults.append(Fault(f"model_args.{name}", message, allowed))

    def drop_device(self) -> None:
        """Leave out which device it was to be."""
        if self.args.pop("device", None) is not None:
            self.notes.append("model_args.device is left out: evalq chooses the GPUs")

    def refuse_nodes(self) -> None:
        """Refuse more nodes than one."""
        for name in self.names.nodes:
            nodes = self.args.pop(name, 1)
            if nodes != 1:
                message = (
                    f"{name}={nodes} is not supported: the backend runs on one node; use replicas for more"
                )
                self.fault(name, message, ("1",))

    def refuse_names_of(self, others: Iterable[ArgumentNames]) -> None:
        """Refuse what other backends call it, and say what this one does."""
        told = set(self.names.own)
        for other in others:
            for kind in ("tensor", "pipeline", "data"):
                for name in getattr(other, kind):
                    if name in self.args and name not in told:
                        told.add(name)
                        self.fault(name, *self._instead(kind))

    def _instead(self, kind: str) -> tuple[str, tuple[str, ...] | None]:
        switch = self.names.switch
        right: tuple[str, ...] = getattr(self.names, kind)
        right = right or ((self.names.split or "",) if kind != "data" else ("replicas",))
        shown = f"{switch}=True with gpus_per_replica" if right == (switch,) else right[0]
        return f"{self.model} has no such argument; it is {shown} there", right
