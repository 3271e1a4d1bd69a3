"""libcurl driven by epoll: many HTTP transfers on one thread.

This module knows sockets, timers and libcurl's rules; it knows nothing of S3. Everything happens on the thread that
calls ``poll``; only ``wake`` may be called from another.

Three rules of libcurl shape it. Its functions must not be called from inside its callbacks, so ``submit`` and
``cancel`` only note what is wanted and ``poll`` does it. ``getinfo`` is forbidden in callbacks, so status and headers
are gathered from the header lines. An exception that leaves a callback is printed and lost, so each is caught and
carried to the end of its transfer.
"""

import contextlib
import select
from time import monotonic

import pycurl

from s3mount.metrics import Counters
from s3mount.store.bell import Bell
from s3mount.store.connections import Connections
from s3mount.store.curl_handle import CurlFailure, CurlHandle, CurlOptions, Progress, Transfer
from s3mount.store.interface import Parcel
from s3mount.store.loads import Arrived, Loads, Unpack
from s3mount.store.streams import LOOK, Streams

_EPOLL_OF = {
    pycurl.POLL_IN: select.EPOLLIN,
    pycurl.POLL_OUT: select.EPOLLOUT,
    pycurl.POLL_INOUT: select.EPOLLIN | select.EPOLLOUT,
}
_TIMER_ROUNDS = 4
"""libcurl often asks for "at once" again; so many times in a row before the sockets are looked at."""


class CurlLoop:
    """A set of transfers and the sockets, timer and handles under them."""

    def __init__(self, options: CurlOptions, counters: Counters) -> None:
        self._options = options
        self._counters = counters
        self._multi = pycurl.CurlMulti()
        self._epoll = select.epoll()
        self._bell = Bell()
        self._epoll.register(self._bell.fd, select.EPOLLIN)
        self._watched: dict[int, int] = {}
        self._due: float | None = None
        self._waiting: dict[int, Transfer] = {}
        self._active: dict[int, CurlHandle] = {}
        self._handles: dict[pycurl.Curl, CurlHandle] = {}
        self._idle: list[CurlHandle] = []
        self._leaving: list[CurlHandle] = []
        self._raised: list[BaseException] = []
        self._progress = Progress()
        self._closed = False
        self._connections = Connections(
            self._multi, self._watch_for, options, self._count_connection
        )
        self._streams = Streams(self._connections, options, over=self._tell, leave=self._begin)
        self._loads = Loads(self._connections, self._streams, counters)
        self._looked_at = 0.0
        self._set_up_multi()

    def _set_up_multi(self) -> None:
        multi, connections = self._multi, self._options.connections
        multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        # As many again may be kept by streams, which libcurl takes for connections in use.
        multi.setopt(pycurl.M_MAXCONNECTS, 2 * connections)
        multi.setopt(pycurl.M_MAX_TOTAL_CONNECTIONS, 2 * connections)

    def __repr__(self) -> str:
        return (
            f"<CurlLoop active={len(self._active)} waiting={len(self._waiting)}"
            f" handles={len(self._handles)} sockets={len(self._watched)}>"
        )

    def submit(self, transfer: Transfer) -> None:
        """Begin a transfer at the next ``poll``."""
        self._waiting[id(transfer)] = transfer

    def serve(self, arrived: Arrived, unpack: Unpack) -> None:
        """Carry parcels too; see `Loads`."""
        self._loads.serve(arrived, unpack)

    def loads_to(self, origin: str) -> Loads | None:
        """Where to add parcels from there, which begin at the next ``poll``; None when they cannot go this way."""
        return self._loads if self._streams.goes_to(origin) else None

    def recall(self, parcel: Parcel) -> None:
        """Never tell of a parcel again."""
        self._loads.recall(parcel)

    def cancel(self, transfer: Transfer) -> None:
        """Never call this transfer again; its connection is dropped when bytes were under way."""
        if self._waiting.pop(id(transfer), None) is not None:
            return
        if self._streams.cancel(transfer):
            return
        handle = self._active.pop(id(transfer), None)
        if handle is not None:
            handle.transfer = None
            self._leaving.append(handle)

    def poll(self, timeout: float) -> None:
        """Do what can be done, waiting at most ``timeout`` seconds for the first progress.

        Raises:
            BaseException: what a transfer's ``over`` raised, or an interrupt that hit one of its calls.
        """
        self._progress.made = False
        self._drop_cancelled()
        self._admit()
        if self._fire_timer():
            self._finish()
        self._wait(0.0 if self._progress.made else timeout)
        self._fire_timer()
        self._drop_cancelled()
        self._finish()
        self._look(monotonic())
        if self._raised:
            self._raise()

    def wake(self) -> None:
        """Make a waiting ``poll`` return. May be called from any thread, also after ``close``."""
        self._bell.ring()

    def close(self) -> None:
        """Give back everything. Transfers under way end without a call."""
        if self._closed:
            return
        self._closed = True
        self._bell.close()
        self._waiting.clear()
        self._loads.close()
        self._streams.close()
        self._connections.close()
        for easy, handle in self._handles.items():
            handle.transfer = None
            if handle.added:
                self._multi.remove_handle(easy)
            # Easy handles go before the multi handle: the other order leaves libcurl with dangling pointers.
            easy.close()
            handle.release()
        self._multi.close()
        self._epoll.close()
        self._handles.clear()
        self._active.clear()
        self._idle.clear()

    def _admit(self) -> None:
        """Hand waiting transfers to libcurl, never more than there are connections.

        libcurl would queue the others itself, but its clock for the connect timeout runs while they queue.
        """
        room = self._options.connections - self._under_way()
        while self._waiting and room > 0:
            transfer = self._waiting.pop(next(iter(self._waiting)))
            if not self._streams.begin(transfer, monotonic()):
                self._begin(transfer)
            room -= 1
        if self._loads.is_waiting:
            self._loads.send(room, monotonic())

    def _under_way(self) -> int:
        own = self._streams.active + self._loads.under_way
        return len(self._active) + len(self._leaving) + own

    def _begin(self, transfer: Transfer) -> None:
        handle = self._idle.pop() if self._idle else self._new_handle()
        handle.begin(transfer)
        self._active[id(transfer)] = handle
        self._multi.add_handle(handle.easy)

    def _new_handle(self) -> CurlHandle:
        handle = CurlHandle(self._progress)
        handle.set_up(self._options, self._count_connection)
        self._handles[handle.easy] = handle
        return handle

    def _count_connection(self, _fd: int, _purpose: int) -> int:
        self._counters.add("connections.opened")
        return int(pycurl.SOCKOPT_OK)

    def _drop_cancelled(self) -> None:
        self._streams.drop_cancelled()
        self._loads.drop_recalled()
        while self._leaving:
            handle = self._leaving.pop()
            self._retire(handle)
            self._progress.made = True

    def _retire(self, handle: CurlHandle) -> None:
        self._multi.remove_handle(handle.easy)
        handle.added = False
        handle.release()
        self._idle.append(handle)

    def _watch(self, event: int, fd: int, _multi: object, _data: object) -> None:
        """Libcurl says what it wants to know of a socket.

        A socket that it lets go between two requests stays in the epoll set: one system call less a request. The set
        may by then hold another socket of this number, or none, so coming back is always told to the kernel.
        """
        if self._closed:
            return
        if event == pycurl.POLL_REMOVE:
            self._watched.pop(fd, None)
            return
        mask = _EPOLL_OF[event]
        if self._watched.get(fd) == mask:
            return
        self._watched[fd] = mask
        self._watch_for(fd, mask)

    def _watch_for(self, fd: int, mask: int) -> None:
        try:
            self._epoll.modify(fd, mask)
        except FileNotFoundError:
            self._epoll.register(fd, mask)

    def _set_timer(self, timeout_ms: int) -> None:
        self._due = None if timeout_ms < 0 else monotonic() + timeout_ms / 1000

    def _fire_timer(self) -> bool:
        fired = False
        for _ in range(_TIMER_ROUNDS):
            if self._due is None or self._due > monotonic():
                break
            self._due = None
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
            fired = True
        return fired

    def _wait(self, timeout: float) -> None:
        if self._due is not None:
            timeout = min(timeout, max(0.0, self._due - monotonic()))
        if self._streams.active or self._loads.under_way:
            timeout = min(timeout, LOOK)
        events = self._epoll.poll(timeout)
        now = monotonic()
        for fd, event in events:
            if fd == self._bell.fd:
                self._bell.silence()
            elif fd in self._watched:
                self._multi.socket_action(fd, _curl_events(event))
            elif (stream := self._connections.of_socket(fd)) is None:
                self._forget(fd)
            elif (load := stream.load) is not None:
                self._loads.ready(stream, load, now)
            else:
                self._streams.ready(stream, now)

    def _look(self, now: float) -> None:
        """Look after what has stalled."""
        if now < self._looked_at + LOOK:
            return
        self._looked_at = now
        self._loads.look(now, self._options.stall_timeout)
        self._streams.look(now)

    def _forget(self, fd: int) -> None:
        """An idle connection has news, mostly its end: libcurl looks before it uses it again, so nothing is done."""
        with contextlib.suppress(OSError):
            self._epoll.unregister(fd)

    def _finish(self) -> None:
        more = 1
        while more:
            more, succeeded, failed = self._multi.info_read()
            for easy in succeeded:
                if not self._settle(easy, None):
                    self._end(self._handles[easy], None)
            for easy, code, text in failed:
                connected = easy.getinfo(pycurl.REQUEST_SIZE) > 0
                failure = CurlFailure(code, text, connected)
                if not self._settle(easy, failure):
                    self._end(self._handles[easy], failure)

    def _settle(self, easy: pycurl.Curl, failure: CurlFailure | None) -> bool:
        """A connection of our own stands, or cannot be made; False where the handle is none."""
        stream = self._connections.of_handle(easy)
        if stream is None:
            return False
        load = stream.load
        if failure is not None:
            if load is not None:
                self._loads.unload(stream, load)
            self._streams.end(stream, failure)
            return True
        self._connections.stands(stream)
        if load is not None:
            self._loads.sent(stream, load, monotonic())
        elif stream.transfer is not None:
            self._streams.send(stream, stream.transfer, monotonic())
        return True

    def _end(self, handle: CurlHandle, failure: CurlFailure | BaseException | None) -> None:
        transfer = handle.transfer
        if transfer is None:
            # Cancelled by another transfer's call a moment ago: `_drop_cancelled` takes it.
            return
        outcome = handle.outcome(failure)
        handle.transfer = None
        self._active.pop(id(transfer), None)
        self._retire(handle)
        self._tell(transfer, outcome)

    def _tell(self, transfer: Transfer, outcome: CurlFailure | BaseException | None) -> None:
        self._progress.made = True
        if isinstance(outcome, BaseException) and not isinstance(outcome, Exception):
            self._raised.append(outcome)
        try:
            transfer.over(outcome)
        except BaseException as error:
            self._raised.append(error)

    def _raise(self) -> None:
        raised, self._raised = self._raised, []
        if len(raised) == 1:
            raise raised[0]
        raise BaseExceptionGroup("several transfers raised", raised)


def _curl_events(event: int) -> int:
    bits = 0
    if event & select.EPOLLIN:
        bits |= pycurl.CSELECT_IN
    if event & select.EPOLLOUT:
        bits |= pycurl.CSELECT_OUT
    if event & (select.EPOLLERR | select.EPOLLHUP):
        bits |= pycurl.CSELECT_ERR
    return bits
