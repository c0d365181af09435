"""What is known here of GGUF files is what the pinned packages of the hf backend say."""

from __future__ import annotations

import json
import subprocess

from transformers.integrations.ggml import GGUF_CONFIG_MAPPING
from transformers.integrations.gguf.gguf_config_mapping import GGUF_CONFIG_ARCHS

from app.backends.hf.gguf import GGUF
from app.models.gguf_header import BLOCKS
from app.settings import Settings
from tests.tiny_models import hf_python

IN_FILES = {
    "qwen2_moe": "qwen2moe",
    "qwen3_moe": "qwen3moe",
    "gpt_oss": "gpt-oss",
    "minimax_m2": "minimax-m2",
}
"""What `load_gguf_checkpoint` renames; it reads t5encoder as t5."""


def test_the_architectures_are_those_of_transformers() -> None:
    known = GGUF_CONFIG_MAPPING.keys() - {"general", "tokenizer"} | GGUF_CONFIG_ARCHS.keys() | {"t5encoder"}
    assert sorted(IN_FILES.get(name, name) for name in known) == list(GGUF.architectures)


def test_the_sizes_of_blocks_are_those_of_the_gguf_package() -> None:
    program = "import gguf, json; print(json.dumps({int(t): s for t, s in gguf.GGML_QUANT_SIZES.items()}))"
    told = subprocess.run(
        [str(hf_python(Settings().cache_dir)), "-c", program], capture_output=True, text=True, check=True
    )
    assert {int(kind): tuple(size) for kind, size in json.loads(told.stdout).items()} == BLOCKS
