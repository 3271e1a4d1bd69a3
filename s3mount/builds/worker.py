"""A process that unpacks one archive after the other: a line of JSON in, a line of JSON out.

Run as ``python -m s3mount.builds.worker``. It ends with its input, and leaves the directories that it was given to
whoever gave them.
"""

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from s3mount.builds.members import BadArchive, RefusedMember
from s3mount.builds.sidecar import ChecksumMismatch
from s3mount.builds.unpack import unpack
from s3mount.errors import S3MountError


class Job(NamedTuple):
    """What is done with an archive.

    Attributes:
        archive: path of it.
        directory: that is filled.
        is_flat: see `unpack.unpack`.
        sha256: that the archive must have; empty where nobody knows.
    """

    archive: str
    directory: str
    is_flat: bool = False
    sha256: str = ""


class Answer(NamedTuple):
    """What became of it.

    Attributes:
        error: what went wrong, empty when nothing did.
        hint: what can be done about it.
        kind: the name of the error's class.
    """

    error: str = ""
    hint: str = ""
    kind: str = ""


_ERRORS: tuple[type[S3MountError], ...] = (BadArchive, RefusedMember, ChecksumMismatch)
_KINDS = {each.__name__: each for each in _ERRORS}


def answer_to(job: Job) -> Answer:
    """Do a job; an error is an answer too."""
    try:
        places = (Path(job.archive), Path(job.directory))
        unpack(*places, is_flat=job.is_flat, sha256=job.sha256)
    except S3MountError as error:
        return Answer(error.message, error.hint, type(error).__name__)
    except OSError as error:
        return Answer(f"{Path(job.archive).name}: {error.strerror or error}")
    except Exception as error:
        return Answer(f"{Path(job.archive).name}: {type(error).__name__}: {error}")
    return Answer()


def error_of(answer: Answer) -> S3MountError | None:
    """The error that an answer tells of."""
    if not answer.error:
        return None
    return _KINDS.get(answer.kind, S3MountError)(answer.error, hint=answer.hint)


def as_line(said: Job | Answer) -> bytes:
    """A job or an answer as it goes through a pipe."""
    return json.dumps(said).encode() + b"\n"


def job_in(line: bytes) -> Job:
    """The job that a line is."""
    return Job(*_fields(line))


def answer_in(line: bytes) -> Answer:
    """The answer that a line is."""
    return Answer(*_fields(line))


def _fields(line: bytes) -> list[Any]:
    fields: list[Any] = json.loads(line)
    return fields


def main() -> None:
    """Answer every line, to the end of the input."""
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(as_line(answer_to(job_in(line))))
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
