"""What a model's files say of it, without weights or torch: its configuration and its tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import AutoConfig, AutoTokenizer

from workers.harness_child.errors import MODEL_NOT_FOUND, TOKENIZER_ERROR, JobFailedError, unreadable
from workers.harness_child.lm_eval import hub
from workers.protocol.engine import EngineRecipe


def load_config(engine: EngineRecipe) -> Any:
    """As transformers knows the model; JobFailedError."""
    try:
        return AutoConfig.from_pretrained(
            engine.model,
            revision=str(engine.revision or "main"),
            trust_remote_code=bool(engine.args.get("trust_remote_code")),
            subfolder=engine.args.get("subfolder") or "",
        )
    except OSError as error:
        said = str(error)
        raise unreadable(MODEL_NOT_FOUND, engine.model, said, unreachable=hub.unreachable(error)) from error
    except Exception as error:
        raise JobFailedError(TOKENIZER_ERROR, str(error)) from error


def load_tokenizer(name: str, options: Mapping[str, Any]) -> Any:
    """The tokenizer of a model; JobFailedError."""
    try:
        return AutoTokenizer.from_pretrained(name, **options)
    except Exception as error:
        raise unreadable(TOKENIZER_ERROR, name, str(error), unreachable=hub.unreachable(error)) from error
