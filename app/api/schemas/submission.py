"""What is posted: lm-eval's own names (`lm_eval run`, 0.4.13), and evalq's beside them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
)
from pydantic_core import PydanticCustomError

from app.api.schemas.job import PlanOut
from app.web.problems import Fault

BIGINT = 2**63 - 1

Count = Annotated[StrictInt, Field(ge=0, le=BIGINT)]
Number = Annotated[StrictInt, Field(le=BIGINT)] | StrictFloat
Text = Annotated[StrictStr, Field(max_length=200)]
Tags = Annotated[list[Annotated[StrictStr, Field(min_length=1, max_length=100)]], Field(max_length=50)]
Priority = Annotated[StrictInt, Field(ge=0, le=100, description="Higher goes first.")]
Seeds = Annotated[list[Annotated[StrictInt, Field(ge=-BIGINT, le=BIGINT)] | None], Field(max_length=4)]


def _few(value: Any) -> Any:
    """Refused before its parts are looked at: each of ten thousands would be a fault of its own."""
    if isinstance(value, dict) and len(value) > 200:
        raise PydanticCustomError("too_long", "Dictionary should have at most 200 names")
    return value


Few = BeforeValidator(_few)
Arguments = dict[str, Any] | StrictStr

EXAMPLE: JsonValue = {
    "model": "hf",
    "model_args": {"pretrained": "HuggingFaceTB/SmolLM2-135M-Instruct", "dtype": "float32"},
    "tasks": ["arc_easy", "gsm8k"],
    "num_fewshot": 5,
    "batch_size": "auto",
    "limit": 100,
}


class JobIn(BaseModel):
    """A job to submit. Only `model`, `model_args.pretrained` and `tasks` are required, or `command`."""

    model_config = ConfigDict(
        extra="forbid",
        protected_namespaces=(),
        json_schema_extra={"examples": [EXAMPLE, {"command": "lm_eval run --model hf --tasks gsm8k ..."}]},
    )

    command: StrictStr | None = Field(
        None, description="A pasted `lm_eval` command line; fields beside it win."
    )
    model: StrictStr | None = Field(None, description="The backend: hf, vllm, ...")
    model_args: Arguments | None = Field(None, description="An object, or lm-eval's `k=v,k=v`.")
    tasks: Annotated[list[StrictStr], Field(max_length=2000)] | StrictStr | None = Field(
        None, description="A list, or names with commas between."
    )
    num_fewshot: Count | None = None
    batch_size: Count | StrictStr | None = Field(None, description="A number, `auto` or `auto:N`.")
    max_batch_size: Count | None = None
    limit: Number | None = Field(None, description="Documents per task; below 1, a share of them.")
    samples: dict[str, Any] | StrictStr | None = Field(None, description="Document indices per task.")
    gen_kwargs: Arguments | None = None
    apply_chat_template: StrictBool | StrictStr | None = None
    system_instruction: StrictStr | None = None
    fewshot_as_multiturn: StrictBool | None = None
    log_samples: StrictBool | None = None
    predict_only: StrictBool | None = None
    seed: Seeds | StrictInt | StrictStr | None = Field(
        None, description="One seed, or four: python, numpy, torch (samples are drawn by it), few-shot."
    )
    confirm_run_unsafe_code: StrictBool | None = None
    trust_remote_code: StrictBool | None = None
    metadata: Arguments | None = None
    bootstrap_iters: Count | None = None
    name: Text | None = None
    priority: Priority | None = None
    tags: Tags | None = None
    deadline_seconds: Annotated[StrictInt | StrictFloat, Field(gt=0, le=10**9)] | None = None
    group: StrictStr | None = Field(None, description="The GPU group to run on; null means any.")
    replicas: Count | Literal["auto"] | None = None
    gpus_per_replica: Count | Literal["auto"] | None = None
    reuse_responses: StrictBool | None = Field(None, description="Take answers that are stored already.")
    env: Annotated[dict[str, StrictStr], Few] | None = Field(
        None, description="Names on the operator's allow-list only."
    )
    callback_url: StrictStr | None = None


class JobPatch(BaseModel):
    """What may change after submission; what is absent stays."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "nightly", "priority": 80, "tags": ["a"]}]}
    )

    name: Text = ""
    priority: Priority = 50
    tags: Tags = []


class DryRunOut(BaseModel):
    """What would become of a job; nothing was stored."""

    valid: bool
    plan: PlanOut | None
    errors: list[Fault]
    tasks: list[str] = Field(description="Leaf tasks the names expand to.")
    notes: list[str]
