"""Which objects are wanted: every test alone, together, and globs against a plain model of them."""

import fnmatch
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.bulk.selection import NANO, Selection, read_newer
from s3mount.errors import ConfigError
from s3mount.store.interface import ObjectMeta

KEYS = (
    "a/b/c.log",
    "a/c.log",
    "c.log",
    "a/b/c.txt",
    "a/bb/.hidden",
    "a/b/[x]",
    "a/line\nbreak.log",
)


def meta(key, size=10, mtime_ns=0):
    return ObjectMeta(key, size, "etag", mtime_ns)


def wanted(keys=KEYS, **tests):
    selection = Selection(**tests)
    return [key for key in keys if selection.wants(meta(key))]


def test_nothing_given_wants_everything():
    assert Selection().is_everything
    assert not Selection(larger=0).is_everything
    assert wanted() == list(KEYS)


@pytest.mark.parametrize(
    ("glob", "matches"),
    [
        ("*.log", ["a/b/c.log", "a/c.log", "c.log", "a/line\nbreak.log"]),
        ("c.*", ["a/b/c.log", "a/c.log", "c.log", "a/b/c.txt"]),
        ("?.txt", ["a/b/c.txt"]),
        ("a/*.log", ["a/c.log", "a/line\nbreak.log"]),
        (
            "a/**",
            ["a/b/c.log", "a/c.log", "a/b/c.txt", "a/bb/.hidden", "a/b/[x]", "a/line\nbreak.log"],
        ),
        ("a/b/", ["a/b/c.log", "a/b/c.txt", "a/b/[x]"]),
        ("**/c.log", ["a/b/c.log", "a/c.log", "c.log"]),
        ("a/**/c.log", ["a/b/c.log", "a/c.log"]),
        ("/c.log", ["c.log"]),
        ("/*.log", ["c.log"]),
        ("a/?/c.*", ["a/b/c.log", "a/b/c.txt"]),
        ("a/[!b]*", ["a/c.log", "a/line\nbreak.log"]),
        ("a/b[!a]/.hidden", ["a/bb/.hidden"]),
        ("a?b/**", []),
        ("a[!x]b/**", []),
        ("[[]x]", ["a/b/[x]"]),
        ("c.[lt]*", ["a/b/c.log", "a/c.log", "c.log", "a/b/c.txt"]),
        ("c[.log", []),
    ],
)
def test_globs(glob, matches):
    assert wanted(include=[glob]) == matches
    assert wanted(exclude=[glob]) == [key for key in KEYS if key not in matches]


def test_globs_see_only_what_is_behind_the_prefix():
    assert wanted(include=["b/*"], prefix="a/") == ["a/b/c.log", "a/b/c.txt", "a/b/[x]"]
    assert wanted(["x/", "x/y"], include=["y"], prefix="x/") == ["x/y"]
    # The last part never reaches into the prefix.
    assert not wanted(["prefix"], include=["prefix"], prefix="pre")


def test_exclude_wins_and_all_tests_must_pass():
    assert wanted(include=["*.log", "*.txt"], exclude=["a/b/*"]) == [
        "a/c.log",
        "c.log",
        "a/line\nbreak.log",
    ]
    assert wanted(regex=r"^a/.*\.log$", exclude=["c.log"]) == []
    assert wanted(regex=r"b/c", include=["*.txt"]) == ["a/b/c.txt"]


def test_sizes_are_bounds_that_are_not_reached():
    sizes = [meta("k", size) for size in range(5)]
    assert [m.size for m in sizes if Selection(larger=1, smaller=4).wants(m)] == [2, 3]
    assert [m.size for m in sizes if Selection(larger=0).wants(m)] == [1, 2, 3, 4]


def test_newer_includes_the_moment():
    assert [t for t in range(4) if Selection(newer=2).wants(meta("k", mtime_ns=t))] == [2, 3]


@pytest.mark.parametrize(
    ("tests", "said"),
    [
        ({"regex": "*.log"}, "-r"),
        ({"include": ["[z-a]"]}, "--include"),
        ({"exclude": ["/"]}, "--exclude"),
        ({"include": [""]}, "--include"),
    ],
)
def test_what_is_no_pattern_is_told_with_a_hint(tests, said):
    with pytest.raises(ConfigError) as caught:
        Selection(**tests)
    assert said in caught.value.message
    assert caught.value.hint


NAMES = st.text(alphabet="ab.-]^[!", min_size=1, max_size=6)
GLOBS = st.text(alphabet="ab.-*?", min_size=1, max_size=6).filter(lambda glob: "**" not in glob)


@given(NAMES, GLOBS)
def test_a_glob_of_one_part_means_what_fnmatch_means(name, glob):
    assert Selection(include=[glob]).wants(meta(f"d/{name}")) == fnmatch.fnmatchcase(name, glob)


@given(st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=5), st.data())
def test_two_stars_stand_for_any_parts_in_between(parts, data):
    first = data.draw(st.integers(0, len(parts)))
    last = data.draw(st.integers(first, len(parts) - 1)) if first < len(parts) else first - 1
    glob = "/".join([*parts[:first], "**", *parts[last + 1 :]]) if last < len(parts) - 1 else None
    key = "/".join(parts)
    if glob is not None:
        assert Selection(include=[glob]).wants(meta(key))
    assert Selection(include=["**/" + key]).wants(meta(key))
    assert Selection(include=["**/" + key]).wants(meta("x/y/" + key))
    assert not Selection(include=["**/" + key]).wants(meta("x" + key))


NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("7d", int(NOW - 7 * 86400)),
        ("1h30m", int(NOW - 5400)),
        ("2026-01-31T12:00Z", int(datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp())),
        ("2026-01-31T12:00+01:00", int(datetime(2026, 1, 31, 11, tzinfo=UTC).timestamp())),
        (" 2026-01-31 ", int(datetime(2026, 1, 31).timestamp())),
    ],
)
def test_moments(text, moment):
    assert read_newer(text, NOW) == moment * NANO


@pytest.mark.parametrize("text", ["7", "", "yesterday", "2026-13-01", "-7d", "20260131"])
def test_what_is_no_moment_is_refused(text):
    with pytest.raises(ValueError, match=r"^(is|has) "):
        read_newer(text, NOW)
