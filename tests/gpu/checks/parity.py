"""A job's answers beside those of `lm_eval run` on the same device."""

from __future__ import annotations

from app.gpus.nvml import driver_versions
from tests.gpu.bench import ALL_TASKS, Bench, Figures
from tests.gpu.difference import difference, outcome
from tests.gpu.engines import HF, VLLM


def parity(bench: Bench) -> Figures:
    """Log-likelihoods, generation and rolling: equal to the last bit in float32; in bfloat16 what differs is told."""
    return _compared(bench, HF)


def vllm_parity(bench: Bench) -> Figures:
    """The same of vLLM beside lm-eval's own class for it, in stock scoring."""
    return _compared(bench, VLLM)


def _compared(bench: Bench, model: str) -> Figures:
    figures: Figures = {}
    documents = bench.scale.parity_documents
    for dtype in bench.engines[model].dtypes if bench.gpu else ("float32",):
        body = bench.body(documents, ALL_TASKS, model, model_args={"dtype": dtype})
        job_id = bench.service.submit(body)
        theirs, _ = bench.lm_eval(documents, ALL_TASKS, dtype, model)
        job = bench.service.finished(job_id)
        assert job["status"] == "succeeded", job["error"]
        found = difference(outcome(bench.service, job_id), (theirs.results, theirs.samples))
        figures[dtype] = found.figures()
        if dtype == "float32":
            assert found.none, found
        elif model == VLLM:
            assert found.near, found
        _check_provenance(bench, job_id, dtype)
        bench.service.release()
    return figures


def _check_provenance(bench: Bench, job_id: str, dtype: str) -> None:
    """The result names what it was computed on."""
    (engine,) = bench.service.results(job_id)["evalq"]["engines"]
    assert engine["dtype"] == dtype, engine
    if bench.gpu is None:
        return
    driver = driver_versions()
    assert driver is not None
    assert engine["gpus"] == [bench.gpu.name], engine
    assert (engine["driver"], engine["driver_cuda"]) == (driver.driver, driver.cuda), engine
