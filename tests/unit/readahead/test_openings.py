"""What is fetched at an open follows what was done with files of the same kind."""

from s3mount.readahead.openings import BRIEF, KINDS, SURE, Openings
from s3mount.readahead.window import FIRST, HEAD


def test_two_readers_that_leave_the_head_unread_teach_it_and_one_that_reads_on_unteaches():
    openings = Openings()
    for _ in range(SURE):
        assert openings.first("a/x.parquet") == FIRST
        openings.note("a/x.parquet", 4)
    assert openings.first("b/y.PARQUET") == BRIEF
    assert openings.first("b/y.tar") == FIRST
    openings.note("z.parquet", HEAD)
    assert openings.first("b/y.parquet") == FIRST


def test_names_without_a_suffix_are_one_kind_and_dots_of_directories_are_none():
    openings = Openings()
    for key in ("v1.2/blob", "other"):
        openings.note(key, 0)
    assert openings.first("third") == BRIEF
    assert openings.first("v1.2/x.2/blob") == BRIEF


def test_only_so_many_kinds_are_remembered():
    openings = Openings()
    for number in range(KINDS + 1):
        for _ in range(SURE):
            openings.note(f"x.{number}", 0)
    assert openings.first("x.0") == FIRST
    assert openings.first("x.1") == BRIEF
