"""What an answer depends on beside its request: engines of equal fingerprint share answers."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

from huggingface_hub import try_to_load_from_cache

from workers.protocol.engine import EngineRecipe, ScoringMode
from workers.protocol.harness import EngineRules, PromptShapes

_MODELS = ("tokenizer", "peft", "lora_local_path", "delta")
"""Arguments that name another folder or repository, which counts by its content."""

CONFIG = "config.json"
TOKENIZER = "tokenizer_config.json"

VLLM_DEFAULTS: Mapping[str, object] = {
    "dtype": "auto",
    "max_gen_toks": 256,
    "trust_remote_code": False,
    "truncation_side": "left",
}
"""Of lm-eval's VLLM: to say them is to say nothing."""

_READ_WHOLE = 16 << 20
_BLOCK = 64 << 10
_BLOCKS = 16


def fingerprint(engine: EngineRecipe, rules: EngineRules) -> bytes:
    """Hash of the model's content and of all that can change an answer."""
    parts: dict[str, object] = {
        "backend": engine.backend,
        "backend_key": rules.key,
        "lm_eval": version("lm_eval"),
        "model": content(engine.model, engine.revision, config_file(engine)),
        "args": {name: _value(engine, name) for name in _counting(engine, rules)},
        "env": {name: value for name, value in engine.env.items() if not name.startswith("NCCL_")},
    }
    if rules.answers is not None:
        parts["engine"] = rules.answers
    if engine.scoring_mode is not ScoringMode.STOCK:
        parts["scoring_mode"] = engine.scoring_mode
    if rules.shapes is PromptShapes.VLLM:
        parts["tokenizer"] = tokenizer_content(engine, rules)
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).digest()


def _counting(engine: EngineRecipe, rules: EngineRules) -> set[str]:
    """Arguments that an answer may depend on, beside its request."""
    names = engine.args.keys() - set(rules.neutral)
    if rules.shapes is not PromptShapes.VLLM:
        return names
    return {name for name in names if engine.args[name] not in (None, VLLM_DEFAULTS.get(name))}


def tokenizer_content(engine: EngineRecipe, rules: EngineRules) -> str:
    """That of the tokenizer, which may be of another model, or of another revision of this one."""
    own = engine.args.get("tokenizer")
    if rules.shapes is PromptShapes.VLLM:
        return content(own or engine.model, engine.args.get("tokenizer_revision"), TOKENIZER)
    if own:
        return content(own, engine.revision)
    return content(engine.model, engine.revision, config_file(engine))


def config_file(engine: EngineRecipe) -> str:
    """Where in its repository the model is described: other repositories than plain ones have no `config.json`."""
    file, folder = engine.args.get("gguf_file") or CONFIG, engine.args.get("subfolder")
    return f"{folder}/{file}" if folder else str(file)


def content(model: str, revision: str | None, file: str = CONFIG) -> str:
    """A local folder's content hash, or a repository's commit (its revision where no commit is known)."""
    folder = Path(model)
    if folder.is_dir():
        return f"sha256:{_folder_hash(folder)}"
    return f"{model}@{commit(model, revision, file) or revision or 'main'}"


def commit(model: str, revision: str | None, file: str = CONFIG) -> str | None:
    """The commit that the local hub cache holds for a revision of a repository, if it holds this file of it."""
    if revision and re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision
    if Path(model).exists():
        return None
    found = try_to_load_from_cache(model, file, revision=revision or "main")
    return Path(found).parents[len(Path(file).parts) - 1].name if isinstance(found, str) else None


def _value(engine: EngineRecipe, name: str) -> object:
    value = engine.args[name]
    return content(value, engine.revision) if name in _MODELS and isinstance(value, str) else value


def _folder_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in _files(folder):
        stat = path.stat()
        digest.update(str(path.relative_to(folder)).encode() + b"\0")
        digest.update(_file_hash(path, stat.st_size, stat.st_mtime_ns))
    return digest.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden:
            yield path


@functools.cache
def _file_hash(path: Path, size: int, mtime_ns: int) -> bytes:
    """All of a small file; the size and evenly spaced blocks of a big one, which weights cannot share."""
    del mtime_ns  # only there to forget a file that changed
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        if size <= _READ_WHOLE:
            digest.update(file.read())
            return digest.digest()
        for block in range(_BLOCKS):
            file.seek((size - _BLOCK) * block // (_BLOCKS - 1))
            digest.update(file.read(_BLOCK))
    return digest.digest()
