"""Archives of a run become files or trees below a directory: fetched, compared with their checksums, unpacked.

Unpacking begins as each download ends, in processes of its own, beside the place that the tree gets when it is whole.
"""

import os
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing

from s3mount.builds.checking import digests_of
from s3mount.builds.crew import Crew
from s3mount.builds.finishing import Fetched, Finishing, Order
from s3mount.builds.staging import sweep
from s3mount.bulk.adopting import Adopter
from s3mount.bulk.download import download_objects
from s3mount.bulk.outcome import Ending
from s3mount.bulk.selection import Selection
from s3mount.bulk.session import Session
from s3mount.bulk.wanted import DiskFull
from s3mount.errors import StoreError
from s3mount.store.interface import ObjectMeta


def fetch(
    session: Session,
    found: Mapping[str, ObjectMeta],
    wanted: Sequence[str],
    order: Order,
) -> Generator[list[Fetched], None, None]:
    """Bring archives; each wanted one is given once, in batches, in the order in which they end.

    An empty batch comes about four times a second when nothing ends. Leaving early ends every process, and leaves
    nothing that is not whole. Of archives that are flattened, the later one in the order of names has the last word.

    Args:
        session: an open one; it must outlive the generator.
        found: everything that stands beside the archives, by name.
        wanted: names of archives among them.
        order: what is done with them.

    Raises:
        OSError: the output directory cannot be made.
        DiskFull: the disk is; what is whole stays.
    """
    order.output.mkdir(parents=True, exist_ok=True)
    sweep(order.output)
    wanted = sorted(wanted)
    digests = digests_of(session.engine, found, wanted) if order.verifies else {}
    with Crew(order.processes) as crew, Adopter(session) as adopter:
        run = Finishing(crew, order, wanted, digests)
        try:
            metas = {name: found[name] for name in wanted}
            yield from _followed(session, order, run, metas, adopter)
        except DiskFull as error:
            raise DiskFull(
                error.message, hint="make room and run the same command again"
            ) from error
        finally:
            crew.close()
            run.discard()


def _followed(
    session: Session,
    order: Order,
    run: Finishing,
    metas: Mapping[str, ObjectMeta],
    adopter: Adopter,
) -> Generator[list[Fetched], None, None]:
    missing = run.begin(metas)
    batches = download_objects(
        session,
        _prefix_of(metas),
        os.fspath(order.output),
        Selection(),
        pages=These(missing),
        use_cache=order.uses_cache,
        jobs=order.downloads,
    )
    with closing(batches):
        for batch in batches:
            for outcome in batch:
                if order.uses_cache and outcome.ending is Ending.FETCHED:
                    adopter.take(outcome.meta, outcome.place)
                run.downloaded(outcome)
            yield run.ended()
    while run.is_busy:
        run.wait()
        yield run.ended()


def _prefix_of(metas: Mapping[str, ObjectMeta]) -> str:
    return next((meta.key.removesuffix(name) for name, meta in metas.items()), "")


class These:
    """A listing of what is known already; a `pipeline.Pages`."""

    def __init__(self, metas: Sequence[ObjectMeta]) -> None:
        self._metas = metas

    def start(
        self,
        deliver: Callable[[Sequence[ObjectMeta]], None],
        finished: Callable[[StoreError | None], None],
    ) -> None:
        """See `Pages.start`."""
        deliver(self._metas)
        finished(None)

    def release(self) -> None:
        """All is given."""

    def stop(self) -> None:
        """All is given."""
