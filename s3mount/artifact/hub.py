"""Artifacts that a hub keeps: it signs URLs, and the bytes go straight to its storage.

What the protocol has no room for does not go with a file: its mode, its time, its content type.
"""

import json
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import IO, TypeVar

from s3mount.artifact import hub_wire as wire
from s3mount.artifact import parallel
from s3mount.artifact.backend import JOBS, Artifact, Told
from s3mount.artifact.failures import HubError, exists_locally, not_found
from s3mount.artifact.hub_http import CHUNK, Body, Incoming, Reply, Web
from s3mount.artifact.local import read_whole
from s3mount.artifact.placing import Placing, made_directory, plan, refuse_clashes
from s3mount.artifact.settings import HubSettings
from s3mount.artifact.tree import LocalFile
from s3mount.bulk.keys import FilePath
from s3mount.bulk.wanted import Wanted
from s3mount.errors import AccessDenied, AlreadyExists, NotFound, StoreError, Unreachable

Item = TypeVar("Item")
Result = TypeVar("Result")

_FAULT = 500
_SENT_AS_ERRORS: dict[int, tuple[type[StoreError], str]] = {
    401: (AccessDenied, "SEMAPHORE_ARTIFACT_TOKEN is missing or not valid"),
    403: (AccessDenied, "SEMAPHORE_ARTIFACT_TOKEN is too old, or is not for this ID"),
    404: (NotFound, ""),
}


class HubBackend:
    """What a hub lets be reached; a `Backend`.

    Args:
        settings: which hub, and the token for it.
        web: sends the requests.

    Raises:
        ConfigError: its address is none.
    """

    def __init__(self, settings: HubSettings, web: Web) -> None:
        self._url = wire.request_url(settings.url)
        self._token = settings.token
        self._web = web

    def push(self, files: Sequence[LocalFile], *, force: bool, told: Told) -> None:
        """See `Backend.push`; between the look and the storing, another push may still come first."""
        kind = wire.Kind.PUSH_FORCE if force else wire.Kind.PUSH
        signed = self._signed(kind, [file.remote for file in files])
        urls = wire.push_urls(signed, len(files), force=force)
        self._refuse_taken(files, urls.heads)
        jobs = list(zip(files, urls.puts, strict=True))
        with closing(self._parallel(lambda job: self._put(*job), jobs)) as done:
            for file in done:
                told(file.remote, file.size)

    def pull(self, remote: str, local: str, *, force: bool, told: Told) -> None:
        """See `Backend.pull`."""
        found = self._found(remote)
        if not found:
            raise not_found(remote)
        planned = plan(remote, local, list(found))
        refuse_clashes(planned, force=force)

        def taken(wanted: Wanted) -> Exception:
            return exists_locally(planned.place(wanted.key))

        root = made_directory(planned.root)
        with closing(Placing(root, None if force else taken)) as target:

            def fetch(each: str) -> tuple[str, int]:
                return each, self._get(found[each], each, planned.paths[each], target)

            with closing(self._parallel(fetch, found)) as done:
                for each, size in done:
                    told(each, size)

    def yank(self, remote: str) -> int:
        """See `Backend.yank`."""
        signed = self._signed(wire.Kind.YANK, [remote])
        if not signed:
            raise not_found(remote)
        # Some hubs leave the method out, for its number is zero.
        delete = partial(self._storage, "DELETE")
        return len(list(self._parallel(delete, [one.url for one in signed])))

    def exists(self, remote: str) -> bool:
        """See `Backend.exists`."""
        return bool(self._found_or_none(remote))

    def list(self, remote: str) -> Sequence[Artifact]:
        """See `Backend.list`."""
        found = self._found_or_none(remote)
        return sorted(self._parallel(lambda each: self._facts(each, found[each]), found))

    def close(self) -> None:
        """See `Backend.close`."""
        self._web.close()

    def _parallel(
        self, work: Callable[[Item], Result], items: Iterable[Item]
    ) -> Generator[Result, None, None]:
        return parallel.in_parallel(work, items, JOBS, self._web.is_over)

    # The hub.

    def _signed(self, kind: wire.Kind, paths: Sequence[str]) -> Sequence[wire.Signed]:
        payload = wire.request_body(kind, paths)
        body = Body(len(payload), lambda: [payload])
        headers = {"authorization": self._token}
        try:
            reply = self._web.request(
                "POST", self._url, pause=wire.HUB_PAUSE, headers=headers, body=body
            )
        except Unreachable as error:
            raise Unreachable(
                f"request did not return a non-5xx response: {error.message}", hint=error.hint
            ) from error
        if not wire.is_success(reply.status):
            raise _refusal(reply, paths[0] if paths else "")
        return wire.read_reply(reply.body)

    def _found(self, remote: str) -> dict[str, str]:
        """URLs by remote path."""
        signed = self._signed(wire.Kind.PULL, [remote])
        return {wire.object_path(one.url, remote): one.url for one in signed}

    def _found_or_none(self, remote: str) -> dict[str, str]:
        try:
            return self._found(remote)
        except NotFound:
            return {}

    # The storage.

    def _refuse_taken(self, files: Sequence[LocalFile], heads: Sequence[str]) -> None:
        """Look at all before the first byte is sent; of those that are there, name the first."""
        looks = self._parallel(
            lambda number: (number, self._is_taken(heads[number])), range(len(heads))
        )
        taken = [number for number, is_taken in looks if is_taken]
        if taken:
            remote = files[min(taken)].remote
            raise AlreadyExists(
                f"'{remote}' already exists in the remote storage; delete it first, or use --force flag",
                key=remote,
            )

    def _is_taken(self, url: str) -> bool:
        reply = self._web.request("HEAD", url, pause=wire.STORAGE_PAUSE)
        if reply.status >= _FAULT or wire.may_pass(reply.status):
            raise _storage_refusal("HEAD", url, reply)
        return wire.is_success(reply.status)

    def _put(self, file: LocalFile, url: str) -> LocalFile:
        def read() -> Iterator[bytes]:
            chunks = read_whole(file.path, file.size, file.mtime_ns)
            return parallel.until(self._web.is_over, chunks)

        self._storage("PUT", url, Body(file.size, read))
        return file

    def _storage(self, method: str, url: str, body: Body | None = None) -> None:
        reply = self._web.request(method, url, pause=wire.STORAGE_PAUSE, body=body)
        if not wire.is_success(reply.status):
            raise _storage_refusal(method, url, reply)

    def _get(self, url: str, remote: str, path: FilePath, target: Placing) -> int:
        sizes = []

        def take(incoming: Incoming) -> None:
            size, chunks = _measured(incoming)
            stored = wire.time_told(incoming.headers)
            wanted = Wanted(remote, path, size, time.time_ns() if stored is None else stored)
            target.receive(wanted, chunks)
            sizes.append(size)

        reply = self._web.request("GET", url, pause=wire.STORAGE_PAUSE, take=take)
        if not wire.is_success(reply.status):
            raise _storage_refusal("GET", url, reply)
        return sizes[-1]

    def _facts(self, remote: str, url: str) -> Artifact:
        """A signed URL is good for one method only, so that the first byte must be asked for, too."""
        heard: list[Reply] = []

        def take(incoming: Incoming) -> None:
            heard.append(Reply(200, incoming.headers, b""))

        reply = self._web.request(
            "GET", url, pause=wire.STORAGE_PAUSE, headers={"range": "bytes=0-0"}, take=take
        )
        told = heard[-1] if heard else reply
        return Artifact(
            remote, wire.size_told(told.status, told.headers), wire.time_told(told.headers)
        )


def _measured(incoming: Incoming) -> tuple[int, Iterator[bytes]]:
    """How many bytes will come; where the server does not say, they are gathered first."""
    told = incoming.headers.get("content-length", "")
    if told.isdecimal() and "transfer-encoding" not in incoming.headers:
        return int(told), incoming.chunks
    gathered = tempfile.TemporaryFile()  # noqa: SIM115 -- closed by `_drained`
    size = sum(gathered.write(chunk) for chunk in incoming.chunks)
    gathered.seek(0)
    return size, _drained(gathered)


def _drained(gathered: IO[bytes]) -> Iterator[bytes]:
    with gathered:
        while chunk := gathered.read(CHUNK):
            yield chunk


def _refusal(reply: Reply, remote: str) -> StoreError:
    """The hub said no."""
    sort, hint = _SENT_AS_ERRORS.get(reply.status, (HubError, ""))
    text = f"failed to generate signed URLs - hub returned {reply.status} status code"
    if wire.may_pass(reply.status):
        text = f"request did not return a non-5xx response: {text}"
    said = _message_in(reply.body)
    return sort(text, key=remote, status=reply.status, hint="; ".join(filter(None, (said, hint))))


def _message_in(body: bytes) -> str:
    try:
        told = json.loads(body)
    except ValueError:
        return ""
    message = told.get("message") if isinstance(told, dict) else ""
    return f"the hub says: {message}" if message else ""


def _storage_refusal(method: str, url: str, reply: Reply) -> StoreError:
    sort = _SENT_AS_ERRORS.get(reply.status, (HubError, ""))[0]
    text = reply.body.decode(errors="replace").strip()
    return sort(
        f"{method} request to {wire.shown(url)} failed with {reply.status} status code",
        status=reply.status,
        hint=f"the storage says: {text}" if text else "",
    )
