"""The model of a posted job: that it exists, how it is loaded, and on how many devices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Self

from app.arguments.kinds import shown
from app.backends import Backend
from app.backends.arguments import Wrong
from app.backends.backend import Loading
from app.backends.measured_engines import measured_name
from app.backends.parallelism import Parallelism
from app.backends.registry import read_parallelism
from app.backends.scoring import ScoringCase
from app.domain.engine_spec import EngineSpec, Scoring
from app.domain.group import GroupView
from app.domain.measures import Recall, nothing_measured
from app.domain.model_facts import ModelFacts
from app.models.hub import ask_hub
from app.models.hub_copies import copied_facts
from app.models.hub_names import is_hub_name
from app.models.model_folder import inspect_gguf, inspect_model, is_local
from app.settings import Settings
from app.workloads.lm_eval.reading.fields import FieldReader
from app.workloads.lm_eval.reading.generation_settings import MOST_FAULTS
from app.workloads.lm_eval.reading.safety import BELOW_MODEL, OTHER_MODELS, inside, refuse_path
from app.workloads.lm_eval.reading.width import WidthReader

_BELOW_PATHS = frozenset(f"model_args.{name}" for name in BELOW_MODEL)
NOT_GIVEN = frozenset({"device", "device_map_option"})
"""Arguments that `read_parallelism` leaves out or renames."""


class EngineReader:
    """Reads the engine spec out of `model_args`; its width is read even where nothing else can be."""

    def __init__(
        self,
        reader: FieldReader,
        backend: Backend,
        settings: Settings,
        groups: Sequence[GroupView],
        others: Sequence[GroupView] = (),
        *,
        recall: Recall = nothing_measured,
    ) -> None:
        """`others` have the backend too, and are not what the job asks for."""
        self._reader = reader
        self.backend = backend
        self._settings = settings
        self._groups = groups
        self.scoring = Scoring.STOCK
        self.width = WidthReader(reader, backend, groups, others, recall=recall)

    def read(self) -> Self | None:
        """Itself with its `spec`, or None where no spec can be made."""
        reader = self._reader
        found = read_parallelism(reader.spec.model, reader.spec.model_args)
        reader.faults += found.faults
        reader.notes += found.notes
        args = dict(found.engine_args)
        self._keep_read(args)
        self._lift(found)
        model = self._model(args)
        if model is None:
            self.width.read(found, args)
            return None
        if reader.spec.trust_remote_code:
            args["trust_remote_code"] = True
        facts = self._facts(model, args) if self._leads_inside(model, args) else None
        loading = Loading(
            args,
            reader.spec.batch_size,
            max_batch_size=reader.spec.max_batch_size,
            facts=facts,
            tensor_parallel_size=found.tensor_parallel_size,
            pipeline_parallel_size=found.pipeline_parallel_size,
        )
        args, notes = self.backend.settle(loading)
        reader.notes += notes
        self._choose_scoring(args, facts)
        self._check_names(args, facts)
        if not self._refused_paths():  # of what lies there nothing is told
            self._add(self.backend.files(loading))
        unpacked = replace(facts, weight_bytes=None) if facts and args.get("gguf_file") else facts
        name = measured_name(self.backend, model, args, reader.spec.env, facts)
        layout = self.width.read(found, args, model, unpacked, name)
        self.spec = EngineSpec(
            backend=self.backend.name,
            model=model,
            revision=_text(args.pop("revision", None)),
            args=args,
            env=dict(reader.spec.env),
            tensor_parallel_size=layout.tensor,
            pipeline_parallel_size=layout.pipeline,
            gpus=layout.gpus,
            scoring_mode=self.scoring,
        )
        return self

    def _choose_scoring(self, args: Mapping[str, Any], facts: ModelFacts | None) -> None:
        spec = self._reader.spec
        case = ScoringCase(spec.scoring_mode, args, spec.env, facts, self._groups)
        chosen = self.backend.scoring(case)
        self.scoring = chosen.mode
        self._reader.notes += [chosen.note] if chosen.note else []
        if chosen.fault:
            self._reader.fault("scoring_mode", chosen.fault, ("auto", "stock"))

    def _keep_read(self, args: Mapping[str, Any]) -> None:
        """What is shown and written as a command has the engine's names, and nothing that it is not given."""
        given = self._reader.spec.model_args
        kept = {name: value for name, value in given.items() if name not in NOT_GIVEN}
        placed = {"device_map": args["device_map"]} if "device_map" in args else {}
        self._reader.put(model_args=kept | placed)

    def _check_names(self, args: Mapping[str, Any], facts: ModelFacts | None) -> None:
        """Names that loading the model would refuse, the first of many; code of the model's own may take any."""
        known = self.backend.arguments
        if args.get("trust_remote_code") and known.model_adds:
            return
        own = facts.config_names if facts and known.model_adds else ()
        self._add(known.model_faults(args, self.backend.packages, own))

    def _add(self, found: Iterator[Wrong]) -> None:
        """Faults of arguments, the first of many; none twice."""
        told = {fault.path for fault in self._reader.faults}
        for wrong in islice(found, MOST_FAULTS):
            if (path := f"model_args.{wrong.name}") not in told:
                self._reader.fault(path, wrong.message, wrong.near)

    def _refused_paths(self) -> bool:
        """Whether the job names a place that it may not use."""
        told = {fault.path for fault in self._reader.faults}
        return bool(told & {f"model_args.{name}" for name in OTHER_MODELS})

    def _lift(self, found: Parallelism) -> None:
        """What model_args says of the job itself moves up, unless the job says it too."""
        lifted = {
            "batch_size": found.batch_size,
            "max_batch_size": found.max_batch_size,
            "replicas": found.replicas,
            "gpus_per_replica": found.gpus_per_replica,
        }
        for name, value in lifted.items():
            if value is not None and getattr(self._reader.spec, name) in (None, "auto"):
                self._reader.put(**{name: value})
        if (self._reader.spec.max_batch_size or 0) > (most := self._settings.max_batch_size):
            self._reader.notes.append(f"an automatic batch size is at most {most} (EVALQ_MAX_BATCH_SIZE)")

    def _model(self, args: dict[str, Any]) -> str | None:
        """The model's folder or hub name, taken out of the arguments."""
        name = self.backend.model_argument
        model = args.pop(name, None)
        if not isinstance(model, str) or not model:
            self._reader.fault(f"model_args.{name}", "is required: a hub name or a model folder")
            return None
        if is_local(model):
            return self._local(name, model)
        if not is_hub_name(model):
            message = f"{shown(model)} is neither `owner/name` on the hub nor a model folder (/..., ./...)"
            self._reader.fault(f"model_args.{name}", message)
            return None
        return model

    def _local(self, name: str, model: str) -> str | None:
        """Where the folder is; the spec names it so from now on, whatever becomes of links on the way."""
        path = inside(model, self._settings) if model.isprintable() else None
        if path is None:
            refuse_path(self._reader, f"model_args.{name}", model, self._settings)
            return None
        self._reader.put(model_args={**self._reader.spec.model_args, name: str(path)})
        return str(path)

    def _leads_inside(self, model: str, args: Mapping[str, Any]) -> bool:
        """Whether what is named below a local model is where the operator allows it, links followed."""
        path = Path(model)
        if any(fault.path in _BELOW_PATHS for fault in self._reader.faults):
            return False
        for name in BELOW_MODEL if is_local(model) else ():
            path /= _text(args.get(name)) or ""
            if inside(str(path), self._settings) is None:
                refuse_path(self._reader, f"model_args.{name}", args[name], self._settings)
                return False
        return True

    def _facts(self, model: str, args: Mapping[str, Any]) -> ModelFacts | None:
        """What a folder or the hub says of the model; None where they do not, and where the folder is at fault."""
        if not self.backend.model_files:
            return None
        if not is_local(model):
            return self._hub_facts(model, args)
        folder, file = Path(model) / (_text(args.get("subfolder")) or ""), _text(args.get("gguf_file"))
        facts = self._gguf_facts(folder / file, args) if file else inspect_model(folder)
        self._reader.faults += facts.faults
        if self.backend.gguf and folder.suffix == ".gguf" and folder.is_file():
            message = f"{shown(folder.name)} is a file: name its folder, and the file in it as gguf_file"
            self._reader.fault("model_args.pretrained", message)
        return None if facts.faults else facts

    def _hub_facts(self, model: str, args: Mapping[str, Any]) -> ModelFacts | None:
        """Else what a copy on this host says; of a part of a repository neither tells enough."""
        if any(args.get(name) for name in BELOW_MODEL):
            return None
        revision = _text(args.get("revision"))
        answer = ask_hub(self._settings, model, revision)
        self._reader.notes += answer.notes
        for name, fault in (("pretrained", answer.fault), ("revision", answer.revision_fault)):
            if fault:
                self._reader.fault(f"model_args.{name}", fault)
        return answer.facts or copied_facts(self._settings.hub_home, model, revision)

    def _gguf_facts(self, path: Path, args: Mapping[str, Any]) -> ModelFacts:
        facts, rules = inspect_gguf(path), self.backend.gguf
        if rules is None:
            return facts
        for name in filter(args.get, rules.excluded):
            message = "a GGUF file is loaded as it is: nothing quantizes it again"
            self._reader.fault(f"model_args.{name}", message)
        if not facts.faults and facts.architecture not in rules.architectures:
            backend, architecture = self.backend.name, shown(facts.architecture)
            message = f"the {backend} backend reads no GGUF file of architecture {architecture}"
            self._reader.fault("model_args.gguf_file", message, rules.architectures)
        return replace(facts, dtype=rules.dtype)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
