"""A way for one account through folders that are private: an access list, which opens them to nobody else."""

from __future__ import annotations

import os
import stat
import struct
import sys
from pathlib import Path

from app.errors import LocalStartError
from app.local.processes import Account

_NAME = "system.posix_acl_access"
_VERSION = struct.pack("<I", 2)
_ENTRY = struct.Struct("<HHI")
_OWNER, _USER, _GROUP, _MASK, _OTHERS = 0x01, 0x02, 0x04, 0x10, 0x20
_NOBODY_NAMED = 0xFFFFFFFF
_PASS = 1

Acl = dict[tuple[int, int], int]
"""What each kind of holder, and each one named, may do."""


def let_through(folder: Path, account: Account) -> bool:
    """Let an account pass through a folder, not list it; False where it may already. LocalStartError."""
    mode = folder.stat().st_mode
    if mode & stat.S_IXOTH:
        return False
    if sys.platform != "linux":
        raise LocalStartError(_way_out(folder, "access lists are known for Linux only"))
    try:
        acl = _read(folder, mode)
        if acl.get((_USER, account.uid), 0) & _PASS:
            return False
        os.setxattr(folder, _NAME, _packed(_with(acl, account.uid)))
    except OSError as error:
        raise LocalStartError(_way_out(folder, f"no access list can be set: {error.strerror}")) from error
    return True


def _way_out(folder: Path, why: str) -> str:
    return (
        f"Postgres must not run as root, and no other account may pass through {folder} ({why}): start evalq as an"
        f" ordinary user, keep --data and the Python environment elsewhere, or `chmod o+x {folder}`"
    )


def _read(folder: Path, mode: int) -> Acl:
    """The list of a folder; what its mode says where it has none."""
    if _NAME in os.listxattr(folder):
        entries = _ENTRY.iter_unpack(os.getxattr(folder, _NAME)[len(_VERSION) :])
        return {(tag, holder): may for tag, may, holder in entries}
    bits = {_OWNER: mode >> 6, _GROUP: mode >> 3, _OTHERS: mode}
    return {(tag, _NOBODY_NAMED): may & 7 for tag, may in bits.items()}


def _with(acl: Acl, uid: int) -> Acl:
    """The list with an account that may pass; the mask is the most that those named and the group may do."""
    mask = acl.get((_MASK, _NOBODY_NAMED), acl[_GROUP, _NOBODY_NAMED])
    return acl | {(_USER, uid): acl.get((_USER, uid), 0) | _PASS, (_MASK, _NOBODY_NAMED): mask | _PASS}


def _packed(acl: Acl) -> bytes:
    return _VERSION + b"".join(_ENTRY.pack(tag, may, holder) for (tag, holder), may in sorted(acl.items()))
