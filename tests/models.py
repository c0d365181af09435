"""Model folders for tests, made on first use and kept in evalq's cache."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

from app.backends import install, python_of

_TRAIN = Path(__file__).with_name("train_tiny_llama.py")


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
