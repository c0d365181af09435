"""A way for one account through folders that are private: an access list, or else a wider mode."""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path

from app.errors import LocalStartError
from app.single_host.processes import Account

_NAME = "system.posix_acl_access"
_VERSION = struct.pack("<I", 2)
_ENTRY = struct.Struct("<HHI")
_OWNER, _USER, _GROUP, _MASK, _OTHERS = 0x01, 0x02, 0x04, 0x10, 0x20
_NOBODY_NAMED = 0xFFFFFFFF
_PASS = 1

Acl = dict[tuple[int, int], int]
"""What each kind of holder, and each one named, may do."""


def let_through(folder: Path, account: Account) -> str | None:
    """Let an account pass through a folder, not list it; who may pass from now on, None where it may already.

    Where the file system has no access lists every account may, or nothing would start.
    """
    mode = folder.stat().st_mode
    if mode & stat.S_IXOTH:
        return None
    try:
        acl = _read(folder, mode)
        if acl.get((_USER, account.uid), 0) & _PASS:
            return None
        os.setxattr(folder, _NAME, _packed(_with(acl, account.uid)))
    except (OSError, AttributeError):  # not all systems have extended attributes
        _open(folder, mode)
        return "every account (there are no access lists here)"
    return f"Postgres's account (uid {account.uid})"


def _open(folder: Path, mode: int) -> None:
    try:
        folder.chmod(mode | stat.S_IXOTH)
    except OSError as error:
        raise LocalStartError(
            f"Postgres must not run as root, and no other account may pass through {folder} ({error.strerror}): start"
            " evalq as an ordinary user, or keep --data and the Python environment elsewhere"
        ) from error


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
