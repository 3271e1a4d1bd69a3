"""Questions about single names of a directory: each is asked once at a time, with one LIST of the name alone.

Concurrency rule: that of `listing/catalog.py`, whose lock it shares.
"""

import math
import threading
from collections.abc import Callable
from concurrent.futures import Future

from s3mount.errors import StoreError
from s3mount.listing.directory import Directory, Entry
from s3mount.listing.names import decode, name_of_twin
from s3mount.listing.shelf import Answer, Shelf
from s3mount.metrics import Counters
from s3mount.store.interface import ListPage, Page
from s3mount.transfer.engine import Engine
from s3mount.transfer.flight import Urgency


class Health:
    """Whether the endpoint answers."""

    def __init__(self) -> None:
        self.is_failing = False

    def note(self, page: Page | StoreError) -> None:
        """Take note of a reply: what the endpoint refuses is an answer too, and what others remember is none."""
        if isinstance(page, StoreError) or not page.age:
            self.is_failing = isinstance(page, StoreError) and page.retryable


class Questions:
    """What is asked about single names at the moment, and how it is answered.

    Args:
        engine: sends the LISTs.
        shelf: remembers the answers.
        lock: of the shelf.
        clock: seconds that only grow.
        counters: of the listings.
        health: is told of every reply.
    """

    def __init__(
        self,
        engine: Engine,
        shelf: Shelf,
        lock: threading.RLock,
        clock: Callable[[], float],
        counters: Counters,
        health: Health,
    ) -> None:
        self._engine = engine
        self._shelf = shelf
        self._lock = lock
        self._clock = clock
        self._counters = counters
        self._health = health
        self._asked: dict[tuple[str, bytes], Future[Answer]] = {}

    def pending(self, prefix: str, name: bytes) -> Future[Answer] | None:
        """The answer that somebody waits for already."""
        return self._asked.get((prefix, name))

    def begin(self, prefix: str, name: bytes) -> Future[Answer]:
        """A new question; whoever asks the same meanwhile waits for the same answer."""
        future: Future[Answer] = Future()
        self._asked[prefix, name] = future
        future.add_done_callback(lambda _: self._answered(prefix, name, future))
        return future

    def forget(self, prefix: str) -> None:
        """What was asked before answers those who asked, and is not remembered."""
        for pair in [pair for pair in self._asked if pair[0].startswith(prefix)]:
            del self._asked[pair]

    def ask(
        self, prefix: str, name: bytes, future: "Future[Answer]", oldest: float = math.inf
    ) -> None:
        """One LIST, which may be known to others, that answers both "object" and "directory" for one name."""
        # The twin `a.s3object` is known by `a` and `a/`, which the shorter prefix covers as well.
        start = prefix + decode(name_of_twin(name) or name)
        self._counters.add("listing.names")

        def deliver(page: Page | StoreError) -> None:
            self._health.note(page)
            if isinstance(page, StoreError):
                self.fail(prefix, name, page, future)
                return
            part = Directory(prefix)
            part.append(page)
            found = Page([], [], None, page.age)
            self._ask_labels(part, name, part.undecided(name), found, future, oldest)

        max_age = self._max_age_of_name(prefix, name, oldest)
        request = ListPage(start, "/", max_age=max_age)
        self._engine.list(request, deliver, Urgency.NEEDED)

    def _max_age_of_name(self, prefix: str, name: bytes, oldest: float) -> float:
        with self._lock:
            known_at = self._shelf.learned_at(prefix, name)
            return min(oldest, self._shelf.max_age(prefix, self._clock(), known_at))

    def _ask_labels(
        self,
        part: Directory,
        name: bytes,
        labels: list[bytes],
        found: Page,
        future: "Future[Answer]",
        oldest: float,
    ) -> None:
        """A thousand names begin like this one and sort before what decides it: ask for that alone, one by one."""
        prefix = part.prefix
        if not labels:
            part.append(found)
            self._learn(prefix, name, part.find(name), future, found.age, oldest)
            return
        key = prefix + decode(labels[0])

        def deliver(page: Page | StoreError) -> None:
            self._health.note(page)
            if isinstance(page, StoreError):
                self.fail(prefix, name, page, future)
                return
            more = _with_label(found, key, page)
            self._ask_labels(part, name, labels[1:], more, future, oldest)

        max_age = self._max_age_of_name(prefix, name, oldest)
        self._engine.list(ListPage(key, "/", max_keys=1, max_age=max_age), deliver, Urgency.NEEDED)

    def _learn(
        self,
        prefix: str,
        name: bytes,
        entry: Entry | None,
        future: "Future[Answer]",
        age: float,
        oldest: float,
    ) -> None:
        with self._lock:
            now = self._clock()
            if self._asked.get((prefix, name)) is future:
                self._shelf.learn(prefix, name, entry, now - age)
            answer = self._shelf.aged(entry, now - age, now)
            limit = self._shelf.negative_ttl
        if answer is None and entry is None and age and oldest > limit:
            self.ask(prefix, name, future, limit)
        else:
            future.set_result(answer or Answer(entry, 0.0))

    def fail(self, prefix: str, name: bytes, error: StoreError, future: "Future[Answer]") -> None:
        """Answer with what was known where the endpoint does not; its refusals stand."""
        with self._lock:
            old = self._shelf.old(prefix, name, self._clock()) if error.retryable else None
        if old is not None:
            future.set_result(old)
        else:
            future.set_exception(error)

    def _answered(self, prefix: str, name: bytes, future: "Future[Answer]") -> None:
        with self._lock:
            if self._asked.get((prefix, name)) is future:
                del self._asked[prefix, name]


def _with_label(found: Page, key: str, page: Page) -> Page:
    """What is known of a name, and what the page of one of its labels says."""
    objects, prefixes = list(found.objects), list(found.prefixes)
    if not key.endswith("/"):
        objects += [meta for meta in page.objects if meta.key == key]
    elif page.objects or page.prefixes:
        prefixes.append(key)
    return Page(objects, prefixes, None, max(found.age, page.age))
