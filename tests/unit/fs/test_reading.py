"""Open files: which bytes, of which version, for how many requests."""

import os
import random
import shutil

import pytest
import trio
import trio.testing

from s3mount.cache.cache import Limits
from s3mount.errors import (
    AccessDenied,
    BadBody,
    DeadlineExceeded,
    NotFound,
    ObjectArchived,
    ObjectChanged,
    ServerFault,
    StoreError,
    Unreachable,
)
from s3mount.readahead.visits import START
from s3mount.store.interface import Get
from s3mount.transfer.engine import EngineSettings
from s3mount.transfer.flight import Urgency
from s3mount.transfer.retry import RetryPolicy
from tests.unit.fs.builders import MIB, alter, extents, grounds, until

RETRY = EngineSettings(16, RetryPolicy(first=0.001, ceiling=0.002, patience=2.0))


def body_of(size, seed=0):
    return random.Random(seed).randbytes(size)


@pytest.mark.parametrize("size", [1, 4096, 300_000, MIB])
async def test_a_small_file_is_one_get_and_then_none(root, size):
    body = body_of(size)
    with grounds(root) as ground:
        meta = ground.put("k", body)
        assert await ground.cat("k", 10_000) == body
        assert ground.store.gets() == [Get("k", meta.etag, 0, size, whole=True)]
        assert await ground.cat("k") == body
        assert (ground.lists(), ground.gets()) == (1, 1)
        store = ground.store
    with grounds(root, store=store) as ground:
        assert await ground.cat("k") == body
        assert ground.gets() == 1, "the cache outlives the mount"


async def test_an_empty_file_costs_nothing(ground):
    ground.put("k")
    assert await ground.cat("k") == b""
    assert ground.gets() == 0


async def test_the_first_byte_of_a_large_file_is_one_get_of_half_a_megabyte(ground):
    body = body_of(3 * MIB)
    meta = ground.put("k", body)
    handle = await ground.open("k")
    assert await ground.read(handle, 0, 4096) == body[:4096]
    assert ground.store.gets() == [Get("k", meta.etag, 0, MIB // 2)]
    ground.fs.close(handle)


async def test_a_large_file_is_read_once(ground):
    body = body_of(20 * MIB + 13)
    ground.put("k", body)
    assert await ground.cat("k") == body
    assert sum(get.stop - get.start for get in ground.store.gets()) == len(body)
    asked = ground.gets()
    assert await ground.cat("k", MIB) == body
    assert ground.gets() == asked


async def test_random_reads_get_what_they_ask_for(ground):
    body = body_of(8 * MIB)
    ground.put("k", body)
    handle = await ground.open("k")
    dice = random.Random(1)
    for _ in range(20):
        start = dice.randrange(MIB, len(body) - 4096)
        assert await ground.read(handle, start, 4096) == body[start : start + 4096]
    ground.fs.close(handle)
    assert sum(get.stop - get.start for get in ground.store.gets()) <= MIB // 2 + 20 * 4096


@pytest.mark.parametrize(
    ("offset", "size", "expected"),
    [
        (0, 10, b"0123456789"),
        (4, 100, b"456789"),
        (10, 1, b""),
        (11, 5, b""),
        (2**60, 1, b""),
        (3, 0, b""),
    ],
)
async def test_reads_around_the_end(ground, offset, size, expected):
    ground.put("k", b"0123456789")
    handle = await ground.open("k")
    assert await ground.read(handle, offset, size) == expected
    ground.fs.close(handle)


async def test_handles_of_the_same_bytes_share_a_request(ground):
    body = body_of(4 * MIB)
    ground.put("k", body)
    one, other = await ground.open("k"), await ground.open("k")
    ground.store.hold()
    answers = []

    async def read(handle):
        answers.append(await ground.read(handle, 2 * MIB, 65536))

    async with trio.open_nursery() as nursery:
        for handle in (one, other, one):
            nursery.start_soon(read, handle)
        await trio.testing.wait_all_tasks_blocked()
        ground.store.let_go()
    assert answers == [body[2 * MIB : 2 * MIB + 65536]] * 3
    assert ground.gets() == 2
    ground.fs.close(one)
    assert await ground.read(other, 2 * MIB, 65536) == answers[0]
    ground.fs.close(other)


async def test_two_opens_at_once_share_a_request_and_both_are_told_of_a_refusal(ground):
    ground.put("k", b"body")
    number = (await ground.find("k")).inode
    ground.store.hold()
    told = []

    async def open_it():
        try:
            told.append(await ground.fs.open(number))
        except StoreError as error:
            told.append(type(error))

    ground.store.fail(AccessDenied("no"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(open_it)
        nursery.start_soon(open_it)
        await trio.testing.wait_all_tasks_blocked()
        ground.store.let_go()
    assert told == [AccessDenied] * 2
    assert ground.gets() == 1
    ground.fs.close(await ground.fs.open(number))


async def test_reads_in_any_order_at_once_are_right(root):
    body = body_of(9 * MIB)
    with grounds(root) as ground:
        ground.put("k", body)
        handle = await ground.open("k")
        dice = random.Random(2)

        async def read(start, size):
            assert await ground.read(handle, start, size) == body[start : start + size]

        async with trio.open_nursery() as nursery:
            for _ in range(80):
                nursery.start_soon(read, dice.randrange(len(body)), dice.randrange(1, 300_000))
        ground.fs.close(handle)


async def test_a_reader_that_leaves_does_not_stop_the_download(ground):
    body = body_of(4 * MIB)
    ground.put("k", body)
    one, other = await ground.open("k"), await ground.open("k")
    ground.store.hold()
    answers = []

    async def read():
        answers.append(await ground.read(other, 2 * MIB, 65536))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        with trio.move_on_after(0.02):
            await ground.read(one, 2 * MIB, 65536)
        ground.fs.close(one)
        ground.store.let_go()
    assert answers == [body[2 * MIB : 2 * MIB + 65536]]
    assert ground.gets() == 2
    ground.fs.close(other)


async def test_what_nobody_waits_for_any_more_still_comes(ground):
    body = body_of(4 * MIB)
    ground.put("k", body)
    handle = await ground.open("k")
    ground.store.hold()
    with trio.move_on_after(0.02):
        await ground.read(handle, 2 * MIB, 65536)
    ground.store.let_go()
    assert await ground.read(handle, 2 * MIB, 65536) == body[2 * MIB : 2 * MIB + 65536]
    assert ground.gets() == 2
    ground.fs.close(handle)


async def test_an_open_that_is_cancelled_leaves_nothing_behind(ground):
    ground.put("k", b"body")
    number = (await ground.find("k")).inode
    ground.store.hold()
    with trio.move_on_after(0.02):
        await ground.fs.open(number)
    assert ground.reader.open_count() == 0
    ground.fs.forget(number, 1)
    with pytest.raises(NotFound):
        ground.fs.attributes(number)
    ground.store.let_go()
    assert await ground.cat("k") == b"body"
    assert ground.gets() == 1


async def test_what_was_fetched_ahead_for_a_closed_file_is_not_fetched_further(ground):
    body = body_of(8 * MIB)
    ground.put("k", body)
    handle = await ground.open("k")
    ground.store.hold()
    for start in range(0, MIB // 2, 65536):
        await ground.read(handle, start, 65536)
    until(lambda: ground.store.held)
    ground.fs.close(handle)
    until(lambda: not ground.store.held)
    ground.store.let_go()
    assert await ground.cat("k") == body


async def test_finished_requests_tell_of_the_line(ground):
    ground.put("k", body_of(20 * MIB))
    assert not ground.reader._depths.pace.is_known()
    await ground.cat("k")
    assert ground.reader._depths.pace.is_known()


async def test_readers_beside_each_other_share_what_is_ahead_of_them(ground):
    """The ground has 16 MiB of memory, and each reader may be 64 MiB ahead if it is alone."""
    body = body_of(12 * MIB)
    for number in range(8):
        ground.put(f"{number}", body)
    handles = [await ground.open(f"{number}") for number in range(8)]
    windows = [ground.fs._files[handle].window for handle in handles]
    for start in range(0, len(body), 65536):
        for handle in handles:
            assert await ground.read(handle, start, 65536) == body[start : start + 65536]
            ahead = sum(max(0, window.asked_to - window.expected) for window in windows)
            # Each begins with a window of its own before it asks for its share.
            assert ahead <= 16 * MIB + 8 * MIB
    for handle in handles:
        ground.fs.close(handle)
    assert sum(get.stop - get.start for get in ground.store.gets()) == 8 * len(body)


async def test_parts_that_had_not_begun_are_never_sent_once_the_file_is_closed(root):
    body = body_of(64 * MIB)
    # Of two connections, guesses get one.
    with grounds(root, engine=EngineSettings(2, RETRY.retry)) as ground:
        ground.put("k", body)
        handle = await ground.open("k")
        for start in range(0, 8 * MIB, MIB):
            await ground.read(handle, start, MIB)
        until(lambda: engine_of(ground)._queue.is_empty())
        ground.store.hold()
        # However deep the window is by now: who reads all that is here has asked for two parts at least.
        for start in range(8 * MIB, ground.fs._files[handle].window.asked_to - MIB + 1, MIB):
            await ground.read(handle, start, MIB)
        until(lambda: len(ground.store.held) == 1)
        until(lambda: engine_of(ground)._queue.may_wait(Urgency.SOON))
        asked = ground.gets()
        ground.fs.close(handle)
        ground.store.let_go()
        until(lambda: engine_of(ground)._queue.is_empty())
        assert ground.gets() == asked


def is_get(request):
    return isinstance(request, Get)


def engine_of(ground):
    return ground.catalog._engine


async def test_a_jump_to_the_tail_ends_a_head_of_which_little_has_come(ground):
    body = body_of(4 * MIB)
    ground.put("k", body)
    ground.store.fail(None, after=100_000, matches=is_get)
    handle = await ground.open("k")
    assert await ground.read(handle, 4 * MIB - 8, 8) == body[-8:]
    until(lambda: engine_of(ground)._queue.is_empty())
    assert await ground.read(handle, 0, 8) == body[:8]
    ground.fs.close(handle)


@pytest.mark.parametrize(("after", "others"), [(300_000, 0), (100_000, 1)])
async def test_a_head_that_is_mostly_here_or_open_elsewhere_is_let_come(ground, after, others):
    body = body_of(4 * MIB)
    ground.put("k", body)
    ground.store.fail(None, after=after, matches=is_get)
    handles = [await ground.open("k") for _ in range(1 + others)]
    until(lambda: ground.fs._files[handles[0]].opening[0].received == after)
    assert await ground.read(handles[0], 4 * MIB - 8, 8) == body[-8:]
    # What is ended is ended before what is asked for later.
    assert await ground.read(handles[0], 2 * MIB, 8) == body[2 * MIB : 2 * MIB + 8]
    assert not engine_of(ground)._queue.is_empty()
    for handle in handles:
        ground.fs.close(handle)


async def test_a_jump_within_the_head_leaves_it_alone(ground):
    body = body_of(4 * MIB)
    ground.put("k", body)
    ground.store.fail(None, after=100_000, matches=is_get)
    handle = await ground.open("k")
    until(lambda: ground.fs._files[handle].opening[0].received == 100_000)
    assert await ground.read(handle, 50_000, 8) == body[50_000:50_008]
    assert await ground.read(handle, 2 * MIB, 8) == body[2 * MIB : 2 * MIB + 8]
    until(lambda: engine_of(ground)._queue.is_empty())
    ground.fs.close(handle)


async def test_readers_that_wait_for_a_head_that_is_ended_get_it_all_the_same(ground):
    body = body_of(4 * MIB)
    ground.put("k", body)
    ground.store.fail(None, after=100_000, matches=is_get)
    handle = await ground.open("k")
    got = []

    async def read(start):
        got.append(await ground.read(handle, start, 8) == body[start : start + 8])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, 200_000)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(read, 3 * MIB)
    assert got == [True, True]
    ground.fs.close(handle)


async def test_what_changes_under_an_open_file_is_stale_and_the_next_open_is_new(ground):
    old, new = body_of(4 * MIB, 1), body_of(4 * MIB, 2)
    ground.put("k", old)
    found = await ground.find("k")
    handle = await ground.fs.open(found.inode)
    assert await ground.read(handle, 0, 4096) == old[:4096]
    ground.put("k", new)
    assert await ground.read(handle, 4096, 4096) == old[4096:8192], "what is cached stays readable"
    with pytest.raises(ObjectChanged):
        await ground.read(handle, 3 * MIB, 4096)
    assert await ground.read(handle, 0, 4096) == old[:4096]
    with pytest.raises(ObjectChanged):
        await ground.fs.open(found.inode)
    again = await ground.find("k")
    assert again.inode != found.inode, "whatever the TTL"
    other = await ground.fs.open(again.inode)
    assert await ground.read(other, 3 * MIB, 4096) == new[3 * MIB : 3 * MIB + 4096]
    assert await ground.read(handle, 0, 4096) == old[:4096]
    ground.fs.close(handle)
    ground.fs.close(other)


async def test_a_change_before_the_open_is_noticed_by_it(ground):
    ground.put("k", b"old")
    found = await ground.find("k")
    ground.put("k", b"newer")
    with pytest.raises(ObjectChanged):
        await ground.fs.open(found.inode)
    assert ground.reader.open_count() == 0
    assert await ground.cat("k") == b"newer"


async def test_a_deletion_before_the_open_is_noticed_by_it(ground):
    ground.put("k", b"old")
    found = await ground.find("k")
    ground.delete("k")
    with pytest.raises(NotFound):
        await ground.fs.open(found.inode)
    assert (await ground.find("k")).inode == 0


async def test_a_deletion_under_an_open_file_is_stale(ground):
    ground.put("k", body_of(4 * MIB))
    handle = await ground.open("k")
    ground.delete("k")
    with pytest.raises(ObjectChanged):
        await ground.read(handle, 2 * MIB, 10)
    assert (await ground.find("k")).inode == 0
    ground.fs.close(handle)


async def test_a_change_back_to_the_same_bytes_is_readable_again(ground):
    old = body_of(4 * MIB, 1)
    ground.put("k", old)
    handle = await ground.open("k")
    ground.put("k", b"new")
    with pytest.raises(ObjectChanged):
        await ground.read(handle, 2 * MIB, 10)
    ground.put("k", old)
    assert await ground.cat("k") == old
    assert await ground.read(handle, 2 * MIB, 10) == old[2 * MIB : 2 * MIB + 10]
    ground.fs.close(handle)


async def test_a_change_is_noticed_for_every_name_of_a_version(ground):
    """`k` becomes `k.s3object` when a directory `k` appears: two inodes of one version."""
    old = body_of(4 * MIB, 1)
    ground.put("k", old)
    first = await ground.open("k")
    ground.put("k/x")
    ground.fs.refresh(1)
    second = await ground.open("k.s3object")
    assert await ground.read(second, 0, 10) == old[:10]
    ground.put("k", b"new")
    with pytest.raises(ObjectChanged):
        await ground.read(second, 2 * MIB, 10)
    assert await ground.cat("k.s3object") == b"new"
    ground.fs.close(first)
    ground.fs.close(second)


async def test_an_archived_file_is_shown_and_refused_until_it_is_restored(ground):
    ground.put("k", b"body", storage_class="GLACIER")
    found = await ground.find("k")
    assert found.size == 4
    with pytest.raises(ObjectArchived):
        await ground.fs.open(found.inode)
    assert ground.gets() <= 1
    ground.store.inner.restore("k")
    assert await ground.cat("k") == b"body"


async def test_no_open_and_no_read_waits_longer_than_the_deadline(root):
    body = body_of(4 * MIB)
    with grounds(root, deadline=0.05) as ground:
        ground.put("k", body)
        ground.put("other", b"body")
        number = (await ground.find("other")).inode
        handle = await ground.open("k")
        ground.store.hold()
        with trio.fail_after(2):
            with pytest.raises(DeadlineExceeded):
                await ground.read(handle, 2 * MIB, 10)
            with pytest.raises(DeadlineExceeded):
                await ground.fs.open(number)
        assert await ground.read(handle, 0, 10) == body[:10], "what is cached does not wait"
        assert ground.reader.open_count() == 1
        ground.store.let_go()
        with trio.fail_after(2):
            assert await ground.read(handle, 2 * MIB, 10) == body[2 * MIB : 2 * MIB + 10]
            assert await ground.cat("other") == b"body"
        assert ground.gets() == 3
        ground.fs.close(handle)


async def test_a_transfer_that_breaks_is_never_a_short_file(root):
    body = body_of(600_000)
    with grounds(root) as ground:
        breaks = (0, 1, 4096, 299_999, 599_999)
        for number in range(len(breaks)):
            ground.put(f"{number}", body)
        failed = 0
        for number, after in enumerate(breaks):
            ground.store.fail(ServerFault("500"), after=after)
            got, handle = b"", None
            try:
                handle = await ground.open(f"{number}")
                while len(got) < len(body):
                    got += await ground.read(handle, len(got), 4096)
            except ServerFault:
                failed += 1
            assert body.startswith(got)
            if handle is not None:
                ground.fs.close(handle)
            assert await ground.cat(f"{number}") == body
        # What fails before anybody waits for it is asked for again at once.
        assert failed or ground.gets() == 2 * len(breaks)


async def test_a_transfer_that_breaks_is_taken_up_again(root):
    body = body_of(3 * MIB)
    with grounds(root, engine=RETRY) as ground:
        ground.put("k", body)
        for after in (0, 1000, 0, 100_000):
            ground.store.fail(Unreachable("reset"), after=after)
        assert await ground.cat("k") == body


async def test_a_store_that_ends_early_is_an_error(ground):
    ground.put("k", bytes(300_000))
    ground.store.inner._objects["k"].body = bytes(1000)
    with pytest.raises(BadBody):
        await ground.cat("k")
    ground.put("k", b"whole")
    ground.fs.refresh(1)
    assert await ground.cat("k") == b"whole"


async def test_bytes_that_were_lost_from_the_disk_are_fetched_again(root):
    body = body_of(3 * MIB)
    with grounds(root) as ground:
        ground.put("k", body)
        assert await ground.cat("k") == body
        store = ground.store
    for folder in {os.path.dirname(path) for path in extents(root)}:
        shutil.rmtree(folder)
    asked = len(store.gets())
    with grounds(root, store=store) as ground:
        assert await ground.cat("k") == body
        assert ground.gets() > asked


async def test_bytes_that_were_altered_on_disk_are_fetched_again(root):
    body = body_of(3 * MIB)
    with grounds(root) as ground:
        ground.put("k", body)
        assert await ground.cat("k") == body
        store = ground.store
    paths = list(extents(root))
    assert paths
    for path in paths:
        alter(path)
    asked = len(store.gets())
    with grounds(root, store=store) as ground:
        assert await ground.cat("k") == body
        assert ground.gets() > asked


async def test_a_cache_without_room_serves_all_the_same(root):
    body = body_of(12 * MIB)
    with grounds(root, limits=Limits(MIB, 0, 64 * MIB)) as ground:
        ground.put("k", body)
        for number in range(8):
            ground.put(f"s{number}", body[: MIB // 2])
        assert await ground.cat("k") == body
        for number in range(8):
            assert await ground.cat(f"s{number}") == body[: MIB // 2]


async def test_cached_bytes_need_no_endpoint(root):
    body = body_of(2 * MIB)
    with grounds(root) as ground:
        ground.put("k", body)
        assert await ground.cat("k") == body
        ground.store.fail(Unreachable("gone"), times=1000)
        assert await ground.cat("k") == body


async def test_neighbours_are_on_their_way_when_a_program_goes_through_a_directory(root):
    with grounds(root, neighbours=64 * MIB) as ground:
        for number in range(40):
            ground.put(f"d/{number:02}", bytes([number]) * 1000)
        for number in range(10):
            assert await ground.cat(f"d/{number:02}") == bytes([number]) * 1000
        until(lambda: ground.catalog._engine._queue.is_empty())
        asked = ground.gets()
        assert asked > 10
        assert await ground.cat("d/12") == bytes([12]) * 1000
        for number in range(10, 40):
            assert await ground.cat(f"d/{number:02}") == bytes([number]) * 1000
        assert ground.gets() == 40


async def test_a_random_opener_gets_few_neighbours(root):
    with grounds(root, neighbours=64 * MIB) as ground:
        for number in range(200):
            ground.put(f"{number:03}", b"body")
        for number in (100, 3, 150, 77, 20):
            await ground.cat(f"{number:03}")
        assert 5 <= ground.gets() <= 5 + START
