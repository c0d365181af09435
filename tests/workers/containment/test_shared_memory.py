from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from workers.containment.shared_memory import Segments, inodes

SELF = [os.getpid()]
Share = Callable[[str], Path]


@pytest.fixture
def share(tmp_path: Path) -> Iterator[Share]:
    """Makes a segment that this process has mapped."""
    with ExitStack() as mappings:

        def share(name: str) -> Path:
            path = tmp_path / name
            path.write_bytes(bytes(mmap.PAGESIZE))
            with path.open("r+b") as file:
                mappings.enter_context(mmap.mmap(file.fileno(), 0))
            return path

        yield share


def test_what_was_mapped_is_unlinked_and_nothing_else(tmp_path: Path, share: Share) -> None:
    (tmp_path / "unmapped").touch()
    before = share("before")
    segments = Segments(inodes(tmp_path), tmp_path)
    ours = share("ours")
    segments.look(lambda: SELF)
    segments.remove()
    assert (ours.exists(), before.exists()) == (False, True)
    assert sorted(inodes(tmp_path).values()) == ["before", "unmapped"]


def test_a_name_that_was_given_after_the_mapping_is_found(tmp_path: Path, share: Share) -> None:
    segments = Segments(room=tmp_path)
    share("sem.first").rename(tmp_path / "sem.second")
    segments.look(lambda: SELF)
    segments.remove()
    assert list(tmp_path.iterdir()) == []


def test_what_was_unlinked_meanwhile_is_no_trouble(tmp_path: Path, share: Share) -> None:
    segments = Segments(room=tmp_path)
    ours = share("ours")
    segments.look(lambda: SELF)
    ours.unlink()
    segments.remove()


def test_maps_are_read_no_more_once_it_is_known_whose_a_segment_is(tmp_path: Path, share: Share) -> None:
    def nobody() -> list[int]:
        raise AssertionError("asked for the processes")

    segments = Segments(room=tmp_path)
    (tmp_path / "others").touch()
    share("ours")
    for _ in range(2):
        segments.look(lambda: SELF)
    segments.look(nobody)


def test_processes_and_rooms_that_are_gone_hold_nothing(tmp_path: Path, share: Share) -> None:
    ours = share("ours")
    segments = Segments(room=tmp_path)
    segments.look(lambda: [0])
    segments.remove()
    assert ours.exists()
    nowhere = Segments(room=tmp_path / "gone")
    nowhere.look(lambda: SELF)
    nowhere.remove()
