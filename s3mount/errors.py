"""Every error that s3mount raises on purpose, in one tree.

This module knows what can go wrong and whether trying again can help; it knows nothing of errnos, exit
codes or HTTP. Each edge translates once: ``fuse/errnos.py`` to an errno, ``cli/main.py`` to an exit status.

    S3MountError
    ├── ConfigError              an option, a source or a file of options is wrong
    ├── MountError               the mount point cannot be used, or FUSE refuses
    ├── CacheError               the cache directory cannot be used
    │   └── CacheFull            no room for these bytes (readers stream past the cache)
    ├── DeadlineExceeded         a kernel request waited too long
    └── StoreError               what a store answered, or that it did not
        ├── NotFound             no such object
        ├── NoSuchBucket
        ├── AccessDenied         403
        ├── CredentialsMissing   no source of credentials has any
        ├── CredentialsExpired   the token is too old, and renewing it did not help (yet)
        ├── ObjectChanged        412: the key now holds another version
        ├── AlreadyExists        412: there is an object, and only an absent one was to be written
        ├── SourceChanged        the local file changed while it was being sent
        ├── ObjectArchived       the bytes are in an archive tier and were not restored
        ├── Throttled            429, 503 SlowDown
        ├── ServerFault          5xx
        ├── Unreachable          no connection: refused, reset, no such host, TLS
        ├── StoreTimeout         connected, and then no progress
        ├── BadBody              short, long or damaged bytes
        └── UnexpectedReply      anything else, told word for word
"""


class S3MountError(Exception):
    """Base of all errors of s3mount.

    Attributes:
        retryable: whether the same request may succeed when it is made again.
        hint: what a person can do about it; empty when there is nothing to add.
    """

    retryable: bool = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(S3MountError):
    """An option, a source, or a file of options is wrong."""


class MountError(S3MountError):
    """The mount point cannot be used, or FUSE refuses to mount."""


class CacheError(S3MountError):
    """The cache directory cannot be used."""


class CacheFull(CacheError):
    """There is no room for these bytes and nothing that may be evicted."""


class DeadlineExceeded(S3MountError):
    """A request waited longer than its deadline."""


class StoreError(S3MountError):
    """What a store answered, or that it did not answer.

    Attributes:
        key: the key or prefix that was asked for.
        status: the HTTP status, 0 when there was none.
        code: the store's own word (``NoSuchKey``, ``SlowDown``), empty when there was none.
        request_id: the store's id of the request, for a support ticket.
    """

    def __init__(
        self,
        message: str,
        *,
        key: str = "",
        status: int = 0,
        code: str = "",
        request_id: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.key = key
        self.status = status
        self.code = code
        self.request_id = request_id


class NotFound(StoreError):
    """There is no object under this key."""


class NoSuchBucket(StoreError):
    """There is no bucket of this name at this endpoint."""


class AccessDenied(StoreError):
    """The credentials are known and may not do this."""


class CredentialsMissing(StoreError):
    """No source of credentials has any."""


class CredentialsExpired(StoreError):
    """The session token is too old; renewed credentials may work."""

    retryable = True


class ObjectChanged(StoreError):
    """The key now holds another version than the one that was asked for."""


class AlreadyExists(StoreError):
    """There is an object under the key, and it was to be written only where there is none."""


class SourceChanged(StoreError):
    """The local file changed while it was being sent, so what was sent is no version of it."""


class ObjectArchived(StoreError):
    """The object's bytes are in an archive tier and have not been restored."""


class Throttled(StoreError):
    """The store asks for fewer requests."""

    retryable = True


class ServerFault(StoreError):
    """The store failed on its side."""

    retryable = True


class Unreachable(StoreError):
    """No connection to the endpoint."""

    retryable = True


class StoreTimeout(StoreError):
    """The store was connected and made no progress."""

    retryable = True


class BadBody(StoreError):
    """The body was short, long, or its checksum was wrong."""

    retryable = True


class UnexpectedReply(StoreError):
    """A reply that no rule covers."""


def as_store_error(error: BaseException, key: str) -> StoreError:
    """The error itself when it is one of ours, else an UnexpectedReply that carries it as its cause."""
    if isinstance(error, StoreError):
        error.key = error.key or key
        return error
    wrapped = UnexpectedReply(f"{key!r}: {type(error).__name__} while reading: {error}", key=key)
    wrapped.__cause__ = error
    return wrapped
