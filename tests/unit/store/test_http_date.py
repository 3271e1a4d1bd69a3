"""Dates in headers: the usual spelling is read here, all others as the standard library reads them."""

from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

import hypothesis.strategies as st
import pytest
from hypothesis import given

from s3mount.store.http_date import date_ns

MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))


@given(MOMENTS)
def test_the_usual_spelling(moment):
    text = format_datetime(moment.replace(microsecond=0), usegmt=True)
    assert date_ns(text) == int(parsedate_to_datetime(text).timestamp()) * 1_000_000_000


@pytest.mark.parametrize(
    "text",
    ["Tue, 14 Nov 2023 23:13:20 +0100", "Tuesday, 14-Nov-23 22:13:20 GMT", "14 Nov 2023 22:13:20"],
)
def test_other_spellings(text):
    assert date_ns(text) == 1_700_000_000_000_000_000


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "Tue, 99 Nov 2023 22:13:20 GMT", "Tue, 14 Nov 2023 24:13:20 GMT"],
)
def test_what_is_no_date(text):
    assert date_ns(text) == 0
