"""Over how many devices the model of a posted job is spread, whether it fits them, and what would help if not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from app.backends import BACKENDS, Backend
from app.backends.memory_names import terms_of
from app.backends.parallelism import Parallelism
from app.domain.group import GroupView
from app.domain.heads import head_faults
from app.domain.measured_memory import weighed
from app.domain.measures import Recall, kind_of, nothing_measured
from app.domain.memory import GIB, Fit, largest_batch
from app.domain.model_facts import ModelFacts
from app.domain.planning import GroupRoom, Layout, Need, Refusal, plan
from app.domain.prompt_lengths import PromptLengths
from app.domain.ways_out import Levers, WayOut, ways_out
from app.models.hub_names import is_hub_name
from app.models.known_models import known_facts
from app.models.stated_size import stated_parameters
from app.workloads.lm_eval.reading.fields import FieldReader
from app.workloads.lm_eval.spec import MOST_GPUS

UNKNOWN_SIZE = (
    "how much memory the model takes is not known before it is loaded: model_size says it, such as 70B"
)


class WidthReader:
    """Decides once; what it found out is told by `layout`, `ways_out` and `explanation`."""

    def __init__(
        self,
        reader: FieldReader,
        backend: Backend,
        usable: Sequence[GroupView],
        others: Sequence[GroupView] = (),
        *,
        recall: Recall = nothing_measured,
    ) -> None:
        self._reader = reader
        self._recall = recall
        self.prompts: PromptLengths | None = None
        """The job's own, once they are built."""
        self._backend = backend
        self._rooms = [_room(group) for group in usable]
        self._others = [_room(group) for group in others]
        self.layout = Layout()
        self.ways_out: tuple[WayOut, ...] = ()
        self.explanation: list[str] = []
        self.source: str | None = None

    def read(
        self,
        found: Parallelism,
        args: dict[str, Any],
        model: str | None = None,
        read_facts: ModelFacts | None = None,
        name: str | None = None,
    ) -> Layout:
        """The layout, as asked for or the narrowest that fits; faults where there is none.

        What was measured under the engine's `name` counts before arithmetic.
        """
        measured = tuple(self._recall(name)) if name else ()
        facts = self._known(model, read_facts) or weighed(measured)
        need = replace(self._need(found, args), measured=measured, prompts=self.prompts)
        answer = plan(need, facts, self._rooms)
        self.layout = answer if isinstance(answer, Layout) else answer.layout
        self._judge_width(found)
        self._judge_heads(facts)
        if self.layout.fit not in (None, Fit.FITS):
            self.ways_out = ways_out(need, facts, self._rooms, self._levers(args), self._others)
        self.ways_out = (*self._by_others(args, facts), *self.ways_out)
        self._explain(need, facts)
        if isinstance(answer, Refusal):
            self._refuse(answer, free=(need.gpus, need.tensor, need.pipeline) == (None, None, None))
        self._switch_on(args)
        self._tell_replicas()
        return self.layout

    def _by_others(self, args: Mapping[str, Any], facts: ModelFacts | None) -> Iterator[WayOut]:
        """The backends that have the model's architecture, where this one has not."""
        if facts is None or not self._backend.lacks(args, facts):
            return
        for other in (each for each in BACKENDS.values() if facts.model_class in each.architectures):
            names, terms = other.parallelism, terms_of(other.memory, {}, self._reader.spec.batch_size)
            need = Need(terms, by_layers=names.switch is not None, stages=bool(names.pipeline))
            answer = plan(need, facts, self._rooms)
            fit = answer.fit if isinstance(answer, Layout) else Fit.NO
            note = f"{other.name} loads models of architecture {facts.model_class}; its other arguments may differ"
            yield WayOut({"model": other.name}, fits=fit in (None, Fit.FITS), note=note)

    def _levers(self, args: Mapping[str, Any]) -> Levers:
        """What can be changed, in the job's own words: backends take one name of the length."""
        memory = self._backend.memory
        said = next((name for name in memory.lengths if args.get(name)), memory.levers.length)
        return replace(memory.levers, length=memory.levers.length and said)

    def _known(self, model: str | None, facts: ModelFacts | None) -> ModelFacts | None:
        """From the model's files, else as its user says, else by its name."""
        if (size := self._reader.spec.model_size) is not None and (facts is None or not facts.parameters):
            return replace(facts or ModelFacts(), parameters=stated_parameters(size), source="model_size")
        named = model if self._backend.model_files else None
        return facts or (known_facts(named) if named and is_hub_name(named) else None)

    def _need(self, found: Parallelism, args: Mapping[str, Any]) -> Need:
        names, spec = self._backend.parallelism, self._reader.spec
        said = spec.model_args.keys() & {*names.tensor, *names.pipeline}
        asked = spec.gpus_per_replica if isinstance(spec.gpus_per_replica, int) else found.gpus_per_replica
        return Need(
            terms_of(self._backend.memory, args, spec.batch_size),
            tensor=found.tensor_parallel_size if said & set(names.tensor) else None,
            pipeline=found.pipeline_parallel_size if said & set(names.pipeline) else None,
            gpus=None if said and asked == found.gpus_per_replica else asked,
            replicas=spec.replicas if isinstance(spec.replicas, int) else None,
            by_layers=names.switch is not None,
            spread=names.switch is not None and args.get(names.switch) is True,
            stages=bool(names.pipeline) and names.has_stages,
        )

    def _judge_width(self, found: Parallelism) -> None:
        gpus, least = self.layout.gpus, found.tensor_parallel_size * found.pipeline_parallel_size
        if gpus > MOST_GPUS:
            self._reader.fault("model_args", f"one replica of {gpus} devices is more than any group has")
        if gpus % least:
            self._reader.fault(
                "gpus_per_replica", f"must be a multiple of tensor x pipeline parallel size ({least})"
            )
        largest = max((len(room.gibs) for room in self._rooms), default=None)
        if largest is not None and gpus > largest:
            message = f"one replica needs {gpus} devices of one group; the largest usable group has {largest}"
            self._reader.lack("gpus_per_replica", message, f"{gpus} devices in one group")

    def _judge_heads(self, facts: ModelFacts | None) -> None:
        names = self._backend.parallelism.tensor
        if facts is None or not names:
            return
        asked = self._reader.spec.model_args.keys() & set(names)
        path = f"model_args.{names[0]}" if asked else "gpus_per_replica"
        self._reader.faults += head_faults(facts, self.layout.tensor, path)

    def _refuse(self, refusal: Refusal, *, free: bool) -> None:
        nearest = "".join(
            f"; it fits with {_in_words(way)}" for way in [way for way in self.ways_out if way.fits][:1]
        )
        path = f"model_args.{self._backend.model_argument}"
        self._reader.lack(path, refusal.says + nearest, _room_for(refusal.layout, free=free))

    def _switch_on(self, args: dict[str, Any]) -> None:
        switch, gpus = self._backend.parallelism.switch, self.layout.gpus
        if gpus > 1 and switch and not args.get(switch):
            args[switch] = True
            self._reader.notes.append(f"{switch}=True, since one replica has {gpus} devices")

    def _tell_replicas(self) -> None:
        asked, most = self._reader.spec.replicas, self.layout.at_once
        if isinstance(asked, int) and most is not None and 0 < most < asked:
            what = f"replicas={asked} of {self.layout.gpus} device{'s' * (self.layout.gpus > 1)} each"
            self._reader.notes.append(f"{what}: all groups that it may use hold {most} at once")

    def _explain(self, need: Need, facts: ModelFacts | None) -> None:
        layout = self.layout
        self.explanation += layout.lines
        if facts is None or layout.memory is None:
            self.explanation.append(UNKNOWN_SIZE)
            if need.spread and layout.gpus > 1 and need.gpus is None:
                all_of_them = f"all {layout.gpus} devices of a group: {self._backend.parallelism.switch}=True"
                self.explanation.append(f"{all_of_them}, and nothing says how many would do")
            return
        self.source = facts.source
        if layout.measured and (seconds := layout.measured.load.seconds):
            self.explanation.append(f"loads in about {max(1, round(seconds))} s (measured)")
        self.explanation.append(f"sizes are from {facts.source}")
        if layout.device_gib is not None and layout.fit is not None and layout.fit is not Fit.NO:
            words = f"{layout.memory.gib:.2f} GiB of {layout.device_gib:.1f} GiB on each device: {layout.fit}"
            self.explanation.append(words)
            if not need.terms.serves and layout.memory.cache_kib_per_token and facts.vocab_size:
                most = largest_batch(layout.memory, layout.device_gib, need.terms.batch)
                self.explanation.append(f"batches of up to {most:,} such requests fit")


def _room_for(layout: Layout, *, free: bool) -> str:
    """The devices that would hold what did not fit; more and smaller ones do, too, where the width is `free`."""
    size = f" of {layout.memory.card_gib:.1f} GiB" if layout.memory else ""
    more = ", or more devices," if free else ""
    if layout.gpus == 1:
        return f"a device{size}{more and f'{more} in one group'}"
    return f"{layout.gpus} devices{size}{more} in one group"


def _in_words(way: WayOut) -> str:
    changes = ", ".join(f"{name}={value}" for name, value in way.change.items())
    return f"{changes} ({way.note})"


def _room(group: GroupView) -> GroupRoom:
    """What of it can hold a model: a device whose hardware failed comes back only when an operator says so."""
    devices = [device for device in group.devices if not device.faulty]
    sizes = (device.memory_bytes / GIB if device.memory_bytes else None for device in devices)
    kind = kind_of(device.name for device in group.devices)
    joined = Counter(device.island for device in devices if device.island is not None)
    largest = max(joined.values(), default=0)
    return GroupRoom(group.name, tuple(sizes), largest if largest > 1 else None, kind)
