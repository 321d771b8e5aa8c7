"""Keeps freed host memory in the process (glibc only).

By default glibc returns a freed feature map to the system at once, and
every training step pays for the page faults of getting it back.
"""

import ctypes
import platform

from absl import logging

# Parameters of mallopt(3).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3


def keep_freed_memory():
    """Raises the allocator's thresholds; does nothing where the C library is another.

    Returns whether it did.
    """
    if platform.libc_ver()[0] != "glibc":
        logging.info("host memory: the C library's defaults (it is not glibc)")
        return False
    libc = ctypes.CDLL(None)
    done = (
        libc.mallopt(_MMAP_THRESHOLD, 1 << 30)
        and libc.mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)
        and libc.mallopt(_TOP_PAD, 64 << 20)
    )
    return bool(done)
