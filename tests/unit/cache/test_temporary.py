"""Extents on their way, with and without a name."""

import errno
import os

import pytest

from s3mount.cache import temporary


@pytest.mark.parametrize("name", ["", "session.1"])
def test_a_file_gets_its_name_once(tmp_path, name):
    fd, path = temporary.create(str(tmp_path), name)
    os.write(fd, b"body")
    assert os.listdir(tmp_path) == ([name] if name else [])
    assert temporary.give_name(fd, path, str(tmp_path / "extent"))
    assert (tmp_path / "extent").read_bytes() == b"body"
    assert os.listdir(tmp_path) == ["extent"]
    assert os.fstat(fd).st_mode & 0o777 == 0o600
    os.close(fd)


@pytest.mark.parametrize("name", ["", "session.1"])
@pytest.mark.parametrize("make", [os.mkdir, lambda path: path.write_bytes(b"other")])
def test_a_name_that_is_taken_stays_as_it_is(tmp_path, name, make):
    make(tmp_path / "extent")
    before = os.stat(tmp_path / "extent")
    fd, path = temporary.create(str(tmp_path), name)
    assert not temporary.give_name(fd, path, str(tmp_path / "extent"))
    if path:
        os.unlink(path)
    os.close(fd)
    assert os.stat(tmp_path / "extent") == before
    assert os.listdir(tmp_path) == ["extent"]


@pytest.mark.parametrize("name", ["", "session.1"])
def test_a_missing_directory_is_told(tmp_path, name):
    fd, path = temporary.create(str(tmp_path), name)
    with pytest.raises(FileNotFoundError):
        temporary.give_name(fd, path, str(tmp_path / "missing" / "extent"))
    os.close(fd)


@pytest.mark.parametrize("call", ["open", "link"])
def test_a_file_system_without_nameless_files(tmp_path, monkeypatch, call):
    assert temporary.makes_nameless(str(tmp_path))

    def refuse(*args, **kwargs):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    before = os.listdir("/proc/self/fd")
    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        assert not temporary.makes_nameless(str(tmp_path))
    assert os.listdir("/proc/self/fd") == before
    assert os.listdir(tmp_path) == []
