"""Which part of a file the system keeps in memory, and dropping it."""

import ctypes
import mmap
import os
import time
from pathlib import Path


class StillCached(Exception):
    """A file could not be dropped from the page cache."""


def drop(path: Path) -> None:
    """Drops the file's pages; it must not be mapped anywhere."""
    with open(path, "rb") as file:
        # Pages that are not on the disk yet cannot be dropped.
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    part = resident(path)
    if part > 0.01:
        raise StillCached(f"{part:.0%} of {path} stayed in memory; is another process using it?")


def resident(path: Path) -> float:
    """The part of the file that is in memory, from 0 to 1."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        # Private and writable, because ctypes gives no address of others;
        # nothing is written.
        protection = mmap.PROT_READ | mmap.PROT_WRITE
        with mmap.mmap(file.fileno(), size, mmap.MAP_PRIVATE, protection) as mapping:
            pages = -(-size // mmap.PAGESIZE)
            states = (ctypes.c_ubyte * pages)()
            view = ctypes.c_char.from_buffer(mapping)
            libc = ctypes.CDLL(None, use_errno=True)
            address = ctypes.c_void_p(ctypes.addressof(view))
            failed = libc.mincore(address, ctypes.c_size_t(size), states)
            del view
    if failed:
        raise OSError(ctypes.get_errno(), "mincore")
    return sum(state & 1 for state in bytes(states)) / pages


def read_time(path: Path) -> float:
    """Seconds that reading the file takes, one piece after the other."""
    buffer = bytearray(16 << 20)
    started = time.monotonic()
    with open(path, "rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    return time.monotonic() - started
