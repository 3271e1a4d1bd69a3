"""What is checked of a GET's head before a receiver hears of it."""

import base64
import zlib

import pytest

from s3mount.errors import BadBody, ObjectChanged, UnexpectedReply
from s3mount.store.exchange import BodyPlan, check_get
from s3mount.store.interface import Get, Head

PART = Get("k", "e", 2, 6)
FIRST = Get("k", "e", 0, 4)
WHOLE = Get("k", "e", 0, 10, whole=True)
ANY = Get("k", "", 0, 64)
CRC = base64.b64encode(zlib.crc32(b"x").to_bytes(4, "big")).decode()


def headers(**fields):
    return {"etag": '"e"', **{name.replace("_", "-"): value for name, value in fields.items()}}


@pytest.mark.parametrize(
    ("request_", "status", "fields", "size", "plan"),
    [
        (PART, 206, headers(content_range="bytes 2-5/10"), 10, (4, False)),
        (PART, 206, headers(content_range="bytes 2-5/10", content_length="4"), 10, (4, False)),
        (PART, 200, headers(content_range="bytes 2-5/10"), 10, (4, False)),
        (FIRST, 200, headers(content_length="10"), 10, (4, True)),
        (FIRST, 200, headers(content_length="4"), 4, (4, False)),
        (WHOLE, 200, headers(content_length="10"), 10, (10, False)),
        (WHOLE, 200, headers(), 10, (10, False)),
        (WHOLE, 206, headers(content_range="bytes 0-9/10"), 10, (10, False)),
        (ANY, 206, headers(content_range="bytes 0-9/10"), 10, (10, False)),
        (ANY, 200, headers(content_length="10"), 10, (10, False)),
        (Get("k", "e", 0, 0, whole=True), 200, headers(content_length="0"), 0, (0, False)),
    ],
)
def test_right_heads(request_, status, fields, size, plan):
    assert check_get(request_, status, fields) == (Head("e", size, headers=fields), BodyPlan(*plan))


def test_the_metadata_of_a_reply():
    fields = headers(content_length="10", x_amz_meta_mode="0640", x_amz_meta_w="=?UTF-8?B?w6k=?=")
    head, _ = check_get(WHOLE, 200, fields)
    assert head.metadata == (("mode", "0640"), ("w", "é"))
    assert Head("e", 10).metadata == ()


@pytest.mark.parametrize(
    ("request_", "status", "fields", "error"),
    [
        (WHOLE, 200, {"etag": '"f"', "content-length": "10"}, ObjectChanged),
        (WHOLE, 200, {"content-length": "10"}, UnexpectedReply),
        (WHOLE, 200, headers(content_length="9"), BadBody),
        (WHOLE, 200, headers(content_length="ten"), UnexpectedReply),
        (PART, 206, headers(), UnexpectedReply),
        (PART, 206, headers(content_range="bytes 2-4/10"), UnexpectedReply),
        (PART, 206, headers(content_range="bytes 3-6/10"), UnexpectedReply),
        (PART, 206, headers(content_range="bytes */10"), UnexpectedReply),
        (PART, 206, headers(content_range="bytes 2-5/10", content_length="3"), BadBody),
        (PART, 200, headers(content_length="10"), UnexpectedReply),
        (FIRST, 200, headers(), UnexpectedReply),
        (FIRST, 200, headers(content_length="3"), BadBody),
    ],
)
def test_wrong_heads(request_, status, fields, error):
    with pytest.raises(error):
        check_get(request_, status, fields)


@pytest.mark.parametrize(
    ("fields", "crc32"),
    [
        (headers(x_amz_checksum_crc32=CRC, x_amz_checksum_type="FULL_OBJECT"), zlib.crc32(b"x")),
        (headers(x_amz_checksum_crc32=CRC, x_amz_checksum_type="COMPOSITE"), None),
        (headers(x_amz_checksum_crc32=CRC), None),
        (headers(x_amz_checksum_crc32="!", x_amz_checksum_type="FULL_OBJECT"), None),
        (headers(x_amz_checksum_crc32="AA==", x_amz_checksum_type="FULL_OBJECT"), None),
    ],
)
def test_checksums(fields, crc32):
    assert check_get(WHOLE, 200, fields)[0].crc32 == crc32


def test_a_part_has_no_checksum_of_the_whole():
    fields = headers(
        content_range="bytes 0-3/10", x_amz_checksum_crc32=CRC, x_amz_checksum_type="FULL_OBJECT"
    )
    assert check_get(FIRST, 206, fields)[0].crc32 is None


def test_versions():
    assert check_get(WHOLE, 200, headers(x_amz_version_id="v"))[0].version_id == "v"
