"""What people see of a run, mode by mode."""

import io
import json
import os
import pty
import time

import pytest

from s3mount.bulk.outcome import Ending, Outcome
from s3mount.bulk.progress import Tally
from s3mount.cli import display_bar, display_texts, displays
from s3mount.errors import AccessDenied
from s3mount.store.interface import ObjectMeta

MIB = 1 << 20


class Clock:
    now = 50.0

    def __call__(self):
        return self.now


def outcome(key, ending=Ending.FETCHED, size=MIB, seconds=0.5, error=None, place=""):
    if ending is Ending.FAILED and error is None:
        error = AccessDenied("the policy forbids it", hint="ask its owner")
    fetched = size if ending is Ending.FETCHED else 0
    return Outcome(ObjectMeta(key, size, "e", 0), ending, fetched, seconds, error, place)


def bytes_stream(*, terminal=False):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    stream.isatty = lambda: terminal
    return stream


def written(stream):
    return stream.buffer.getvalue().decode("utf-8", "surrogateescape")


def run(batches, mode=None, *, seconds=2.0, terminal=False, **options):
    """Show a whole run that takes ``seconds``; what was written to stdout."""
    clock, stream = Clock(), bytes_stream(terminal=terminal)
    with displays.open(mode, stream=stream, clock=clock, **options) as shown:
        for batch in batches:
            shown.found(len(batch), sum(each.meta.size for each in batch))
            clock.now += seconds / len(batches)
            shown.ended(batch)
        shown.summary()
    return written(stream)


SUMMARY = """\
Progress Summary:
  Objects found: 2
  Objects downloaded: 2
  Total data: 2.0 MB
  Average speed: 1.0 MB/s
  Total time: 2.0 seconds
"""
TWO = [[outcome("b/2"), outcome("b/1")]]


def test_simple_is_keys_in_the_order_of_their_ends():
    assert run(TWO, "simple") == "b/2\nb/1\n"


def test_detailed_is_keys_and_a_summary():
    assert run(TWO, "detailed") == "b/2\nb/1\n" + SUMMARY


def test_live_update_is_one_line_again_and_again_and_a_summary():
    batches = [[outcome("a")], [outcome("b")], []]
    assert run(batches, "live-update", seconds=6) == (
        "\r[Found: 1 | Downloaded: 1 | Speed: 512.0 KB/s]"
        "\r[Found: 2 | Downloaded: 2 | Speed: 512.0 KB/s]"
        "\r[Found: 2 | Downloaded: 2 | Speed: 341.3 KB/s]"
        "\r[Found: 2 | Downloaded: 2 | Speed: 341.3 KB/s]\n"
    ) + SUMMARY.replace("1.0 MB/s", "341.3 KB/s").replace("2.0 sec", "6.0 sec")


def test_a_shorter_live_line_covers_the_longer_one():
    batches = [[outcome("a", size=MIB)], [], [], []]
    lines = run(batches, "live-update", seconds=80_000).split("\n")[0].split("\r")[1:]
    widths = [len(line) for line in lines]
    assert all(
        after >= len(before.rstrip()) for before, after in zip(lines, widths[1:], strict=False)
    )


def test_fancy_has_no_keys_but_the_slowest_ones():
    batches = [[outcome(f"k{n}", seconds=n) for n in range(9)]]
    lines = run(batches, "fancy").splitlines()
    slowest = lines[lines.index("Slowest objects:") + 1 : lines.index("Progress Summary:")]
    assert [line.split()[-1] for line in slowest] == ["k8", "k7", "k6", "k5", "k4"]
    assert "k3" not in "".join(lines)


def test_json_is_a_record_for_each_object_and_one_for_all():
    batch = [
        outcome("a\udcff", place="dir/a"),
        outcome("b", Ending.FAILED),
        outcome("c", Ending.PRESENT),
    ]
    *records, last = map(json.loads, run([batch], json_lines=True).splitlines())
    assert records[0] == {
        "key": "a\udcff",
        "ending": "fetched",
        "size": MIB,
        "bytes_fetched": MIB,
        "seconds": 0.5,
        "error": None,
        "path": "dir/a",
    }
    assert records[1]["error"] == "the policy forbids it"
    assert records[1]["path"] is None
    assert last["summary"] == {
        "found": 3,
        "found_bytes": 3 * MIB,
        "listing_complete": True,
        "stopped": False,
        "fetched": 1,
        "present": 1,
        "copied": 0,
        "listed": 0,
        "failed": 1,
        "bytes_fetched": MIB,
        "seconds": 2.0,
        "bytes_per_second": MIB // 2,
    }


def test_summary_tells_of_what_was_not_downloaded():
    batch = [
        outcome("a", Ending.PRESENT),
        outcome("b", Ending.COPIED),
        outcome("c", Ending.FAILED),
        outcome("d"),
    ]
    text = run([batch], "detailed", noun="prefetched")
    assert "  Objects found: 4\n  Objects prefetched: 1\n" in text
    assert "  Objects already present: 1\n" in text
    assert "  Objects copied from the cache: 1\n  Objects failed: 1\n" in text
    assert text.startswith("a\nb\nd\n")


@pytest.mark.parametrize("mode", [None, *displays.MODES])
def test_quiet_is_quiet_but_for_failures(mode, capsys):
    assert run([[outcome("a"), outcome("b", Ending.FAILED)]], mode, quiet=True) == ""
    assert capsys.readouterr().err == (
        "b: the policy forbids it\n  ask its owner\ns3mount: 1 of 2 objects failed\n"
    )


@pytest.mark.parametrize("mode", [None, "simple"])
def test_dry_run_is_keys(mode):
    batches = [[outcome("a", Ending.LISTED), outcome("b", Ending.PRESENT)]]
    assert run(batches, mode, dry_run=True, terminal=True) == "a\nb\n"


@pytest.mark.parametrize("mode", ["detailed", "fancy"])
def test_dry_run_has_downloaded_nothing(mode):
    text = run([[outcome("a", Ending.LISTED)]], mode, dry_run=True)
    assert text.startswith("a\nProgress Summary:\n  Objects found: 1\n  Objects downloaded: 0\n")


def test_keys_are_raw_in_a_pipe_and_escaped_on_a_terminal():
    batches = [[outcome("ü\x1b[31m\udcff")]]
    assert run(batches, "simple") == "ü\x1b[31m\udcff\n"
    assert run(batches, "simple", terminal=True) == "ü\\x1b[31m\\udcff\n"


def test_a_text_stream_will_do():
    stream = io.StringIO()
    with displays.open("simple", stream=stream) as shown:
        shown.ended([outcome("a")])
    assert stream.getvalue() == "a\n"


def test_each_batch_is_one_write():
    writes = []

    class Stream(io.StringIO):
        def write(self, text):
            writes.append(text)
            return len(text)

    with displays.open("simple", stream=Stream()) as shown:
        for batch in range(5):
            shown.ended([outcome(f"{batch}/{n}") for n in range(100)])
        shown.ended([])
    assert len(writes) == 5


def test_failures_are_told_at_the_end_each_hint_once(capsys):
    failed = [outcome(f"k{n}", Ending.FAILED) for n in range(23)]
    failed += [outcome("named", Ending.FAILED, error=OSError(28, "No space left on device", "/d"))]
    run([failed, [outcome("fine")]], "simple")
    lines = capsys.readouterr().err.splitlines()
    assert lines[:20] == [f"k{n}: the policy forbids it" for n in range(20)]
    assert lines[20:] == [
        "and 4 more; --json names them all",
        "  ask its owner",
        "s3mount: 24 of 25 objects failed",
    ]


def test_a_reason_that_names_the_key_does_not_name_it_twice():
    tally = Tally(0.0)
    tally.add_ended([outcome("a/b", Ending.FAILED, error=AccessDenied("'a/b' is forbidden\x07"))])
    assert display_texts.failure_lines(tally)[0] == "'a/b' is forbidden\\x07"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), AccessDenied("no")])
@pytest.mark.parametrize("mode", [*displays.MODES, None])
def test_a_run_that_is_broken_off_says_how_far_it_came(mode, error, capsys):
    stream = bytes_stream()

    def broken_off():
        with displays.open(mode, stream=stream, clock=Clock()) as shown:
            shown.found(10, 10 * MIB)
            shown.ended([outcome("a"), outcome("b", Ending.FAILED)])
            raise error

    with pytest.raises(type(error)):
        broken_off()
    assert capsys.readouterr().err.splitlines() == [
        "b: the policy forbids it",
        "  ask its owner",
        "s3mount: 1 of 10 objects failed",
        "s3mount: stopped: 1 downloaded of 10 objects found so far, 1.0 MB fetched",
    ]


def test_json_says_that_it_was_broken_off():
    stream = bytes_stream()

    def broken_off():
        with displays.open(json_lines=True, stream=stream) as shown:
            shown.found(2, 2)
            raise KeyError

    with pytest.raises(KeyError):
        broken_off()
    summary = json.loads(written(stream).splitlines()[-1])["summary"]
    assert (summary["stopped"], summary["listing_complete"]) == (True, False)


def test_a_run_that_found_nothing_has_nothing_to_say(capsys):
    def refused():
        with displays.open("simple"):
            raise AccessDenied("no")

    with pytest.raises(AccessDenied):
        refused()
    assert capsys.readouterr() == ("", "")


def test_a_broken_pipe_does_not_hide_how_the_run_ended(capsys):
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError(32, "Broken pipe")

    def broken_off(error):
        with displays.open(json_lines=True, stream=Closed()) as shown:
            shown.found(1, 1)
            if error is not None:
                raise error
            shown.ended([outcome("a")])

    with pytest.raises(KeyboardInterrupt):
        broken_off(KeyboardInterrupt())
    with pytest.raises(BrokenPipeError):
        broken_off(None)
    assert capsys.readouterr().err.count("s3mount: stopped:") == 2


def test_the_summary_comes_once(capsys):
    clock, stream = Clock(), bytes_stream()
    with displays.open("detailed", stream=stream, clock=clock) as shown:
        shown.ended([outcome("a", Ending.FAILED)])
        shown.summary()
        shown.summary()
    assert written(stream).count("Summary") == 1
    assert capsys.readouterr().err.count("1 of 1 object failed") == 1


def test_without_a_mode_a_pipe_gets_keys():
    batches = [[outcome(f"k{n}") for n in range(200)]]
    assert run(batches, terminal=False) == "".join(f"k{n}\n" for n in range(200))


def test_without_a_mode_a_terminal_gets_keys_of_a_short_run():
    assert run(TWO, terminal=True) == "b/2\nb/1\n"


@pytest.mark.parametrize(("objects", "seconds"), [(60, 1.0), (2, 10.0)])
def test_without_a_mode_a_terminal_gets_a_bar_of_a_long_run(objects, seconds):
    batches = [[], [outcome(f"k{n}") for n in range(objects)]]
    text = run(batches, terminal=True, seconds=seconds)
    assert "k0" not in text.splitlines()
    assert "Progress Summary:" in text


def test_the_bar_fits_a_terminal_of_eighty_columns():
    tally = Tally(0.0, found=1_200_000, wanted_bytes=900 << 30, is_listed=True)
    tally.add_ended([outcome("a", size=50 << 30)] * 2)
    assert display_bar.facts(tally, 65.0) == "2/1,200,000  100.0 GB  1.5 GB/s  1:05  11:50 left"


def test_the_bar_tells_while_the_listing_goes_on():
    tally = Tally(0.0, found=10, wanted_bytes=10)
    tally.add_ended([outcome("a", size=1), outcome("b", Ending.FAILED)])
    assert display_bar.facts(tally, 1.0) == "2/10+  1 B  1 B/s  0:01  1 failed"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (7.9, "0:07"), (750, "12:30"), (3600, "1:00:00")]
)
def test_clock(seconds, text):
    assert display_bar.clock(seconds) == text


def read_terminal(end):
    """What a terminal was told next, at most a page at a time; nothing once its other end is closed."""
    try:
        return os.read(end, 1 << 16)
    except OSError:  # EIO, once nobody has its other end open
        return b""


def test_the_bar_gives_a_real_terminal_back_as_it_was():
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as stream, displays.open("fancy", stream=stream) as shown:
        shown.found(1, MIB)
        shown.ended([outcome("a")])
    shown_bytes = b"".join(iter(lambda: read_terminal(ours), b""))
    os.close(ours)
    hidden, given_back = b"\x1b[?25l", b"\x1b[?25h"
    assert shown_bytes.rfind(given_back) > shown_bytes.rfind(hidden)


def test_fifty_thousand_keys_cost_little():
    batches = [[outcome(f"some/folder/{b}/{n}") for n in range(1000)] for b in range(50)]
    stream = bytes_stream()
    began = time.process_time()
    with displays.open("simple", stream=stream) as shown:
        for batch in batches:
            shown.found(1000, 0)
            shown.ended(batch)
    assert time.process_time() - began < 1.0
    assert written(stream).count("\n") == 50_000
