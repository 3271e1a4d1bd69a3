"""What an object store is, for the engine above it.

A store is a *proactor*: requests go in with ``submit``, progress is made in ``poll``, and what happens is told to
the request's receiver, always on the thread that calls ``poll``. A store starts no thread, keeps no queue of its own
beyond what it was given, retries nothing and caches nothing: the engine decides, the store does. Only ``wake`` may be
called from other threads.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias, runtime_checkable

from s3mount.errors import StoreError
from s3mount.metrics import Counters
from s3mount.store.user_metadata import metadata_in

if TYPE_CHECKING:  # who only reads does not load it
    from s3mount.store.pipe import Drain
    from s3mount.store.writing import Answer, Metadata, Write

MOST_ENTRIES = 1000
"""Keys and common prefixes in a page: the most that S3 gives."""
ARCHIVE_CLASSES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
"""Storage classes whose objects need a restore before they can be read (GLACIER_IR does not)."""


class ObjectMeta(NamedTuple):
    """What a listing says of one object.

    Attributes:
        key: the whole key. Bytes that are not UTF-8 are held as surrogate escapes.
        size: bytes.
        etag: opaque, without the quotes, never parsed.
        mtime_ns: LastModified, nanoseconds since the epoch.
        storage_class: as the store spells it; ``STANDARD`` where it says nothing.
        restored: an archived object of which a readable copy exists now.
    """

    key: str
    size: int
    etag: str
    mtime_ns: int
    storage_class: str = "STANDARD"
    restored: bool = False

    @property
    def archived(self) -> bool:
        """Whether a GET would be refused until the object is restored."""
        return self.storage_class in ARCHIVE_CLASSES and not self.restored


class Page(NamedTuple):
    """One LIST reply.

    Attributes:
        objects: the keys of this page, in the store's order.
        prefixes: common prefixes, each ending in the delimiter.
        next_token: what to send for the next page, None when this is the last.
        age: seconds since the bucket was seen like this; 0 for what the store says now.
    """

    objects: Sequence[ObjectMeta]
    prefixes: Sequence[str]
    next_token: str | None
    age: float = 0.0


class Head(NamedTuple):
    """What the head of a GET's reply says, told before the first byte.

    Attributes:
        etag: of the version that is being sent, without quotes.
        size: of the whole object, in bytes.
        version_id: empty where the bucket has no versions.
        crc32: of the whole object as the store knows it, None when it was not sent or covers only parts.
        headers: of the reply, names in lower case; empty where the store has none.
    """

    etag: str
    size: int
    version_id: str = ""
    crc32: int | None = None
    headers: Mapping[str, str] = MappingProxyType({})

    @property
    def metadata(self) -> "Metadata":
        """The user's, by name; read when it is asked for, which most readers never do."""
        return metadata_in(self.headers)


class Get(NamedTuple):
    """Read bytes ``start`` to ``stop`` (exclusive) of one version of an object.

    ``whole`` says that the range is the whole object, so that no Range header is needed (an empty object has no
    range that HTTP can spell). ``etag`` empty means any version: only for a first look at an object. ``version_id``
    asks for a version that need not be the newest, where the store keeps them; others ignore it.
    """

    key: str
    etag: str
    start: int
    stop: int
    whole: bool = False
    version_id: str = ""


class ListPage(NamedTuple):
    """List one page under ``prefix``, folded at ``delimiter`` when it is not empty.

    ``token`` continues a listing; ``start_after`` begins one behind a key. ``max_keys`` counts keys and common
    prefixes together. The answer must be younger than ``max_age`` seconds where somebody
    remembers one; at 0 the store is asked.
    """

    prefix: str
    delimiter: str = ""
    token: str | None = None
    start_after: str = ""
    max_keys: int = MOST_ENTRIES
    max_age: float = 0.0


Request: TypeAlias = "Get | ListPage | Write"


def key_of(request: Request) -> str:
    """The key that a request is about, or the prefix."""
    return request.prefix if isinstance(request, ListPage) else request.key


class Receiver(Protocol):
    """Who is told what becomes of one request. Called only from ``poll``.

    Order: for a Get ``head`` once, ``data`` any number of times, ``done`` once; for a ListPage ``page`` once, ``done``
    once; for all others ``answer`` once, ``done`` once. After an error only ``done``. The bytes of all ``data`` calls
    (and of what ``head`` returned) are those of ``start`` to ``stop`` in order: the store has checked status, ETag and
    range before ``head``, and the length before ``done(None)``.
    """

    def head(self, head: Head) -> "Drain | None":
        """The reply is the version and the range that were asked for.

        Returns:
            What takes bytes out of a pipe instead of ``data``, where they are wanted in a file only. A store uses it
            for as many of them as it likes.
        """

    def data(self, chunk: bytes) -> None:
        """The next bytes."""

    def page(self, page: Page) -> None:
        """The page of a listing."""

    def answer(self, answer: "Answer") -> None:
        """What a write has come to, or what a Look has seen."""

    def done(self, error: StoreError | None) -> None:
        """The request is over; None when everything came."""


class Parcel(Protocol):
    """Who wants a small whole object, the newest version, and has nothing to do before all of it is there.

    Attributes:
        key: of the object.
        etag: which version; not empty.
        size: its bytes, at least one.
    """

    key: str
    etag: str
    size: int

    def arrived(self, head: Head, body: bytes) -> None:
        """All of it is here, and is what was asked for."""


def get_of(parcel: Parcel) -> Get:
    """The request for a parcel."""
    return Get(parcel.key, parcel.etag, 0, parcel.size, whole=True)


class ParcelCounter(Protocol):
    """Where parcels are told of. Called only from ``poll``."""

    def arrived(self, parcel: Parcel, head: Head, body: bytes) -> None:
        """A parcel is here, after every check that a Receiver relies on; must not raise."""

    def receiver_for(self, parcel: Parcel) -> Receiver:
        """What becomes of a parcel needs more than one call: who is told of it from its beginning."""


class Store(Protocol):
    """A bucket, or something that acts as one."""

    @property
    def counters(self) -> Counters:
        """``requests.get``, ``.list`` and ``.write`` as they were sent, tries included; ``bytes.received``."""

    @property
    def identity(self) -> str:
        """Endpoint and bucket in one line: part of the name of every cached byte.

        The same for two mounts of one bucket, whatever their prefix, credentials or options; different for two
        endpoints.
        """

    @property
    def description(self) -> str:
        """What a person calls this store: ``s3://bucket``, ``file:///dir``."""

    def submit(self, request: Request, receiver: Receiver) -> None:
        """Begin a request. Must not block and must not call the receiver."""

    def cancel(self, receiver: Receiver) -> None:
        """Forget a request: its receiver is not called any more. Unknown receivers are ignored."""

    def poll(self, timeout: float) -> None:
        """Make progress for at most ``timeout`` seconds, returning after the first progress or at ``wake``."""

    def wake(self) -> None:
        """Make a ``poll`` that waits return soon. May be called from any thread, also after ``close``."""

    def renew(self) -> None:
        """Renew what wears out (credentials). May block: called from a thread of its own."""

    def close(self) -> None:
        """Give back sockets and descriptors. Requests under way end without a call."""


@runtime_checkable
class ParcelStore(Store, Protocol):
    """A store that brings small objects with less ado: nothing is made for one but its request, until it goes wrong."""

    def serve(self, counter: ParcelCounter) -> None:
        """Tell of parcels there; once, before the first `fetch`."""

    def fetch(self, parcels: Sequence[Parcel]) -> Sequence[Parcel]:
        """Begin a GET for each; must not block and must not call the counter.

        Returns:
            Those that cannot be brought this way, and are to be submitted.
        """

    def recall(self, parcel: Parcel) -> None:
        """Forget a parcel; those that are not under way, or have a receiver by now, are ignored."""


class StoreSettings(NamedTuple):
    """How to reach a store; what botocore's own configuration says where a field is empty.

    Attributes:
        connections: sockets open at once at the most.
        connect_timeout: seconds until a connection that is not there counts as unreachable.
        stall_timeout: seconds without one byte after which a request counts as timed out.
    """

    endpoint_url: str = ""
    region: str = ""
    profile: str = ""
    no_sign_request: bool = False
    requester_pays: bool = False
    addressing_style: str = "auto"
    ca_bundle: str = ""
    connections: int = 64
    connect_timeout: float = 5.0
    stall_timeout: float = 15.0
