"""What a child sees of its supervisor's environment: what it needs to compute, and no credentials."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

_NAMES = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|LANG|LC_\w+|TZ|TMPDIR|XDG_\w+|LD_LIBRARY_PATH|LD_PRELOAD|SSL_CERT_\w+|REQUESTS_CA_BUNDLE"
    r"|NO_PROXY|no_proxy|OMP_\w+|MKL_\w+|KMP_\w+|OPENBLAS_\w+|TOKENIZERS_PARALLELISM|HF_\w+|TRANSFORMERS_\w+|TORCH\w*|PYTORCH_\w+"
    r"|TRITON_\w+|NCCL_\w+|GLOO_\w+|UCX_\w+|CUDA_\w+|NVIDIA_\w+|VLLM_\w+|SGLANG_\w+|RAY_\w+|NLTK_DATA|PYTHON\w+"
)
_FOLDERS = re.compile(r"\w*(PATH|HOME|DIR|_FILE)|HF_\w*CACHE|TRANSFORMERS_CACHE|NLTK_DATA|REQUESTS_CA_BUNDLE")
_SECRET = re.compile(r"TOKEN(?!IZER)|SECRET|PASSW|CREDENTIAL|(^|_)KEY(_|$)|AUTH", re.IGNORECASE)


def child_environment(
    base: Mapping[str, str], allow: Iterable[str] = (), extra: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The environment for a child: the usual names of `base`, those the operator allows, `extra` over them.

    What looks like a credential passes only by its name in `allow`; evalq's own settings (the database's and
    the broker's addresses among them) pass not even then. A child runs in another folder: what names files
    from the current one is made to name them from anywhere.
    """
    allowed = frozenset(allow)
    passed = {name: _from_anywhere(name, value) for name, value in base.items() if _passes(name, allowed)}
    return passed | dict(extra or {})


def _passes(name: str, allowed: frozenset[str]) -> bool:
    if name.upper().startswith("EVALQ_"):
        return False
    return name in allowed or (_NAMES.fullmatch(name) is not None and not _SECRET.search(name))


def _from_anywhere(name: str, value: str) -> str:
    if _FOLDERS.fullmatch(name) is None or "://" in value:
        return value
    return os.pathsep.join(map(_absolute, value.split(os.pathsep)))


def _absolute(path: str) -> str:
    return path if not path or path.startswith("~") else str(Path(path).absolute())
