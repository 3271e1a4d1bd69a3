"""The one table from errors to errnos: total, because an error without an errno would end the mount."""

import errno

from s3mount import errors

ERRNOS: dict[type[errors.S3MountError], int] = {
    errors.S3MountError: errno.EIO,
    errors.ConfigError: errno.EINVAL,
    errors.MountError: errno.EIO,
    errors.CacheError: errno.EIO,
    errors.CacheFull: errno.ENOSPC,
    errors.DeadlineExceeded: errno.ETIMEDOUT,
    errors.StoreError: errno.EIO,
    errors.NotFound: errno.ENOENT,
    errors.NoSuchBucket: errno.ENXIO,
    errors.AccessDenied: errno.EACCES,
    errors.CredentialsMissing: errno.ENOKEY,
    errors.CredentialsExpired: errno.EKEYEXPIRED,
    errors.ObjectChanged: errno.ESTALE,
    errors.AlreadyExists: errno.EEXIST,
    errors.SourceChanged: errno.ETXTBSY,
    errors.ObjectArchived: errno.ENODATA,
    errors.Throttled: errno.EBUSY,
    errors.ServerFault: errno.EREMOTEIO,
    errors.Unreachable: errno.EHOSTUNREACH,
    errors.StoreTimeout: errno.ETIMEDOUT,
    errors.BadBody: errno.EBADMSG,
    errors.UnexpectedReply: errno.EPROTO,
}
"""Each class its errno; `docs/errors.md` shows the same table with what to do about each."""


def errno_of(error: BaseException) -> int:
    """The errno of an error: its own class's, else its nearest base's, else EIO."""
    for kind in type(error).__mro__:
        if kind in ERRNOS:
            return ERRNOS[kind]
    return errno.EIO
