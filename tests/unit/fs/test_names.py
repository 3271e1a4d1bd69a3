"""Names and directories as the kernel asks for them, and what that costs."""

import pytest
import trio

from s3mount.errors import AccessDenied, DeadlineExceeded, NotFound, Unreachable
from s3mount.fs.inodes import ROOT
from s3mount.listing.shelf import ShelfSettings
from s3mount.store.memory import MemoryStore
from tests.support.faulty_store import FaultyStore
from tests.unit.fs.builders import STARTED_NS, grounds

NO_TTL = ShelfSettings(0.0, 0.0)


@pytest.fixture
def ground(tmp_path):
    with grounds(tmp_path / "cache") as ground:
        yield ground


async def test_a_path_and_its_siblings_cost_one_list_for_each_directory(ground):
    meta = ground.put("d/e/f", b"body")
    ground.put("d/e/g")
    found = await ground.find("d/e/f")
    assert (found.is_directory, found.size, found.mtime_ns) == (False, 4, meta.mtime_ns)
    assert not (await ground.find("d/e/g")).is_directory
    assert (await ground.find("d/e/nothing")).inode == 0
    directory = await ground.find("d/e")
    assert (directory.is_directory, directory.size, directory.mtime_ns) == (True, 0, STARTED_NS)
    assert (ground.lists(), ground.gets()) == (3, 0)


async def test_what_is_below_nothing_is_not_asked_for(ground):
    with pytest.raises(NotFound):
        await ground.fs.lookup(77, b"a")
    assert ground.lists() == 0


async def test_a_prefix_is_the_root(tmp_path):
    with grounds(tmp_path / "cache", prefix="p/q/") as ground:
        ground.put("p/q/a/b", b"body")
        ground.put("p/other", b"body")
        assert await ground.ls() == [b"a"]
        assert await ground.cat("a/b") == b"body"
        assert (await ground.find("other")).inode == 0


async def test_a_number_is_of_one_version_while_the_kernel_holds_it(tmp_path):
    with grounds(tmp_path / "cache", ttl=NO_TTL) as ground:
        ground.put("a", b"one")
        first = await ground.find("a")
        assert (await ground.find("a")).inode == first.inode
        ground.put("a", b"three")
        second = await ground.find("a")
        assert second.inode != first.inode
        assert second.size == 5
        assert ground.fs.attributes(first.inode).size == 3
        ground.fs.forget(first.inode, 2)
        with pytest.raises(NotFound):
            ground.fs.attributes(first.inode)
        assert ground.fs.attributes(second.inode).size == 5


async def test_times_follow_when_the_same_bytes_are_put_again(tmp_path):
    with grounds(tmp_path / "cache", ttl=NO_TTL) as ground:
        ground.put("a", b"one")
        first = await ground.find("a")
        meta = ground.put("a", b"one")
        second = await ground.find("a")
        assert second.inode == first.inode
        assert second.mtime_ns == meta.mtime_ns


async def test_a_directory_is_read_to_its_end(ground):
    keys = [f"{number:05}" for number in range(2500)]
    for key in keys:
        ground.put(key)
    assert await ground.ls() == [key.encode() for key in keys]
    assert ground.lists() == 3
    assert len(ground.fs.inodes) == 1, "what the kernel did not take is not kept"
    await ground.ls(keep=True)
    assert len(ground.fs.inodes) == 2501
    assert ground.lists() == 3


async def test_reading_goes_on_at_any_entry(ground):
    for number in range(30):
        ground.put(f"{number:02}")
    handle = ground.fs.directories.open(ROOT)
    for start in range(31):
        names = await ground.entries(handle, start)
        assert names == [f"{number:02}".encode() for number in range(start, 30)]
    ground.fs.directories.close(handle)


@pytest.mark.parametrize("hidden", [999, 998, 0])
async def test_an_entry_that_is_not_shown_does_not_end_the_directory(ground, hidden):
    """At the end of a page there may be nothing to show although there is more to come."""
    for number in range(1500):
        ground.put(f"{number:05}")
    await ground.find("00000")
    handle = ground.fs.directories.open(ROOT)
    first = await ground.entries(handle, at_most=hidden)
    # One entry turns out to be gone since the listing was made.
    gone = f"{hidden:05}"
    ground.delete(gone)
    ground.catalog.outdate("", gone.encode())
    assert (await ground.find(gone)).inode == 0
    rest = await ground.entries(handle, hidden)
    ground.fs.directories.close(handle)
    expected = [f"{number:05}".encode() for number in range(1500) if number != hidden]
    assert first + rest == expected


async def test_a_hidden_twin_at_the_end_of_a_page_does_not_end_the_directory(ground):
    """`a.s3object` has the name that `a` would have."""
    for number in range(996):
        ground.put(f"0{number:04}")
    for key in ("a", "a.s3object", "a/x", "a0"):
        ground.put(key)
    for number in range(10):
        ground.put(f"b{number}")
    handle = ground.fs.directories.open(ROOT)
    for start in (0, 995, 996, 997, 998):
        names = await ground.entries(handle, start)
        assert names[-1] == b"b9"
        assert names.count(b"a.s3object") == (start <= 997)
    ground.fs.directories.close(handle)


async def test_a_directory_does_not_change_under_its_reader(tmp_path):
    with grounds(tmp_path / "cache", ttl=NO_TTL) as ground:
        for number in range(20):
            ground.put(f"{number:02}")
        handle = ground.fs.directories.open(ROOT)
        names = await ground.entries(handle, at_most=10)
        for number in range(20):
            ground.delete(f"{number:02}")
        ground.put("05x")
        assert await ground.ls() == [b"05x"]
        names += await ground.entries(handle, 10)
        assert names == [f"{number:02}".encode() for number in range(20)]
        ground.fs.directories.close(handle)


async def test_an_open_directory_stays_when_the_kernel_forgets_it(ground):
    ground.put("d/a")
    number = (await ground.find("d")).inode
    handle = ground.fs.directories.open(number)
    ground.fs.forget(number, 1)
    assert await ground.entries(handle) == [b"a"]
    ground.fs.directories.close(handle)
    with pytest.raises(NotFound):
        ground.fs.attributes(number)


async def test_an_empty_bucket_is_an_empty_directory(ground):
    assert await ground.ls() == []


async def test_a_refused_listing_is_an_error_and_the_next_may_succeed(ground):
    ground.put("a")
    ground.store.fail(AccessDenied("no"))
    with pytest.raises(AccessDenied):
        await ground.ls()
    ground.store.fail(AccessDenied("no"))
    with pytest.raises(AccessDenied):
        await ground.find("a")
    assert await ground.ls() == [b"a"]


async def test_a_directory_that_was_whole_is_shown_when_the_endpoint_is_gone(tmp_path):
    with grounds(tmp_path / "cache", ttl=NO_TTL) as ground:
        ground.put("a")
        ground.put("d/b")
        assert await ground.ls() == [b"a", b"d"]
        ground.store.fail(Unreachable("gone"), times=100)
        assert await ground.ls() == [b"a", b"d"]
        assert (await ground.find("a")).inode
        directory = await ground.find("d")
        with pytest.raises(Unreachable):
            await ground.ls(directory.inode)
        ground.store.faults.clear()
        ground.put("new")
        assert await ground.ls(directory.inode) == [b"b"]
        assert b"new" in await ground.ls()


async def test_no_question_waits_longer_than_the_deadline(tmp_path):
    with grounds(tmp_path / "cache", deadline=0.05) as ground:
        ground.put("a", b"body")
        ground.store.hold()
        with trio.fail_after(2):
            for ask in (lambda: ground.find("a"), ground.ls):
                with pytest.raises(DeadlineExceeded):
                    await ask()
        assert ground.lists() == 1, "who asks again shares what is under way"
        ground.store.let_go()
        with trio.fail_after(2):
            while True:
                try:
                    assert await ground.ls() == [b"a"]
                    break
                except DeadlineExceeded:
                    continue
        assert ground.lists() == 1


async def test_a_lookup_that_is_cancelled_leaves_the_others_alone(ground):
    ground.put("a")
    ground.store.hold()
    found = []

    async def look():
        found.append(await ground.find("a"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        with trio.move_on_after(0.02):
            await ground.find("a")
        ground.store.let_go()
    assert found[0].inode
    assert ground.lists() == 1


async def test_refresh_forgets_below_and_names_what_the_kernel_must_forget(ground):
    for key in ("a", "d/b", "d/e/c", "f/g"):
        ground.put(key)
    for path in ("a", "d/b", "d/e/c", "d/nothing", "f/g"):
        await ground.find(path)
    directory = await ground.find("d")
    below = await ground.find("d/e")
    asked = ground.lists()
    forgotten, names = ground.fs.refresh(directory.inode)
    assert forgotten == 2
    must = {(directory.inode, b"b"), (below.inode, b"c"), (directory.inode, b"nothing")}
    assert must <= set(names) <= must | {(directory.inode, b"e")}
    await ground.find("f/g")
    await ground.find("a")
    assert ground.lists() == asked
    await ground.find("d/b")
    assert ground.lists() == asked + 1
    assert ground.fs.refresh(ROOT)[0] == 3


async def test_a_store_that_lists_in_no_order_is_shown_all_the_same(tmp_path):
    class Shuffled(MemoryStore):
        def _page(self, request):
            page = super()._page(request)
            return page._replace(objects=page.objects[::-1], prefixes=page.prefixes[::-1])

    with grounds(tmp_path / "cache", store=FaultyStore(Shuffled())) as ground:
        for key in ("a", "a/x", "b", "c/x", "d"):
            ground.put(key, b"body")
        assert sorted(await ground.ls()) == [b"a", b"a.s3object", b"b", b"c", b"d"]
        assert await ground.cat("a.s3object") == b"body"
