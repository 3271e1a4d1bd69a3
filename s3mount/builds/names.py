"""What an archive of artifacts is called: plain values, no I/O but to ask whether a path is a directory.

``blas_lib_gfx94X-dcgpu.tar.zst``: three fields without an underscore, joined by underscores, and how it is compressed.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

COMPONENTS = ("lib", "run", "dev", "dbg", "doc", "test")
"""What the second field may be where a build keeps to the convention; the grammar itself takes any."""
EXTENSIONS = (".tar.zst", ".tar.xz")
"""How archives end; the preferred one first."""
SIDECAR = ".sha256sum"
"""What is added to an archive's name for the file that holds its SHA-256."""
GENERIC = "generic"
"""The target family of what runs anywhere."""

_FIELDS = re.compile(r"([^_/\0]+)_([^_/\0]+)_([^_/\0]+)")


@dataclass(frozen=True, slots=True)
class ArtifactName:
    """The three fields.

    Attributes:
        name: of the artifact: ``blas``.
        component: ``lib``, ``run``, ``dev``, ``dbg``, ``doc`` or ``test``.
        target_family: ``generic``, a family (``gfx94X-dcgpu``) or a target (``gfx942``, ``gfx942:xnack+``).
    """

    name: str
    component: str
    target_family: str

    def __str__(self) -> str:
        return f"{self.name}_{self.component}_{self.target_family}"

    @classmethod
    def from_filename(cls, filename: str) -> "ArtifactName | None":
        """The name of an archive, None where it is not called like one."""
        stem = tree_of(filename)
        found = None if stem is None else _FIELDS.fullmatch(stem)
        return None if found is None else cls(*found.groups())

    @classmethod
    def from_path(cls, path: Path) -> "ArtifactName | None":
        """The name of an archive or of an unpacked directory, None where it is called otherwise."""
        if not path.is_dir():
            return cls.from_filename(path.name)
        found = None if path.name.endswith(EXTENSIONS) else _FIELDS.fullmatch(path.name)
        return None if found is None else cls(*found.groups())


def tree_of(filename: str) -> str | None:
    """The name of the directory that an archive becomes: its own without the extension; None for other files."""
    for extension in EXTENSIONS:
        if filename.endswith(extension):
            return filename.removesuffix(extension)
    return None


def is_archive(filename: str) -> bool:
    """Whether a file ends as an archive does, whatever else it is called."""
    return tree_of(filename) is not None


def archives_among(filenames: Iterable[str], name_filter: str | None = None) -> list[str]:
    """The archives among some files, sorted.

    Args:
        filenames: no paths.
        name_filter: the first field of all that are wanted.
    """
    start = "" if name_filter is None else f"{name_filter}_"
    return sorted({each for each in filenames if is_archive(each) and each.startswith(start)})


def preferred(filenames: Iterable[str]) -> list[str]:
    """The same files, sorted; of two archives of one tree only the one whose extension is preferred."""
    best: dict[str, str] = {}
    for each in filenames:
        tree = tree_of(each) or each
        if tree not in best or _rank(each) < _rank(best[tree]):
            best[tree] = each
    return sorted(best.values())


def _rank(filename: str) -> int:
    ranks = (rank for rank, end in enumerate(EXTENSIONS) if filename.endswith(end))
    return next(ranks, len(EXTENSIONS))
