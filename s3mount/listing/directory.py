"""One directory as a listing tells it: compact, in the order of its keys, growing page by page.

It knows entries and how far the listing has come; it knows nothing of requests, age or locks. An entry never moves: an
index that was given to a reader names the same entry for as long as the directory lives, so readers need no copy. Only
the engine's thread appends; others read up to ``len``, which is moved last.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from functools import lru_cache
from heapq import merge
from typing import NamedTuple

from s3mount.listing.names import decode, encode, is_spellable, name_of_twin, twin_name
from s3mount.store.interface import ObjectMeta, Page

MD5_BYTES = 16
SLASH = b"/"[0]
ENTRY_BYTES = 33 + 8 + 8 + 8 + 1 + MD5_BYTES
"""Memory of an entry beside its label's bytes: a bytes object, its list slot, and the columns."""
ODD_ETAG_BYTES = 180
"""Memory of an ETag that is no MD5: a str of some 35 characters and its place in a dict."""
KEPT_EXAMPLES = 20
"""How many odd keys a directory remembers by name; it counts all."""


class Oddities:
    """Keys that cannot be shown as they are: how many, and the first of them."""

    __slots__ = ("count", "examples")

    def __init__(self) -> None:
        self.count = 0
        self.examples: list[str] = []

    def note(self, key: str) -> None:
        """Count one more."""
        self.count += 1
        if len(self.examples) < KEPT_EXAMPLES:
            self.examples.append(key)

    def include(self, others: "Oddities") -> None:
        """Count those of another directory as well."""
        self.count += others.count
        self.examples += others.examples[: KEPT_EXAMPLES - len(self.examples)]


NOTHING_ODD = Oddities()
"""Of nearly all directories; never noted in. Most directories are small: what one does not need is not made for it."""
_NO_ODD_ETAGS: dict[int, str] = {}
_NO_DIRECTORIES = array("L")


@lru_cache(maxsize=64)
def _shared(classes: tuple[tuple[str, bool], ...]) -> tuple[tuple[str, bool], ...]:
    """One and the same tuple for all directories with these storage classes."""
    return classes


class Entry(NamedTuple):
    """One name in a directory.

    Attributes:
        name: as the kernel sees it.
        key: of the object, or the prefix of the directory, which ends in ``/``.
        etag: empty for a directory.
        size: bytes, 0 for a directory.
        mtime_ns: nanoseconds since the epoch, 0 for a directory.
    """

    name: bytes
    key: str
    is_directory: bool
    etag: str = ""
    size: int = 0
    mtime_ns: int = 0
    storage_class: str = ""
    restored: bool = False

    @classmethod
    def of_object(cls, name: bytes, meta: ObjectMeta) -> "Entry":
        """The entry of an object as a listing describes it."""
        return cls(
            name,
            meta.key,
            False,
            meta.etag,
            meta.size,
            meta.mtime_ns,
            meta.storage_class,
            meta.restored,
        )

    @property
    def meta(self) -> ObjectMeta:
        """Of an object: what the listing said."""
        return ObjectMeta(
            self.key, self.size, self.etag, self.mtime_ns, self.storage_class, self.restored
        )


Row = tuple[int, bytes, bool, int, int]
"""An entry's index, its name as the kernel sees it, whether it is a directory, its size in bytes and its time in
nanoseconds since the epoch; 0 and 0 for a directory. A plain tuple, because one is made for each that is shown."""


class Directory:
    """The names directly below a prefix.

    ``_labels`` holds the name of each entry, with a trailing ``/`` for a directory: sorted, because that is the order
    of keys. A name is looked up by two bisections, one for each kind.

    Args:
        prefix: empty or ending in ``/``.
    """

    __slots__ = (
        "_class_names",
        "_classes",
        "_directories",
        "_index",
        "_labels",
        "_length",
        "_md5s",
        "_mtimes",
        "_odd_etags",
        "_reached",
        "_settled",
        "_sizes",
        "is_complete",
        "pages",
        "prefix",
        "twins",
        "unspellable",
        "weight",
    )

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.is_complete = False
        self.pages = 0
        self.unspellable = NOTHING_ODD
        self.twins = NOTHING_ODD
        self.weight = 400
        self._labels: list[bytes] = []
        self._sizes = array("Q")
        self._mtimes = array("q")
        self._classes: bytearray | bytes = bytearray()
        self._class_names: tuple[tuple[str, bool], ...] = ()
        self._md5s: bytearray | bytes = bytearray()
        self._odd_etags = _NO_ODD_ETAGS
        self._directories = _NO_DIRECTORIES
        self._index: dict[bytes, int] | None = None
        self._length = 0
        self._settled = 0
        self._reached = b""

    def __len__(self) -> int:
        return self._length

    def __repr__(self) -> str:
        state = "complete" if self.is_complete else f"to {self._reached!r}"
        return f"<Directory {self.prefix!r} {self._length} entries, {state}>"

    def append(self, page: Page) -> None:
        """Take in the next page of the listing."""
        start = len(encode(self.prefix))
        dirs = ((encode(prefix)[start:], None) for prefix in page.prefixes)
        files = ((encode(meta.key)[start:], meta) for meta in page.objects)
        for label, meta in merge(files, dirs, key=lambda pair: pair[0]):
            self._add(label, meta)
        self._length = len(self._labels)
        self._settled = self._count_settled()
        self.pages += 1
        self.is_complete = page.next_token is None
        if self.is_complete:
            self._shrink()

    def is_known(self, name: bytes) -> bool:
        """Whether the listing has come far enough to say what a name is, or that it is nothing."""
        return not self.undecided(name)

    def undecided(self, name: bytes) -> list[bytes]:
        """The labels that decide what a name is and that the listing has not come to."""
        labels = [name, name + b"/"]
        short = name_of_twin(name)
        if short is not None and not self._exists(name) and self._may_exist(short):
            # `a/` sorts behind `a.s3object`, so the twin is only known when the directory is.
            labels += [short, short + b"/"]
        return [label for label in labels if not self._is_passed(label)]

    def find(self, name: bytes) -> Entry | None:
        """The entry that shows under a name; only meaningful where `is_known`."""
        as_directory = self._find_label(name + b"/")
        if as_directory is not None:
            return self._entry(as_directory, name)
        as_file = self._find_label(name)
        if as_file is not None:
            return self._entry(as_file, name)
        short = name_of_twin(name)
        if short is None or self._find_label(short + b"/") is None:
            return None
        twin = self._find_label(short)
        return None if twin is None else self._entry(twin, name)

    def at(self, index: int) -> Entry | None:
        """The entry at an index, None when it cannot be shown (a twin whose longer name is taken)."""
        label = self._labels[index]
        if label.endswith(b"/"):
            return self._entry(index, label[:-1])
        if self.is_complete and not self.twins.count:
            return self._entry(index, label)
        # The directory of this name comes behind the object; it is only known when the listing has come that far.
        if self._find_label(label + b"/") is None:
            return self._entry(index, label)
        longer = twin_name(label)
        if longer is None or self._exists(longer):
            return None
        return self._entry(index, longer)

    def plain_name(self, index: int) -> bytes | None:
        """The name of an entry, None where it takes a closer look to tell (see `at`)."""
        label = self._labels[index]
        if label.endswith(b"/"):
            return label[:-1]
        return label if self.is_complete and not self.twins.count else None

    def rows(self, indexes: Iterable[int]) -> Iterator[Row]:
        """Entries that are settled, of a listing without twins: there a label is a name."""
        labels, sizes, mtimes = self._labels, self._sizes, self._mtimes
        for index in indexes:
            label = labels[index]
            if label[-1] == SLASH:
                yield index, label[:-1], True, 0, 0
            else:
                yield index, label, False, sizes[index], mtimes[index]

    def place_of(self, theirs: "Directory", index: int) -> int | None:
        """Where an entry of another listing of the same directory stands in this one."""
        label = theirs._labels[index]
        if index < self._length and self._labels[index] == label:
            return index
        return self._find_label(label)

    def is_alike(self, index: int, theirs: "Directory", place: int) -> bool:
        """Whether another listing of the same directory says the same of an entry, but perhaps for its name."""
        return self._facts(index) == theirs._facts(place)

    def index_of(self, key: str) -> int | None:
        """Where the object or directory of a whole key stands."""
        return self._find_label(encode(key)[len(encode(self.prefix)) :])

    def last_keys(self, count: int) -> list[str]:
        """The keys of the last entries in order, and how far the listing has come where that is no entry.

        Nothing with a store that lists in no order.
        """
        if self._index is not None:
            return []
        labels = self._labels[-count:] if count else []
        if self._reached and self._reached not in labels[-1:]:
            labels.append(self._reached)
        return [self.prefix + decode(label) for label in labels]

    def directory_count(self) -> int:
        """How many of the entries are directories."""
        return len(self._directories)

    def directory_rank(self, key: str) -> int | None:
        """Which of the directories a key is, counted from 0."""
        index = self.index_of(key)
        return None if index is None else bisect_left(self._directories, index)

    def directory_key(self, rank: int) -> str:
        """The key of one of the directories."""
        return self.prefix + decode(self._labels[self._directories[rank]])

    def position(self, name: bytes) -> int:
        """Where what decides about a name begins; 0 with a store that lists in no order."""
        if self._index is not None:
            return 0
        return bisect_left(self._labels, name_of_twin(name) or name, hi=self._length)

    def settled(self) -> int:
        """How many entries may be shown: those before the first whose directory may still come."""
        return self._length if self.is_complete else self._settled

    def _add(self, label: bytes, meta: ObjectMeta | None) -> None:
        self._note_order(label)
        if not label:
            return  # the directory's own marker
        if not is_spellable(label.removesuffix(b"/") if meta is None else label):
            self.unspellable = _noted(self.unspellable, self.prefix + decode(label))
            return
        if self._is_repeated(label):
            return
        index = len(self._labels)
        if self._index is not None:
            self._index[label] = index
        if meta is None and self._find_label(label[:-1], hi=index) is not None:
            self.twins = _noted(self.twins, self.prefix + decode(label[:-1]))
        if meta is not None and self._index is not None and label + b"/" in self._index:
            self.twins = _noted(self.twins, meta.key)
        if meta is None:
            if self._directories is _NO_DIRECTORIES:
                self._directories = array("L")
            self._directories.append(index)
        self._labels.append(label)
        self._sizes.append(meta.size if meta else 0)
        self._mtimes.append(meta.mtime_ns if meta else 0)
        assert isinstance(self._classes, bytearray)
        self._classes.append(self._class_of(meta) if meta else 0)
        self._md5s += self._pack_etag(index, meta.etag) if meta else bytes(MD5_BYTES)
        self.weight += len(label) + ENTRY_BYTES

    def _shrink(self) -> None:
        """Nothing is added any more: give back the room for it. Readers that are under way have the old columns."""
        self._labels = self._labels.copy()
        self._sizes = self._sizes[:]
        self._mtimes = self._mtimes[:]
        self._classes = bytes(self._classes) if len(self._class_names) > 1 else b""
        self._md5s = bytes(self._md5s)

    def _class_at(self, index: int) -> tuple[str, bool]:
        classes = self._classes
        return self._class_names[classes[index] if classes else 0]

    def _count_settled(self) -> int:
        """Where the first object stands whose directory may still come: `a` until `a/` has been passed."""
        if self._index is not None:
            return 0
        # Between `a` and `a/` lie only names that begin with `a`, so it is a beginning of what was listed last.
        reached = self._reached.removesuffix(b"/")
        for length in range(1, len(reached) + 1):
            label = reached[:length]
            index = self._find_label(label) if label + b"/" > self._reached else None
            if index is not None:
                return index
        return self._length

    def _note_order(self, label: bytes) -> None:
        """Fall back to a dict of names with a store that does not list in byte order."""
        if label < self._reached and self._index is None:
            self._index = {known: index for index, known in enumerate(self._labels)}
        self._reached = max(self._reached, label)

    def _is_repeated(self, label: bytes) -> bool:
        if self._index is not None:
            return label in self._index
        return bool(self._labels) and self._labels[-1] == label

    def _class_of(self, meta: ObjectMeta) -> int:
        pair = (meta.storage_class, meta.restored)
        if pair not in self._class_names:
            self._class_names = _shared((*self._class_names, pair))
        return self._class_names.index(pair)

    def _pack_etag(self, index: int, etag: str) -> bytes:
        """Sixteen bytes for an MD5, which most ETags are; others stand in a dict."""
        if len(etag) == 2 * MD5_BYTES:
            try:
                packed = bytes.fromhex(etag)
            except ValueError:
                packed = b""
            if len(packed) == MD5_BYTES and packed.hex() == etag:
                return packed
        if self._odd_etags is _NO_ODD_ETAGS:
            self._odd_etags = {}
        self._odd_etags[index] = etag
        self.weight += ODD_ETAG_BYTES
        return bytes(MD5_BYTES)

    def _is_passed(self, label: bytes) -> bool:
        """Whether the listing has come far enough to have shown a label."""
        if self.is_complete:
            return True
        return label in self._index if self._index is not None else label <= self._reached

    def _may_exist(self, label: bytes) -> bool:
        return not self._is_passed(label) or self._find_label(label) is not None

    def _exists(self, name: bytes) -> bool:
        return self._find_label(name) is not None or self._find_label(name + b"/") is not None

    def _facts(self, index: int) -> tuple[object, ...]:
        label = self._labels[index]
        if label[-1] == SLASH:
            return (label,)
        return (
            label,
            self._sizes[index],
            self._mtimes[index],
            self._md5s[index * MD5_BYTES : (index + 1) * MD5_BYTES],
            self._odd_etags.get(index),
            self._class_at(index),
        )

    def _find_label(self, label: bytes, *, hi: int | None = None) -> int | None:
        if self._index is not None:
            return self._index.get(label)
        end = self._length if hi is None else hi
        index = bisect_left(self._labels, label, hi=end)
        return index if index < end and self._labels[index] == label else None

    def _entry(self, index: int, name: bytes) -> Entry:
        label = self._labels[index]
        key = self.prefix + decode(label)
        if label.endswith(b"/"):
            return Entry(name, key, True)
        etag = self._odd_etags.get(index)
        if etag is None:
            etag = self._md5s[index * MD5_BYTES : (index + 1) * MD5_BYTES].hex()
        storage_class, restored = self._class_at(index)
        return Entry(
            name,
            key,
            False,
            etag,
            self._sizes[index],
            self._mtimes[index],
            storage_class,
            restored,
        )


def _noted(oddities: Oddities, key: str) -> Oddities:
    """With one key more; made with the first."""
    kept = Oddities() if oddities is NOTHING_ODD else oddities
    kept.note(key)
    return kept
