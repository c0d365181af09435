"""Train a tiny Llama on made-up sentences. Run with the hf backend's Python: train_tiny_llama.py FOLDER HEADS.

Two layers, about 400 tokens, float32. It has a begin-of-text token that its tokenizer adds and a chat template,
so that whatever depends on those is exercised. The same script makes the same model.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

BOS, EOS = "<|begin|>", "<|end|>"
STEPS, BATCH, LENGTH = 250, 16, 96
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}[{{ message['role'] }}] {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)


def sentences(rng: random.Random) -> Iterator[str]:
    """Endless small stories with something to predict in them."""
    names = ["Anna", "Ben", "Clara", "David", "Emma", "Felix"]
    things = ["apples", "books", "coins", "eggs", "pencils", "stones"]
    places = {"fish": "water", "birds": "the sky", "moles": "the ground", "bears": "the forest"}
    while True:
        name, thing = rng.choice(names), rng.choice(things)
        have, more = rng.randint(1, 9), rng.randint(1, 9)
        yield f"{name} has {have} {thing} and finds {more} more. Now {name} has {have + more} {thing}."
        animal = rng.choice(list(places))
        yield f"Question: Where do {animal} live?\nAnswer: in {places[animal]}\n"
        yield f"Question: What is {have} + {more}?\nAnswer: {have + more}\n"


def make_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=[BOS, EOS], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, 0)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS, chat_template=CHAT_TEMPLATE
    )


def train(tokenizer: PreTrainedTokenizerFast, texts: list[str], heads: int) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        max_position_embeddings=512,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    ids = torch.tensor([token for text in texts for token in tokenizer.encode(text + EOS)])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(STEPS):
        starts = torch.randint(len(ids) - LENGTH, (BATCH,)).tolist()
        batch = torch.stack([ids[start : start + LENGTH] for start in starts])
        optimizer.zero_grad()
        model(input_ids=batch, labels=batch).loss.backward()
        optimizer.step()
    return model


def main(folder: str, heads: int) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    stories = sentences(random.Random(0))
    texts = [next(stories) for _ in range(3000)]
    tokenizer = make_tokenizer(texts)
    train(tokenizer, texts, heads).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
