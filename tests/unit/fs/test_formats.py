"""Readers of file formats get what they read, for few requests and few bytes that nobody reads."""

import io
import random
import tarfile

from s3mount.readahead.openings import BRIEF, SURE
from s3mount.readahead.window import FIRST, TAIL
from tests.unit.fs.builders import MIB, until
from tests.unit.fs.formats import (
    KERNEL,
    Recorder,
    database,
    noise,
    page_reads,
    pages_asked_for,
    parquet_reads,
    tensor_reads,
    tensors,
    zip_reads,
    zipped,
)


class Cost:
    """What reading a file has cost."""

    def __init__(self, gets, reads):
        self.requests = len(gets)
        self.spans = [(get.start, get.stop) for get in gets]
        self.fetched = sum(get.stop - get.start for get in gets)
        # Each byte once, whoever asked for it.
        points = sorted(reads)
        self.read, reached = 0, 0
        for start, stop in points:
            self.read += max(0, stop - max(start, reached))
            reached = max(reached, stop)
        self.wasted = self.fetched - self.read


async def cost_of(ground, key, body, reads):
    """Store a file, read it as the kernel does for a program, and compare every byte."""
    ground.put(key, body)
    ground.fs.refresh(1)
    before = ground.gets()
    asked = pages_asked_for(reads, len(body))
    handle = await ground.open(key)
    for start, stop in asked:
        assert await ground.read(handle, start, stop - start) == body[start:stop]
    ground.fs.close(handle)
    until(lambda: ground.catalog._engine._queue.is_empty())
    return Cost(ground.store.gets()[before:], asked)


def in_order(start, stop):
    return [(at, min(stop, at + KERNEL)) for at in range(start, stop, KERNEL)]


async def test_a_footer_and_its_metadata_are_one_request(ground):
    body = noise(20 * MIB)
    cost = await cost_of(ground, "a.parquet", body, parquet_reads(len(body), 40_000, []))
    assert cost.spans == [(0, FIRST), (len(body) - TAIL, len(body))]


async def test_a_large_footer_is_two_requests(ground):
    body = noise(20 * MIB)
    cost = await cost_of(ground, "a.parquet", body, parquet_reads(len(body), 700_000, []))
    assert cost.requests == 3
    assert cost.wasted <= FIRST + 4096


async def test_some_columns_of_a_table_cost_themselves(ground):
    body = noise(60 * MIB)
    chunks = [span for at in (5, 17, 29, 41) for span in in_order(at * MIB, at * MIB + 300_000)]
    cost = await cost_of(ground, "a.parquet", body, parquet_reads(len(body), 40_000, chunks))
    assert cost.wasted <= MIB
    assert cost.requests == 6


async def test_all_columns_of_a_table_are_read_with_little_waste(ground):
    body = noise(60 * MIB)
    chunks = in_order(4, len(body) - 50_000)
    cost = await cost_of(ground, "a.parquet", body, parquet_reads(len(body), 40_000, chunks))
    assert cost.wasted <= 0.02 * len(body)


async def test_the_head_of_files_whose_footers_are_read_is_soon_fetched_no_more(ground):
    body = noise(4 * MIB)
    costs = []
    for number in range(6):
        size = len(body) + 1
        reads = parquet_reads(size, 40_000, [])
        costs.append(await cost_of(ground, f"{number}.parquet", body + bytes([number]), reads))
    assert [cost.spans[0] for cost in costs] == [(0, FIRST)] * SURE + [(0, BRIEF)] * (6 - SURE)
    assert sum(cost.wasted for cost in costs) <= SURE * FIRST + 6 * (BRIEF + TAIL)


async def test_a_reader_that_reads_on_teaches_the_opposite(ground):
    body = noise(4 * MIB)
    for number in range(SURE):
        await cost_of(
            ground, f"{number}.bin", body + bytes([number]), parquet_reads(4 * MIB + 1, 99, [])
        )
    for number, first in ((8, BRIEF), (9, FIRST)):
        cost = await cost_of(
            ground, f"{number}.bin", body + bytes([number]), in_order(0, len(body))
        )
        assert cost.spans[0] == (0, first)
        assert cost.wasted <= 1


async def test_an_archive_whose_members_are_read_in_order_costs_once(ground):
    body = zipped(200, 100_000)
    cost = await cost_of(ground, "a.zip", body, zip_reads(body, slice(None)))
    assert cost.wasted <= 0.02 * len(body)
    assert cost.requests <= len(body) / MIB * 2 + 4


async def test_one_member_of_an_archive_costs_little_more_than_itself(ground):
    body = zipped(200, 100_000)
    cost = await cost_of(ground, "a.zip", body, zip_reads(body, slice(150, 151)))
    assert cost.wasted <= MIB
    assert cost.requests <= 5


async def test_tensors_in_order_cost_once(ground):
    body = tensors(10, 5_000_000)
    cost = await cost_of(ground, "a.safetensors", body, tensor_reads(body, range(10)))
    assert cost.wasted <= 0.02 * len(body)


async def test_tensors_in_any_order_cost_little_more(ground):
    body = tensors(10, 5_000_000)
    order = random.Random(3).sample(range(10), 10)
    cost = await cost_of(ground, "a.safetensors", body, tensor_reads(body, order))
    assert cost.wasted <= 0.1 * len(body)


async def test_the_header_of_tensors_costs_the_first_span(ground):
    body = tensors(10, 5_000_000)
    cost = await cost_of(ground, "a.safetensors", body, tensor_reads(body, []))
    assert cost.spans == [(0, FIRST)]


async def test_pages_of_a_database_at_random_cost_themselves(ground, tmp_path):
    body = database(tmp_path / "db", 5000)
    cost = await cost_of(ground, "a.sqlite", body, page_reads(len(body), 200))
    assert cost.wasted <= MIB


async def test_the_members_of_a_tar_are_listed_for_their_headers(ground):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for number in range(40):
            member = tarfile.TarInfo(f"{number}")
            member.size = 500_000
            archive.addfile(member, io.BytesIO(noise(member.size, number)))
    body = file.getvalue()
    recorder = Recorder(body)
    with tarfile.open(fileobj=recorder) as archive:
        assert len(archive.getmembers()) == 40
    cost = await cost_of(ground, "a.tar", body, recorder.reads)
    assert cost.wasted <= MIB
    # A header that begins in one page and ends in the next may take two.
    assert cost.requests <= 2 * 40


async def test_an_array_that_is_mapped_costs_its_pages(ground):
    """The header of 128 bytes, then rows that the kernel fetches around the page that is touched."""
    body = noise(40 * MIB)
    around = 64 * 1024
    dice = random.Random(5)
    touched = [dice.randrange(2 * MIB, 39 * MIB) // around * around for _ in range(50)]
    cost = await cost_of(ground, "a.npy", body, [(0, 128), *((at, at + around) for at in touched)])
    assert cost.wasted <= MIB
