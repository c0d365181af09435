"""The vllm backend: models as vLLM loads them on GPUs, asked as lm-eval's VLLM asks them."""

from app.backends.backend import Backend, Shapes
from app.backends.elsewhere import VLLM
from app.backends.remedies import Limit, server_remedies
from app.backends.vllm.texts import TEXTS

LIMITS = {"max_num_seqs": Limit(256, 8), "max_num_batched_tokens": Limit(8192, 512)}

BACKEND = Backend(
    name="vllm",
    model_names=("vllm",),
    lock="vllm.txt",
    devices=frozenset({"cuda"}),
    parallelism=VLLM,
    shapes=Shapes.VLLM,
    texts=TEXTS,
    remedy=server_remedies(LIMITS),
)
