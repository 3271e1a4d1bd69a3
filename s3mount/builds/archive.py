"""An archive read as a stream: decompressed, hashed as it is read, its members one after the other.

Nothing is held whole: a window of the compression, one header, one piece of a file. What tarfile passes over in silence
is an error here: an archive that is cut short, or goes on behind its end. Concurrency rule: one thread.
"""

import hashlib
import lzma
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

from s3mount.builds.members import BadArchive

PIECE = 1 << 20
"""Bytes read at once."""
BLOCK = 16 << 10
"""Bytes that tarfile reads at once: it copies what is left of them for every header."""
MEMORY = 256 << 20
"""Bytes that decompression may take; xz at its highest takes a quarter of that."""
HEADERS = 8 << 20
"""Bytes in which the next member must begin, or the archive end."""
_END = 512
"""Bytes of zeros, at the least, behind the empty block at which reading stops."""


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Hashed:
    """A file whose bytes are hashed as they are read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def read(self, size: int) -> bytes:
        chunk = self._file.read(size)
        self.sha256.update(chunk)
        return chunk


class _Unxz:
    """Decompresses xz, one stream after the other, within a bound of memory."""

    def __init__(self, source: _Stream) -> None:
        self._source = source
        self._xz = self._new()
        self._has_begun = False

    def read(self, size: int) -> bytes:
        while True:
            if self._xz.eof and not self._next():
                return b""
            more = self._source.read(1 << 16) if self._xz.needs_input else b""
            if self._xz.needs_input and not more:
                raise BadArchive("it is cut short")
            out = self._xz.decompress(more, size)
            if out:
                return out

    def _next(self) -> bool:
        """Begin with another stream, if one follows; zeros may stand between two."""
        rest = self._xz.unused_data.lstrip(b"\0")
        while not rest:
            more = self._source.read(1 << 16)
            if not more:
                return False
            rest = more.lstrip(b"\0")
        self._xz = self._new()
        self._source = _Before(rest, self._source)
        return True

    @staticmethod
    def _new() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY)


class _Before:
    """Bytes that were read already, then the rest."""

    def __init__(self, first: bytes, rest: _Stream) -> None:
        self._first = first
        self._rest = rest

    def read(self, size: int) -> bytes:
        if not self._first:
            return self._rest.read(size)
        out, self._first = self._first[:size], self._first[size:]
        return out


class _Watched:
    """A stream of which only so much may be read while a header is looked for."""

    def __init__(self, stream: _Stream) -> None:
        self._stream = stream
        self.allowance: int | None = HEADERS

    def read(self, size: int) -> bytes:
        chunk = self._stream.read(size)
        if self.allowance is not None:
            self.allowance -= len(chunk)
            if self.allowance < 0:
                raise BadArchive("a header is too large")
        return chunk


class Archive:
    """The members of an archive, in their order.

    Args:
        file: open for reading, at its beginning.
        name: of the archive: its extension says how it is compressed.

    Raises:
        BadArchive: it is no archive.
    """

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._hashed = _Hashed(file)
        self._watched = _Watched(_decompressed(self._hashed, name))
        stream: Any = self._watched  # tarfile reads, and does nothing else with it
        self._tar = tarfile.open(  # noqa: SIM115 -- the file is another's, and there is nothing else to close
            fileobj=stream, mode="r|", bufsize=BLOCK, encoding="utf-8", errors="surrogateescape"
        )

    def members(self) -> Iterator[tarfile.TarInfo]:
        """Every member; `pieces` may be asked of the one that was given last.

        Raises:
            BadArchive: the archive is damaged, cut short, or goes on behind its end.
        """
        while (member := self._next()) is not None:
            yield member
        self._check_end()

    def pieces(self, member: tarfile.TarInfo) -> Iterator[bytes]:
        """The bytes of a file.

        Raises:
            BadArchive: they are not all there.
        """
        file = self._tar.extractfile(member)
        assert file is not None
        self._watched.allowance = None
        left = member.size
        while left:
            piece = file.read(min(PIECE, left))
            if not piece:
                raise BadArchive(f"it is cut short in {member.name!r}")
            left -= len(piece)
            yield piece

    def digest(self) -> str:
        """The SHA-256 of the whole file, once all members were read."""
        while self._hashed.read(PIECE):
            pass
        return self._hashed.sha256.hexdigest()

    def _next(self) -> tarfile.TarInfo | None:
        self._watched.allowance = HEADERS
        member: tarfile.TarInfo | None = self._tar.next()
        # tarfile would remember every member; here only the current one is needed.
        vars(self._tar)["members"] = []
        return member

    def _check_end(self) -> None:
        """End with an error where tarfile ends in silence, a damaged header; only zeros are behind the right end."""
        self._watched.allowance = HEADERS
        rest: Any = self._tar.fileobj
        count = 0
        while chunk := rest.read(PIECE):
            count += len(chunk)
            if chunk.strip(b"\0"):
                raise BadArchive("it is damaged: a header cannot be read")
        if count < _END:
            raise BadArchive("it is cut short: the mark of its end is missing")


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """Open an archive; whatever is wrong with it, also while it is read in the block, is a `BadArchive`.

    Raises:
        BadArchive: it is no archive, or damaged.
        OSError: the file cannot be read.
    """
    import zstandard

    try:
        with path.open("rb") as file:
            yield Archive(file, path.name)
    except BadArchive as error:
        raise type(error)(f"{path.name}: {error.message}", hint=error.hint) from error
    except (
        *(tarfile.TarError, lzma.LZMAError, zstandard.ZstdError, EOFError),
        *(ValueError, OverflowError),  # what tarfile raises at numbers that are none
    ) as error:
        raise BadArchive(f"{path.name} is damaged: {error}") from error


def _decompressed(source: _Stream, name: str) -> _Stream:
    if name.endswith(".xz"):
        return _Unxz(source)
    if name.endswith(".zst"):
        import zstandard

        unpacker = zstandard.ZstdDecompressor()
        return unpacker.stream_reader(source, read_across_frames=True)  # type: ignore[arg-type]
    raise BadArchive("it is neither .tar.zst nor .tar.xz")
