"""Which file a key becomes: the roll-up, odd keys, and that no key leaves the directory."""

import os.path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from s3mount.bulk.keys import NAME_MAX, FilePath, KeyMap, Unplaceable, encoded, split_source

KEY = "my/test/prefix/my-test-filename.txt"


def path_of(key, prefix="", delimiter="/"):
    return str(KeyMap(prefix, delimiter).path_of(key))


@pytest.mark.parametrize(
    ("prefix", "path"),
    [
        ("my/test/prefix/", "my-test-filename.txt"),
        ("my/test/prefix", "prefix/my-test-filename.txt"),
        ("my/test/pre", "prefix/my-test-filename.txt"),
        ("my/test/", "prefix/my-test-filename.txt"),
        ("my/test", "test/prefix/my-test-filename.txt"),
        ("my/tes", "test/prefix/my-test-filename.txt"),
        ("my/", "test/prefix/my-test-filename.txt"),
        ("m", KEY),
        ("", KEY),
        (KEY, "my-test-filename.txt"),
    ],
)
def test_a_key_loses_as_many_parts_as_the_prefix_has_delimiters(prefix, path):
    assert path_of(KEY, prefix) == path
    assert path_of(KEY.replace("/", ":"), prefix.replace("/", ":"), ":") == path


def test_a_key_outside_of_the_prefix_has_no_path():
    with pytest.raises(Unplaceable, match="does not begin with 'other/'"):
        path_of(KEY, "other/")


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("a", FilePath("", "a", True)),
        ("a/b/c", FilePath("a/b", "c", True)),
        (".hidden", FilePath("", ".hidden", True)),
        ("a/..b/c", FilePath("a/..b", "c", True)),
        ("a\\b", FilePath("", "a\\b", True)),
        ("//abs/f", FilePath("abs", "f", False)),
        ("/abs/f", FilePath("abs", "f", False)),
        ("d//e", FilePath("d", "e", False)),
        ("./f", FilePath("", "f", False)),
        ("a/./b", FilePath("a", "b", False)),
        ("a/../b", FilePath("", "b", False)),
        ("a/b/../../c", FilePath("", "c", False)),
    ],
)
def test_dots_and_empty_parts(key, path):
    assert KeyMap("").path_of(key) == path


@pytest.mark.parametrize(
    "key",
    [
        *("..", "../evil", "x/../../../evil", "/../evil", "q/..", "q/.", ".", "a\0b", "x/a\0/b"),
        *("a" * (NAME_MAX + 1), "d/" + "ü" * 128, "ü" * 128 + "/f"),
        ".s3mount-" + "0" * 24 + ".part",
    ],
)
def test_keys_without_a_path(key):
    with pytest.raises(Unplaceable):
        path_of(key)


def test_a_name_of_255_bytes_is_one():
    assert path_of("d/" + "ü" * 127 + "x") == "d/" + "ü" * 127 + "x"


def test_another_delimiter():
    assert path_of("a:b:c", "a:", ":") == "b/c"
    # A file system has one separator: the slash stays one.
    assert KeyMap("", ":").path_of("a/b:c") == FilePath("a/b", "c", False)
    assert KeyMap("", ":").path_of("a:b:c") == FilePath("a/b", "c", True)
    assert KeyMap("aaa", "aa").path_of("aaab") == FilePath("", "ab", True)


@pytest.mark.parametrize(
    ("key", "size", "is_marker"),
    [("d/", 0, True), ("d/", 5, True), ("d", 0, False), ("d//", 0, True), ("d:", 0, False)],
)
def test_markers(key, size, is_marker):
    assert KeyMap("").is_marker(key, size) is is_marker
    assert KeyMap("", ":").is_marker(key.replace("/", ":"), size) is (is_marker or key == "d:")


def test_a_console_marker_is_one_whatever_the_delimiter():
    assert KeyMap("", ":").is_marker("d/", 0)
    assert not KeyMap("", ":").is_marker("d/", 5)


PARTS = st.lists(st.sampled_from(["", ".", "..", "a", "b", "...", "\0", ".a", "a b"]), max_size=7)


@given(PARTS, PARTS, st.sampled_from(["/", ":"]))
@example(["a", ".."], ["..", "x"], "/")
def test_no_path_leaves_the_directory_and_plain_keys_have_their_own(prefix, rest, delimiter):
    start = delimiter.join(prefix)
    key = start + delimiter.join(rest)
    keys = KeyMap(start, delimiter)
    try:
        path = keys.path_of(key)
    except Unplaceable:
        return
    whole = str(path)
    assert os.path.normpath(whole) == whole
    assert not whole.startswith(("/", "../"))
    assert whole not in {"", ".", ".."}
    assert "\0" not in whole
    assert all(0 < len(encoded(part)) <= NAME_MAX for part in whole.split("/"))
    # The plain mapping can be undone, so no two keys share what it gives.
    base = len(start) - len(start.split(delimiter)[-1])
    assert path.is_plain is (
        whole.replace("/", delimiter) == key[base:] and (delimiter == "/" or "/" not in key[base:])
    )


@pytest.mark.parametrize(
    ("text", "delimiter", "split"),
    [
        ("my-bucket", "/", ("my-bucket", "")),
        ("my-bucket/", "/", ("my-bucket", "")),
        ("my-bucket/my/prefix", "/", ("my-bucket", "my/prefix")),
        ("my-bucket//x", "/", ("my-bucket", "/x")),
        ("my:bucket:my:prefix", ":", ("my", "bucket:my:prefix")),
        ("bucket/p:q", ":", ("bucket", "p:q")),
        ("my-bucket/p", "-", ("my-bucket", "p")),
        ("bucket:p/q", ":", ("bucket", "p/q")),
    ],
)
def test_bucket_and_prefix(text, delimiter, split):
    assert split_source(text, delimiter) == split


@given(
    st.text(st.sampled_from("a./\0\n:é"), max_size=12) | st.text("a/", min_size=250, max_size=270),
    st.sampled_from(["", "a", "a/", "b/"]),
    st.sampled_from(["/", ":"]),
)
def test_what_is_seen_to_be_plain_is_plain(key, prefix, delimiter):
    keys = KeyMap(prefix, delimiter)
    if keys.is_plain(key):
        assert keys.path_of(key).is_plain
