"""Entry of the fork server: `python -P -m workers.harness_child.main`, with its control socket in EVALQ_FD."""

from __future__ import annotations

import importlib
import logging
import os
import socket

from workers.harness_child.fork_server import ForkServer
from workers.harness_child.late import as_if_absent, put_off
from workers.protocol.log_lines import log_so

SETTINGS = {
    "TOKENIZERS_PARALLELISM": "false",  # its threads do not survive a fork
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TQDM_DISABLE": "1",  # bars are no text for a log
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
}
"""Set before the libraries that read them are imported."""

PRELOADED = (
    "lm_eval.evaluator",
    "lm_eval.tasks",
    "lm_eval.api.task",
    "lm_eval.filters",
    "lm_eval.api.metrics",
    "lm_eval.loggers.evaluation_tracker",
    "datasets.packaged_modules.json.json",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.auto.configuration_auto",
    "transformers.tokenization_utils_tokenizers",
)


def main() -> None:
    """Preload, then fork a child per order until the coordinator worker is gone."""
    os.environ.update(SETTINGS)
    preload()
    utils = importlib.import_module("lm_eval.utils")
    utils.setup_logging()
    log_so(logging.WARNING, "lm_eval")
    evaluate = importlib.import_module("workers.harness_child.lm_eval.evaluate")
    control = socket.socket(fileno=int(os.environ.pop("EVALQ_FD")))
    ForkServer(control, evaluate.serve).run()


def preload() -> None:
    """Import what every job needs, and little else: idle or not, it stays in memory.

    Requests imports chardet's tables, 11 MiB, for pages that do not say how they are encoded; portalocker imports
    redis, of which evalq brings one, for a lock that nobody here takes.
    """
    put_off("chardet")
    with as_if_absent("redis"):
        for name in PRELOADED:
            importlib.import_module(name)


if __name__ == "__main__":
    main()
