"""Every error has an errno, and people can look up each of them."""

import errno
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import s3mount
from s3mount import errors
from s3mount.fuse.errnos import ERRNOS, errno_of

DOCUMENT = Path(__file__).parents[3] / "docs" / "errors.md"
ROW = re.compile(r"^\|\s*`?(\w+)`?\s*\|\s*`?(E[A-Z0-9]+)`?\s*\|", re.MULTILINE)


def every_error():
    """All classes of errors, wherever they are defined."""
    for module in pkgutil.walk_packages(s3mount.__path__, "s3mount."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found, waiting = [], [errors.S3MountError]
    while waiting:
        kind = waiting.pop()
        found.append(kind)
        waiting += kind.__subclasses__()
    return sorted(
        {kind for kind in found if kind.__module__.startswith("s3mount")},
        key=lambda kind: kind.__name__,
    )


def public_errors():
    return [kind for kind in every_error() if kind.__module__ == "s3mount.errors"]


def documented():
    return dict(ROW.findall(DOCUMENT.read_text()))


def test_there_are_errors():
    names = {kind.__name__ for kind in every_error()}
    assert {"S3MountError", "StoreError", "CacheFull", "DeadlineExceeded", "Cancelled"} <= names


@pytest.mark.parametrize("kind", public_errors(), ids=lambda kind: kind.__name__)
def test_every_error_of_the_tree_has_its_errno_and_its_row(kind):
    assert kind in ERRNOS, "fuse/errnos.py lacks it"
    assert documented().get(kind.__name__) == errno.errorcode[ERRNOS[kind]]
    assert kind.__name__ in (errors.__doc__ or ""), "the tree in errors.py lacks it"


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_error_is_answered_with_an_errno(kind):
    """One that is defined in a room of its own (such as `Cancelled`) is answered like its base."""
    answer = errno_of(kind("a message"))
    assert answer in errno.errorcode
    assert answer in ERRNOS.values()
    assert answer != 0


def test_the_tables_hold_nothing_else():
    assert set(ERRNOS) == set(public_errors())
    assert set(documented()) == {kind.__name__ for kind in public_errors()}


def test_no_errno_can_be_taken_for_the_end_of_a_file_or_for_a_try_again():
    assert not set(ERRNOS.values()) & {
        0,
        errno.EAGAIN,
        errno.EINTR,
        errno.ENOSYS,
        errno.EROFS,
        errno.ENOTCONN,
    }


@pytest.mark.parametrize(
    "error", [ValueError("?"), OSError(errno.ENOENT, "?"), KeyError("?"), MemoryError()]
)
def test_what_is_not_known_is_eio(error):
    assert errno_of(error) == errno.EIO


def test_each_kind_of_trouble_with_the_store_can_be_told_from_the_others():
    kinds = [kind for kind in ERRNOS if kind.__bases__ == (errors.StoreError,)]
    assert len({ERRNOS[kind] for kind in kinds}) == len(kinds)
