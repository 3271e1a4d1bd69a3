"""What readers of file formats ask the kernel for, and what the kernel then asks the mount for."""

import io
import json
import random
import sqlite3
import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path

PAGE = 4096
KERNEL = 1024 * 1024
"""The most that one read of the kernel brings."""


class Recorder(io.RawIOBase):
    """A file that writes down which bytes of it are read."""

    def __init__(self, body: bytes) -> None:
        self._file = io.BytesIO(body)
        self.reads: list[tuple[int, int]] = []

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, offset, whence=0):
        return self._file.seek(offset, whence)

    def tell(self):
        return self._file.tell()

    def readinto(self, target):
        start = self._file.tell()
        count = self._file.readinto(target)
        if count:
            self.reads.append((start, start + count))
        return count


def pages_asked_for(reads: Iterable[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    """The ranges that reach the mount: whole pages, and none twice."""
    known: set[int] = set()
    asked = []
    for start, stop in reads:
        begin = None
        for page in range(start // PAGE, -(-stop // PAGE) + 1):
            is_new = page * PAGE < stop and page not in known
            known.add(page) if is_new else None
            if is_new and begin is None:
                begin = page * PAGE
            if begin is not None and (not is_new or page * PAGE - begin == KERNEL):
                asked.append((begin, min(size, page * PAGE)))
                begin = page * PAGE if is_new else None
    return asked


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def zipped(members: int, size: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for number in range(members):
            archive.writestr(f"members/{number:05}", noise(size, number))
    return file.getvalue()


def zip_reads(body: bytes, names: slice) -> list[tuple[int, int]]:
    """What ``zipfile`` reads to list an archive and to extract some members in their order."""
    recorder = Recorder(body)
    with zipfile.ZipFile(io.BufferedReader(recorder)) as archive:
        for name in archive.namelist()[names]:
            archive.read(name)
    return recorder.reads


def parquet_reads(
    size: int, footer: int, chunks: Iterable[tuple[int, int]]
) -> list[tuple[int, int]]:
    """The footer's length in the last 8 bytes, the footer, then column chunks."""
    return [(size - 8, size), (size - 8 - footer, size - 8), *chunks]


def tensors(count: int, size: int) -> bytes:
    """A safetensors file."""
    header = json.dumps(
        {
            f"layers.{number}": {
                "dtype": "U8",
                "shape": [size],
                "data_offsets": [number * size, (number + 1) * size],
            }
            for number in range(count)
        }
    ).encode()
    return struct.pack("<Q", len(header)) + header + noise(count * size)


def tensor_reads(body: bytes, wanted: Iterable[int]) -> list[tuple[int, int]]:
    """The length of the header, the header, then tensors, a piece at a time."""
    length = struct.unpack("<Q", body[:8])[0]
    base = 8 + length
    places = [entry["data_offsets"] for entry in json.loads(body[8:base]).values()]
    reads = [(0, 8), (8, base)]
    for number in wanted:
        start, stop = places[number]
        reads += [
            (base + at, min(base + stop, base + at + KERNEL)) for at in range(start, stop, KERNEL)
        ]
    return reads


def database(path: Path, rows: int) -> bytes:
    """A table with an index."""
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("create table t (id integer primary key, body blob)")
        for number in range(rows):
            connection.execute("insert into t values (?, ?)", (number, noise(1000, number)))
    connection.close()
    return path.read_bytes()


def page_reads(size: int, count: int) -> list[tuple[int, int]]:
    """The header of a database, then pages of it at random."""
    dice = random.Random(1)
    pages = [dice.randrange(size // PAGE) for _ in range(count)]
    return [(0, 100), *((page * PAGE, (page + 1) * PAGE) for page in pages)]
