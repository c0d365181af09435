"""Every way to fail that a machine without a GPU can provoke, by name, as the table has them."""

from __future__ import annotations

from tests.vllm_failures.ends import DEATHS, HOST
from tests.vllm_failures.refusals import ADAPTERS, ARGUMENTS, FILES, HUB

CASES = {case.name: case for case in (*ARGUMENTS, *FILES, *ADAPTERS, *HUB, *DEATHS, *HOST)}
