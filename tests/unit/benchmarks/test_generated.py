"""What the mount benchmark generates: a package that imports all of itself, a tree of believable shape."""

from pathlib import Path

from tests.benchmarks import package, small_files, sources
from tests.benchmarks.scenarios import files_below


def test_the_package_imports_each_of_its_modules(tmp_path: Path) -> None:
    package.write_package(tmp_path / "a", 24)
    package.write_package(tmp_path / "b", 24)
    assert small_files.contents(tmp_path / "a") == small_files.contents(tmp_path / "b")
    text = "".join(path.read_text() for path in (tmp_path / "a").rglob("*.py"))
    assert all(f"part_{number:03d} import VALUE" in text for number in range(24))
    assert int(small_files.imported(tmp_path / "a")) > 0
    assert not list(tmp_path.rglob("__pycache__"))


def test_the_source_tree_has_depth_and_mixed_sizes(tmp_path: Path) -> None:
    sources.write_sources(tmp_path, 400)
    files = files_below(tmp_path)
    assert len(files) == 400
    depths = {len(name.parts) for name in files}
    assert depths == {3, 4, 5}
    sizes = sorted(path.stat().st_size for path in files.values())
    assert sizes[200] < 8192 < sizes[-5]
