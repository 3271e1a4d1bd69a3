"""Keys that somebody has written down, looked up in the store: which version of each there is now.

`KeyLookup` decides what to ask: one LIST for a key that has few beside it, pages of a directory of which many keys are
looked for, and no more pages than pay. `KeyPages` sends that; missing keys are told as outcomes.
"""

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from os.path import commonprefix
from queue import Empty, SimpleQueue
from typing import NamedTuple

from s3mount.bulk.outcome import Ending, Outcome
from s3mount.errors import NotFound
from s3mount.listing.walking import Walking
from s3mount.store.interface import ListPage, ObjectMeta, Page
from s3mount.store.paging import byte_order
from s3mount.transfer.engine import Engine
from s3mount.transfer.flight import Urgency

FEW = 3
"""Keys of one directory that are asked for one by one, and keys that a page of it must answer to be worth another."""
PARALLEL = 32
"""LISTs under way at once."""
AHEAD = 64
"""Answers that wait to be worked off, at the most."""


def read_keys(lines: Iterable[bytes], prefix: str) -> Iterator[str]:
    """The keys that a file names, one a line; empty lines are passed over.

    Args:
        lines: of the file; bytes that are not UTF-8 become surrogate escapes, as in listings.
        prefix: what stands before each of them.
    """
    for line in lines:
        name = line.rstrip(b"\r\n")
        if name.strip():
            yield prefix + name.decode("utf-8", "surrogateescape")


@dataclass(slots=True, eq=False)
class Directory:
    """Many keys that are looked for in one directory.

    Attributes:
        prefix: what all of them begin with.
        wanted: keys in byte order of which nothing is known yet.
        token: continues its listing.
    """

    prefix: str
    wanted: deque[str]
    token: str | None = None


class Question(NamedTuple):
    """A LIST to send, and what it is for.

    Attributes:
        directory: whose page it asks for, None when it asks for one key.
        key: that key.
    """

    request: ListPage
    directory: Directory | None = None
    key: str = ""


class Answer(NamedTuple):
    """What a page told of the keys that are looked for."""

    found: list[ObjectMeta]
    missing: list[str]


@dataclass(slots=True, eq=False)
class KeyLookup:
    """Which LISTs tell the versions of some keys: a plain data structure, no I/O.

    At most one LIST more than there are keys is sent for a directory: a page that answers fewer than `FEW` is its last.

    Args:
        keys: whole keys, in any order; one that comes twice is looked up once.
    """

    _single: deque[str] = field(default_factory=deque)
    _ready: deque[Directory] = field(default_factory=deque)

    @classmethod
    def of(cls, keys: Iterable[str]) -> "KeyLookup":
        """Group keys by directory; holds all of them."""
        lookup = cls()
        names: dict[str, set[str]] = {}
        for key in keys:
            names.setdefault(key[: key.rfind("/") + 1], set()).add(key)
        for group in names.values():
            wanted = sorted(group, key=byte_order)
            if len(wanted) > FEW:
                prefix = commonprefix([wanted[0], wanted[-1]])  # noqa: RUF071 -- letters, not parts
                lookup._ready.append(Directory(prefix, deque(wanted)))
            else:
                lookup._single.extend(wanted)
        return lookup

    def ask(self) -> Question | None:
        """The next LIST; None when nothing can be asked before an answer, or at all."""
        if self._ready:
            directory = self._ready.popleft()
            return Question(ListPage(directory.prefix, "/", directory.token), directory)
        if self._single:
            key = self._single.popleft()
            # The key itself is the first one, in byte order, that begins with it.
            return Question(ListPage(key, max_keys=1), key=key)
        return None

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to ask; an answer that is still to come may change that."""
        return not self._ready and not self._single

    def take(self, question: Question, page: Page) -> Answer:
        """Take the reply to a question."""
        directory = question.directory
        if directory is None:
            found = [meta for meta in page.objects if meta.key == question.key]
            return Answer(found, [] if found else [question.key])
        return self._take_page(directory, page)

    def _take_page(self, directory: Directory, page: Page) -> Answer:
        listed = {meta.key: meta for meta in page.objects}
        if page.next_token is None:
            answer = Answer([], [])
            for key in directory.wanted:
                if key in listed:
                    answer.found.append(listed[key])
                else:
                    answer.missing.append(key)
            return answer
        last = max(map(byte_order, (*listed, *page.prefixes)), default=b"")
        found = []
        answered = 0
        while directory.wanted and byte_order(directory.wanted[0]) <= last:
            key = directory.wanted.popleft()
            answered += 1
            if key in listed:
                found.append(listed[key])
            else:
                self._single.append(key)  # not every server lists in order, so one more look
        self._go_on(directory, page.next_token, answered)
        return Answer(found, [])

    def _go_on(self, directory: Directory, token: str, answered: int) -> None:
        if answered < FEW or len(directory.wanted) <= FEW:
            self._single.extend(directory.wanted)
        else:
            directory.token = token
            self._ready.append(directory)


class KeyPages(Walking[Question, Sequence[ObjectMeta]]):
    """The versions of written-down keys; a `pipeline.Pages`.

    Args:
        engine: sends the LISTs.
        keys: whole keys; held in memory.
    """

    def __init__(self, engine: Engine, keys: Iterable[str]) -> None:
        super().__init__(engine, Urgency.NEEDED)
        self._lookup = KeyLookup.of(keys)
        self._missing: SimpleQueue[Outcome] = SimpleQueue()

    def take_missing(self) -> list[Outcome]:
        """Keys that were found to be missing since the last call; from any thread."""
        taken = []
        try:
            while True:
                taken.append(self._missing.get_nowait())
        except Empty:
            return taken

    def _send(self) -> None:
        while (
            not self._is_over
            and len(self._flights) < PARALLEL
            and self._unreleased + len(self._flights) < AHEAD
        ):
            question = self._lookup.ask()
            if question is None:
                break
            self._ask(question, question.request)
        if not self._flights and self._lookup.is_over:
            self._finish(None)

    def _take(self, asked: Question, page: Page) -> None:
        found, missing = self._lookup.take(asked, page)
        for key in missing:
            self._missing.put(_missing(key))
        self._unreleased += 1
        self._give(found)
        self._send()


def with_missing(
    batches: Iterable[list[Outcome]], pages: KeyPages
) -> Generator[list[Outcome], None, None]:
    """The outcomes of a run, and those of keys that were not found."""
    for batch in batches:
        yield batch + pages.take_missing()
    if rest := pages.take_missing():
        yield rest


def _missing(key: str) -> Outcome:
    error = NotFound(
        f"{key!r}: not found", key=key, hint="a file of keys names them relative to SOURCE"
    )
    return Outcome(ObjectMeta(key, 0, "", 0), Ending.FAILED, error=error)
