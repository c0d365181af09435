"""The command: prepares environments where it is told to, then runs the checks."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.gpu.stand_in import ROOT, prepare

OF_HF = ("inventory", "parity", "memory", "kills", "offload", "speed", "cold-starts")
OF_VLLM = (
    "vllm-starts",
    "vllm-parity",
    "vllm-ladder",
    "vllm-kills",
    "vllm-speed",
    "vllm-scoring",
    "vllm-cold-starts",
)
NAMES = (*OF_HF, *OF_VLLM)
"""Known before anything is installed."""


def main() -> int:
    """0 where every check that ran held, and where there is no GPU."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/gpu.json"), help="where the figures go")
    parser.add_argument("--logs", type=Path, help="a folder for the service's own logs")
    parser.add_argument("--only", default="", help="names of checks, separated by commas, in this order")
    parser.add_argument(
        "--cpu", action="store_true", help="in small on a CPU slot, to try the checks themselves"
    )
    parser.add_argument(
        "--wheels", type=Path, help="folder of wheels that this Python lacks; no index is asked"
    )
    parser.add_argument(
        "--vllm", type=Path, help="beside --wheels: a folder with vllm itself and with its wheels in w"
    )
    args = parser.parse_args()
    args.only = [name for name in args.only.split(",") if name]
    if unknown := sorted(set(args.only) - set(NAMES)):
        parser.error(f"there is no check {', '.join(unknown)}; there are {', '.join(NAMES)}")
    if args.wheels and not any(args.wheels.glob("*.whl")):
        parser.error(f"there are no wheels in {args.wheels}")
    if args.vllm and not (args.wheels and (args.vllm / "vllm").is_dir()):
        parser.error(f"--vllm goes with --wheels, and there has to be a folder vllm in {args.vllm}")
    if args.wheels and not args.vllm and set(args.only) & set(OF_VLLM):
        parser.error("checks of vLLM without a package index need --vllm")
    if args.wheels:
        return _with_wheels(args)
    from tests.gpu.run import run

    return run(args.out, args.logs, cpu=args.cpu, only=args.only)


def _with_wheels(args: argparse.Namespace) -> int:
    """Do the same again in environments made of the wheels."""
    with tempfile.TemporaryDirectory(prefix="evalq-gpu-", ignore_cleanup_errors=True) as name:
        room = Path(name)
        room.chmod(0o755)  # Postgres runs as another account where we are root
        vllm = args.vllm and args.vllm.resolve()
        python = prepare(args.wheels.resolve(), room, room / "cache", vllm)
        command = [
            str(python),
            "-m",
            "tests.gpu",
            "--out",
            str(args.out.resolve()),
            "--only",
            ",".join(args.only or (NAMES if args.vllm else OF_HF)),
        ]
        command += ["--logs", str(args.logs.resolve())] if args.logs else []
        command += ["--cpu"] if args.cpu else []
        env = os.environ | {"EVALQ_CACHE": str(room / "cache")}
        return subprocess.run(command, env=env, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
