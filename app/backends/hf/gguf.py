"""What the hf backend makes of GGUF files: facts about its pinned transformers, which a test holds against it."""

from app.backends.backend import GgufFiles

_ARCHITECTURES = (
    "bloom",
    "deci",
    "falcon",
    "gemma2",
    "gemma3",
    "gemma4",
    "gpt-oss",
    "gpt2",
    "lfm2",
    "llama",
    "mamba",
    "minimax-m2",
    "mistral",
    "nemotron",
    "phi3",
    "qwen2",
    "qwen2moe",
    "qwen3",
    "qwen35",
    "qwen35moe",
    "qwen3moe",
    "stablelm",
    "starcoder2",
    "t5",
    "t5encoder",
    "umt5",
)
GGUF = GgufFiles(_ARCHITECTURES, dtype="float32", excluded=("load_in_8bit", "load_in_4bit"))
