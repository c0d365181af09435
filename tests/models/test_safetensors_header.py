import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError, safe_open

from app.models.model_folder import inspect_model
from app.models.safetensors_header import NoSafetensorsError, stored_tensors

WHOLE = {
    "a": {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]},
    "b": {"dtype": "F32", "shape": [2, 1], "data_offsets": [8, 16]},
    "c": {"dtype": "U8", "shape": [0], "data_offsets": [16, 16]},
}


def written(path: Path, header: Any, size: int) -> Path:
    """A file of this header and so many bytes behind it."""
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(size))
    return path


def with_b(**changes: object) -> dict[str, Any]:
    """The header with another second tensor."""
    return WHOLE | {"b": WHOLE["b"] | changes}


@pytest.mark.parametrize(
    ("header", "size", "says"),
    [
        (WHOLE, 15, "was cut off: it has 15 of 16 bytes"),
        (WHOLE, 0, "was cut off: it has 0 of 16"),
        (WHOLE, 17, "is damaged: it has 17 bytes behind its header, which tells of 16"),
        ({}, 3, "is damaged: it has 3 bytes behind its header, which tells of 0"),
        (with_b(data_offsets=[9, 17]), 17, "leave a gap"),
        (with_b(data_offsets=[4, 12]), 16, "tensors overlap"),
        (with_b(shape=[3, 1]), 16, "3 numbers of F32 in 8 bytes"),
        (with_b(dtype="F16"), 16, "2 numbers of F16 in 8 bytes"),
        (with_b(data_offsets=[16, 8]), 16, "impossible size"),
        (with_b(data_offsets=[8, 16, 24]), 16, "too many values"),
    ],
)
def test_a_damaged_file_is_told_as_safetensors_would_refuse_it(
    tmp_path: Path, header: Any, size: int, says: str
) -> None:
    path = written(tmp_path / "x.safetensors", header, size)
    with pytest.raises(NoSafetensorsError, match=says):
        stored_tensors([path])
    with pytest.raises(SafetensorError), safe_open(path, "np"):
        pass


def test_a_whole_file_is_taken_in_any_order_of_its_header(tmp_path: Path) -> None:
    header = {"__metadata__": {"format": "pt"}, **dict(reversed(WHOLE.items()))}
    path = written(tmp_path / "x.safetensors", header, 16)
    assert stored_tensors([path]).bytes == {"U8": 0, "F32": 8, "BF16": 8}
    with safe_open(path, "np") as held:
        assert set(held.keys()) == {"a", "b", "c"}


def test_a_type_that_is_not_known_is_not_judged(tmp_path: Path) -> None:
    path = written(tmp_path / "x.safetensors", with_b(dtype="F2_NEW"), 16)
    assert stored_tensors([path]).bytes["F2_NEW"] == 8


def spoil_index(weight_map: dict[str, str]) -> Callable[[Path], object]:
    """An index in the folder."""
    return lambda folder: (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": weight_map})
    )


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (spoil_index({"a": "model-00001-of-00002.safetensors"}), None),
        (
            spoil_index(
                {"other": "model-00001-of-00002.safetensors", "a": "model-00001-of-00002.safetensors"}
            ),
            "model-00001-of-00002.safetensors is damaged, or the index is another model's: it lacks other",
        ),
        (
            spoil_index({f"w{n}": "model-00001-of-00002.safetensors" for n in range(9)}),
            "it lacks w0 and 8 more",
        ),
        (spoil_index({"l.0.inv_freq": "model-00001-of-00002.safetensors"}), None),
        (spoil_index({}), "names what is no file of the folder, or nothing"),
        (lambda folder: None, None),
        (
            lambda folder: (folder / "model-00001-of-00002.safetensors").unlink(),
            "of 2 weight files there are 1: number 1 of model is missing",
        ),
        (
            lambda folder: written(folder / "model-00002-of-00002.safetensors", WHOLE, 12),
            "model-00002-of-00002.safetensors was cut off",
        ),
    ],
)
def test_shards_have_to_be_whole(tmp_path: Path, spoil: Callable[[Path], object], says: str | None) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"max_position_embeddings": 8}))
    for number in (1, 2):
        written(tmp_path / f"model-0000{number}-of-00002.safetensors", WHOLE, 16)
    spoil(tmp_path)
    told = [fault.message for fault in inspect_model(tmp_path).faults]
    assert (told == []) if says is None else any(says in message for message in told), told
