"""What it costs to walk through a tree: "Listing and freshness" in docs/semantics.md."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.buckets import FolderBucket, await_bucket

pytestmark = pytest.mark.fuse

OUTER = 8
INNER = 50
FILES = 3


@pytest.fixture(scope="module")
def forest(rclone):
    """Many small directories on two levels; rclone serves them from files on disk."""
    server, folder = rclone
    made = FolderBucket("forest", server.url, folder / "forest", server.environment)
    for outer in range(OUTER):
        for inner in range(INNER):
            place = made.folder / f"part-{outer}" / f"run.{inner:03d}"
            place.mkdir(parents=True)
            for number in range(FILES):
                (place / f"f{number}").write_bytes(b"x" * number)
    await_bucket(server, made.name)
    return made


def found_by(command: list[str], cwd: Path) -> list[str]:
    done = subprocess.run(command, cwd=cwd, capture_output=True, timeout=120, check=True, text=True)
    return sorted(done.stdout.splitlines())


def seen_by_walk(root: Path) -> list[str]:
    """All paths, level by level."""
    level, seen = [root], []
    while level:
        below = [Path(entry.path) for place in level for entry in os.scandir(place)]
        seen += [str(path.relative_to(root)) for path in below]
        level = [path for path in below if path.is_dir()]
    return sorted(seen)


def test_find_costs_one_list_for_many_directories(world, forest, counted):
    """A program that walks from directory to directory costs one LIST for many of them: what is below is listed without
    its directories, ahead of it.
    """
    with counted(world, forest) as mount:
        assert found_by(["find", "."], mount.path) == found_by(["find", "."], forest.folder)
        assert len(mount.lists) < OUTER * INNER / 4
        mount.proxy.reset()
        assert found_by(["find", ".", "-type", "f", "-size", "+0"], mount.path) == found_by(
            ["find", ".", "-type", "f", "-size", "+0"], forest.folder
        )
        assert mount.proxy.total == 0


def test_level_by_level_costs_no_more(world, forest, counted):
    """A program that walks from directory to directory costs one LIST for many of them: what is below is listed without
    its directories, ahead of it.
    """
    with counted(world, forest) as mount:
        assert seen_by_walk(mount.path) == seen_by_walk(forest.folder)
        assert len(mount.lists) < OUTER * INNER / 4


def test_who_looks_at_the_surface_is_not_listed_the_depths_for(world, forest, counted):
    """A program that walks from directory to directory costs one LIST for many of them: what is below is listed without
    its directories, ahead of it.
    """
    with counted(world, forest) as mount:
        os.listdir(mount.path)
        os.listdir(mount.path / "part-0")
        assert all("delimiter" in query for query in mount.lists)
        assert len(mount.lists) <= 1 + OUTER
