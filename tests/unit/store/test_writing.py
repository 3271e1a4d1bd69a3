"""Writes: how they are divided and spelled, what replies mean, what a directory and a store in memory make of them."""

import errno
import hashlib
import os
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from unittest import mock
from xml.etree import ElementTree as ET

import hypothesis.strategies as st
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given

from s3mount.errors import (
    AccessDenied,
    AlreadyExists,
    BadBody,
    NotFound,
    ObjectChanged,
    SourceChanged,
    UnexpectedReply,
)
from s3mount.store.bodies import (
    NOTHING,
    Bytes,
    FilePart,
    digests_of,
    open_regular,
    stamp_of,
)
from s3mount.store.directory import DirectoryStore
from s3mount.store.directory_draft import ATTRIBUTE
from s3mount.store.interface import ListPage
from s3mount.store.listing_files import file_name, forget_covering
from s3mount.store.manifest import Manifest
from s3mount.store.manifest_writer import ManifestWriter
from s3mount.store.manners import Manners
from s3mount.store.memory import MemoryStore
from s3mount.store.signing import EMPTY_PAYLOAD, UNSIGNED_PAYLOAD, AccessKey, Signer
from s3mount.store.snapshot import SnapshotStore
from s3mount.store.user_metadata import decode_value, encode_value
from s3mount.store.write_exchange import WriteExchange
from s3mount.store.write_reply import answer_of, holds_error
from s3mount.store.write_spelling import complete_xml, described, spell
from s3mount.store.writing import (
    MIB,
    OBJECT_MOST,
    PART_LEAST,
    PARTS_MOST,
    PUT_MOST,
    AbortUpload,
    Begun,
    CompleteUpload,
    Copy,
    CopyPart,
    CreateUpload,
    Delete,
    Facts,
    Gone,
    Look,
    Part,
    Put,
    PutPart,
    Written,
    part_bounds,
    part_size,
)
from tests.unit.store.builders import Told, ask

# ---- parts


@given(st.integers(0, OBJECT_MOST), st.integers(1, 64 * MIB))
def test_parts_are_of_a_size_that_s3_takes(size, wished):
    each = part_size(size, wished)
    assert PART_LEAST <= each <= PUT_MOST
    assert each >= wished
    assert -(-size // each) <= PARTS_MOST


@given(st.integers(0, 10_000), st.integers(1, 1000))
def test_parts_cover_the_whole_without_gap_or_overlap(size, each):
    bounds = part_bounds(size, each)
    assert bounds[0][0] == 0
    assert bounds[-1][1] == size
    assert all(before[1] == after[0] for before, after in pairwise(bounds))
    assert all(stop - start == each for start, stop in bounds[:-1])
    assert size == 0 or all(stop > start for start, stop in bounds)


def test_more_than_an_object_can_have():
    with pytest.raises(ValueError, match="more than"):
        part_size(OBJECT_MOST + 1, MIB)


# ---- bodies


def part_of(path, start=0, size=None):
    descriptor, status = open_regular(str(path))
    os.close(descriptor)
    return FilePart(str(path), stamp_of(status), start, status.st_size if size is None else size)


def read(body, size=7):
    with closing(body.open()) as reader:
        return b"".join(iter(lambda: reader.read(size), b""))


def test_a_stretch_of_a_file_can_be_read_again(tmp_path):
    (tmp_path / "f").write_bytes(b"0123456789" * 10)
    body = part_of(tmp_path / "f", 5, 30)
    assert read(body) == read(body) == (b"0123456789" * 10)[5:35]


def test_a_file_that_is_replaced_or_written_to_is_noticed(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"before")
    body = part_of(path)
    (tmp_path / "g").write_bytes(b"before")
    os.replace(tmp_path / "g", path)
    with pytest.raises(SourceChanged, match="changed while"):
        body.open()


@pytest.mark.parametrize("new", [b"longer than before", b"short"])
def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path, new):
    path = tmp_path / "f"
    path.write_bytes(b"as it was")
    with closing(part_of(path).open()) as reader:
        reader.read(3)
        path.write_bytes(new)
        os.utime(path, ns=(1, 1))
        with pytest.raises(SourceChanged):
            list(iter(lambda: reader.read(3), b""))


def test_what_is_no_regular_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="no regular file"):
        open_regular(str(tmp_path / "pipe"))
    with pytest.raises(IsADirectoryError):
        open_regular(str(tmp_path))


@given(st.binary(max_size=200))
def test_checksums_are_those_of_the_whole(data):
    import base64
    import zlib

    digests = digests_of(Bytes(data), crc32=True, sha256=True, md5=True)
    assert base64.b64decode(digests.crc32) == zlib.crc32(data).to_bytes(4, "big")
    assert digests.sha256 == hashlib.sha256(data).hexdigest()
    assert base64.b64decode(digests.md5) == hashlib.md5(data).digest()
    assert digests_of(Bytes(data), md5=True).crc32 == ""


# ---- spelling


@given(st.text(st.characters(exclude_categories=())))
def test_values_of_metadata_come_back(value):
    try:
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return
    told = encode_value(value)
    assert told.isascii()
    assert told.isprintable()
    assert told.strip() == told != ""
    decoded = decode_value(told)
    assert decoded.encode("utf-8", "surrogateescape") == value.encode("utf-8", "surrogateescape")


@pytest.mark.parametrize("told", ["=?UTF-8?Q?a=20b?=", "=?UTF-8?B?*?=", "plain", ""])
def test_what_others_wrote_stays_as_it_is(told):
    assert decode_value(told) == told


@pytest.mark.parametrize(
    "metadata", [(("", "x"),), (("a b", "x"),), (("ü", "x"),), (("A", "1"), ("a", "2"))]
)
def test_names_of_metadata_that_cannot_be(metadata):
    with pytest.raises(UnexpectedReply, match="name of metadata"):
        described("", metadata)


def test_a_content_type_that_cannot_be():
    with pytest.raises(UnexpectedReply, match="content type"):
        described("a\r\nx-evil: 1", ())


def test_keys_are_spelled_byte_for_byte():
    assert spell(Delete("a b/..//\x01\udcff"), bucket="b").path == "/a%20b/..//%01%FF"
    source = dict(spell(Copy("", "ü x", "k", "e", if_absent=True), bucket="own").headers)
    assert source == {
        "x-amz-copy-source": "/own/%C3%BC%20x",
        "x-amz-copy-source-if-match": '"e"',
        "if-none-match": "*",
    }


def test_upload_ids_are_escaped():
    request = PutPart("k", "a+b/=&", 3, 0, NOTHING)
    assert spell(request, bucket="b").query == "partNumber=3&uploadId=a%2Bb%2F%3D%26"


@given(st.lists(st.tuples(st.integers(1, 10_000), st.text("ab<>&\"'", min_size=1))))
def test_the_list_of_parts_is_xml(parts):
    told = complete_xml(tuple(Part(number, etag, "crc=") for number, etag in parts))
    root = ET.fromstring(told)
    space = root.tag.partition("}")[0] + "}"
    found = [
        (int(part.findtext(space + "PartNumber")), part.findtext(space + "ETag"))
        for part in root.iter(space + "Part")
    ]
    assert found == [(number, f'"{etag}"') for number, etag in parts]


@pytest.mark.parametrize("payload", [UNSIGNED_PAYLOAD, hashlib.sha256(b"x").hexdigest()])
def test_writes_are_signed_as_botocore_does(payload):
    spelled = spell(
        PutPart("a b", "u+1", 2, 0, Bytes(b"x")),
        bucket="b",
    )
    headers = [*spelled.headers, ("x-amz-checksum-crc32", "AAAA=="), ("content-md5", "x=")]
    second = 1_700_000_000
    lines = Signer("eu-west-1").sign(
        "host",
        spelled.path,
        spelled.query,
        headers,
        AccessKey("AKID", "secret"),
        second,
        method="PUT",
        payload=payload,
    )
    request = AWSRequest(
        "PUT",
        f"https://host{spelled.path}?{spelled.query}",
        headers={**dict(headers), "X-Amz-Content-SHA256": payload},
    )
    from datetime import UTC, datetime

    moment = datetime.fromtimestamp(second, UTC)
    signer = S3SigV4Auth(Credentials("AKID", "secret"), "s3", "eu-west-1")
    with (
        mock.patch("botocore.auth.get_current_datetime", return_value=moment),
        mock.patch.object(signer, "payload", return_value=payload),
    ):
        signer.add_auth(request)
    ours = dict(line.split(":", 1) for line in lines)
    assert ours["authorization"] == request.headers["Authorization"]


@pytest.mark.parametrize(
    "write", [Put("", NOTHING), Delete(""), Look(""), Copy("", "k", ""), CreateUpload("")]
)
def test_a_bucket_is_never_written_to_in_place_of_an_object(write):
    with pytest.raises(UnexpectedReply, match="must have a key"):
        spell(write, bucket="b")


def spelled_by(write, manners, *, secure):
    exchange = WriteExchange(write, Told(), print, manners)
    spelled, payload = exchange.spelled("b", secure=secure)
    return dict(spelled.headers), payload, exchange


def test_how_a_body_is_guarded():
    put, sha256 = Put("k", Bytes(b"x")), hashlib.sha256(b"x").hexdigest()
    manners = Manners(takes_condition=True)
    headers, payload, _ = spelled_by(put, manners, secure=True)
    assert (set(headers), payload) == ({"x-amz-checksum-crc32"}, UNSIGNED_PAYLOAD)
    headers, payload, _ = spelled_by(put, manners, secure=False)
    assert (set(headers), payload) == ({"x-amz-checksum-crc32"}, sha256)
    manners.takes_checksums = False
    headers, payload, _ = spelled_by(put, manners, secure=True)
    assert (set(headers), payload) == ({"content-md5"}, UNSIGNED_PAYLOAD)
    assert spelled_by(Delete("k"), manners, secure=True)[1] == EMPTY_PAYLOAD
    assert spelled_by(CreateUpload("k"), manners, secure=True)[1] == EMPTY_PAYLOAD
    listed = spelled_by(CompleteUpload("k", "u", (Part(1, "e"),), 1), manners, secure=True)
    assert listed[1] == hashlib.sha256(listed[2].payload.data).hexdigest()


@pytest.mark.parametrize("known", [False, True])
def test_where_the_condition_is_not_known_the_object_is_looked_at_first(known):
    manners = Manners(takes_condition=known)
    headers, _, exchange = spelled_by(Put("k", NOTHING, if_absent=True), manners, secure=True)
    assert exchange.method == ("PUT" if known else "HEAD")
    assert ("if-none-match" in headers) is known
    # What libcurl must not send twice on its own.
    assert not exchange.rewinds


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize(
    "write",
    [
        Put("k", NOTHING, if_absent=True, looked=True),
        CompleteUpload("k", "u", (Part(1, "e"),), 1, if_absent=True, looked=True),
    ],
)
def test_what_the_caller_has_looked_at_is_sent_at_once_with_the_condition(write, known):
    headers, _, exchange = spelled_by(write, Manners(takes_condition=known), secure=True)
    assert exchange.method in {"PUT", "POST"}
    assert headers["if-none-match"] == "*"
    exchange.status = 501
    assert exchange.goes_on(UnexpectedReply("not implemented"))
    if isinstance(write, Put):
        assert exchange.goes_on(UnexpectedReply("not implemented"))  # that was the checksum
    spelled, _ = exchange.spelled("b", secure=True)
    assert spelled.method in {"PUT", "POST"}
    assert "if-none-match" not in dict(spelled.headers)


# ---- replies


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"<Error><Code>InternalError</Code></Error>", True),
        (b"  \n <?xml version='1.0'?>\n<Error><Code>x</Code></Error>", True),
        (b"<CopyObjectResult><ETag>e</ETag></CopyObjectResult>", False),
        (b"", False),
    ],
)
def test_a_success_that_says_that_it_failed(body, expected):
    assert holds_error(body) is expected


def test_replies():
    assert answer_of(CreateUpload("k"), {}, b"<r><UploadId>a&amp;b</UploadId></r>", "") == Begun(
        "a&b"
    )
    assert answer_of(Delete("k"), {}, b"", "") == Gone("k")
    headers = {"etag": '"e"', "x-amz-version-id": "v", "date": "Tue, 14 Nov 2023 22:13:20 GMT"}
    assert answer_of(Put("k", NOTHING), headers, b"", "crc") == Written(
        "e", "v", 1_700_000_000_000_000_000, "crc"
    )
    told = b"<x><ETag>&quot;e-2&quot;</ETag></x>"
    assert answer_of(CompleteUpload("k", "u", (), 0), {}, told, "").etag == "e-2"


@pytest.mark.parametrize(
    ("request_", "headers"), [(Put("k", NOTHING), {}), (Look("k"), {"etag": "e"})]
)
def test_a_reply_that_leaves_something_out(request_, headers):
    with pytest.raises(UnexpectedReply, match="reply"):
        answer_of(request_, headers, b"", "")


@pytest.mark.parametrize("body", [b"", b"<html>", b"<UploadId></UploadId>"])
def test_a_body_that_leaves_something_out(body):
    with pytest.raises(UnexpectedReply, match="UploadId"):
        answer_of(CreateUpload("k"), {}, body, "")


# ---- a directory and a store in memory


@pytest.fixture(params=["directory", "memory"])
def store(request, tmp_path):
    (tmp_path / "root").mkdir()
    store = DirectoryStore(tmp_path / "root") if request.param == "directory" else MemoryStore()
    yield store
    store.close()


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "root").mkdir()
    store = DirectoryStore(tmp_path / "root")
    yield store
    store.close()


def answer(store, request):
    told = ask(store, request)
    if told.error is not None:
        raise told.error
    (only,) = told.answers
    return only


def keys_of(store):
    return [meta.key for meta in ask(store, ListPage("")).pages[0].objects]


def test_what_is_put_can_be_looked_at(store):
    metadata = (("a", "ü  "), ("b", ""))
    written = answer(store, Put("d/k", Bytes(b"body"), "text/x", metadata))
    facts = answer(store, Look("d/k"))
    assert facts == Facts("d/k", 4, written.etag, written.mtime_ns, "text/x", metadata)
    assert keys_of(store) == ["d/k"]
    assert store.counters.totals()["requests.write"] == 2


def test_a_put_replaces(store):
    answer(store, Put("k", Bytes(b"old"), "text/x", (("a", "b"),)))
    answer(store, Put("k", Bytes(b"newer")))
    facts = answer(store, Look("k"))
    assert (facts.size, facts.content_type, facts.metadata) == (5, "", ())


def test_only_an_absent_object_is_written(store):
    answer(store, Put("k", Bytes(b"one"), if_absent=True))
    with pytest.raises(AlreadyExists):
        answer(store, Put("k", Bytes(b"three"), if_absent=True))
    with pytest.raises(AlreadyExists):
        answer(store, Copy("", "k", "k", if_absent=True))
    assert answer(store, Look("k")).size == 3
    assert keys_of(store) == ["k"]


def test_what_is_not_there(store):
    with pytest.raises(NotFound):
        answer(store, Look("k"))
    with pytest.raises(NotFound):
        answer(store, Copy("", "k", "l"))
    assert answer(store, Delete("d/k")) == Gone("d/k")
    with pytest.raises(NotFound):
        answer(store, PutPart("k", "unknown", 1, 0, NOTHING))
    assert answer(store, AbortUpload("k", "unknown")) == Gone("k")


def test_a_delete_leaves_nothing(store):
    answer(store, Put("d/e/k", Bytes(b"x")))
    answer(store, Put("d/l", Bytes(b"x")))
    answer(store, Delete("d/e/k"))
    assert keys_of(store) == ["d/l"]
    answer(store, Delete("d/l"))
    assert keys_of(store) == []


def test_a_copy_brings_everything(store):
    written = answer(store, Put("k", Bytes(b"body"), "text/x", (("a", "b"),)))
    answer(store, Copy("", "k", "d/l", written.etag))
    facts = answer(store, Look("d/l"))
    assert (facts.size, facts.content_type, facts.metadata) == (4, "text/x", (("a", "b"),))
    with pytest.raises(ObjectChanged):
        answer(store, Copy("", "k", "m", "another"))


def test_parts_become_an_object_at_the_end(store):
    answer(store, Put("source", Bytes(b"0123456789")))
    etag = answer(store, Look("source")).etag
    upload = answer(store, CreateUpload("d/k", "text/x", (("a", "b"),))).upload_id
    third = answer(store, CopyPart("d/k", upload, 3, "", "source", etag, 4, 10))
    first = answer(store, PutPart("d/k", upload, 1, 0, Bytes(b"ab")))
    second = answer(store, PutPart("d/k", upload, 2, 2, Bytes(b"cd")))
    assert "d/k" not in keys_of(store)
    parts = tuple(Part(n, w.etag) for n, w in enumerate((first, second, third), 1))
    written = answer(store, CompleteUpload("d/k", upload, parts, 10))
    facts = answer(store, Look("d/k"))
    assert (facts.size, facts.etag) == (10, written.etag)
    assert (facts.content_type, facts.metadata) == ("text/x", (("a", "b"),))
    with pytest.raises(NotFound):
        answer(store, CompleteUpload("d/k", upload, parts, 10))


def test_an_upload_can_be_aborted_and_may_come_too_late(store):
    upload = answer(store, CreateUpload("k")).upload_id
    answer(store, PutPart("k", upload, 1, 0, Bytes(b"ab")))
    answer(store, AbortUpload("k", upload))
    assert keys_of(store) == []
    upload = answer(store, CreateUpload("k")).upload_id
    part = Part(1, answer(store, PutPart("k", upload, 1, 0, Bytes(b"ab"))).etag)
    answer(store, Put("k", Bytes(b"first")))
    with pytest.raises(AlreadyExists):
        answer(store, CompleteUpload("k", upload, (part,), 2, if_absent=True))
    assert answer(store, Look("k")).size == 5
    answer(store, AbortUpload("k", upload))


# ---- a directory


def test_a_directory_shows_nothing_that_is_not_whole(directory):
    upload = answer(directory, CreateUpload("k")).upload_id
    assert keys_of(directory) == []
    assert len(os.listdir(directory.root)) == 1
    with pytest.raises(BadBody):
        answer(directory, CompleteUpload("k", upload, (), 5))
    directory.close()
    assert os.listdir(directory.root) == []


def test_a_put_that_fails_leaves_nothing(directory, tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"one")
    body = part_of(path)
    path.write_bytes(b"another")
    with pytest.raises(SourceChanged):
        answer(directory, Put("k", body))
    assert os.listdir(directory.root) == []


@pytest.mark.parametrize(
    "key", ["../k", "a/../k", "a//k", "/k", ".", "a/\0", "", ".s3mount-write-x", "l/k"]
)
def test_no_key_leads_out_of_a_directory(directory, tmp_path, key):
    (directory.root / "l").symlink_to(tmp_path)
    with pytest.raises(UnexpectedReply):
        answer(directory, Put(key, Bytes(b"x")))
    with pytest.raises(UnexpectedReply):
        answer(directory, Copy("", "../secret", key))
    assert sorted(os.listdir(tmp_path)) == ["root"]


def test_a_directory_is_never_replaced_by_a_file(directory):
    answer(directory, Put("d/k", Bytes(b"x")))
    for if_absent in (False, True):
        with pytest.raises((UnexpectedReply, AlreadyExists)):
            answer(directory, Put("d", Bytes(b"x"), if_absent=if_absent))
    with pytest.raises(UnexpectedReply):
        answer(directory, Put("d/k/l", Bytes(b"x")))
    assert keys_of(directory) == ["d/k"]


def test_a_marker_is_a_directory(directory):
    answer(directory, Put("d/", NOTHING))
    assert answer(directory, Look("d/")).size == 0
    with pytest.raises(AlreadyExists):
        answer(directory, Put("d/", NOTHING, if_absent=True))
    with pytest.raises(UnexpectedReply):
        answer(directory, Put("d/", Bytes(b"x")))
    assert keys_of(directory) == ["d/"]
    answer(directory, Delete("d/"))
    assert keys_of(directory) == []
    with pytest.raises(NotFound):
        answer(directory, Look("d/"))


def test_a_delete_takes_no_directory_with_files(directory):
    answer(directory, Put("d/k", Bytes(b"x")))
    answer(directory, Delete("d/"))
    answer(directory, Delete("d"))
    assert keys_of(directory) == ["d/k"]


def test_a_copy_may_come_from_another_directory(directory, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "k").write_bytes(b"theirs")
    answer(directory, Copy(str(tmp_path / "other"), "k", "k"))
    assert (directory.root / "k").read_bytes() == b"theirs"


def test_a_file_system_without_attributes(directory):
    refusal = OSError(errno.ENOTSUP, "not supported")
    with mock.patch("os.setxattr", side_effect=refusal):
        answer(directory, Put("k", Bytes(b"x"), "text/x"))
        with pytest.raises(UnexpectedReply, match="keeps no metadata"):
            answer(directory, Put("l", Bytes(b"x"), "text/x", (("a", "b"),)))
    assert keys_of(directory) == ["k"]


def test_an_attribute_that_is_not_ours_is_passed_over(directory):
    answer(directory, Put("k", Bytes(b"x")))
    os.setxattr(directory.root / "k", ATTRIBUTE, b"[1]")
    assert answer(directory, Look("k")).metadata == ()


def test_a_file_system_without_links(directory):
    with mock.patch("os.link", side_effect=OSError(errno.EPERM, "no links")):
        answer(directory, Put("k", Bytes(b"x"), if_absent=True))
        with pytest.raises(AlreadyExists):
            answer(directory, Put("k", Bytes(b"xx"), if_absent=True))
    assert os.listdir(directory.root) == ["k"]


def test_what_a_killed_process_left_is_swept(directory):
    old = directory.root / ".s3mount-write-0"
    young = directory.root / ".s3mount-write-1"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    answer(directory, Put("k", Bytes(b"x")))
    assert sorted(os.listdir(directory.root)) == [young.name, "k"]
    assert keys_of(directory) == ["k"]


# ---- what stands still, and what is remembered


def test_a_snapshot_takes_no_writes(tmp_path):
    os.chmod(tmp_path, 0o700)
    path = tmp_path / "snapshots" / "name"
    facts = {"identity": "memory:b", "prefix": "", "source": "memory://b"}
    ManifestWriter(path, facts).commit()
    with closing(SnapshotStore(Manifest(path), MemoryStore)) as store:
        for request in (Put("k", NOTHING), Delete("k")):
            told = Told()
            store.submit(request, told)
            store.poll(0)
            assert isinstance(told.error, AccessDenied)
            assert "takes no writes" in str(told.error)
        told = Told()
        store.submit(Delete("k"), told)
        store.cancel(told)
        store.poll(0)
        assert not told.is_done


def test_listings_that_cover_a_key_are_forgotten(tmp_path):
    for identity in ("a", "b"):
        for prefix in ("", "d/", "d/e/", "d/e/f/", "x/"):
            (tmp_path / file_name(identity, prefix)).write_bytes(b"")
    forget_covering(tmp_path, "a", ["d/e/k", "d/e/l"])
    left = {Path(name).name for name in os.listdir(tmp_path)}
    kept = {file_name("a", prefix) for prefix in ("d/e/f/", "x/")}
    assert left == kept | {file_name("b", prefix) for prefix in ("", "d/", "d/e/", "d/e/f/", "x/")}
    forget_covering(tmp_path / "nowhere", "a", ["k"])
