"""Model folders for tests, made on first use and kept in evalq's cache."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

from app.backends import install, python_of

_TRAIN = Path(__file__).with_name("train_tiny_llama.py")
_WRITE_GGUF = Path(__file__).with_name("write_gguf.py")


def hf_python(cache_dir: Path) -> Path:
    """The interpreter of the hf backend's environment, installed on first use."""
    install("hf", cache_dir)
    return python_of("hf", cache_dir)


def tiny_llama(cache_dir: Path) -> Path:
    """The folder of a Llama that takes milliseconds to run; a changed training script makes a new one."""
    digest = hashlib.sha256(_TRAIN.read_bytes()).hexdigest()[:12]
    folder = cache_dir / "models" / f"tiny-llama-{digest}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        _train(hf_python(cache_dir), folder)
    return folder


def tiny_gguf(cache_dir: Path) -> Path:
    """The same model as a GGUF file, its weights in eight bits."""
    model = tiny_llama(cache_dir)
    digest = hashlib.sha256(_WRITE_GGUF.read_bytes()).hexdigest()[:12]
    file = cache_dir / "models" / f"{model.name}-gguf-{digest}" / "tiny.Q8_0.gguf"
    if not file.is_file():
        file.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent.parent) as scratch:
            written = Path(scratch) / file.name
            subprocess.run(
                [str(hf_python(cache_dir)), str(_WRITE_GGUF), str(model), str(written)], check=True
            )
            written.rename(file)
    return file


def _train(python: Path, folder: Path) -> None:
    """Train it aside and move it in place whole; of two at once, either one's is kept."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        model = Path(scratch) / "model"
        quiet = {"TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1"}
        subprocess.run([str(python), str(_TRAIN), str(model)], check=True, env=os.environ | quiet)
        try:
            model.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
