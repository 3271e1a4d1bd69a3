"""The file system against a reference of a few lines: any bucket, any change from afar, any order of operations.

With both TTLs at 0 every lookup and every listing must show the bucket as it is now, and an open file the version that
it was opened with, or fail.
"""

import contextlib
import tempfile
from pathlib import Path

import hypothesis.strategies as st
import trio
from hypothesis import HealthCheck, given, settings

from s3mount.errors import NotFound, ObjectChanged
from s3mount.fs.inodes import ROOT
from s3mount.listing.shelf import ShelfSettings
from tests.model.reference import names_below
from tests.unit.fs.builders import MIB, STARTED_NS, grounds

PIECES = ["a", "b", "-", "/", ".", "é", "\udc80", ".s3object", "a/", "a/b"]
keys = st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map("".join)
NAMES = [b"a", b"b", b"-", b"a.s3object", b"b.s3object", b"ab", b"a-", b"nothing", b".s3object"]
bodies = st.tuples(st.integers(0, 255), st.sampled_from([0, 1, 5, 300_000, MIB, 3 * MIB]))
places = st.integers(0, 10**6)
operations = st.one_of(
    st.tuples(st.just("put"), keys, bodies),
    st.tuples(st.just("overwrite"), places, bodies),
    st.tuples(st.just("alter"), places),
    st.tuples(st.just("delete"), places),
    st.tuples(st.just("lookup"), places, st.one_of(st.sampled_from(NAMES), places)),
    st.tuples(st.just("readdir"), places, st.booleans()),
    st.tuples(st.just("open"), places),
    st.tuples(st.just("read"), places, st.floats(0, 1), st.sampled_from([1, 4096, 131_072, MIB])),
    st.tuples(st.just("close"), places),
    st.tuples(st.just("forget"), places),
    st.tuples(st.just("opendir"), places),
    st.tuples(st.just("readopen"), places),
    st.tuples(st.just("closedir"), places),
    st.tuples(st.just("refresh"), places),
)


def body_of(drawn):
    seed, size = drawn
    return (bytes([seed]) + bytes(range(251)) * (size // 251 + 1))[:size]


class Kernel:
    """What a kernel would know: inodes with their lookups, open files with the bytes they must have."""

    def __init__(self, ground, bucket):
        self.ground, self.fs = ground, ground.fs
        self.bucket = bucket
        self.lookups = {}
        self.seen = {}
        self.files = {}
        self.directories = {}

    def put(self, key, drawn):
        self.bucket[key] = body_of(drawn)
        self.ground.put(key, self.bucket[key])

    def overwrite(self, place, drawn):
        if self.bucket:
            self.put(self.pick(sorted(self.bucket), place), drawn)

    def alter(self, place):
        """Another version of the same size."""
        if any(self.bucket.values()):
            key = self.pick(sorted(key for key, body in self.bucket.items() if body), place)
            body = self.bucket[key]
            self.bucket[key] = bytes([body[0] ^ 1]) + body[1:]
            self.ground.put(key, self.bucket[key])

    def delete(self, place):
        if self.bucket:
            key = self.pick(sorted(self.bucket), place)
            del self.bucket[key]
            self.ground.delete(key)

    @staticmethod
    def pick(choices, place):
        return choices[place % len(choices)]

    def directory(self, place):
        known = [number for number, (_, is_directory, _) in self.seen.items() if is_directory]
        return self.pick([ROOT, *known], place)

    def prefix(self, number):
        return "" if number == ROOT else self.seen[number][0]

    def expected(self, number):
        return names_below(self.bucket, self.prefix(number))

    def told(self, attributes, shown):
        """Compare what the kernel is told with the bucket, and remember it."""
        body = b"" if shown.is_directory else self.bucket[shown.key]
        assert attributes.is_directory == shown.is_directory
        assert attributes.size == len(body)
        assert attributes.ttl == 0.0
        if shown.is_directory:
            assert attributes.mtime_ns == STARTED_NS
        else:
            meta = self.ground.store.inner._objects[shown.key].meta
            assert attributes.mtime_ns == meta.mtime_ns
        known = self.seen.get(attributes.inode)
        assert known is None or known == (shown.key, shown.is_directory, body), (
            "a number of two versions"
        )
        self.seen[attributes.inode] = (shown.key, shown.is_directory, body)
        self.lookups[attributes.inode] = self.lookups.get(attributes.inode, 0) + 1

    async def lookup(self, place, name):
        parent = self.directory(place)
        expected = self.expected(parent)
        if isinstance(name, int):
            name = self.pick(sorted(expected), name) if expected else b"a"
        attributes = await self.fs.lookup(parent, name)
        if name in expected:
            self.told(attributes, expected[name])
        else:
            assert attributes.inode == 0

    async def readdir(self, place, is_taken):
        number = self.directory(place)
        expected = self.expected(number)
        handle = self.fs.directories.open(number)
        found, start = set(), 0
        while True:
            before = start
            reading = await self.fs.directories.read(handle, start)
            assert reading.ttl == 0.0
            for inode, name, *_, behind in reading.entries:
                start = behind
                entry = self.fs.entry(inode)
                assert entry.name == name
                assert name not in found
                found.add(name)
                assert (entry.key, entry.is_directory) == expected[name]
                if is_taken:
                    self.told(self.fs.attributes(inode), expected[name])
                else:
                    self.fs.forget(inode, 1)
            if start == before:
                break
        self.fs.directories.close(handle)
        assert found == expected.keys()

    async def opendir(self, place):
        number = self.directory(place)
        handle = self.fs.directories.open(number)
        # Its listing is of the moment of the first read.
        list(await self.read_names(handle))
        self.directories[handle] = (number, set(self.expected(number)))

    async def read_names(self, handle):
        names = []
        for inode, name, *_ in (await self.fs.directories.read(handle, 0)).entries:
            names.append(name)
            self.fs.forget(inode, 1)
        return names

    async def readopen(self, place):
        if self.directories:
            handle = self.pick(list(self.directories), place)
            names = await self.read_names(handle)
            assert set(names) == self.directories[handle][1], "a directory changed under its reader"

    async def closedir(self, place):
        if self.directories:
            handle = self.pick(list(self.directories), place)
            del self.directories[handle]
            self.fs.directories.close(handle)
            self.drop_unseen()

    async def open(self, place):
        files = [number for number, (_, is_directory, _) in self.seen.items() if not is_directory]
        if not files:
            return
        number = self.pick(files, place)
        key, _, body = self.seen[number]
        try:
            handle = await self.fs.open(number)
        except (ObjectChanged, NotFound):
            assert self.bucket.get(key) != body or self.fs.inodes.is_outdated(number)
        else:
            self.files[handle] = (number, key, body)

    async def read(self, place, offset, size):
        if not self.files:
            return
        handle = self.pick(list(self.files), place)
        _, key, body = self.files[handle]
        start = int(offset * len(body))
        try:
            data = bytes(await self.fs.read(handle, start, size))
        except ObjectChanged:
            assert self.bucket.get(key) != body
        else:
            assert data == body[start : start + size]

    async def close(self, place):
        if self.files:
            handle = self.pick(list(self.files), place)
            del self.files[handle]
            self.fs.close(handle)
            self.drop_unseen()

    async def forget(self, place):
        if self.lookups:
            number = self.pick(list(self.lookups), place)
            self.fs.forget(number, self.lookups.pop(number))
            self.drop_unseen()

    async def refresh(self, place):
        number = self.directory(place)
        _, names = self.fs.refresh(number)
        assert all(parent in self.seen or parent == ROOT for parent, _ in names)

    def drop_unseen(self):
        held = {number for number, _, _ in self.files.values()}
        held |= {number for number, _ in self.directories.values()}
        for number in list(self.seen):
            if number not in self.lookups and number not in held:
                del self.seen[number]

    def check(self):
        self.fs.inodes.check()
        held = {number for number in self.seen if number != ROOT}
        assert len(self.fs.inodes) == len(held) + 1
        for number in held:
            attributes = self.fs.attributes(number)
            assert attributes.size == len(self.seen[number][2])
        assert self.ground.reader.open_count() == len(self.files)

    async def end(self):
        for handle in list(self.files):
            self.fs.close(handle)
        for handle in list(self.directories):
            self.fs.directories.close(handle)
        for number, lookups in self.lookups.items():
            self.fs.forget(number, lookups)
        assert len(self.fs.inodes) == 1


@given(st.dictionaries(keys, bodies, max_size=8), st.lists(operations, min_size=1, max_size=40))
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
def test_the_file_system_shows_the_bucket_as_it_is(bucket, steps):
    async def play(ground):
        kernel = Kernel(ground, {})
        for key, drawn in bucket.items():
            kernel.put(key, drawn)
        await kernel.readdir(0, True)
        kernel.check()
        for name, *arguments in steps:
            done = getattr(kernel, name)(*arguments)
            if done is not None:
                with trio.fail_after(10):
                    await done
            kernel.check()
        await kernel.end()

    with contextlib.ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="s3mount-model-")))
        ground = stack.enter_context(
            grounds(root / "cache", ttl=ShelfSettings(0.0, 0.0), neighbours=8 * MIB)
        )
        trio.run(play, ground)
