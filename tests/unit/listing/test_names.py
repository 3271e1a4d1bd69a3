"""Names are the bytes of keys, and twins are told apart."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from s3mount.listing.names import (
    NAME_MAX,
    TWIN_SUFFIX,
    decode,
    encode,
    is_spellable,
    name_of_twin,
    twin_name,
)


@given(st.binary())
def test_every_name_is_a_part_of_a_key_and_back(name):
    assert encode(decode(name)) == name


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_key_is_bytes_and_back(key):
    assert decode(encode(key)) == key


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a\0b", b"a" * (NAME_MAX + 1)])
def test_what_no_path_can_spell(name):
    assert not is_spellable(name)


@pytest.mark.parametrize(
    "name", [b"...", b".a", b" ", b"\n", b"\xff", b"a" * NAME_MAX, b"*", b"\\"]
)
def test_what_a_path_can_spell(name):
    assert is_spellable(name)


@given(st.binary(min_size=1, max_size=300))
def test_a_twin_is_known_by_its_name(name):
    longer = twin_name(name)
    if longer is None:
        assert len(name) + len(TWIN_SUFFIX) > NAME_MAX
    else:
        assert len(longer) <= NAME_MAX
        assert name_of_twin(longer) == (name if is_spellable(name) else None)


@pytest.mark.parametrize(
    "name", [b"a", b"s3object", TWIN_SUFFIX, b"." + TWIN_SUFFIX, b".." + TWIN_SUFFIX]
)
def test_what_is_nobodys_twin(name):
    assert name_of_twin(name) is None


def test_a_twin_of_a_twin_is_the_twin_of_the_longer_name():
    assert name_of_twin(b"a.s3object.s3object") == b"a.s3object"
