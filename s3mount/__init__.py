"""s3mount: a read-through artifact filesystem for S3."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from s3mount.api import download, prefetch
    from s3mount.bulk.progress import DownloadResult, ProgressProtocol, ProgressTracker

__version__ = "0.1.0"

__all__ = [
    "DownloadResult",
    "ProgressProtocol",
    "ProgressTracker",
    "__version__",
    "download",
    "prefetch",
]

_PLACES = {
    "download": "s3mount.api",
    "prefetch": "s3mount.api",
    "DownloadResult": "s3mount.bulk.progress",
    "ProgressProtocol": "s3mount.bulk.progress",
    "ProgressTracker": "s3mount.bulk.progress",
}
"""Where the names are that are imported when they are first asked for: a mount imports this module too."""


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
