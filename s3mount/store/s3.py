"""The S3 store: requests signed by us, sent by libcurl, checked before anyone hears of them.

Everything runs on the thread that calls ``poll``, except ``wake`` and ``renew``. A request is sent once, with two
exceptions that no caller could handle better: a bucket that turns out to be in another region, and a server that does
not know the header that asks for restore status.
"""

import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from s3mount.errors import ConfigError, NotFound, StoreError, UnexpectedReply
from s3mount.metrics import Counters
from s3mount.store.credentials import Credentials
from s3mount.store.curl import CurlLoop
from s3mount.store.curl_handle import CurlOptions
from s3mount.store.endpoint import Endpoint, EndpointResolver
from s3mount.store.exchange import Exchange, GetExchange, ListExchange
from s3mount.store.interface import (
    Get,
    ListPage,
    Parcel,
    ParcelCounter,
    Receiver,
    Request,
    StoreSettings,
    get_of,
)
from s3mount.store.loads import Load
from s3mount.store.manners import Manners
from s3mount.store.s3_errors import means_bad_credentials, region_named
from s3mount.store.s3_request import PAYER, headers_of, target_of
from s3mount.store.signing import AccessKey, Signer
from s3mount.store.whole_request import Speller

if TYPE_CHECKING:  # who only reads does not load it
    from s3mount.store.write_exchange import WriteExchange

_MOVED_STATUSES = frozenset({301, 302, 307, 308, 400, 403})
"""With these S3 and its imitations answer a request that was signed for, or sent to, another region."""
_HEADER_REFUSED_STATUSES = frozenset({400, 501})
"""With these servers answer a header that they do not implement."""


class S3Store:
    """One bucket behind one endpoint.

    Attributes:
        counters: ``requests.get``, ``.list`` and ``.write`` as sent, ``bytes.received``, ``connections.opened``.
        credentials: None when requests are not signed.
        endpoint: where requests go now.
    """

    def __init__(
        self, bucket: str, settings: StoreSettings, credentials: Credentials | None = None
    ) -> None:
        """Read the AWS configuration and the chain of credentials; may block for seconds, sends nothing to S3.

        Missing credentials are told to each request, not here, so that they may turn up later.

        Args:
            bucket: its name.
            settings: how to reach it.
            credentials: to use instead of those of ``settings.profile``.

        Raises:
            ConfigError: the profile, the endpoint, the bucket's name or the CA bundle is wrong.
        """
        self.counters = Counters()
        self._bucket = bucket
        self._settings = settings
        self._resolver = EndpointResolver(bucket, settings)
        self.endpoint = self._resolver.resolve()
        self.credentials = None
        if not settings.no_sign_request:
            self.credentials = credentials or Credentials(settings.profile)
        self._signer = Signer(self.endpoint.region)
        self._exchanges: dict[int, Exchange] = {}
        self._parcels: ParcelCounter | None = None
        self._speller = Speller(requester_pays=settings.requester_pays)
        self._unsendable: deque[tuple[Exchange, StoreError]] = deque()
        self._knows_restore_status = True
        # Of AWS it is known; its identity has no address in it.
        self._manners = Manners(takes_condition="://" not in self.endpoint.identity)
        self._loop = CurlLoop(
            CurlOptions(
                connections=settings.connections,
                connect_timeout=settings.connect_timeout,
                stall_timeout=settings.stall_timeout,
                ca_path=self._resolver.ca_path(),
            ),
            self.counters,
        )

    def __repr__(self) -> str:
        return f"<S3Store {self.endpoint.url} under_way={len(self._exchanges)} {self._loop!r}>"

    @property
    def identity(self) -> str:
        """Endpoint and bucket in one line, the same for every way to the bucket."""
        return self.endpoint.identity

    @property
    def description(self) -> str:
        """``s3://bucket``."""
        return f"s3://{self._bucket}"

    def submit(self, request: Request, receiver: Receiver) -> None:
        """Begin a request. One receiver serves one request at a time."""
        exchange: Exchange
        if isinstance(request, Get):
            exchange = GetExchange(request, receiver, self._settle)
        elif isinstance(request, ListPage):
            exchange = ListExchange(request, receiver, self._settle)
        else:
            from s3mount.store.write_exchange import WriteExchange

            exchange = WriteExchange(request, receiver, self._settle, self._manners)
        self._exchanges[id(receiver)] = exchange
        self._send(exchange)

    def serve(self, counter: ParcelCounter) -> None:
        """Tell of parcels there."""
        self._parcels = counter
        self._loop.serve(counter.arrived, self._unpack)

    def fetch(self, parcels: Sequence[Parcel]) -> Sequence[Parcel]:
        """Begin with parcels; those are given back that take more than is done for them."""
        loads = self._loop.loads_to(self.endpoint.origin)
        if loads is None:
            return parcels
        try:
            access = self.credentials.current() if self.credentials else None
        except StoreError:
            return parcels
        spelling = self._speller.at(self.endpoint, access, _now(), self._signer)
        refused = loads.add(parcels, spelling)
        self.counters.add(GetExchange.counter, len(parcels) - len(refused))
        return refused

    def recall(self, parcel: Parcel) -> None:
        """Forget a parcel."""
        self._loop.recall(parcel)

    def cancel(self, receiver: Receiver) -> None:
        """Forget a request; unknown receivers are ignored."""
        exchange = self._exchanges.pop(id(receiver), None)
        if exchange is not None:
            self.counters.add("bytes.received", exchange.received)
            self._loop.cancel(exchange)

    def poll(self, timeout: float) -> None:
        """Make progress; see `CurlLoop.poll`."""
        if self._unsendable:
            self._tell_unsendable()
            timeout = 0.0
        self._loop.poll(timeout)

    def wake(self) -> None:
        """Make a waiting ``poll`` return."""
        self._loop.wake()

    def renew(self) -> None:
        """Renew the credentials; may block for seconds, may be called from any thread."""
        if self.credentials is not None:
            self.credentials.renew()

    def close(self) -> None:
        """Give back sockets and descriptors. Requests under way end without a call."""
        self._exchanges.clear()
        self._unsendable.clear()
        self._loop.close()

    def _unpack(self, load: Load) -> Exchange:
        """The exchange that a parcel would have been, as it was sent."""
        assert self._parcels is not None
        receiver = self._parcels.receiver_for(load.parcel)
        exchange = GetExchange(get_of(load.parcel), receiver, self._settle)
        self._exchanges[id(receiver)] = exchange
        sent = load.spelling
        self._sign_read(exchange, sent.endpoint, sent.access, sent.second)
        return exchange

    def _send(self, exchange: Exchange) -> None:
        """Sign and hand over; what stands in the way is told at the next ``poll``."""
        try:
            self._sign(exchange)
        except StoreError as error:
            self._unsendable.append((exchange, error))
        except UnicodeEncodeError:
            unknown = NotFound(f"no store can hold the key {exchange.key!r}", key=exchange.key)
            self._unsendable.append((exchange, unknown))
        else:
            self.counters.add(exchange.counter)
            self._loop.submit(exchange)

    def _sign(self, exchange: Exchange) -> None:
        if exchange.writes:
            self._sign_write(cast("WriteExchange", exchange))
            return
        access = self.credentials.current() if self.credentials else None
        self._sign_read(exchange, self.endpoint, access, _now())

    def _sign_read(
        self, exchange: Exchange, endpoint: Endpoint, access: AccessKey | None, second: int
    ) -> None:
        path, query = target_of(exchange.request)
        path = endpoint.path + path
        asks_restore_status = self._knows_restore_status and not exchange.plainer
        headers = headers_of(
            exchange.request,
            requester_pays=self._settings.requester_pays,
            restore_status=asks_restore_status,
        )
        exchange.asked_restore_status = exchange.listing and asks_restore_status
        exchange.endpoint_url = endpoint.url
        exchange.bucket = self._bucket
        exchange.region = endpoint.region
        exchange.url = f"{endpoint.origin}{path}?{query}" if query else endpoint.origin + path
        exchange.access = access
        if access is None:
            exchange.header_lines = [f"{name}:{value}" for name, value in headers]
            return
        exchange.header_lines = self._signer_of(endpoint).sign(
            endpoint.host, path, query, headers, access, second
        )

    def _signer_of(self, endpoint: Endpoint) -> Signer:
        return self._signer if endpoint is self.endpoint else Signer(endpoint.region)

    def _sign_write(self, exchange: "WriteExchange") -> None:
        endpoint = self.endpoint
        spelled, payload = exchange.spelled(
            self._bucket, secure=endpoint.origin.startswith("https:")
        )
        path = endpoint.path + spelled.path
        if self._settings.requester_pays:
            spelled.headers.append(PAYER)
        exchange.endpoint_url = endpoint.url
        exchange.bucket = self._bucket
        exchange.region = endpoint.region
        exchange.url = f"{endpoint.origin}{path}?{spelled.query}".removesuffix("?")
        lines = [f"{name}:{value}" for name, value in spelled.headers]
        if self.credentials is not None:
            exchange.access = access = self.credentials.current()
            lines = self._signer.sign(
                endpoint.host,
                path,
                spelled.query,
                spelled.headers,
                access,
                _now(),
                method=spelled.method,
                payload=payload,
            )
        exchange.header_lines = lines + exchange.transport_lines()

    def _tell_unsendable(self) -> None:
        # Receivers may submit again from their `done`: those wait for the next poll.
        for _ in range(len(self._unsendable)):
            exchange, error = self._unsendable.popleft()
            if self._exchanges.get(id(exchange.receiver)) is exchange:
                self._finish(exchange, error)

    def _settle(self, exchange: Exchange, error: StoreError | None) -> None:
        """The reply is here: send again if that is for us to do, else tell the receiver."""
        if error is not None and exchange.status:
            if self._follows_region(exchange) or self._goes_plainer(exchange, error):
                exchange.restart()
                self._send(exchange)
                return
            if self.credentials and exchange.access and means_bad_credentials(error):
                self.credentials.refused(exchange.access)
        if error is None and exchange.plainer:
            self._knows_restore_status = False
        self._finish(exchange, error)

    def _finish(self, exchange: Exchange, error: StoreError | None) -> None:
        self._exchanges.pop(id(exchange.receiver), None)
        self.counters.add("bytes.received", exchange.received)
        exchange.receiver.done(error)

    def _follows_region(self, exchange: Exchange) -> bool:
        """Whether the reply named another region than the one asked: then the endpoint is there from now on."""
        if exchange.moved or exchange.status not in _MOVED_STATUSES:
            return False
        region = region_named(exchange.headers, exchange.kept)
        if not region or region == exchange.region:
            return False
        if region != self.endpoint.region:
            try:
                self.endpoint = self._resolver.resolve(region)
            except ConfigError:
                return False
            self._signer = Signer(region)
        exchange.moved = True
        return True

    def _goes_plainer(self, exchange: Exchange, error: StoreError) -> bool:
        """Whether the server may have refused a header that can be left out."""
        if exchange.writes:
            return cast("WriteExchange", exchange).goes_on(error)
        if not exchange.asked_restore_status or exchange.plainer:
            return False
        if exchange.status not in _HEADER_REFUSED_STATUSES or type(error) is not UnexpectedReply:
            return False
        exchange.plainer = True
        return True


def _now() -> int:
    """Seconds since the epoch, for signatures."""
    return int(time.clock_gettime(time.CLOCK_REALTIME))
