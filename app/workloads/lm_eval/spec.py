"""What a job can be: every field with its type, its default, its bounds and what it means.

The one list of them. A posted body becomes an `LmEvalSpec` once (`reading/read.py`), a stored row is opened as one, the
body's schema and the harness's order are written from it. On the standard library alone, since children import it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

INT64: Final = 2**63 - 1
MOST_BATCH: Final = 100_000
MOST_GPUS: Final = 1024
MOST_NAMES: Final = 2000
"""Of tasks, groups and tags; they stand for more."""
MOST_STRING: Final = 16_384
"""Characters of arguments written as one string; as an object they may be longer."""
MOST_ARGUMENTS: Final = 200
MOST_VARIABLES: Final = 200
MOST_LINE: Final = 1000
"""Characters of what is shown as one line."""
MOST_TASKS_TEXT: Final = 200_000
MOST_INSTRUCTION: Final = 200_000
MOST_SEEDS_TEXT: Final = 200


@dataclass(frozen=True)
class Within:
    """From where to where a number may be, or how much there may be of a text, a list or an object."""

    least: int | None = None
    most: int | None = None
    above: bool = False
    """The least itself is out."""

    def __contains__(self, value: float) -> bool:
        low = self.least is None or (value > self.least if self.above else value >= self.least)
        return low and (self.most is None or value <= self.most)


@dataclass(frozen=True)
class Told:
    """What is known of a field beside its type.

    A bound in the type is part of the shape of a body. Those here lie far above what anybody means, and below what
    would hang a job or break a process that reads it; they are judged with all else that a value must be.
    """

    says: str
    number: Within | None = None
    characters: int | None = None
    """Of one that is written as text."""
    names: int | None = None
    """Of one that is written as an object."""


def told(
    says: str, *, number: Within | None = None, characters: int | None = None, names: int | None = None
) -> Mapping[str, Told]:
    """The metadata of a field; `about` reads it."""
    return {"told": Told(says, number, characters, names)}


# fmt: off
BESIDE_QUESTIONS: Final = frozenset({
    # what is asked of engines at once, and where
    "batch_size", "max_batch_size", "group", "replicas", "gpus_per_replica", "model_size", "wait_for_capacity",
    # what becomes of the answers
    "log_samples", "predict_only", "bootstrap_iters", "confirm_run_unsafe_code",
    # who asks, and until when
    "name", "tags", "priority", "deadline_seconds", "callback_url",
})
# fmt: on
"""Fields that change nothing of which requests a job makes."""

PRIORITIES: Final = Within(0, 100)
DEADLINES: Final = Within(0, 10**9, above=True)

Count = Annotated[int, Within(0, INT64)]
Whole = Annotated[int, Within(most=INT64)]
Seed = Annotated[int, Within(-INT64, INT64)]
Name = Annotated[str, Within(most=200)]
Tags = Annotated[tuple[Annotated[str, Within(1, 100)], ...], Within(most=50)]
Priority = Annotated[int, PRIORITIES]
Deadline = Annotated[int | float, DEADLINES]
Environment = Annotated[Mapping[str, str], Within(most=MOST_VARIABLES)]


@dataclass(frozen=True)
class LmEvalSpec:
    """A job as its user wants it: lm-eval's own names (`lm_eval run`, 0.4.13), and evalq's beside them."""

    model: str = field(default="", metadata=told("The backend: hf, vllm, ...", characters=MOST_LINE))
    model_args: Mapping[str, Any] = field(
        default_factory=dict,
        metadata=told("An object, or lm-eval's `k=v,k=v`.", characters=MOST_STRING, names=MOST_ARGUMENTS),
    )
    tasks: Annotated[tuple[str, ...], Within(most=MOST_NAMES)] = field(
        default=(), metadata=told("A list, or names with commas between.", characters=MOST_TASKS_TEXT)
    )
    num_fewshot: Count | None = field(
        default=None,
        metadata=told("Examples before each question; null leaves it to the task.", number=Within(0, 10_000)),
    )
    batch_size: Count | str = field(
        default="auto", metadata=told("A number, `auto` or `auto:N`.", number=Within(1, MOST_BATCH))
    )
    max_batch_size: Count | None = field(
        default=None, metadata=told("The most that `auto` may choose.", number=Within(1, MOST_BATCH))
    )
    limit: Whole | float | None = field(
        default=None,
        metadata=told("Documents per task; below 1, a share of them.", number=Within(0, INT64, above=True)),
    )
    samples: Mapping[str, Sequence[int]] | None = field(
        default=None, metadata=told("Document indices per task.")
    )
    gen_kwargs: Mapping[str, Any] | None = field(
        default=None,
        metadata=told(
            "Generation settings over those of the tasks: an object, or `k=v,k=v`.",
            characters=MOST_STRING,
            names=MOST_ARGUMENTS,
        ),
    )
    apply_chat_template: bool | str = field(
        default=False,
        metadata=told(
            "Whether prompts are written with the model's template, or which one.", characters=MOST_LINE
        ),
    )
    system_instruction: str | None = field(
        default=None, metadata=told("What the model is told first.", characters=MOST_INSTRUCTION)
    )
    fewshot_as_multiturn: bool | None = field(
        default=None, metadata=told("Examples as turns of a conversation; null: with a chat template.")
    )
    log_samples: bool = field(default=True, metadata=told("Keep every document with its answers."))
    seed: Annotated[tuple[Seed | None, ...], Within(most=4)] = field(
        default=(0, 1234, 1234, 1234),
        metadata=told(
            "One seed, or four: python, numpy, torch (samples are drawn by it), few-shot.",
            characters=MOST_SEEDS_TEXT,
        ),
    )
    predict_only: bool = field(default=False, metadata=told("Answers without scores."))
    confirm_run_unsafe_code: bool = field(
        default=False, metadata=told("Run tasks that run code which the model wrote.")
    )
    trust_remote_code: bool = field(default=False, metadata=told("Run code that the model brings along."))
    metadata: Mapping[str, Any] | None = field(
        default=None,
        metadata=told(
            "What tasks that make their own prompts read: an object, or `k=v,k=v`.", characters=MOST_STRING
        ),
    )
    bootstrap_iters: Count = field(
        default=100_000,
        metadata=told("Draws for the errors of scores; 0 for no errors.", number=Within(0, 10_000_000)),
    )
    name: Name | None = field(default=None, metadata=told("What you call the job."))
    priority: Priority = field(default=50, metadata=told("Higher goes first.", number=PRIORITIES))
    tags: Tags = field(default=(), metadata=told("Words to find the job by."))
    deadline_seconds: Deadline | None = field(
        default=None,
        metadata=told("From submission on; a job that has not ended by then fails.", number=DEADLINES),
    )
    group: str | None = field(
        default=None, metadata=told("The GPU group to run on; null means any.", characters=MOST_LINE)
    )
    replicas: Count | Literal["auto"] = field(
        default="auto", metadata=told("Engines that answer it at once.", number=Within(1, 10_000))
    )
    gpus_per_replica: Count | Literal["auto"] = field(
        default="auto", metadata=told("Devices of one engine.", number=Within(1, MOST_GPUS))
    )
    model_size: Annotated[str, Within(most=20)] | None = field(
        default=None,
        metadata=told(
            "Parameters of a model whose files cannot be read before it is loaded: 70B, 1.5B, 350M."
        ),
    )
    scoring_mode: Literal["auto", "stock", "fast"] = field(
        default="auto",
        metadata=told(
            "How log-likelihoods are come to: stock, as lm_eval does; fast, with what requests of one context share"
            " computed once; auto, fast where no bit depends on it."
        ),
    )
    reuse_responses: bool = field(default=True, metadata=told("Take answers that are stored already."))
    wait_for_capacity: bool = field(
        default=False,
        metadata=told("Take the job though this cluster lacks what it needs: it waits until that is there."),
    )
    env: Environment = field(
        default_factory=dict, metadata=told("Names on the operator's allow-list only.", names=MOST_VARIABLES)
    )
    callback_url: str | None = field(default=None, metadata=told("Not in this version: it is refused."))

    def __post_init__(self) -> None:
        for item in fields(self):
            object.__setattr__(self, item.name, _frozen(getattr(self, item.name)))

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> LmEvalSpec:
        """As it was stored, by this version or an earlier one: what it did not know has its default."""
        known = {item.name for item in fields(cls)}
        return cls(**{name: _plain(value) for name, value in stored.items() if name in known})

    def to_json(self) -> dict[str, Any]:
        """As stored and shown; `from_json` is its inverse."""
        return {item.name: _plain(getattr(self, item.name)) for item in fields(self)}

    def outline(self) -> dict[str, Any]:
        """What lists show of it; `from_json` reads it too."""
        return {"model": self.model, "tasks": list(self.tasks)}

    @property
    def multiturn(self) -> bool | None:
        """As `lm_eval run` resolves it: on with a chat template unless switched off."""
        if self.fewshot_as_multiturn is None and self.apply_chat_template:
            return True
        return self.fewshot_as_multiturn

    @property
    def keeps_samples(self) -> bool:
        """Without metrics the samples are all there is, so predict_only always keeps them."""
        return self.log_samples or self.predict_only

    @property
    def asks_width(self) -> bool:
        """Whether the user said how many devices a replica has: that is a request, not a guess to be corrected."""
        return self.gpus_per_replica != "auto"

    @property
    def questions(self) -> str | None:
        """The same for jobs that ask the same of the same engine; None for one that wants all answered anew."""
        if not self.reuse_responses:
            return None
        asked = {name: value for name, value in self.to_json().items() if name not in BESIDE_QUESTIONS}
        return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()[:32]

    def faults(self) -> list[str]:
        """What `lm_eval run` refuses before it loads anything."""
        faults = []
        if self.limit is not None and self.samples:
            faults.append("limit and samples exclude each other")
        if self.limit is not None and self.limit <= 0:
            faults.append(f"limit must be positive, not {self.limit}")
        if self.fewshot_as_multiturn and not self.apply_chat_template:
            faults.append("fewshot_as_multiturn needs apply_chat_template")
        return faults

    @property
    def model_name(self) -> str:
        """What people call the model: its folder or name on the hub, else the backend."""
        return str(self.model_args.get("pretrained") or self.model)


def about(name: str) -> Told:
    """What is told of a field."""
    found: Told = LmEvalSpec.__dataclass_fields__[name].metadata["told"]
    return found


FIELDS: Final = tuple(item.name for item in fields(LmEvalSpec))


def _frozen(value: Any) -> Any:
    """Lists as tuples and objects as what nobody can write to; what lies deeper is lm-eval's, and stays as it is."""
    match value:
        case list():
            return tuple(value)
        case dict():
            return MappingProxyType(dict(value))
        case _:
            return value


def _plain(value: Any) -> Any:
    """A copy of JSON's own kinds."""
    match value:
        case list() | tuple():
            return [_plain(item) for item in value]
        case Mapping():
            return {name: _plain(item) for name, item in value.items()}
        case _:
            return value
