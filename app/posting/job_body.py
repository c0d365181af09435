"""What is posted as a job: lm-eval's own names (`lm_eval run`, 0.4.13), and evalq's beside them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, StrictStr, create_model

from app.posting.fields import few, posted_fields
from app.workloads.lm_eval.reading.pasted import MOST_FILES
from app.workloads.lm_eval.spec import MOST_VARIABLES

EXAMPLE: JsonValue = {
    "model": "hf",
    "model_args": {"pretrained": "HuggingFaceTB/SmolLM2-135M-Instruct", "dtype": "float32"},
    "tasks": ["arc_easy", "gsm8k"],
    "num_fewshot": 5,
    "batch_size": "auto",
    "limit": 100,
}


class _Posted(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        protected_namespaces=(),
        json_schema_extra={"examples": [EXAMPLE, {"command": "lm_eval run --model hf --tasks gsm8k ..."}]},
    )

    command: StrictStr | None = Field(
        None,
        description="A pasted `lm_eval` command line, or a script with one in it; fields beside it win.",
    )
    variables: Annotated[dict[str, StrictStr], BeforeValidator(few(MOST_VARIABLES))] | None = Field(
        None, description="Values of `$NAME` and `<name>` in the command, by name."
    )
    files: Annotated[dict[str, dict[str, Any]], BeforeValidator(few(MOST_FILES))] | None = Field(
        None,
        description="What files hold that the command names: lm-eval's `--config`, accelerate's `--config_file`.",
    )


JobIn = create_model(
    "JobIn",
    __base__=_Posted,
    __doc__="A job to submit. Only `model`, `model_args.pretrained` and `tasks` are required, or `command`.",
    **posted_fields(),
)
