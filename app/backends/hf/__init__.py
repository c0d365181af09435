"""The hf backend: models as transformers loads them, asked as lm-eval's HFLM asks them."""

from app.backends.backend import Backend, Batching, Shapes
from app.backends.hf.architectures import ARCHITECTURES
from app.backends.hf.arguments import ARGUMENTS
from app.backends.hf.gguf import GGUF
from app.backends.hf.loading import MEMORY, PARALLELISM, settle
from app.backends.hf.scoring import choose
from app.backends.remedies import wider
from app.backends.signatures import HOST_SIGNATURES, HUB_SIGNATURES, TORCH_SIGNATURES, FailureTexts
from app.domain.engine_spec import EngineSpec
from app.domain.failure import Failure, FailureCode
from app.domain.remedy import Circumstances, Remedy


def remedy(engine: EngineSpec, failure: Failure, now: Circumstances) -> Remedy | None:
    """More devices; batches that do not fit are halved by the engine itself."""
    short_of_memory = failure.code is FailureCode.GPU_OUT_OF_MEMORY
    return wider(engine, now, PARALLELISM.switch) if short_of_memory else None


BACKEND = Backend(
    name="hf",
    model_names=("hf", "huggingface", "hf-auto"),
    lock="hf.txt",
    imports=("torch", "lm_eval.models.huggingface"),
    answers=2,  # log-likelihoods in the model's dtype unless `softmax_dtype` names another, every sample by itself
    arguments=ARGUMENTS,
    parallelism=PARALLELISM,
    memory=MEMORY,
    settle=settle,
    architectures=ARCHITECTURES,
    gguf=GGUF,
    scoring=choose,
    shapes=Shapes.HFLM,
    batching=Batching(whole=True, grouped="logits_cache"),
    texts=FailureTexts((*HOST_SIGNATURES, *TORCH_SIGNATURES, *HUB_SIGNATURES)),
    remedy=remedy,
)
