"""One mount from its first request to its unmount: wires the rooms together and takes them apart.

Nothing is assigned after construction and nothing is global: what a mount needs lives on one stack of context managers
and goes with it, whatever ends the mount.
"""

import fcntl
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import trio

from s3mount.cache.cache import Cache, Limits
from s3mount.config import OPTIONS, MountOptions
from s3mount.errors import MountError
from s3mount.fs.awaiting import settled
from s3mount.fs.filesystem import FileSystem
from s3mount.fs.reading import Reader
from s3mount.fs.walking import Walker
from s3mount.fuse.connection import Connection, greet
from s3mount.fuse.describing import Parts, describe_inode, now, status
from s3mount.fuse.forgetting import Forgetting
from s3mount.fuse.mounting import MountRequest, mount, unmount
from s3mount.fuse.operations import ExtendedAttributes, Operations, Ownership
from s3mount.fuse.passthrough import DeviceBackings, Passthrough
from s3mount.fuse.protocol import Init
from s3mount.listing.catalog import Catalog
from s3mount.listing.rest import PARALLEL
from s3mount.listing.shelf import ShelfSettings
from s3mount.metrics import Counters
from s3mount.store.interface import Store
from s3mount.store.open import (
    Source,
    open_snapshot_store,
    open_store,
    parse_source,
    settings_of,
)
from s3mount.store.probe import ask
from s3mount.store.remembering import RememberingStore
from s3mount.store.s3 import S3Store
from s3mount.transfer.engine import Engine, EngineSettings
from s3mount.transfer.housekeeping import Chore, Housekeeper, Offload, Worker
from s3mount.transfer.retry import RetryPolicy

log = logging.getLogger(__name__)

KERNEL_READ_AHEAD_KIB = 1024
"""Read-ahead of the kernel for the mount. At its default of 128 KiB every read costs a request of that size; at 1 MiB,
the most that one FUSE request carries, streams run several times as fast."""
SWITCH_INTERVAL = 0.0005
"""Seconds after which a thread that computes lets another one run. The interpreter's 5 ms would let a listing that is
being parsed hold up a read that is ready."""
CREDENTIALS_EVERY = 30.0
CACHE_EVERY = 1.0
FOREVER = 10 * 365 * 86_400.0
"""Seconds for which the names of a snapshot are believed."""


def serve(
    source_text: str, mountpoint: Path, options: MountOptions, *, ready: Callable[[], None]
) -> None:
    """Mount a source and serve it until it is unmounted.

    Args:
        source_text: ``bucket``, ``bucket/prefix``, ``s3://bucket/prefix``, ``file:///dir`` or ``snapshot:name``.
        mountpoint: an empty directory.
        options: see `MountOptions`.
        ready: called once, when the mount answers.

    Raises:
        S3MountError: it cannot be mounted, with what to do about it.
    """
    source = parse_source(source_text)
    prefix = _joined(source.prefix, options.prefix)
    named = _named(source, prefix)
    store: Store
    if source.kind == "snapshot":
        store = snapshot = open_snapshot_store(
            source.bucket_or_dir, settings_of(options), options.cache_dir
        )
        prefix = snapshot.prefix + prefix
        options = replace(options, metadata_ttl=FOREVER, negative_ttl=FOREVER)
    else:
        store = _live_store(source, prefix, options)
    with ExitStack() as stack:
        offload = Offload(1)
        forgetting = Forgetting(offload)
        stack.callback(forgetting.close)
        stack.callback(offload.close)
        parts = _assemble(stack, store, prefix, options, named, forgetting)
        _calm_the_interpreter()
        with _mounted(mountpoint, parts.source, options) as descriptor:
            forgetting.begin(descriptor)
            connection = _connected(descriptor, parts, options, forgetting)
            trio.run(
                _run, connection, mountpoint, offload, lambda: _begun(parts, mountpoint, ready)
            )
        log.info("%s is unmounted from %s", parts.source, mountpoint)


def _live_store(source: Source, prefix: str, options: MountOptions) -> Store:
    """A store that answers; what other processes have listed is not listed again."""
    store = open_store(source, settings_of(options))
    if isinstance(store, S3Store):
        try:
            ask(store, source.bucket_or_dir, prefix)
        except BaseException:
            store.close()
            raise
    return RememberingStore(store, options.cache_dir, now)


def _assemble(
    stack: ExitStack,
    store: Store,
    prefix: str,
    options: MountOptions,
    source: str,
    forgetting: Forgetting,
) -> Parts:
    """The rooms, from the bottom up; the stack takes them down in the opposite order."""
    limits = Limits(options.cache_size, options.cache_min_free, options.memory_limit)
    writer = Worker("s3mount-writer")
    cache = Cache(options.cache_dir, limits, counters=Counters(), run=writer.submit)
    stack.callback(cache.close)
    stack.enter_context(writer)
    books = Chore(
        "the cache's books",
        CACHE_EVERY,
        lambda: cache.maintain(now()),
        is_urgent=cache.attention.is_set,
    )
    credentials = Chore("credentials", CREDENTIALS_EVERY, store.renew)
    housekeeper = stack.enter_context(Housekeeper([books, credentials], cache.attention))
    retry = RetryPolicy(patience=0.8 * options.request_timeout)
    engine = stack.enter_context(
        Engine(
            store,
            EngineSettings(options.concurrency, retry),
            on_expired=lambda: housekeeper.hurry("credentials"),
            on_needed=cache.demand.note,
        )
    )
    offload = Offload()
    stack.callback(offload.close)
    shelf = ShelfSettings(options.metadata_ttl, options.negative_ttl)
    # A directory on disk is read by one thread, and sorted anew for each place to begin.
    parallel = 1 if source.startswith("file:") else min(PARALLEL, options.concurrency)
    catalog = Catalog(engine, shelf, parallel=parallel)
    reader = Reader(engine, cache, offload, read_ahead=options.read_ahead)
    stack.callback(reader.shut)
    walker = Walker(catalog, reader, limit=options.read_ahead, root=prefix)
    started = now()
    filesystem = FileSystem(
        prefix,
        catalog,
        reader,
        walker,
        on_outdated=forgetting.forget_soon,
        deadline=options.request_timeout,
        started_ns=int(started * 1e9),
    )
    shown = {each.attribute: each.write(getattr(options, each.attribute)) for each in OPTIONS}
    return Parts(source, started, shown, filesystem, reader, catalog, engine, cache)


async def _run(
    connection: Connection, mountpoint: Path, offload: Offload, ready: Callable[[], None]
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_end_on_signal, nursery)
        nursery.start_soon(_serve_kernel, connection, nursery)
        # From another thread: whoever touches the mount waits for an answer from this loop.
        await settled(offload.submit(lambda: _read_ahead(mountpoint)))
        ready()


def _begun(parts: Parts, mountpoint: Path, ready: Callable[[], None]) -> None:
    log.info("%s is mounted on %s", parts.source, mountpoint)
    ready()


async def _serve_kernel(connection: Connection, nursery: trio.Nursery) -> None:
    await connection.serve()
    nursery.cancel_scope.cancel()


async def _end_on_signal(nursery: trio.Nursery) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async for number in signals:
            log.info("unmounting: %s", signal.Signals(number).name)
            nursery.cancel_scope.cancel()


@contextmanager
def _mounted(mountpoint: Path, source: str, options: MountOptions) -> Iterator[int]:
    """Mounted inside, unmounted afterwards, whatever happens inside; gives the descriptor."""
    with _claimed(mountpoint):
        descriptor = mount(MountRequest(mountpoint, source, options.allow_other))
        try:
            yield descriptor
        finally:
            unmount(descriptor, mountpoint)


def _connected(
    descriptor: int, parts: Parts, options: MountOptions, forgetting: Forgetting
) -> Connection:
    offered = greet(descriptor)
    can_pass = bool(offered.flags & Init.PASSTHROUGH)
    passthrough = Passthrough(DeviceBackings(descriptor) if can_pass else None)
    operations = _operations(parts, options, forgetting, passthrough)
    return Connection(descriptor, operations.answers())


@contextmanager
def _claimed(mountpoint: Path) -> Iterator[None]:
    """Hold the directory itself, so that of two commands that mount on it at the same moment one is refused."""
    taken = MountError(f"{mountpoint} is already mounted", hint=f"s3mount unmount {mountpoint}")
    descriptor = os.open(mountpoint, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise taken from None
        # The other one may have mounted before this one looked at the directory.
        if os.path.ismount(mountpoint):
            raise taken
        yield
    finally:
        os.close(descriptor)


def _operations(
    parts: Parts, options: MountOptions, forgetting: Forgetting, passthrough: Passthrough
) -> Operations:
    async def refresh(number: int) -> bytes:
        directories, names = parts.filesystem.refresh(number)
        await forgetting.forget(names)
        return (
            f"{directories} {'directory' if directories == 1 else 'directories'} forgotten".encode()
        )

    xattrs = ExtendedAttributes(
        lambda number: describe_inode(parts, number), lambda: status(parts), refresh
    )
    ownership = Ownership(options.uid, options.gid, options.file_mode, options.dir_mode)
    return Operations(parts.filesystem, ownership, xattrs, passthrough)


def _joined(prefix: str, more: str) -> str:
    more = more.lstrip("/")
    joined = prefix + more
    return joined if not joined or joined.endswith("/") else joined + "/"


def _named(source: Source, prefix: str) -> str:
    if source.kind == "snapshot":
        place = f"snapshot:{source.bucket_or_dir}"
    else:
        place = f"{source.kind}://{source.bucket_or_dir}"
    return f"{place}/{prefix}".rstrip("/") if prefix else place


def _read_ahead(mountpoint: Path) -> None:
    """Touch the mount, and let the kernel read ahead in requests as large as FUSE carries; only root may."""
    device = os.stat(mountpoint).st_dev
    knob = Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb")
    try:
        knob.write_text(str(KERNEL_READ_AHEAD_KIB))
    except OSError as error:
        log.debug("the kernel's read-ahead stays as it is: %s", error)


def _calm_the_interpreter() -> None:
    sys.setswitchinterval(SWITCH_INTERVAL)
    # What lives now lives as long as the mount: the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
