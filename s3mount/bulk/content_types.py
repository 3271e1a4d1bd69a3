"""What a file is, by the end of its name: the same on every machine, whatever its own tables say."""

from functools import cache, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mimetypes import MimeTypes

UNKNOWN = "application/octet-stream"

_OF_ENCODINGS = {
    "gzip": "application/gzip",
    "bzip2": "application/x-bzip2",
    "xz": "application/x-xz",
    "br": "application/x-brotli",
    "compress": "application/x-compress",
}
_MORE = {
    ".zst": "application/zstd",
    ".tzst": "application/zstd",
    ".tgz": "application/gzip",
    ".lz4": "application/x-lz4",
    ".7z": "application/x-7z-compressed",
    ".log": "text/plain",
    ".md": "text/markdown",
    ".toml": "application/toml",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".jsonl": "application/jsonl",
    ".parquet": "application/vnd.apache.parquet",
    ".whl": "application/zip",
    ".deb": "application/vnd.debian.binary-package",
    ".rpm": "application/x-rpm",
}


def content_type_of(name: str) -> str:
    """The content type of a file or key of this name; `UNKNOWN` where its end says nothing."""
    base = name[name.rfind("/") + 1 :]
    dot = base.rfind(".")
    return _of_suffix(base[dot:].lower()) if dot > 0 else UNKNOWN


@cache
def _table() -> "MimeTypes":
    # It reads the machine's tables first, and who only fetches should not wait for that.
    from mimetypes import MimeTypes

    return MimeTypes()


@lru_cache(maxsize=1024)
def _of_suffix(suffix: str) -> str:
    if suffix in _MORE:
        return _MORE[suffix]
    kind, encoding = _table().guess_type("name" + suffix)
    if encoding is not None:
        return _OF_ENCODINGS.get(encoding, UNKNOWN)
    return kind or UNKNOWN
