"""The parts of the bulk benchmark that decide: a benchmark that reads its own figures wrong is worse than none."""

import json
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.store.interface import ListPage, ObjectMeta, Page
from s3mount.store.listing_xml import parse_page
from s3mount.store.paging import fold_page
from tests.benchmarks.bulk import harness, report, run
from tests.benchmarks.bulk.check import check_cache, check_files, check_listing, check_sent
from tests.benchmarks.bulk.lines import FULL, QUICK, Group, Line, describe, groups, lines
from tests.benchmarks.bulk.listing import reply
from tests.benchmarks.bulk.pages import Shelf, ask_of
from tests.benchmarks.bulk.peers import attempt
from tests.benchmarks.bulk.run import chosen_lines, chosen_tools
from tests.benchmarks.bulk.tools import Job, Tool, tools
from tests.benchmarks.bulk.traffic import kind_of, read_traffic
from tests.benchmarks.bulk.tree import MODIFIED, Tree, write_group
from tests.benchmarks.report import put_into
from tests.benchmarks.scenarios import WrongAnswer

GROUP = Group("few", 3, 1000)
KEYS = st.sets(st.text("ab-/", min_size=1, max_size=6), max_size=25).map(sorted)


def page_of(shelf: Shelf, query: dict[str, str]) -> Page:
    """A page as s3mount reads it from the wire."""
    body = reply(shelf, "GET", f"/bench?{urlencode(query)}").partition(b"\r\n\r\n")[2]
    return parse_page(body)


@given(
    keys=KEYS,
    prefix=st.text("ab/", max_size=2),
    start_after=st.text("ab/", max_size=3),
    delimiter=st.sampled_from(["", "/"]),
    max_keys=st.integers(1, 4),
)
def test_every_page_is_what_s3_would_answer(
    keys: list[str], prefix: str, start_after: str, delimiter: str, max_keys: int
) -> None:
    shelf = Shelf("bench", [(key, len(key)) for key in keys], MODIFIED)
    token: str | None = None
    while True:
        query = {"list-type": "2", "prefix": prefix, "max-keys": str(max_keys)}
        query |= {"delimiter": delimiter} if delimiter else {}
        query |= {"start-after": start_after} if start_after else {}
        query |= {"continuation-token": token} if token else {}
        page = page_of(shelf, query)
        request = ListPage(prefix, delimiter, token, start_after, max_keys)
        right = fold_page(keys, request, lambda key: ObjectMeta(key, len(key), "", 0))
        assert [(m.key, m.size) for m in page.objects] == [(m.key, m.size) for m in right.objects]
        assert page.prefixes == right.prefixes
        assert page.next_token == right.next_token
        token = page.next_token
        if token is None:
            return


def test_a_page_has_a_thousand_keys_at_most() -> None:
    assert ask_of({"max-keys": "5000"}).max_keys == 1000
    assert ask_of({}).max_keys == 1000
    assert ask_of({"encoding-type": "url"}).encoded


def test_the_listing_server_answers_what_tools_ask_of_a_bucket() -> None:
    shelf = Shelf("bench", [], MODIFIED)
    assert reply(shelf, "HEAD", "/bench").startswith(b"HTTP/1.1 200")
    assert b"LocationConstraint" in reply(shelf, "GET", "/bench?location")
    assert reply(shelf, "GET", "/bench?acl").startswith(b"HTTP/1.1 501")


@pytest.mark.parametrize("shape", [FULL, QUICK])
def test_keys_are_in_order_and_their_names_unique(shape: object) -> None:
    assert isinstance(shape, type(FULL))
    for group in groups(shape):
        keys = list(group.each_key())
        assert keys == sorted(keys)
        assert len({key.rpartition("/")[2] for key in keys}) == group.amount
        assert all(key == quote(key) for key in keys)


def test_lines_say_what_they_do() -> None:
    shown = {line.name: describe(line) for line in lines(FULL)}
    assert shown["small"] == "50,000 x 4 KiB"
    assert shown["large"] == "4 x 1 GiB"
    assert shown["list-far"] == "200,000 keys listed"
    assert describe(Line("odd", "near", "download", Group("odd", 2, 1001))) == "2 x 1001 bytes"


@pytest.mark.parametrize(
    ("method", "ranged", "target", "kind"),
    [
        ("GET", False, "/bench/a/b", "get"),
        ("GET", True, "/bench/a/b", "ranged_get"),
        ("HEAD", False, "/bench/a", "head"),
        ("HEAD", False, "/bench", "head"),
        ("GET", False, "/bench?list-type=2&prefix=a", "list"),
        ("GET", False, "/bench/?prefix=a&list-type=2", "list"),
        ("GET", False, "/bench?location", "other"),
        ("PUT", False, "/bench/a", "other"),
    ],
)
def test_requests_are_counted_by_kind(method: str, ranged: bool, target: str, kind: str) -> None:
    assert kind_of(method, ranged, target) == kind


def test_traffic_is_added_up_from_the_log() -> None:
    traffic = read_traffic(
        [
            "100.500 0.030 7 200 4096 GET 0 /bench/a",
            "100.400 0.000 8 200 300 GET 0 /bench?list-type=2",
            "100.600 0.250 8 404 0 HEAD 0 /bench/none",
        ]
    )
    assert traffic.counts == {"get": 1, "list": 1, "head": 1, "error": 1}
    assert (traffic.bytes_down, traffic.connections) == (4396, 2)
    assert traffic.first == pytest.approx(100.35)
    assert read_traffic([]).first is None
    with pytest.raises(ValueError, match="unpack"):
        read_traffic(["100.500 0.030 7"])


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    tree = Tree(tmp_path / "data")
    write_group(tree, GROUP)
    return tree


@pytest.fixture
def copy(tree: Tree, tmp_path: Path) -> Path:
    """A right download."""
    for key in GROUP.each_key():
        target = tmp_path / "to" / key
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(tree.path(key).read_bytes())
    return tmp_path / "to"


def some_file(folder: Path) -> Path:
    return next(folder.rglob("*.bin"))


def test_a_right_download_passes(tree: Tree, copy: Path) -> None:
    check_files(tree, GROUP, copy)


def test_a_missing_file_is_found(tree: Tree, copy: Path) -> None:
    some_file(copy).unlink()
    with pytest.raises(WrongAnswer, match="2 files instead of 3"):
        check_files(tree, GROUP, copy)


def test_a_short_file_is_found(tree: Tree, copy: Path) -> None:
    some_file(copy).write_bytes(b"x" * 999)
    with pytest.raises(WrongAnswer, match="999 bytes instead of 1000"):
        check_files(tree, GROUP, copy)


def test_other_bytes_are_found(tree: Tree, copy: Path) -> None:
    some_file(copy).write_bytes(bytes(1000))
    with pytest.raises(WrongAnswer, match="other bytes"):
        check_files(tree, GROUP, copy)


def test_a_file_that_is_left_over_is_found(tree: Tree, copy: Path) -> None:
    some_file(copy).with_suffix(".partial").touch()
    with pytest.raises(WrongAnswer, match="no object"):
        check_files(tree, GROUP, copy)


def test_what_was_not_sent_or_kept_is_found(copy: Path) -> None:
    check_cache(GROUP, copy)
    some_file(copy).unlink()
    with pytest.raises(WrongAnswer, match="2000 bytes kept of 3000"):
        check_cache(GROUP, copy)
    check_sent(GROUP, read_traffic(["1.0 0.0 1 200 3000 GET 0 /bench/a"]))
    with pytest.raises(WrongAnswer, match="0 bytes sent of 3000"):
        check_sent(GROUP, read_traffic([]))


def test_a_listing_holds_every_key_once() -> None:
    keys = list(GROUP.each_key())
    check_listing(GROUP, ["few/0000/", *(f"2026-01-01 00:00:00  1000 {key}\n" for key in keys)])
    with pytest.raises(WrongAnswer, match="2 keys instead of 3"):
        check_listing(GROUP, keys[1:])
    with pytest.raises(WrongAnswer, match="1 keys are missing"):
        check_listing(GROUP, [*keys[1:], keys[1]])


def test_the_launcher_writes_down_what_a_command_cost(tmp_path: Path) -> None:
    facts = tmp_path / "facts.json"
    launcher = [sys.executable, "-I", "-S", str(harness.LAUNCHER), str(facts)]
    work = "import sys; block = bytearray(64 << 20); sum(range(5_000_000)); sys.exit(3)"
    subprocess.run([*launcher, sys.executable, "-c", work], check=True)
    read = json.loads(facts.read_text())
    assert read["status"] == 3
    assert read["seconds"] > 0
    assert read["cpu"] > 0
    assert 64 << 20 < read["peak"] < 128 << 20


def test_a_tool_is_asked_only_for_what_it_does(tmp_path: Path) -> None:
    by_name = {tool.name: tool for tool in tools(tmp_path)}
    by_line = {line.name: line for line in lines(QUICK)}
    assert by_name["s3mount"].does(by_line["few"])
    assert not by_name["rclone"].does(by_line["few"])
    assert not by_name["aws"].does(by_line["list-far"])
    assert not by_name["boto3"].does(by_line["small"])
    job = Job("http://host", "QUICK", by_line["small"], tmp_path / "to", tmp_path / "cache")
    command = by_name["s3mount"].command(job)
    assert command[1:5] == ["download", "s3://bench/small/", "--download-dir", str(tmp_path / "to")]


def test_unknown_names_are_refused_and_missing_tools_named(tmp_path: Path) -> None:
    every = tools(tmp_path)
    present, missing = chosen_tools(every, "floor,s5cmd")
    assert [tool.name for tool in present] == ["floor"]
    assert missing == ["s5cmd"]
    with pytest.raises(SystemExit, match="unknown tool wget"):
        chosen_tools(every, "wget")
    with pytest.raises(SystemExit, match="unknown line big"):
        chosen_lines(QUICK, "big,small")
    assert [line.name for line in chosen_lines(QUICK, "large,small")] == ["small", "large"]


def test_a_run_waits_when_the_one_before_was_deleted_just_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    naps: list[float] = []
    root = tmp_path / "bulk"
    (root / "run-of-one-that-was-killed").mkdir(parents=True)
    monkeypatch.setattr(time, "sleep", naps.append)
    with run.scratch(root) as folder:
        (folder / "file").touch()
    assert naps == []
    assert list(root.iterdir()) == []
    assert not folder.exists()
    with run.scratch(root):
        assert naps == [pytest.approx(run.QUIET, abs=20)]


def test_a_failure_is_told_with_the_end_of_what_the_tool_said(tmp_path: Path) -> None:
    errors = tmp_path / "stderr"
    errors.write_text("Usage\n\nError: no such command\n\n  more: --help\n")
    assert harness.tail(errors) == "Usage / Error: no such command / more: --help"
    errors.write_text("")
    assert harness.tail(errors) == ""


def test_a_peer_that_cannot_be_installed_is_told_and_left_out() -> None:
    said: list[str] = []
    attempt([sys.executable, "-c", "pass"], said.append)
    assert len(said) == 1
    attempt([sys.executable, "-c", "raise SystemExit('no such package')"], said.append)
    assert said[-1] == "failed: no such package"


def reading(seconds: float, peak: int, first: float | None) -> harness.Reading:
    log = [f"{10 + seconds} 0.0 1 200 5 GET 0 /bench/a"]
    return harness.Reading(seconds, seconds / 2, peak, 0.1, first, read_traffic(log))


def test_a_row_has_medians_and_the_greatest_peak() -> None:
    line = lines(QUICK)[0]
    readings = [reading(3, 10, 0.3), reading(1, 30, 0.1), reading(2, 20, None)]
    entry = harness.Row(line, "s3mount", readings).as_json()
    assert (entry["seconds"], entry["cpu"], entry["peak"]) == (2, 1, 30)
    assert entry["first_request"] == pytest.approx(0.2)
    failed = harness.Row(line, "s3mount", readings[:1], "TooSlow: over 3 s").as_json()
    assert failed["failed"] == "TooSlow: over 3 s"
    assert "seconds" not in failed


def test_the_report_names_the_best_the_failed_and_the_missing(tmp_path: Path) -> None:
    small, few = lines(FULL)[1], lines(FULL)[0]
    rows = [
        harness.Row(few, "s3mount", [reading(1, 50 << 20, 0.3)]),
        harness.Row(small, "s3mount", [reading(2, 60 << 20, 0.2)]),
        harness.Row(small, "aws", failed="TooSlow: over 3 s"),
        harness.Row(small, "floor", [reading(0.5, 9 << 20, 0.1)]),
    ]
    machine = dict.fromkeys(("cores", "processor", "memory", "kernel"), "x")
    results = {
        "command": "run",
        "when": "now",
        "machine": machine,
        "commit": "abc",
        "runs": 1,
        "far": 0.03,
        "server": "nginx",
        "remark": "Busy.",
        "missing": ["s5cmd"],
        "tools": {"s3mount": {"version": "1", "note": ""}},
        "lines": {line.name: describe(line) for line in (few, small)},
        "rows": [row.as_json() for row in rows],
    }
    text = report.render(results)
    assert "| 50,000 x 4 KiB | **2** | failed: TooSlow: over 3 s | 0.5 |" in text
    assert "- **s5cmd**: not installed" in text
    assert "0.20 to 0.30 s after its start" in text
    assert "50 MiB for 5,000 x 4 KiB, 60 MiB for 50,000 x 4 KiB" in text
    page = tmp_path / "page.md"
    page.write_text(f"a\n{report.BEGIN}\nold\n{report.END}\nb\n")
    put_into(page, text, report.BEGIN, report.END)
    assert page.read_text() == f"a\n{report.BEGIN}\n{text}\n{report.END}\nb\n"


def test_a_tool_that_is_not_there_is_not_installed() -> None:
    assert not Tool("none", "/nonexistent/none").installed
