"""Small objects read into memory, all at once: the checksums beside archives.

Concurrency rule: `bodies` belongs to the thread that waits for it; sinks are told on the engine's thread.
"""

from collections.abc import Callable, Iterable
from queue import SimpleQueue

from s3mount.errors import StoreError, UnexpectedReply
from s3mount.store.interface import Get, Head, ObjectMeta
from s3mount.transfer.engine import Engine
from s3mount.transfer.flight import Urgency

Told = Callable[[str, bytes | StoreError], None]


class _Body:
    """The sink of one object."""

    def __init__(self, key: str, told: Told) -> None:
        self._key = key
        self._told = told
        self._chunks: list[bytes] = []
        self.write = self._chunks.append

    def head(self, head: Head) -> None:
        """Nothing is kept of it."""

    def finish(self) -> None:
        self._told(self._key, b"".join(self._chunks))

    def fail(self, error: StoreError) -> None:
        self._told(self._key, error)


def bodies(
    engine: Engine, metas: Iterable[ObjectMeta], size_max: int
) -> dict[str, bytes | StoreError]:
    """The bodies of some objects by key, or why there is none.

    Args:
        engine: sends the GETs.
        metas: as a listing described them.
        size_max: bytes; what is larger is not read.
    """
    arrived: SimpleQueue[tuple[str, bytes | StoreError]] = SimpleQueue()
    found: dict[str, bytes | StoreError] = {}
    asked = 0
    for meta in metas:
        if not meta.size:
            found[meta.key] = b""
        elif meta.size > size_max:
            found[meta.key] = UnexpectedReply(f"{meta.key!r} has {meta.size} bytes", key=meta.key)
        else:
            asked += 1
            sink = _Body(meta.key, lambda key, body: arrived.put((key, body)))
            engine.get(Get(meta.key, meta.etag, 0, meta.size, whole=True), sink, Urgency.NEEDED)
    found.update(arrived.get() for _ in range(asked))
    return found
