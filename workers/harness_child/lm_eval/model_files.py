"""What a model's files say of it, without weights or torch: its configuration and its tokenizer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, try_to_load_from_cache
from transformers import AutoConfig, AutoTokenizer
from transformers.utils import cached_file

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


def has_file(name: str, revision: str | None, *patterns: str) -> bool:
    """Whether a file of the folder or the repository is called so; of a hub that does not answer, what is cached."""
    return any(fnmatch(file, pattern) for file in _files(name, revision) for pattern in patterns)


def stated(name: str, revision: str | None, file: str) -> dict[str, Any]:
    """What a JSON file says that a model may come without."""
    lenient = dict.fromkeys(
        [f"_raise_exceptions_for_{what}" for what in ("missing_entries", "connection_errors", "gated_repo")],
        False,
    )
    path = cached_file(name, file, revision=revision, **lenient)
    found = json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
    return found if isinstance(found, dict) else {}


def _files(name: str, revision: str | None) -> list[str]:
    if Path(name).is_dir():
        return [path.name for path in Path(name).iterdir()]
    try:
        return list(HfApi().list_repo_files(name, revision=revision))
    except Exception:  # noqa: BLE001 - the hub cannot be asked, or knows nothing of it
        kept = try_to_load_from_cache(name, "config.json", revision=revision)
        return [path.name for path in Path(kept).parent.iterdir()] if isinstance(kept, str) else []
