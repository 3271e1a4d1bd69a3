"""A source tree as a repository has it: uneven folders, three to five levels deep, mostly short files."""

import random
from pathlib import Path

TOPS = ("src", "include", "lib", "tests", "docs", "tools")
WORDS = (
    *("buffer", "cache", "client", "codec", "config", "core", "crypto", "driver", "event"),
    *("filter", "format", "graph", "index", "io", "layout", "loader", "log", "math", "net"),
    *("parser", "plugin", "pool", "proto", "queue", "render", "schema", "signal", "store"),
    *("stream", "table", "task", "text", "token", "trace", "view", "worker"),
)
ENDINGS = (".c", ".c", ".c", ".h", ".h", ".py", ".md", ".txt", ".json")
FILES_PER_FOLDER = 12
DEEPEST = 4  # folders above a file
MEDIAN, SPREAD = 3500.0, 1.3  # of the sizes, which are log-normal as in real repositories
LEAST, MOST = 40, 400_000  # bytes


def write_sources(root: Path, files: int) -> None:
    """Write ``files`` files below ``root``, the same each time."""
    chooser = random.Random(11)
    folders = choose_folders(max(len(TOPS), files // FILES_PER_FOLDER), chooser)
    weights = [chooser.paretovariate(1.2) for _ in folders]
    text = (" ".join(chooser.choices(WORDS, k=80_000)) + "\n").encode()
    for number, folder in enumerate(chooser.choices(folders, weights, k=files)):
        name = f"{chooser.choice(WORDS)}_{number}{chooser.choice(ENDINGS)}"
        path = root / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text[: size_of_a_file(chooser)])


def choose_folders(amount: int, chooser: random.Random) -> list[str]:
    """Folders two to four deep, in which files may lie."""
    parents = [*TOPS]
    folders: list[str] = []
    while len(folders) < amount:
        folder = f"{chooser.choice(parents)}/{chooser.choice(WORDS)}"
        if folder not in folders:
            folders.append(folder)
            if folder.count("/") < DEEPEST - 1:
                parents.append(folder)
    return folders


def size_of_a_file(chooser: random.Random) -> int:
    """Bytes."""
    return round(min(MOST, max(LEAST, MEDIAN * chooser.lognormvariate(0.0, SPREAD))))
