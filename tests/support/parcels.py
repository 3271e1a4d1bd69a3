"""Every small whole object as a parcel: so that what holds of requests is held against parcels too."""

from s3mount.errors import as_store_error
from s3mount.store import streams
from s3mount.store.interface import Get, Head, Parcel, Receiver
from s3mount.store.s3 import S3Store


class AsParcel:
    """A request for a whole object, and who is told of it."""

    def __init__(self, request: Get, receiver: Receiver) -> None:
        self.key, self.etag, self.size = request.key, request.etag, request.stop
        self.receiver = receiver
        self.is_wanted = True

    def arrived(self, head: Head, body: bytes) -> None:
        """Tell the receiver in the calls that it knows."""
        try:
            self.receiver.head(head)
            if self.is_wanted:
                self.receiver.data(body)
        except Exception as error:
            self.receiver.done(as_store_error(error, self.key))
            return
        if self.is_wanted:
            self.receiver.done(None)


class Office:
    """Where parcels of a store are told of; keeps those under way."""

    def __init__(self) -> None:
        self.under_way: dict[int, AsParcel] = {}
        self.straight = 0

    def arrived(self, parcel: Parcel, head: Head, body: bytes) -> None:
        assert isinstance(parcel, AsParcel)
        assert len(body) == parcel.size
        self.straight += 1
        self.under_way.pop(id(parcel.receiver))
        parcel.arrived(head, body)

    def receiver_for(self, parcel: Parcel) -> Receiver:
        assert isinstance(parcel, AsParcel)
        self.under_way.pop(id(parcel.receiver))
        return parcel.receiver


def all_as_parcels(monkeypatch) -> None:
    """Have stores take every request for a small whole object as a parcel."""
    submit, cancel = S3Store.submit, S3Store.cancel
    offices: dict[S3Store, Office] = {}

    def submit_parcel(store, request, receiver):
        is_whole = isinstance(request, Get) and request.whole and request.etag
        if not is_whole or request.version_id or request.stop < streams.LEAST:
            submit(store, request, receiver)
            return
        if store not in offices:
            offices[store] = Office()
            store.serve(offices[store])
        parcel = AsParcel(request, receiver)
        offices[store].under_way[id(receiver)] = parcel
        for refused in store.fetch([parcel]):
            offices[store].under_way.pop(id(refused.receiver))
            submit(store, request, receiver)

    def cancel_parcel(store, receiver):
        parcel = offices[store].under_way.pop(id(receiver), None) if store in offices else None
        if parcel is not None:
            parcel.is_wanted = False
            store.recall(parcel)
        cancel(store, receiver)

    monkeypatch.setattr(S3Store, "submit", submit_parcel)
    monkeypatch.setattr(S3Store, "cancel", cancel_parcel)
