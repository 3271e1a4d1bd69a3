"""One request to a store, and what became of it."""

from dataclasses import dataclass, field

from s3mount.errors import StoreError
from s3mount.store.interface import Get, Head, ListPage, ObjectMeta, Page
from s3mount.store.writing import Answer


@dataclass
class Told:
    """A receiver that keeps what it is told and refuses what comes out of order."""

    heads: list[Head] = field(default_factory=list)
    body: bytes = b""
    pages: list[Page] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    error: StoreError | None = None
    is_done: bool = False

    def head(self, head):
        assert not self.heads
        assert not self.is_done
        self.heads.append(head)

    def data(self, chunk):
        assert self.heads
        assert not self.is_done
        self.body += chunk

    def page(self, page):
        assert not self.pages
        assert not self.is_done
        self.pages.append(page)

    def answer(self, answer):
        assert not self.answers
        assert not self.is_done
        self.answers.append(answer)

    def done(self, error):
        assert not self.is_done
        self.error, self.is_done = error, True


def ask(store, request):
    told = Told()
    store.submit(request, told)
    assert not told.is_done, "a store answers in poll only"
    for _ in range(5):
        if not told.is_done:
            store.poll(0)
    assert told.is_done
    return told


def fetch(store, request):
    """The bytes, or the error raised."""
    told = ask(store, request)
    if told.error is not None:
        raise told.error
    return told.body


def whole(meta):
    return Get(meta.key, meta.etag, 0, meta.size, whole=True)


def page_of(store, request):
    told = ask(store, request)
    if told.error is not None:
        raise told.error
    return told.pages[0]


def walk(store, prefix="", delimiter="", *, max_keys=1000, start_after=""):
    """Every key and common prefix, page by page."""
    token = None
    found: list[ObjectMeta | str] = []
    for _ in range(1000):
        page = page_of(store, ListPage(prefix, delimiter, token, start_after, max_keys))
        assert len(page.objects) + len(page.prefixes) <= max_keys
        found += [*page.objects, *page.prefixes]
        if page.next_token is None:
            return found
        assert page.next_token != token
        token = page.next_token
    raise AssertionError("the listing does not end")


def names(found):
    return [entry if isinstance(entry, str) else entry.key for entry in found]
