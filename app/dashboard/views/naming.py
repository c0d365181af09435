"""Names for places with little room."""

from __future__ import annotations


def short(model: str) -> str:
    """The last part of a model's name or path."""
    return model.rstrip("/").rpartition("/")[2] or model
