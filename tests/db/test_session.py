from __future__ import annotations

import pytest

from app.db.session import password
from app.settings import Settings


@pytest.mark.parametrize(
    ("rest", "found"),
    [
        ("//u:p%5Bx@h/db", "p[x"),
        ("//u:p[x@h/db", "p[x"),
        ("//u:pa/ss@h/db", "pa/ss"),
        ("//u:a#b?c@h/db", "a#b?c"),
        ("//h/db?password=secret", "secret"),
        ("//u@/db?host=/run", ""),
    ],
)
def test_a_password_is_found_wherever_the_driver_finds_it(rest: str, found: str) -> None:
    assert password(Settings(database_url=f"postgresql:{rest}")) == found
