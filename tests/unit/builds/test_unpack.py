"""Archives become trees: modes, links, times; and what must never be written is not."""

import contextlib
import io
import lzma
import os
import stat
import tarfile

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from s3mount.builds import archive as archive_module
from s3mount.builds.members import (
    BadArchive,
    Count,
    Limits,
    Places,
    RefusedMember,
    check_link,
    parts_of,
)
from s3mount.builds.sidecar import ChecksumMismatch
from s3mount.builds.unpack import unpack
from tests.unit.builds.archives import MANIFEST, archive, compressed, member, tar_of

EXTENSIONS = [".tar.zst", ".tar.xz"]


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def found(root):
    return {str(e.relative_to(root)): e.read_bytes() for e in root.rglob("*") if e.is_file()}


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_files_modes_times_and_links_are_kept(tmp_path, root, extension):
    path = tmp_path / f"a_lib_generic{extension}"
    big = os.urandom((1 << 20) + 7)
    digest = archive(
        path,
        member("d", kind=tarfile.DIRTYPE, mode=0o750),
        (member("d/run", mode=0o755), b"#!/bin/sh"),
        (member("d/read-only", mode=0o444), b"x"),
        ("empty", b""),
        ("big", big),
        member("d/link", kind=tarfile.SYMTYPE, link="../big"),
        member("hard", kind=tarfile.LNKTYPE, link="d/run"),
    )
    made = unpack(path, root, sha256=digest)
    assert (made.members, made.size) == (7, 9 + 1 + len(big))
    assert (root / "big").read_bytes() == big
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o750
    assert stat.S_IMODE((root / "d/run").stat().st_mode) == 0o755
    assert stat.S_IMODE((root / "d/read-only").stat().st_mode) == 0o444
    assert os.readlink(root / "d/link") == "../big"
    assert (root / "hard").stat().st_ino == (root / "d/run").stat().st_ino
    assert (root / "d").stat().st_mtime == (root / "big").stat().st_mtime == 1_700_000_000


def test_setuid_and_writing_by_others_are_not_kept(tmp_path, root):
    path = tmp_path / "a_run_generic.tar.zst"
    archive(path, (member("f", mode=0o6777), b"x"))
    unpack(path, root)
    assert stat.S_IMODE((root / "f").stat().st_mode) == 0o755


def test_a_later_member_takes_the_place_of_an_earlier_one(tmp_path, root):
    path = tmp_path / "a_run_generic.tar.zst"
    archive(path, ("f", b"1"), member("l", kind=tarfile.SYMTYPE, link="f"), ("l", b"2"))
    unpack(path, root)
    assert found(root) == {"f": b"1", "l": b"2"}


EVIL = {
    "absolute": [("/etc/evil", b"x")],
    "dots": [("d/../../evil", b"x")],
    "dots inside": [("d/../evil", b"x")],
    "through a link": [member("l", kind=tarfile.SYMTYPE, link="d"), ("l/evil", b"x")],
    "link out": [member("d/l", kind=tarfile.SYMTYPE, link="../../evil")],
    "absolute link": [member("l", kind=tarfile.SYMTYPE, link="/etc/passwd")],
    "hard link out": [member("h", kind=tarfile.LNKTYPE, link="../outside")],
    "absolute hard link": [member("h", kind=tarfile.LNKTYPE, link="/etc/passwd")],
    "hard link to nothing": [member("h", kind=tarfile.LNKTYPE, link="missing")],
    "hard link to a link": [
        member("l", kind=tarfile.SYMTYPE, link="x"),
        member("h", kind=tarfile.LNKTYPE, link="l"),
    ],
    "hard link through a link": [
        ("d/f", b"x"),
        member("l", kind=tarfile.SYMTYPE, link="d"),
        member("h", kind=tarfile.LNKTYPE, link="l/f"),
    ],
    "pipe": [member("p", kind=tarfile.FIFOTYPE)],
    "character device": [member("c", kind=tarfile.CHRTYPE)],
    "block device": [member("b", kind=tarfile.BLKTYPE)],
    "the directory itself": [("./", b"x"), (".", b"x")],
    "a file below a file": [("f", b"x"), ("f/g", b"x")],
    "a file in place of a directory": [("d/f", b"x"), ("d", b"x")],
    "a long name": [("n" * 256, b"x")],
}


@pytest.mark.parametrize("name", EVIL)
def test_what_leads_out_is_refused(tmp_path, root, name):
    (tmp_path / "outside").write_bytes(b"mine")
    path = tmp_path / "a_lib_generic.tar.zst"
    archive(path, *EVIL[name])
    with pytest.raises(RefusedMember, match=r"^a_lib_generic\.tar\.zst: "):
        unpack(path, root)
    assert (tmp_path / "outside").read_bytes() == b"mine"
    assert (tmp_path / "outside").stat().st_nlink == 1
    assert {each.name for each in tmp_path.iterdir()} == {"outside", "root", path.name}


def test_a_link_that_was_there_is_not_followed_either(tmp_path, root):
    (tmp_path / "elsewhere").mkdir()
    (root / "l").symlink_to(tmp_path / "elsewhere")
    path = tmp_path / "a_lib_generic.tar.zst"
    archive(path, ("l/evil", b"x"))
    with pytest.raises(RefusedMember):
        unpack(path, root)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_more_than_the_disk_has_is_refused_before_it_is_written(tmp_path, root):
    path = tmp_path / "a_lib_generic.tar.zst"
    archive(path, ("a", b"x" * 600), ("b", b"x" * 600))
    with pytest.raises(RefusedMember, match="'b'"):
        unpack(path, root, limits=Limits(free=1000))
    assert not (root / "b").exists()


def test_a_size_that_is_only_declared_is_refused(tmp_path, root):
    info = member("huge")
    info.size = 1 << 60
    path = tmp_path / "a_lib_generic.tar.zst"
    path.write_bytes(zstandard.compress(info.tobuf(tarfile.GNU_FORMAT)))
    with pytest.raises(RefusedMember, match="huge"):
        unpack(path, root)


def test_too_many_members(tmp_path, root):
    path = tmp_path / "a_lib_generic.tar.zst"
    archive(path, ("a", b""), ("b", b""), ("c", b""))
    with pytest.raises(RefusedMember, match="more than 2"):
        unpack(path, root, limits=Limits(members=2))


def test_a_header_that_would_fill_the_memory(tmp_path, root):
    pax = member("x", kind=tarfile.XHDTYPE)
    pax.size = 64 << 20
    path = tmp_path / "a_lib_generic.tar.zst"
    path.write_bytes(zstandard.compress(pax.tobuf(tarfile.GNU_FORMAT) + bytes(64 << 20)))
    with pytest.raises(BadArchive, match="header"):
        unpack(path, root)


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_an_archive_that_is_cut_short(tmp_path, root, extension, share):
    whole = compressed(tar_of(("a", os.urandom(100_000)), ("b", b"x")), extension)
    path = tmp_path / f"a_lib_generic{extension}"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(BadArchive):
        unpack(path, root)


def body():
    return tar_of(("a", b"1" * 512), ("b", b"2" * 512))


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[: 1024 + 200],  # in the header of b
        lambda whole: whole[:1024],  # before it
        lambda whole: whole[:2048],  # without the mark of the end
        lambda whole: whole[:1024] + b"\xff" * 512 + whole[1536:],  # the header of b is none
        lambda whole: whole + b"more",
        lambda whole: b"",
        lambda whole: b"no archive" * 100,
    ],
)
def test_a_tar_that_is_damaged_inside(tmp_path, root, extension, damage):
    path = tmp_path / f"a_lib_generic{extension}"
    path.write_bytes(compressed(damage(body()), extension))
    with pytest.raises(BadArchive, match="a_lib_generic"):
        unpack(path, root)


@pytest.mark.parametrize("garbage", [b"", b"no archive at all", b"\0" * 4096])
@pytest.mark.parametrize("extension", EXTENSIONS)
def test_what_is_no_archive(tmp_path, root, extension, garbage):
    path = tmp_path / f"a_lib_generic{extension}"
    path.write_bytes(garbage)
    with pytest.raises(BadArchive):
        unpack(path, root)


@pytest.mark.parametrize("padding", [b"", b"\0" * 4])
def test_several_streams_in_one_file(tmp_path, root, padding):
    whole = body()
    cut = 700
    path = tmp_path / "a_lib_generic.tar.xz"
    path.write_bytes(lzma.compress(whole[:cut]) + padding + lzma.compress(whole[cut:]) + padding)
    unpack(path, root)
    assert set(found(root)) == {"a", "b"}
    path = tmp_path / "b_lib_generic.tar.zst"
    path.write_bytes(zstandard.compress(whole[:cut]) + zstandard.compress(whole[cut:]))
    unpack(path, root)


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_another_checksum(tmp_path, root, extension):
    path = tmp_path / f"a_lib_generic{extension}"
    archive(path, ("a", b"x"))
    with pytest.raises(ChecksumMismatch, match="a_lib_generic"):
        unpack(path, root, sha256="0" * 64)


def test_another_compression(tmp_path, root):
    path = tmp_path / "a_lib_generic.tar.gz"
    path.write_bytes(b"")
    with pytest.raises(BadArchive, match="neither"):
        unpack(path, root)


def test_a_sparse_file(tmp_path, root, monkeypatch):
    """GNU tar writes holes as holes; they are read as zeros."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = member("GNUSparseFile.0/f")
        stored = b"1\n4096\n4\n" + b"\0" * (512 - 9) + b"data"
        info.size = len(stored)
        info.pax_headers = {
            "GNU.sparse.major": "1",
            "GNU.sparse.minor": "0",
            "GNU.sparse.name": "f",
            "GNU.sparse.realsize": "5000",
        }
        tar.addfile(info, io.BytesIO(stored))
    path = tmp_path / "a_lib_generic.tar.zst"
    path.write_bytes(zstandard.compress(out.getvalue()))
    unpack(path, root)
    assert (root / "f").read_bytes() == b"\0" * 4096 + b"data" + b"\0" * 900


def test_the_memory_for_headers_is_no_limit_of_files(tmp_path, root, monkeypatch):
    monkeypatch.setattr(archive_module, "HEADERS", 2 << 20)
    path = tmp_path / "a_lib_generic.tar.zst"
    archive(path, *((f"f{number}", bytes(3 << 20)) for number in range(3)))
    unpack(path, root)
    assert len(found(root)) == 3


# Flat.


def test_flat_loses_the_directories_of_the_build(tmp_path, root):
    path = tmp_path / "a_lib_generic.tar.zst"
    archive(
        path,
        (MANIFEST, b"x/stage\n\ny/stage\n"),
        member("x", kind=tarfile.DIRTYPE),
        member("x/stage", kind=tarfile.DIRTYPE),
        ("x/stage/lib/a", b"a"),
        ("y/stage/lib/b", b"b"),
        member("y/stage/lib/c", kind=tarfile.LNKTYPE, link="x/stage/lib/a"),
        member("y/stage/lib/d", kind=tarfile.SYMTYPE, link="../lib/a"),
    )
    unpack(path, root, is_flat=True)
    assert found(root) == {"lib/a": b"a", "lib/b": b"b", "lib/c": b"a", "lib/d": b"a"}


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ([], MANIFEST),
        ([("a", b"x")], "first member"),
        ([("a", b"x"), (MANIFEST, b"x")], "first member"),
        ([(MANIFEST, b"x/stage\n"), ("y/a", b"x")], "no directory"),
        ([(MANIFEST, b"x/stage\n"), ("x/stage2/a", b"x")], "no directory"),
        ([(MANIFEST, b"../x\n")], "leads out"),
        ([(MANIFEST, b"/x\n")], "absolute"),
        ([(MANIFEST, b"p/stage\n"), ("p/stage/../../../evil", b"x")], "leads out"),
        (
            [(MANIFEST, b"p\n"), member("p/l", kind=tarfile.SYMTYPE, link="../evil")],
            "out of its directory",
        ),
        ([(MANIFEST, b"p\n"), member("p/h", kind=tarfile.LNKTYPE, link="q/f")], "no directory"),
    ],
)
def test_flat_refuses(tmp_path, root, members, says):
    path = tmp_path / "a_lib_generic.tar.xz"
    archive(path, *members)
    with pytest.raises(BadArchive, match=says):
        unpack(path, root, is_flat=True)


# Decisions.


@given(st.text(alphabet="ab./\0é", max_size=12))
def test_a_place_is_always_inside(name):
    try:
        parts = parts_of(name)
    except RefusedMember:
        return
    assert not {"", ".", ".."} & set(parts)
    assert os.path.normpath(os.path.join("/root", *parts)).startswith("/root")


@given(
    st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=3),
    st.text(alphabet="a./", max_size=10),
)
def test_a_link_is_inside_as_normpath_says(place, target):
    base = os.path.join("/root", *place[:-1])
    leads = os.path.normpath(os.path.join(base, target))
    try:
        check_link("l", tuple(place), target)
    except RefusedMember:
        # Where it leads out only on the way, and comes back, is refused as well.
        assert not target or ".." in target or target.startswith("/")
    else:
        assert leads == "/root" or leads.startswith("/root/")


def test_counts():
    count = Count(Limits(members=2, free=10))
    count.add("a", 10)
    with pytest.raises(RefusedMember):
        count.add("b", 1)
    with pytest.raises(RefusedMember):
        Count(Limits()).add("a", -1)


@settings(max_examples=30)
@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=4))
def test_the_first_prefix_wins(parts):
    places = Places([("a",), ("a", "b")])
    if parts[0] == "a":
        assert places.of("/".join(parts)) == tuple(parts[1:])
    else:
        with pytest.raises(RefusedMember):
            places.of("/".join(parts))


def test_a_tree_that_is_too_deep(tmp_path, root):
    path = tmp_path / "a_lib_generic.tar.zst"
    archive(path, ("d/" * 256 + "f", b"x"))
    with pytest.raises(RefusedMember, match="deeper"):
        unpack(path, root)
    archive(path, ("d/" * 255 + "f", b"x"))
    unpack(path, root)


WHOLE = tar_of(
    (member("dir/file"), b"x" * 700),
    member("link", kind=tarfile.SYMTYPE, link="dir/file"),
    member("hard", kind=tarfile.LNKTYPE, link="dir/file"),
    (member("n" * 120), b"y"),
)


def with_checksums(body):
    """A tar whose headers say again what they are: else every change of one would be found out at once."""
    with tarfile.open(fileobj=io.BytesIO(WHOLE)) as tar:
        headers = [each.offset for each in tar.getmembers()]
    for at in headers:
        block = body[at : at + 148] + b" " * 8 + body[at + 156 : at + 512]
        body[at + 148 : at + 156] = b"%06o\0 " % sum(block)
    return body


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=8
    ),
    st.booleans(),
)
def test_whatever_is_damaged_is_an_error_or_harmless(tmp_path_factory, damage, is_sly):
    body = bytearray(WHOLE)
    for at, value in damage:
        body[at] = value
    top = tmp_path_factory.mktemp("top")
    (top / "root").mkdir()
    path = top / "a_lib_generic.tar.zst"
    path.write_bytes(zstandard.compress(bytes(with_checksums(body) if is_sly else body)))
    with contextlib.suppress(BadArchive):
        unpack(path, top / "root")
    assert {each.name for each in top.iterdir()} == {"root", path.name}


def test_a_number_that_is_none(tmp_path, root):
    info = member("f")
    info.pax_headers = {"mtime": "nan"}
    path = tmp_path / "a_lib_generic.tar.zst"
    archive(path, info)
    with pytest.raises(BadArchive):
        unpack(path, root)
