"""A session over any store, without the ways of the command line; and a listing page after page."""

from contextlib import ExitStack, contextmanager

from s3mount.bulk.caching import Caching
from s3mount.bulk.session import Session
from s3mount.cache.limits import Limits
from s3mount.store.interface import ListPage, Page
from s3mount.store.open import Source
from s3mount.transfer.engine import Engine, EngineSettings
from s3mount.transfer.flight import Urgency
from s3mount.transfer.housekeeping import Chore, Housekeeper, Worker
from s3mount.transfer.queue import Shares
from s3mount.transfer.retry import RetryPolicy
from tests.unit.cache.builders import now

ROOMY = Limits(1 << 30, 0, 1 << 24)
QUICK = RetryPolicy(first=0.001, ceiling=0.002, patience=2.0)


@contextmanager
def session_over(store, root, *, limits=ROOMY, jobs=16, prefix="", max_bandwidth=0):
    """What `session.opened` makes, over ``store`` and with a cache in ``root``."""
    with ExitStack() as stack:
        writer = Worker("writer")
        caching = Caching(root, limits)
        stack.callback(caching.close)
        stack.enter_context(writer)
        books = Chore("books", 0.1, lambda: caching.maintain(now()), caching.attention.is_set)
        stack.enter_context(Housekeeper([books], caching.attention))
        shares = Shares(jobs + 8, jobs, jobs)
        settings = EngineSettings(jobs + 8, QUICK, shares, max_bandwidth)
        engine = stack.enter_context(Engine(store, settings))
        source = Source("s3", "bucket", prefix)
        yield Session(source, store, engine, caching, writer, root, max_bandwidth)


class SerialPages:
    """A `pipeline.Pages` that lists one page after the other."""

    def __init__(self, engine, prefix="", *, max_keys=1000, ahead=4):
        self.engine, self.prefix, self.max_keys, self.ahead = engine, prefix, max_keys, ahead
        self.unreleased = self.most = 0
        self.token = None
        self.is_asked = self.is_over = False

    def start(self, deliver, finished):
        self.deliver, self.finished = deliver, finished
        self._ask()

    def release(self):
        self.unreleased -= 1
        self._ask()

    def stop(self):
        self.is_over = True

    def _ask(self):
        if not self.is_asked and not self.is_over and self.unreleased < self.ahead:
            self.is_asked = True
            request = ListPage(self.prefix, token=self.token, max_keys=self.max_keys)
            self.engine.list(request, self._answered, Urgency.NEEDED)

    def _answered(self, page):
        self.is_asked = False
        if self.is_over:
            return
        if not isinstance(page, Page):
            self.is_over = True
            self.finished(page)
            return
        self.token, self.unreleased = page.next_token, self.unreleased + 1
        self.most = max(self.most, self.unreleased)
        self.deliver(page.objects)
        if self.token is None and not self.is_over:
            self.is_over = True
            self.finished(None)
        else:
            self._ask()
