"""How many requests of a length really fit on the GPU at once: `largest_batch.py MODEL DTYPE LENGTH MOST`.

Searched by doing what the hf engine does with them, with the hf backend's Python: two batches, since HFLM keeps
one's log-probabilities while it computes the next. Prints the number.
"""

from __future__ import annotations

import sys

import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils_hf import clear_torch_cache


def fits(lm: HFLM, size: int, length: int) -> bool:
    """Whether two batches of this size are answered."""
    lm.batch_size_per_gpu = size
    context = [1] * (length - 2)
    pairs = [(("", ""), [2 + row % 200, 2 + row // 200, *context], [3]) for row in range(2 * size)]
    try:
        lm._loglikelihood_tokens(pairs, disable_tqdm=True)
    except torch.OutOfMemoryError:
        return False
    finally:
        clear_torch_cache()
    return True


def main(model: str, dtype: str, length: int, most: int) -> None:
    """Halve the interval between what fits and what does not."""
    lm = HFLM(model, dtype=dtype, device="cuda", batch_size=1)
    least = 0
    while least < most:
        middle = (least + most + 1) // 2
        least, most = (middle, most) if fits(lm, middle, length) else (least, middle - 1)
    sys.stdout.write(f"{least}\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
