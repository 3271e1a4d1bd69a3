"""What the C library does with memory that this process has freed.

glibc gives the end of its heap back to the kernel whenever more than 128 KiB of it are free, and bytes that come from a
socket in pieces and leave for a file together free more than that each time: a GiB cost 150,000 page faults, a fifth of
its processor time. A large piece of memory of its own that is freed raises both of its limits for the life of the
process, as mallopt(3) says under ``M_MMAP_THRESHOLD``. C libraries that have no such rule are left as they are.
"""

KEPT = 31 * 1024 * 1024
"""Bytes: pieces up to here come from the heap, and twice as much may be free at its end. glibc takes no notice of any
over 32 MiB."""


def keep_freed() -> None:
    """Keep memory that is freed for the next who wants some. For processes of our own, not for those of others."""
    # Zeros that the kernel gives: a bytearray would write its own, and touch every page, which takes 20 ms.
    piece = bytes(KEPT)
    del piece
