"""Objects dealt out to a crew, or brought by the command's own process: a task around another one.

It begins with the own process. Once a crew pays, everything goes there; from the first object on that only the own
process can bring, and when no member is left, everything comes back. Nothing is brought by both at the same time, so
that ``jobs`` holds at every moment and two keys that want one path are seen by the one process that knows both.

Concurrency rule: everything is called on the engine's thread; the own task may end its objects on any.
"""

import enum
from collections import deque
from collections.abc import Callable, Sequence
from itertools import repeat

from s3mount.bulk.crew import Crew, Dealing, Member, lost
from s3mount.bulk.dividing import CHUNK, weight
from s3mount.bulk.outcome import Ending, Outcome
from s3mount.bulk.pipeline import GroupDone, Task
from s3mount.errors import S3MountError
from s3mount.store.interface import ObjectMeta
from s3mount.transfer.engine import Engine

Done = Callable[[Outcome], None]


class _Who(enum.Enum):
    SELF = 1
    CREW = 2
    SELF_AGAIN = 3


class Dealt:
    """A `pipeline.GroupTask` that gives objects to a crew.

    Attributes:
        error: what ends the run, as a member has told it; None until then.

    Args:
        engine: whose thread this belongs to.
        own: brings objects in this process.
        crew: brings them elsewhere.
        is_worth_it: whether to use the crew from now on; asked until it says so.
        only_here: whether an object must be brought by this process.
        at_first: called before the crew gets its first object.
        jobs: objects that ``own`` has under way at the most.
    """

    def __init__(
        self,
        engine: Engine,
        own: Task,
        crew: Crew,
        *,
        is_worth_it: Callable[[], bool],
        only_here: Callable[[ObjectMeta], bool] = lambda _: False,
        at_first: Callable[[], None] = lambda: None,
        jobs: int,
    ) -> None:
        self._engine = engine
        self._own = own
        self._crew = crew
        self._is_worth_it = is_worth_it
        self._only_here = only_here
        self._at_first = at_first
        self._jobs = jobs
        self._who = _Who.SELF
        self._members: list[Member] = []
        self._waiting: deque[Dealing] = deque()
        self._under_way = 0
        self._is_due = False
        self.error: Exception | None = None

    def begin(self, meta: ObjectMeta, done: Done) -> bool:
        """See `pipeline.Task.begin`."""
        self.begin_group((meta,), lambda outcomes: done(outcomes[0]))
        return True

    def begin_group(self, metas: Sequence[ObjectMeta], done: GroupDone) -> None:
        """See `pipeline.GroupTask.begin_group`."""
        if self._who is not _Who.SELF_AGAIN and any(map(self._only_here, metas)):
            self._who = _Who.SELF_AGAIN
        elif self._who is _Who.SELF and self._is_worth_it():
            self._who = _Who.CREW
        self._waiting.extend(zip(metas, repeat(done)))
        self._go_on_soon()

    def _go_on_soon(self) -> None:
        """One word to the engine for all that begins or ends now: chunks are to be whole."""
        if not self._is_due:
            self._is_due = True
            self._engine.call(self._go_on)

    def _go_on(self) -> None:
        self._is_due = False
        if self._who is _Who.CREW:
            if not self._under_way:
                self._deal()
        elif not any(member.is_busy for member in self._members):
            self._bring()

    # By this process.

    def _bring(self) -> None:
        while self._waiting and self._under_way < self._jobs:
            meta, done = self._waiting.popleft()
            self._under_way += 1
            try:
                self._own.begin(meta, self._counted(done))
            except Exception as error:
                self._under_way -= 1
                done([Outcome(meta, Ending.FAILED, error=error)])

    def _counted(self, done: GroupDone) -> Done:
        return lambda outcome: self._engine.call(lambda: self._one_less(outcome, done))

    def _one_less(self, outcome: Outcome, done: GroupDone) -> None:
        done([outcome])
        self._under_way -= 1
        self._go_on_soon()

    # By the crew.

    def _deal(self) -> None:
        if not self._members:
            try:
                self._at_first()
            except S3MountError as error:
                self.error = error
                return
            self._members = self._crew.muster(self._engine.call, self._told)
        while self._waiting:
            free = [member for member in self._members if member.has_room]
            if not free:
                return
            share = -(-len(self._waiting) // len(self._members))
            chunk, load = self._chunk(share)
            min(free, key=lambda member: member.load).send(chunk, load)

    def _chunk(self, most: int) -> tuple[list[Dealing], int]:
        chunk: list[Dealing] = []
        load = 0
        while self._waiting and load < CHUNK and len(chunk) < most:
            dealing = self._waiting.popleft()
            load += weight(dealing[0][1])
            chunk.append(dealing)
        return chunk, load

    def _told(self, member: Member, said: list[Outcome] | Exception | None) -> None:
        if isinstance(said, Exception):
            self.error = self.error or said
        elif said is None and self.error is None:
            for meta, done in member.unfinished():
                done([Outcome(meta, Ending.FAILED, error=lost(meta))])
            if all(each.is_gone for each in self._members):
                self._who = _Who.SELF_AGAIN
        self._go_on_soon()
