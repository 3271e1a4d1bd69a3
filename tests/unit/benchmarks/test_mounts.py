"""The parts of the mount benchmark that decide and that show: a wrong figure is worse than none."""

import contextlib
import dataclasses
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.benchmarks import report
from tests.benchmarks.harness import Bench, Run, TooSlow
from tests.benchmarks.lines import BOTH, SCENARIOS, Job, Scenario, chosen
from tests.benchmarks.rows import Reading, Row
from tests.benchmarks.scenarios import WrongAnswer, found, output, sizes
from tests.benchmarks.tools import TOOLS, Place
from tests.benchmarks.tree import Shape, Tree, prepare
from tests.support.mounts import Mount

TINY = Shape(1 << 20, 4, 5, 3, 5, 2, 20, 60, 24, 16, 4096)


def row(line: str, tool: str, **more: object) -> dict[str, object]:
    return {"line": line, "group": "Walks", "place": "far", "tool": tool, **more}


def results(*rows: dict[str, object]) -> dict[str, object]:
    return {"rows": list(rows), "far": 0.03}


def test_all_scenarios_are_chosen_when_none_is_named() -> None:
    jobs = chosen("")
    assert {job.scenario.name for job in jobs} == {one.name for one in SCENARIOS}
    assert all(job.place in job.scenario.places for job in jobs)


def test_a_place_can_be_named_even_an_unusual_one() -> None:
    by_name = {one.name: one for one in SCENARIOS}
    assert chosen("tar-near,find,find-far") == [
        Job(by_name["tar"], "near"),
        Job(by_name["find"], "near"),
        Job(by_name["find"], "far"),
    ]


def test_an_unknown_scenario_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SystemExit, match=r"nonsense.*one of large, random"):
        chosen("find,nonsense")


def test_no_line_is_given_by_two_scenarios() -> None:
    lines = [line for one in SCENARIOS for line in one.lines]
    assert len(lines) == len(set(lines))
    names = [f"{one.name}-{place}" for one in SCENARIOS for place in BOTH]
    assert not {one.name for one in SCENARIOS} & set(names)


def test_what_is_fetched_beyond_what_is_read_is_wasted() -> None:
    assert report.wasted(row("tar c", "a", reads=75, counts={"bytes_down": 100})) == "25%"
    assert report.wasted(row("tar c", "a", reads=75, counts={"bytes_down": 70})) == "0%"
    assert report.wasted(row("tar c", "a", reads=75, counts={"bytes_down": 0})) == "-"
    assert report.wasted(row("find", "a", reads=0, counts={"bytes_down": 100})) == "-"
    assert report.wasted(row("tar c", "a", reads=75)) == "-"


def test_a_tool_that_was_stopped_is_shown_with_the_limit() -> None:
    rows = [row("find", "s3mount", seconds=2.0), row("find", "s3fs", over=50.0, failed="TooSlow")]
    assert "| find | **2** | > 50 s |" in report.summary(rows)


def test_a_second_read_is_given_in_units_of_a_local_one() -> None:
    rows = [
        row("sequential, again", "s3mount", seconds=0.3),
        row("sequential, again", "rclone", seconds=3.0),
        row("local cat", "s3mount", seconds=0.2),
        row("local cat", "rclone", seconds=0.25),
    ]
    assert report.beside_local(rows).endswith(": s3mount 1.5, rclone 12.")
    assert "| local cat | 0.2 | 0.25 |" in report.summary(rows)
    assert report.beside_local(rows[:2]) == ""


def test_a_row_keeps_the_median_and_what_was_read() -> None:
    readings = [Reading(s, s / 2, int(s), 10, Counter()) for s in (1.0, 9.0, 2.0)]
    kept = Row("tar c", "Small files", "far", "s3mount", readings).as_json()
    assert (kept["seconds"], kept["cpu"], kept["peak"], kept["reads"]) == (2.0, 1.0, 9, 10)
    assert "over" not in kept
    assert Row("tar c", "Small files", "far", "s3fs", over=5.0).as_json()["over"] == 5.0


def test_the_pictures_are_written_and_linked_from_the_page(tmp_path: Path) -> None:
    page = tmp_path / "docs" / "page.md"
    measured = results(row("find", "s3mount", seconds=2.0), row("find", "s3fs", over=50.0))
    shown = report.write_pictures(measured, tmp_path / "docs" / "pictures", page)
    assert shown == {"far": ["![Walks with 30 ms of round trip, seconds](pictures/far-walks.svg)"]}
    assert (tmp_path / "docs" / "pictures" / "far-walks.svg").read_text().startswith("<svg")


def test_a_local_file_is_nobodys_bar() -> None:
    rows = [row("local cat", tool, seconds=0.1) for tool in ("s3mount", "rclone")]
    (chart,) = report.charts(results(*rows)).values()
    assert [bar.tool for bar in chart.lines["local cat"]] == ["local"]


class LocalSession:
    """Reads the bucket's own folder, as a mount that makes no mistake, or the folder of another bucket."""

    def __init__(self, tree: Tree, shown: Path, folder: Path) -> None:
        self.tree = tree
        self.lines: dict[str, int] = {}
        self._shown = shown
        self._folder = folder

    def mounted(self) -> "LocalSession":
        return self

    def __enter__(self) -> Path:
        return self._shown

    def __exit__(self, *_: object) -> None:
        return

    def rest(self) -> None:
        return

    def folder(self) -> Path:
        self._folder.mkdir()
        return self._folder

    def timed(self, line, work, is_right, reads=0) -> None:
        if not is_right(work()):
            raise WrongAnswer(line)
        self.lines[line] = reads


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    return prepare(tmp_path_factory.mktemp("tree"), TINY)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)
def test_a_right_answer_is_taken_for_all_lines(scenario, tree: Tree, tmp_path: Path) -> None:
    session = LocalSession(tree, tree.bucket, tmp_path / "local")
    scenario.work(session)
    assert tuple(session.lines) == scenario.lines
    assert all((reads > 0) == bool(scenario.folder) for reads in session.lines.values())


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)
def test_another_answer_is_refused(scenario, tree: Tree, tmp_path: Path) -> None:
    other = prepare(tmp_path / "other", TINY)
    for folder in [scenario.folder] if scenario.folder else ["tree", "forest"]:
        spoil(other.bucket / folder)
    session = LocalSession(tree, other.bucket, tmp_path / "local")
    with pytest.raises(WrongAnswer):
        scenario.work(session)


def spoil(folder: Path) -> None:
    """Change the length and the bytes of every file below, and the name of one."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    for path in files:
        data = path.read_bytes()
        if path.suffix == ".py":
            path.write_bytes(data + b"\nVALUE = 5\n")
        else:
            path.write_bytes(bytes(255 - byte for byte in data) + b"more")
    if not folder.name.startswith(("small", "shards", "parts", "large", "python")):
        files[0].rename(files[0].with_name("renamed"))


def test_a_tree_of_another_shape_is_made_anew(tmp_path: Path) -> None:
    prepare(tmp_path, TINY)
    stray = tmp_path / "data" / "bench" / "tree" / "stray"
    stray.touch()
    prepare(tmp_path, TINY)
    assert stray.exists()
    made = prepare(tmp_path, dataclasses.replace(TINY, directories=2))
    assert not stray.exists()
    assert len(found(made.bucket / "tree")) == 1 + 2 * (1 + TINY.keys_per_directory)


def test_du_gives_sizes_of_files_only(tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "c").write_bytes(b"123")
    (tmp_path / "d").write_bytes(b"")
    assert sizes(tmp_path) == {"a b/c": 3, "d": 0}


def test_a_command_that_fails_is_shown_with_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(WrongAnswer, match=r"find ended with status 1: .*No such file"):
        output(["find", str(tmp_path / "nothing")])


def test_every_tool_is_one_entry_that_names_the_server_the_bucket_and_the_mount_point(
    tmp_path: Path,
) -> None:
    place = Place("http://here:1", "bench", tmp_path / "mnt", tmp_path / "c", tmp_path / "passwd")
    assert {"mount-s3", "geesefs", "s3mount", "rclone", "s3fs"} <= {tool.name for tool in TOOLS}
    for tool in TOOLS:
        words = " ".join(tool.arguments(place))
        assert all(part in words for part in ("http://here:1", "bench", str(place.mountpoint)))


def bench_of(tree: Tree, folder: Path, limit: float) -> Bench:
    return Bench(tree, "http://127.0.0.1:9", folder, limit=limit, say=lambda _: None)


@contextlib.contextmanager
def stuck_run(tree: Tree, folder: Path, limit: float) -> Iterator[Run]:
    """A run whose daemon is a process that does nothing, in a process that does nothing."""
    sleeper = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    with subprocess.Popen([sys.executable, "-c", sleeper], stdin=subprocess.PIPE) as process:
        bench = bench_of(tree, folder, limit)
        bench.make_caches(1)
        run = Run(bench, TOOLS[0], chosen("find")[0], None)
        run._mount = Mount(folder, process, folder / "log")
        try:
            yield run
        finally:
            process.kill()


def test_a_daemon_that_exceeds_the_limit_is_ended_and_has_no_reading(
    tree: Tree, tmp_path: Path
) -> None:
    with stuck_run(tree, tmp_path, limit=0.01) as run:
        assert run._mount is not None
        with pytest.raises(TooSlow):
            run.timed("find", run._mount.process.wait, lambda _: True)
        assert run._mount.process.returncode == -signal.SIGKILL
        assert run.late == "find"
        assert not run.readings


def test_a_wrong_answer_has_no_reading(tree: Tree, tmp_path: Path) -> None:
    with stuck_run(tree, tmp_path, limit=600) as run:
        with pytest.raises(WrongAnswer):
            run.timed("find", lambda: 1, lambda got: got == 2)
        assert not run.readings
        run.timed("find", lambda: 2, lambda got: got == 2, reads=7)
        assert run.readings["find"].reads == 7


def test_what_comes_after_a_line_that_was_stopped_is_not_run(tree: Tree, tmp_path: Path) -> None:
    def work(run) -> None:
        run.readings["a"] = Reading(1.0, 0.5, 1, 0, None)
        run.late = "b"
        raise TooSlow("over 9 s")

    job = Job(Scenario("x", work, ("a", "b", "c"), "Walks", ""), "far")
    bench = bench_of(tree, tmp_path, limit=9)
    first, second, third = bench.measure(TOOLS[:1], [job], 0.03, 2)
    assert (len(first.readings), first.over, first.failed) == (1, 0.0, "")
    assert (second.over, second.failed) == (9, "TooSlow: over 9 s")
    assert (third.over, third.failed) == (0.0, "not run")
