"""Credentials from botocore's whole chain, ready at any moment.

``current`` is instant and may be called for every request; ``renew`` may block for seconds (SSO, instance metadata,
a credential process) and belongs on another thread. What ``current`` gives is one immutable tuple that ``renew``
replaces whole.
"""

import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

from s3mount.errors import CredentialsMissing, S3MountError
from s3mount.store.aws_session import new_session
from s3mount.store.shortcut import plain_session
from s3mount.store.signing import AccessKey

_RELOAD_PAUSE = 5.0
"""Seconds between two readings of the whole chain: a reading may ask instance metadata or run a program."""

_SOURCE_NAMES = {
    "env": "environment variables",
    "shared-credentials-file": "shared credentials file",
    "config-file": "AWS config file",
    "iam-role": "instance metadata",
    "container-role": "container metadata",
    "assume-role": "assumed role",
    "assume-role-with-web-identity": "web identity token",
    "sso": "AWS SSO",
    "login": "aws login",
    "custom-process": "credential process",
    "boto-config": "boto config file",
}

_MISSING_HINT = (
    "run `aws configure` or `aws sso login`, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile, "
    "or mount a public bucket unsigned with --no-sign-request"
)


def _quick_session(profile: str) -> Any:  # noqa: ANN401 -- botocore's, or what stands in for it
    return plain_session(profile) or new_session(profile)


class Credentials:
    """The credentials of one profile.

    Attributes:
        source: where they came from, for people; empty when there are none.
        problem: what the last reading of the chain complained of; empty when it went well.
    """

    def __init__(
        self,
        profile: str = "",
        *,
        open_session: Callable[[str], Any] | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Read the chain once; this may block as `renew` does.

        Raises:
            ConfigError: the profile does not exist.
        """
        self.source = ""
        self.problem = ""
        self._profile = profile
        self._open_session = open_session or _quick_session
        self._clock = clock
        self._lock = threading.Lock()
        self._provider: Any = None
        self._access: AccessKey | None = None
        self._refused: AccessKey | None = None
        self._reload_at = 0.0
        self._reload()

    def __repr__(self) -> str:
        return f"<Credentials source={self.source!r} problem={self.problem!r}>"

    def current(self) -> AccessKey:
        """The newest credentials that were read; never blocks.

        Raises:
            CredentialsMissing: the chain has given none so far.
        """
        access = self._access
        if access is None:
            raise self._missing()
        return access

    def refused(self, access: AccessKey) -> None:
        """Say that the store did not take these; the next `renew` reads the whole chain again."""
        self._refused = access

    def renew(self) -> None:
        """Refresh what is near its end, and read the chain again when there is nothing or the store refused it.

        A problem is kept in ``problem`` and does not raise: the credentials that are there may still be good. May
        block for seconds; may be called from any thread.
        """
        with self._lock:
            if self._access is None or self._access is self._refused:
                self._refresh()
                stale = self._access is None or self._access is self._refused
                if stale and self._clock() >= self._reload_at:
                    self._reload_quietly()
            else:
                self._refresh()

    def _reload_quietly(self) -> None:
        try:
            self._reload()
        except S3MountError as error:
            self.problem = error.message

    def _reload(self) -> None:
        """Read the chain from scratch, as a new process would."""
        self._reload_at = self._clock() + _RELOAD_PAUSE
        session = self._open_session(self._profile)
        provider = self._guarded(session.get_credentials)
        if provider is None:
            return
        self._provider = provider
        method = getattr(provider, "method", "") or ""
        self.source = _SOURCE_NAMES.get(method, method)
        self._refresh()

    def _refresh(self) -> None:
        """Take what the provider holds; it renews by itself what is about to expire."""
        if self._provider is None:
            return
        frozen = self._guarded(self._provider.get_frozen_credentials)
        if frozen is None or not frozen.access_key or not frozen.secret_key:
            return
        access = AccessKey(frozen.access_key, frozen.secret_key, frozen.token or "")
        # An equal tuple stays the same object: the signer and `refused` go by identity.
        if access != self._access:
            self._access = access

    def _guarded(self, ask: Callable[[], Any]) -> Any:  # noqa: ANN401
        """What ``ask`` returns, None when it fails; providers run programs and networks and may raise anything."""
        try:
            answer = ask()
        except Exception as error:
            self.problem = f"{error}" or type(error).__name__
            return None
        self.problem = ""
        return answer

    def _missing(self) -> CredentialsMissing:
        why = f": {self.problem}" if self.problem else ""
        return CredentialsMissing(f"no AWS credentials were found{why}", hint=_MISSING_HINT)
