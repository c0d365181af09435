from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

from tests.faults.failpoints import ELSEWHERE, EMPTY_TOO, FAILPOINTS, READS, TWICE

SERVICES = Path(__file__).parents[2] / "app" / "services"
LISTED = {method for methods in FAILPOINTS.values() for method in methods}


def transactions() -> Counter[str]:
    """How many transactions each method of the services has, by its name as fail points write it."""
    found: Counter[str] = Counter()
    for path in SERVICES.rglob("*.py"):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef):
                found[f"{path.stem}.{function.name}"] += sum(map(_begins, ast.walk(function)))
    return +found


def _begins(node: ast.AST) -> bool:
    return isinstance(node, ast.With) and any(
        ast.unparse(item.context_expr).endswith(("sessions.begin()", "sessions.briefly()"))
        for item in node.items
    )


def test_every_method_that_commits_is_a_fail_point_or_known_to_read_only() -> None:
    assert set(transactions()) == LISTED | READS | ELSEWHERE
    assert not LISTED & READS
    assert not LISTED & ELSEWHERE


def test_every_transaction_of_a_fail_point_is_visited() -> None:
    assert {method for method, count in transactions().items() if count > 1} == TWICE
    assert EMPTY_TOO <= LISTED
