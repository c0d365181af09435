"""A Llama of random weights in bfloat16: `random_llama.py TOKENIZER FOLDER SIZES`, with the hf backend's Python.

SIZES is JSON for LlamaConfig. Scores of random weights mean nothing; memory, speed and rounding are real ones.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM


def main(tokenizer: str, folder: str, sizes: str) -> None:
    """Write the model's folder; the same sizes give the same weights on the same machine."""
    known = AutoTokenizer.from_pretrained(tokenizer)
    config = LlamaConfig(
        **json.loads(sizes),
        bos_token_id=known.bos_token_id,
        eos_token_id=known.eos_token_id,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.device(device):
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    known.save_pretrained(folder)
    # Nothing but where a text begins and ends: no settings of generation that a job did not ask for.
    path = Path(folder) / "generation_config.json"
    path.write_text(json.dumps({"bos_token_id": known.bos_token_id, "eos_token_id": known.eos_token_id}))


if __name__ == "__main__":
    main(*sys.argv[1:])
