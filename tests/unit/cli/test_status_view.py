"""A mount's own words, arranged for people."""

from hypothesis import given
from hypothesis import strategies as st

from s3mount.cli import human
from s3mount.cli.status_view import error_rows, lines, render

NOW = 1_700_000_000.0
FULL = {
    "mountpoint": "/mnt/x",
    "version": "0.1.0",
    "source": "s3://builds",
    "pid": 42,
    "since": NOW - 185,
    "cache": {
        "dir": "/c",
        "used_bytes": 5 << 30,
        "max_bytes": 10 << 30,
        "free_bytes": 80 << 30,
        "min_free_bytes": 1 << 30,
        "hit_bytes": 75,
        "miss_bytes": 25,
    },
    "requests": {"get": 1234, "list": 5, "retries": 0, "failed": 1, "head": 2},
    "bytes": {"fetched": 1 << 20, "read": 3 << 20},
    "metadata": {"directories": 1, "entries": 1204, "pages_from_disk": 3},
    "open_files": 2,
    "errors": [
        {
            "at": NOW - 60,
            "what": "get",
            "key": "a\nb",
            "message": "AccessDenied",
            "request_id": "R1",
        },
        {"at": NOW, "what": "list", "key": "", "message": "slow", "request_id": None},
    ],
    "conflicts": {"count": 1, "names": ["a"]},
    "unspellable": {"count": 12, "keys": ["a//b", "\udcff", ""]},
    "options": {},
}


def test_every_fact_has_its_line():
    told = dict(lines(FULL, NOW))
    assert told == {
        "since": "3 minutes ago, pid 42, s3mount 0.1.0",
        "cache": "5.0 GiB of 10 GiB, in /c, disk has 80 GiB free (keeps 1.0 GiB free)",
        "hits": "75% of 100 B came from the cache",
        "requests": "1,234 GET, 5 LIST, 0 retried, 1 failed, 2 head",
        "listings": "3 pages came from disk, without a request",
        "bytes": "1.0 MiB fetched from the store, 3.0 MiB given to programs",
        "known": "1,204 names in 1 directory, 2 files open",
        "conflicts": "1 name is both a file and a directory: a",
        "hidden": '12 keys have no path: a//b, \\udcff, "", and 9 more',
    }
    assert error_rows(FULL, NOW)[1] == ("1 minute ago", "get", "a\\nb", "AccessDenied", "R1")


def holes(value):
    if not isinstance(value, dict):
        return st.just(value)
    return st.fixed_dictionaries({}, optional={name: holes(part) for name, part in value.items()})


@given(holes(FULL))
def test_any_field_may_be_absent(status):
    lines(status, NOW)
    error_rows(status, NOW)


def test_what_is_printed_is_plain_and_one_fact_a_line(capsys):
    render([FULL, {"mountpoint": "/y", "source": "[bold]x", "error": "dead"}], NOW)
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "s3://builds on /mnt/x" in said
    assert not [
        line for line in said.splitlines() if line.startswith("  ") and line != line.rstrip()
    ]
    assert "[bold]x on /y\n  dead" in said
    assert any("keeps 1.0 GiB free" in line and "5.0 GiB" in line for line in said.splitlines())


def test_amounts_for_people():
    assert [human.size(n) for n in (0, 999, 1000, 1536, 10 << 20, 1 << 50)] == [
        "0 B",
        "999 B",
        "1.0 KiB",
        "1.5 KiB",
        "10 MiB",
        "1024 TiB",
    ]
    assert [human.share(n, 1000) for n in (0, 1, 500, 999, 1000)] == [
        "0%",
        "<1%",
        "50%",
        ">99%",
        "100%",
    ]
    assert human.ago(NOW, NOW) == "a moment ago"
    assert human.ago(NOW + 5, NOW) == "a moment ago"
    assert human.name("a\x1b[31m\n") == "a\\x1b[31m\\n"


@given(st.floats(0, 2**60))
def test_any_size_is_short(size):
    assert len(human.size(size)) <= 12
