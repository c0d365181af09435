"""What the `#SBATCH` lines of a script ask for, as far as it says how many GPUs a command meets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

_NAMES = {"N": "nodes", "n": "ntasks", "G": "gpus", "c": "cpus-per-task", "a": "array"}
_GPUS = re.compile(r"(?:gpu:)?(?:[A-Za-z][\w.-]*:)?(\d{1,5})(?:\(.*)?")


@dataclass(frozen=True)
class Allocation:
    """Nodes and GPUs as SLURM would give them; None where nothing is said of it."""

    asked: dict[str, str] = field(default_factory=dict)
    """Every option by its long name."""

    @property
    def nodes(self) -> int | None:
        """Nodes, where one number says it."""
        return _whole(self.asked.get("nodes"))

    @property
    def gpus_per_node(self) -> int | None:
        """GPUs that a process sees on its node."""
        each = self._gpus("gpus-per-node") or self._gpus("gres")
        if each is None and (all_gpus := self._gpus("gpus")):
            each = all_gpus // (self.nodes or 1) or None
        if each is None and (of_task := self._gpus("gpus-per-task")):
            each = of_task * (_whole(self.asked.get("ntasks-per-node")) or 1)
        return each

    @property
    def variables(self) -> dict[str, str]:
        """What SLURM would tell the script of it."""
        tasks = _whole(self.asked.get("ntasks"))
        per_node = _whole(self.asked.get("ntasks-per-node"))
        if tasks is None and self.nodes and per_node:
            tasks = self.nodes * per_node
        told = {
            "SLURM_NNODES": self.nodes,
            "SLURM_JOB_NUM_NODES": self.nodes,
            "SLURM_NTASKS": tasks,
            "SLURM_NPROCS": tasks,
            "SLURM_NTASKS_PER_NODE": per_node,
            "SLURM_GPUS_PER_NODE": self.gpus_per_node,
            "SLURM_GPUS_ON_NODE": self.gpus_per_node,
            "SLURM_CPUS_PER_TASK": _whole(self.asked.get("cpus-per-task")),
        }
        return {name: str(number) for name, number in told.items() if number is not None}

    def over(self, other: Allocation) -> Allocation:
        """Its own options, and where it has none those of the other."""
        return Allocation(other.asked | self.asked)

    def notes(self) -> list[str]:
        """What becomes of the lines; nothing where there are none."""
        if not self.asked:
            return []
        read = [f"{self.nodes} nodes"] if self.nodes else []
        read += [f"{self.gpus_per_node} GPUs per node"] if self.gpus_per_node else []
        told = f"read as {', '.join(read)}; the rest" if read else "not needed: they"
        notes = [
            f"#SBATCH lines are {told} {'is' if read else 'are'} SLURM's, and evalq queues the job itself"
        ]
        if "array" in self.asked:
            notes.append("#SBATCH --array would start several jobs: this is one of them")
        return notes

    def _gpus(self, name: str) -> int | None:
        parts = [part for part in self.asked.get(name, "").split(",") if name != "gres" or "gpu" in part]
        found = [match for part in parts if (match := _GPUS.fullmatch(part.strip()))]
        return sum(int(match[1]) for match in found) or None


def read_directives(text: str) -> Allocation:
    """What the `#SBATCH` lines above the first command say."""
    asked: dict[str, str] = {}
    for line in text.splitlines():
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            break
        if stripped.startswith("#SBATCH"):
            asked |= dict(_options(stripped.split()[1:]))
    return Allocation(asked)


def read_srun(words: Sequence[str]) -> Allocation:
    """What options of `srun` say."""
    return Allocation(dict(_options(words)))


def _options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    for index, word in enumerate(words):
        if word.startswith("#"):
            return
        after = partial(_following, words, index)
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            yield name, value if equals else after()
        elif word.startswith("-") and word[1:2] in _NAMES:
            yield _NAMES[word[1]], word[2:].lstrip("=") or after()


def _following(words: Sequence[str], index: int) -> str:
    following = words[index + 1] if index + 1 < len(words) else ""
    return "" if following.startswith("-") else following


def _whole(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"[1-9][0-9]{0,5}", text) else None
