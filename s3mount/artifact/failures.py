"""What can go wrong with artifacts, beside what goes wrong with any store."""

from s3mount.errors import AccessDenied, AlreadyExists, NotFound, S3MountError, StoreError


class LocalMissing(S3MountError):
    """There is no such local file or directory."""


class NotPushable(S3MountError):
    """A local file cannot be an artifact."""


class LocalClash(S3MountError):
    """A local file is where one should be written."""


class HubError(StoreError):
    """The hub, or the storage that it names, answered with something that cannot be worked with."""


def missing_locally(path: str) -> LocalMissing:
    """The source of a push is not there."""
    return LocalMissing(f"path '{path}' does not exist locally")


def exists_locally(path: str) -> LocalClash:
    """The destination of a pull is there already."""
    return LocalClash(f"'{path}' already exists locally; delete it first, or use --force flag")


def not_found(remote: str) -> NotFound:
    """Nothing has this name."""
    return NotFound(f"artifact not found: {remote}", key=remote, status=404)


def already_exists(remote: str) -> AlreadyExists:
    """Something has this name already."""
    return AlreadyExists(
        f"artifact already exists: {remote} (use --force to overwrite)", key=remote
    )


def denied(operation: str, remote: str, reason: StoreError) -> AccessDenied:
    """The credentials may not do this."""
    return AccessDenied(
        f"permission denied for {operation} on {remote}: {reason.message}",
        key=remote,
        status=reason.status,
        code=reason.code,
        request_id=reason.request_id,
        hint=reason.hint,
    )
