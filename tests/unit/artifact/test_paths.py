"""Which remote and local path a command means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.artifact.paths import (
    Escapes,
    Level,
    Places,
    Scope,
    Unspellable,
    base,
    clean,
    join,
    name_below,
    pull_places,
    push_places,
    remote_path,
    scope_of,
    to_relative,
)
from s3mount.errors import ConfigError

JOB = Scope(Level.JOB, "1")
ROOT = "artifacts/jobs/1"
TEXTS = st.text(st.sampled_from("ab./~ -\\"), max_size=12)


@pytest.mark.parametrize(
    ("path", "relative"),
    [
        ("./../.source", ".source"),
        ("./../source/../.longer/.", ".longer"),
        ("/.long/p", ".long/p"),
        ("./../source/..", ""),
        ("..foo", "..foo"),
        ("...", ""),
        ("", ""),
        (".", ""),
        ("..", ""),
        ("/", ""),
        ("./", ""),
        ("a", "a"),
        ("/a", "a"),
        ("//a//b/", "a/b"),
        ("./a/./b", "a/b"),
        ("../a", "a"),
        ("../../a", "a"),
        ("../../jobs/2/x", "jobs/2/x"),
        ("../..foo", "..foo"),
        ("a/../../b", "b"),
        (".env", ".env"),
        ("~", "~"),
        ("~/x", "~/x"),
    ],
)
def test_a_relative_path(path, relative):
    assert to_relative(path) == relative


@pytest.mark.parametrize(
    ("source", "destination", "remote", "local"),
    [
        ("x.zip", "", "/x.zip", "x.zip"),
        ("/long/to/x.zip", "", "/x.zip", "/long/to/x.zip"),
        ("./x.zip", "", "/x.zip", "x.zip"),
        ("logs/web", "path/to/dbg", "/path/to/dbg", "logs/web"),
        ("logs/web", "/path/to/dbg", "/path/to/dbg", "logs/web"),
        ("logs/web", "./path/to/dbg", "/path/to/dbg", "logs/web"),
        ("dir/", "", "/dir", "dir"),
        (".env", "", "/.env", ".env"),
        ("x", ".", "/x", "x"),
        ("x", "d/", "/d", "x"),
        ("x", "~", "/~", "x"),
        ("~/x", "", "/x", "~/x"),
        (".", "", "", "."),
        ("/", "", "", "/"),
        ("../x", "", "/x", "../x"),
        ("x", "../y", "/y", "x"),
        ("a b+c", "", "/a b+c", "a b+c"),
        ("a\\b", "", "/a\\b", "a\\b"),
    ],
)
def test_a_push(source, destination, remote, local):
    assert push_places(JOB, source, destination) == Places(f"{ROOT}{remote}", local)


@pytest.mark.parametrize(
    ("source", "destination"), [("..", ""), ("../..", ""), ("x", "../../.."), ("a/../..", "")]
)
def test_a_push_that_escapes_is_refused(source, destination):
    with pytest.raises(Escapes, match="leads out of the artifacts of job 1") as caught:
        push_places(JOB, source, destination)
    assert "--job-id" in caught.value.hint


@pytest.mark.parametrize(
    ("source", "destination", "remote", "local"),
    [
        ("a/b/c", "", "/a/b/c", "c"),
        ("a/b/c", "/abs/y", "/a/b/c", "/abs/y"),
        ("a/b/c", "../y", "/a/b/c", "../y"),
        ("a/b/c", "d/", "/a/b/c", "d"),
        ("/a/b/c", "", "/a/b/c", "c"),
        ("../x", "", "/x", "x"),
        (".", "", "", "."),
        ("/", "", "", "."),
        ("..", "", "", "."),
        ("..", "out", "", "out"),
        ("x", "~/y", "/x", "~/y"),
        (".env", "", "/.env", ".env"),
        ("../../jobs/2/x", "", "/jobs/2/x", "x"),
    ],
)
def test_a_pull(source, destination, remote, local):
    assert pull_places(JOB, source, destination) == Places(f"{ROOT}{remote}", local)


@pytest.mark.parametrize(
    ("path", "remote"),
    [("x", "/x"), ("/x/", "/x"), (".", ""), ("..", ""), ("../../jobs/2/x", "/jobs/2/x")],
)
def test_a_yank(path, remote):
    assert remote_path(JOB, path) == f"{ROOT}{remote}"


def test_a_name_that_is_not_utf_8_is_refused():
    with pytest.raises(Unspellable, match="is not UTF-8"):
        pull_places(JOB, "x\udcff")


@pytest.mark.parametrize("path", ["../..", "../../..", "/../../", "a/../../.."])
def test_a_pull_and_a_yank_that_escape_are_refused(path):
    if to_relative(path):
        with pytest.raises(Escapes):
            remote_path(JOB, path)
        with pytest.raises(Escapes):
            pull_places(JOB, path)
    else:
        assert remote_path(JOB, path) == ROOT


@given(TEXTS, TEXTS)
def test_nothing_leaves_its_own_id(source, destination):
    for remote in (
        lambda: push_places(JOB, source, destination).remote,
        lambda: pull_places(JOB, source, destination).remote,
        lambda: remote_path(JOB, source),
    ):
        try:
            found = remote()
        except Escapes:
            continue
        assert found == ROOT or found.startswith(f"{ROOT}/")
        assert not {"", ".", ".."} & set(found.split("/"))


@given(TEXTS)
def test_what_was_pushed_is_pulled_by_the_name_that_is_listed(source):
    try:
        remote = push_places(JOB, source).remote
    except Escapes:
        return
    name = name_below(JOB, remote)
    if name and name.strip("."):
        assert pull_places(JOB, name).remote == remote


@pytest.mark.parametrize(
    ("level", "root"),
    [
        (Level.JOB, "artifacts/jobs/1"),
        (Level.WORKFLOW, "artifacts/workflows/1"),
        (Level.PROJECT, "artifacts/projects/1"),
    ],
)
def test_every_level_has_its_own_directory(level, root):
    assert Scope(level, "1").root == root


def test_the_flag_wins_over_the_environment():
    assert scope_of(Level.JOB, "2", "1") == Scope(Level.JOB, "2")
    assert scope_of(Level.JOB, "", "1") == JOB


@pytest.mark.parametrize("level", Level)
def test_a_missing_id_says_how_to_give_one(level):
    with pytest.raises(ConfigError) as caught:
        scope_of(level, "", "")
    assert caught.value.message == (
        f"{level} ID is not set. Please use the SEMAPHORE_{level.upper()}_ID environment variable "
        f"or the --{level}-id parameter to configure it"
    )


@pytest.mark.parametrize("written", ["..", ".", "../2", "a/b", "/", "1\n"])
def test_an_id_that_is_a_path_is_refused(written):
    with pytest.raises(ConfigError, match="cannot be part of a path"):
        scope_of(Level.JOB, written, "")


@pytest.mark.parametrize(
    ("path", "cleaned", "last"),
    [
        ("", ".", "."),
        ("/", "/", "/"),
        ("//", "/", "/"),
        ("a/b/", "a/b", "b"),
        ("//a/../b", "/b", "b"),
        ("a/..", ".", ".."),
    ],
)
def test_paths_are_cleaned(path, cleaned, last):
    assert clean(path) == cleaned
    assert base(path) == last


def test_paths_are_joined():
    assert join("a", "", "b/", "../c") == "a/c"
    assert join("", "") == ""
