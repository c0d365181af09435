"""Another process on the GPU: `ballast.py LEAVE_BYTES` holds all memory but that much until its input ends."""

from __future__ import annotations

import sys

import torch

if __name__ == "__main__":
    free, _ = torch.cuda.mem_get_info()
    held = torch.empty(max(free - int(sys.argv[1]), 0), dtype=torch.uint8, device="cuda")
    sys.stdout.write(f"{held.numel()}\n")
    sys.stdout.flush()
    sys.stdin.read()
