"""Who asks for names in the order of the listing, and who does not."""

import hypothesis.strategies as st
from hypothesis import given

from s3mount.listing.sequence import AHEAD, CERTAIN_STEPS, NEAR, Sequence

LENGTH = 1000


def name_of(index):
    return b"%05d" % index


def asked(*indexes):
    """What is known after these were asked for; ``LENGTH`` and more lies behind the end."""
    sequence = Sequence()
    for index in indexes:
        sequence.note(name_of(index), min(index, LENGTH), LENGTH)
    return sequence


def test_names_in_order_up_to_the_end_await_the_next_page():
    sequence = asked(*range(LENGTH - 10, LENGTH + 1))
    assert sequence.awaits_page(is_on_its_way=False)
    assert sequence.nears_end(LENGTH)


def test_several_readers_at_once_are_in_order_all_the_same():
    order = [LENGTH - 14 + index + (3 if index % 2 else 0) for index in range(12)]
    assert asked(*order, LENGTH - 1, LENGTH).awaits_page(is_on_its_way=False)


def test_the_next_page_is_fetched_near_the_end_and_not_before():
    assert not asked(*range(20)).nears_end(LENGTH)
    assert asked(*range(LENGTH - AHEAD - 20, LENGTH - AHEAD + 1)).nears_end(LENGTH)


def test_a_name_that_lies_apart_awaits_nothing():
    assert not asked(*range(20), LENGTH).awaits_page(is_on_its_way=True)
    assert not asked(LENGTH + 700).awaits_page(is_on_its_way=True)


def test_names_behind_the_end_in_order_await_a_page_that_is_on_its_way():
    sequence = asked(*range(LENGTH + 500, LENGTH + 520))
    assert sequence.awaits_page(is_on_its_way=True)
    assert not sequence.awaits_page(is_on_its_way=False)


def test_names_behind_the_end_in_no_order_are_asked_for_alone():
    assert not asked(LENGTH + 700, LENGTH + 200).awaits_page(is_on_its_way=True)


def test_who_waited_in_vain_does_not_wait_for_the_page_after():
    sequence = asked(*range(LENGTH - 10, LENGTH + 1))
    sequence.lost()
    sequence.note(name_of(LENGTH + 1), LENGTH, LENGTH)
    assert not sequence.awaits_page(is_on_its_way=False)


def test_the_same_name_again_changes_nothing():
    order = range(LENGTH - 5, LENGTH + 1)
    assert asked(*(index for index in order for _ in range(3))).steps == asked(*order).steps


@given(st.lists(st.integers(0, LENGTH // (NEAR + 1)), unique=True))
def test_steps_that_are_too_wide_are_no_sequence(indexes):
    sequence = asked(
        *(index * (NEAR + 1) + NEAR for index in indexes if index < LENGTH // (NEAR + 1))
    )
    assert sequence.steps < CERTAIN_STEPS
    assert not sequence.nears_end(LENGTH)
