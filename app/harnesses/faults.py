"""What is wrong with something a user sent: where, what, and what would be right.

The same shape as the `errors` entries of a problem document, so that a fault found by reading a command, a
model folder or a task name needs no translation.
"""

from __future__ import annotations

from app.errors import FaultyField as Fault

__all__ = ["Fault"]
