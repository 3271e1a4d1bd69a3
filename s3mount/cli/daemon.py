"""A mount in the background: a new process, and the one word it sends back.

The child is started afresh, never forked, because a process that has talked to a store has threads
and sockets that do not survive a fork. The two sides share a pipe: the child writes one JSON line,
ready or an error with its exit status, and closes it. The parent blocks; nothing here knows what is
mounted.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import s3mount
from s3mount.cli.exits import ChildFailed
from s3mount.errors import MountError, S3MountError

READY_SECONDS = 30.0  # a little more than the slowest chain of credentials takes to give up
_GRACE_SECONDS = 5.0  # what a child gets to clean up after SIGTERM

_PACKAGE_PARENT = str(Path(s3mount.__file__).parent.parent)


@dataclass(frozen=True, slots=True)
class Word:
    """What the child says, once."""

    ready: bool
    message: str = ""
    hint: str = ""
    status: int = 0

    def encode(self) -> bytes:
        """As one line."""
        fields = {
            "ready": self.ready,
            "message": self.message,
            "hint": self.hint,
            "status": self.status,
        }
        return json.dumps(fields).encode() + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> "Word | None":
        """Read a line; None where there is none, or half of one."""
        try:
            return cls(**json.loads(line))
        except (ValueError, TypeError):
            return None


def start(
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    seconds: float = READY_SECONDS,
) -> "subprocess.Popen[bytes]":
    """Start ``s3mount mount --foreground ARGUMENTS`` in the background and wait until it is ready.

    Raises:
        ChildFailed: it said that it cannot mount.
        MountError: it died without a word, or was not ready in time and was stopped.
    """
    command = [sys.executable, "-P", "-m", "s3mount", "mount", "--foreground"]
    return start_command([*command, *arguments], environment=environment, seconds=seconds)


def start_command(
    command: Sequence[str], *, environment: Mapping[str, str], seconds: float
) -> "subprocess.Popen[bytes]":
    """Start a command that speaks through the pipe named in S3MOUNT_READY_FD, and wait for its word."""
    reading, writing = os.pipe()
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(writing,),
            start_new_session=True,
            env=_child_environment(environment, writing),
        )
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    try:
        line = _read_line(reading, seconds)
    except BaseException:  # Ctrl-C does not reach a child in a session of its own
        _stop(child)
        raise
    finally:
        os.close(reading)
    return _judge(child, line, seconds)


def _child_environment(environment: Mapping[str, str], ready_fd: int) -> dict[str, str]:
    # All settings travel as flags, so nothing else may speak to the child a second time. It must find this very
    # package, and never one that lies in the directory where somebody happens to be.
    kept = {name: text for name, text in environment.items() if not name.startswith("S3MOUNT_")}
    kept.pop("NOTIFY_SOCKET", None)
    path = os.pathsep.join(filter(None, [_PACKAGE_PARENT, environment.get("PYTHONPATH", "")]))
    said = {"PYTHONPATH": path, "S3MOUNT_CONFIG": os.devnull, "S3MOUNT_READY_FD": str(ready_fd)}
    return kept | said


def _read_line(descriptor: int, seconds: float) -> bytes | None:
    """What comes until the pipe is closed, None when it stays open and silent."""
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    line = b""
    while not line.endswith(b"\n"):
        if not waiting.poll(seconds * 1000):
            return None
        piece = os.read(descriptor, 65536)
        if not piece:
            break
        line += piece
    return line


def _judge(
    child: "subprocess.Popen[bytes]", line: bytes | None, seconds: float
) -> "subprocess.Popen[bytes]":
    if line is None:
        _stop(child)
        raise MountError(
            f"the mount was not ready within {seconds:g} s and was stopped",
            hint="s3mount doctor tells what is slow; --foreground shows what it is doing",
        )
    word = Word.decode(line)
    if word and word.ready:
        return child
    status = child.wait()
    if word:
        raise ChildFailed(word.message, hint=word.hint, status=word.status or 1)
    how = (
        f"by signal {signal.Signals(-status).name}" if status < 0 else f"with exit status {status}"
    )
    raise MountError(
        f"the mount ended {how} before it was ready", hint="--foreground shows what it is doing"
    )


def _stop(child: "subprocess.Popen[bytes]") -> None:
    child.terminate()
    try:
        child.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


class Parent:
    """The child's side of the pipe; does nothing where nobody listens."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    @classmethod
    def of(cls, environment: MutableMapping[str, str]) -> "Parent":
        """The parent that this process was started by, if it was; takes its mark out of the environment."""
        text = environment.pop("S3MOUNT_READY_FD", "")
        if not text.isdecimal():
            return cls(None)
        os.set_inheritable(int(text), False)  # programs that we start must not keep the pipe open
        return cls(int(text))

    @property
    def is_there(self) -> bool:
        """Whether somebody still waits for a word."""
        return self._descriptor is not None

    def ready(self) -> None:
        """The mount answers."""
        self._say(Word(ready=True))

    def failed(self, error: S3MountError, status: int) -> None:
        """The mount cannot be made."""
        self._say(Word(ready=False, message=error.message, hint=error.hint, status=status))

    def _say(self, word: Word) -> None:
        if self._descriptor is None:
            return
        with contextlib.suppress(OSError):  # the parent was killed: nobody to tell
            os.write(self._descriptor, word.encode())
            os.close(self._descriptor)
        self._descriptor = None
