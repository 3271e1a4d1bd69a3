"""Which names a mount shows: "The view of the bucket" in docs/semantics.md."""

import json
import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.fuse

LONG = "l" * 255
TOO_LONG = "l" * 256
CAFE = unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café")
NASTY = [
    *("sp ace", " lead", "trail ", "quo'te", 'quo"te', "%41", "100%", "a+b", "back\\slash", "a&b=c"),
    *("#hash", "que?ry", "<xml>", "semi;colon", "a,b", "~", "*", "-f", "ta\tb", "\x01", "...", ".hidden"),
    *(*CAFE, "日本語", "🙂", "\u202eright to left", LONG),
]  # fmt: skip
ON_DISK = [b"new\nline", b"\n", b"not \xff\xfe UTF-8", b"carriage\rreturn", "é".encode("latin-1")]

KEYS = {
    "top": b"top",
    "deep/er/file": b"deep",
    "empty/": b"",
    "full/": b"",
    "full/x": b"x",
    "pre": b"beside",
    "pre/in": b"inside",
    "pre/sub/in": b"deeper",
    "prefix": b"other",
    "pre-fix/x": b"other",
    # An object beside a directory of its name, first and last in their listings.
    "twin/a": b"object a",
    "twin/a/below": b"below a",
    "twin/a!": b"sorts between a and a/",
    "twin/z": b"object z",
    "twin/z/below": b"below z",
    # The longer name is taken.
    "taken/a": b"hidden",
    "taken/a/below": b"below",
    "taken/a.s3object": b"has the name",
    # The longer name is taken by a directory.
    "taken/b": b"hidden",
    "taken/b/below": b"below",
    "taken/b.s3object/x": b"has the name",
    # Parts that no path can spell.
    "odd/good": b"good",
    "odd//b": b"",
    "odd/../b": b"",
    "odd/./b": b"",
    "odd/..": b"",
    "odd/" + TOO_LONG: b"",
    "odd/" + TOO_LONG + "/b": b"",
    "/lead": b"",
    "./x": b"",
    "tail//": b"",
}


@pytest.fixture(scope="module")
def bucket(new_bucket):
    made = new_bucket()
    for key, body in KEYS.items():
        made.put(key, body)
    for name in NASTY:
        made.put(f"nasty/{name}", name.encode())
    return made


@pytest.fixture(scope="module")
def view(world, bucket) -> Iterator[Path]:
    with world.mount(bucket.name, env=bucket.environment) as mount:
        yield mount.path


@pytest.fixture(scope="module")
def on_disk(world) -> Iterator[Path]:
    source = world.place("source")
    for name in ON_DISK:
        Path(os.fsdecode(os.fsencode(source) + b"/" + name)).write_bytes(name)
    with world.mount(source.as_uri()) as mount:
        yield mount.path


def listed(path: Path) -> list[str]:
    return sorted(os.listdir(path))


def test_each_part_of_a_key_is_a_name(view):
    """A key is split at each `/`, and each part is a name."""
    assert listed(view / "deep") == ["er"]
    assert listed(view / "deep/er") == ["file"]
    assert (view / "deep/er/file").read_bytes() == b"deep"
    assert (view / "top").read_bytes() == b"top"


def test_a_directory_exists_where_a_key_lies_below_it(view):
    """A directory exists where a key lies below it."""
    assert (view / "deep").is_dir()
    assert (view / "deep/er").is_dir()
    assert not (view / "dee").exists()
    assert not (view / "deep/er/file/more").exists()


def test_a_marker_makes_a_directory(view):
    """A key that ends in `/` is a directory marker: the directory exists, even when nothing else lies in it, and the
    marker itself is not shown.
    """
    assert (view / "empty").is_dir()
    assert listed(view / "empty") == []
    assert listed(view / "full") == ["x"]


@pytest.mark.parametrize("name", NASTY, ids=ascii)
def test_a_name_survives(view, name):
    """Names are the key's bytes: spaces, newlines, quotes, `%`, `+`, backslashes and any Unicode survive and are not
    normalised.
    """
    assert (view / "nasty" / name).read_bytes() == name.encode()


def test_all_names_are_listed_as_they_are(view):
    """Names are the key's bytes: spaces, newlines, quotes, `%`, `+`, backslashes and any Unicode survive and are not
    normalised.
    """
    assert listed(view / "nasty") == sorted(NASTY)
    assert CAFE[0] != CAFE[1]


def test_newlines_and_other_bytes_survive(on_disk):
    """Names are the key's bytes: spaces, newlines, quotes, `%`, `+`, backslashes and any Unicode survive and are not
    normalised.
    """
    assert sorted(os.listdir(os.fsencode(on_disk))) == sorted(ON_DISK)
    for name in ON_DISK:
        assert Path(os.fsdecode(os.fsencode(on_disk) + b"/" + name)).read_bytes() == name


@pytest.mark.parametrize("written", ["pre", "pre/"])
def test_a_prefix_shows_only_what_is_below(world, bucket, written):
    """A mount of `bucket/prefix` shows only keys below `prefix/`."""
    with world.mount(f"{bucket.name}/{written}", env=bucket.environment) as mount:
        assert listed(mount.path) == ["in", "sub"]
        assert (mount.path / "in").read_bytes() == b"inside"
        assert (mount.path / "sub/in").read_bytes() == b"deeper"
        assert os.getxattr(mount.path / "in", "user.s3.key") == b"pre/in"


def test_an_empty_bucket_is_an_empty_directory(world, new_bucket):
    """A bucket or prefix without keys is an empty directory."""
    bucket = new_bucket()
    for source in (bucket.name, f"s3://{bucket.name}/not/there"):
        with world.mount(source, env=bucket.environment) as mount:
            assert listed(mount.path) == []
            assert not (mount.path / "x").exists()


@pytest.mark.parametrize("name", ["a", "z"])
def test_an_object_beside_a_directory_of_its_name(view, name):
    """Where an object `a` lies beside objects `a/...`, the name `a` is the directory, and the object is reachable as
    `a.s3object`.
    """
    assert (view / "twin" / name).is_dir()
    assert (view / "twin" / name / "below").read_bytes() == f"below {name}".encode()
    assert (view / f"twin/{name}.s3object").read_bytes() == f"object {name}".encode()
    assert os.getxattr(view / f"twin/{name}.s3object", "user.s3.key") == f"twin/{name}".encode()


def test_twins_are_listed_under_both_names(view):
    """Where an object `a` lies beside objects `a/...`, the name `a` is the directory, and the object is reachable as
    `a.s3object`.
    """
    assert listed(view / "twin") == ["a", "a!", "a.s3object", "z", "z.s3object"]
    assert not (view / "twin/a!.s3object").exists()
    assert not (view / "top.s3object").exists()


def test_a_key_of_the_longer_name_has_it(view):
    """When a key `a.s3object` exists as well, that key has the name and the hidden object is only counted."""
    assert listed(view / "taken") == ["a", "a.s3object", "b", "b.s3object"]
    assert (view / "taken/a.s3object").read_bytes() == b"has the name"
    assert (view / "taken/b.s3object/x").read_bytes() == b"has the name"
    assert {"taken/a", "taken/b"} <= set(status_of(view)["conflicts"]["names"])


def test_what_no_path_can_spell_is_not_shown(view):
    """A key with a part that no path can spell (empty, `.`, `..`, with a NUL byte, or over 255 bytes) is not shown and
    never breaks a listing.
    """
    assert listed(view / "odd") == ["good"]
    assert (view / "odd/good").read_bytes() == b"good"
    shown = ["deep", "empty", "full", "nasty", "odd", "pre", "pre-fix", "pre.s3object", "prefix"]
    assert listed(view) == [*shown, "tail", "taken", "top", "twin"]
    assert listed(view / "tail") == []
    with pytest.raises(OSError, match=r"No such file|too long"):
        (view / "odd" / TOO_LONG).stat()


def test_odd_keys_are_counted_and_named(world, view):
    """Such keys, and objects that lie beside a directory of their name, are counted and named in `s3mount status`."""
    for directory in ("", "odd", "tail", "twin", "taken"):
        listed(view / directory)
    status = status_of(view)
    said = world.run("status", str(view)).stdout
    names = {"pre", "twin/a", "twin/z", "taken/a", "taken/b"}
    assert status["conflicts"] == {"count": 5, "names": status["conflicts"]["names"]}
    assert set(status["conflicts"]["names"]) == names
    long = "odd/" + TOO_LONG
    odd = {"/", "./", "odd//", "odd/../", "odd/./", "odd/..", long, long + "/", "tail//"}
    assert status["unspellable"]["count"] == len(odd)
    assert set(status["unspellable"]["keys"]) == odd
    assert "5 names are both a file and a directory" in said
    assert "9 keys have no path" in said
    assert "twin/z" in said
    assert "odd/../" in said


def status_of(path: Path) -> dict:
    return json.loads(os.getxattr(path, "user.s3mount.status"))
