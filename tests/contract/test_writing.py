"""Writes to real servers (moto's, rclone's), and through a proxy that breaks them."""

import hashlib
import os
import time
from contextlib import closing

import pytest

from s3mount.bulk import sending, uploading
from s3mount.bulk.sending import CopyOf, Upload
from s3mount.bulk.session import opened
from s3mount.config import MountOptions
from s3mount.errors import (
    AccessDenied,
    AlreadyExists,
    NoSuchBucket,
    NotFound,
    ObjectChanged,
    ServerFault,
    SourceChanged,
    UnexpectedReply,
)
from s3mount.store.bodies import Bytes, FilePart, open_regular, stamp_of
from s3mount.store.interface import StoreSettings
from s3mount.store.open import Source
from s3mount.store.s3 import S3Store
from s3mount.store.writing import Copy, Look, Put

pytestmark = pytest.mark.s3

MIB = 1024 * 1024
SOME_DAY = 1_700_000_000_000_000_000
LARGE = 2 * uploading.PART + 12_345
NASTY_KEYS = [
    *("a+b c", "ünï", "a//b", "/lead", "p/../y", "./q", "%41", "a?b#c&d=e", "~'()*!", "dir/"),
    *("ctrl\x01\x1f", "<&>\"'", "x;y", "  "),
]


@pytest.fixture
def session_to(tmp_path):
    """``session_to(bucket, url)``: a context that opens a session."""

    def to(bucket, url="", **fields):
        options = MountOptions(
            endpoint_url=url or bucket.endpoint, cache_dir=tmp_path / "cache", **fields
        )
        return opened(Source("s3", bucket.name), options, jobs=8)

    return to


def flat(batches):
    return [each for batch in batches for each in batch]


def sent(session, *uploads):
    return flat(sending.send(session, uploads))


def body_of(bucket, key):
    return bucket.client.get_object(Bucket=bucket.name, Key=key)["Body"].read()


def uploads_of(bucket):
    return bucket.client.list_multipart_uploads(Bucket=bucket.name).get("Uploads", [])


def large_file(tmp_path, size=LARGE):
    path = tmp_path / "large"
    path.write_bytes(os.urandom(MIB) * (size // MIB) + os.urandom(size % MIB))
    return path


def test_bytes_and_files_arrive(session_to, bucket, tmp_path):
    (tmp_path / "one.txt").write_bytes(b"one")
    (tmp_path / "empty.log.zst").write_bytes(b"")
    metadata = (("mode", "0644"), ("who", "Jürgen  Ü"), ("none", ""), ("odd", "=?x?="))
    with session_to(bucket) as session:
        outcomes = sent(
            session,
            Upload(tmp_path / "one.txt", "d/one.txt", metadata=metadata),
            Upload(tmp_path / "empty.log.zst", "d/empty.log.zst"),
            Upload(b"told", "d/told", content_type="text/x-told"),
        )
        assert [each.error for each in outcomes] == [None] * 3
        facts = sending.look(session, "d/one.txt")
        empty = sending.look(session, "d/empty.log.zst")
        told = sending.look(session, "d/told")
    assert body_of(bucket, "d/one.txt") == b"one"
    assert (facts.size, facts.content_type) == (3, "text/plain")
    assert sorted(facts.metadata) == sorted(metadata)
    assert facts.etag == hashlib.md5(b"one").hexdigest()
    assert facts.mtime_ns > SOME_DAY
    assert (empty.size, empty.content_type) == (0, "application/zstd")
    assert told.content_type == "text/x-told"
    metas = {each.upload.key: each.meta for each in outcomes}
    assert metas["d/one.txt"].etag == facts.etag
    assert metas["d/one.txt"].size == 3
    assert metas["d/one.txt"].mtime_ns > SOME_DAY


def test_any_key_can_be_written_looked_at_copied_and_deleted(session_to, bucket):
    with session_to(bucket) as session:
        outcomes = sent(session, *(Upload(key.encode(), key) for key in NASTY_KEYS))
        assert [each.error for each in outcomes] == [None] * len(NASTY_KEYS)
        for key in NASTY_KEYS:
            assert body_of(bucket, key) == key.encode()
            assert sending.look(session, key).size == len(key.encode())
        copies = [CopyOf(key, "copy/" + key, len(key.encode())) for key in NASTY_KEYS]
        assert all(each.error is None for each in flat(sending.copy(session, copies)))
        assert body_of(bucket, "copy/ünï") == "ünï".encode()
        gone = flat(sending.remove(session, [*NASTY_KEYS, "never/was"]))
        assert all(each.error is None for each in gone)
        with pytest.raises(NotFound):
            sending.look(session, NASTY_KEYS[0])


def test_a_large_file_goes_in_parts(session_to, bucket, tmp_path):
    path = large_file(tmp_path)
    with session_to(bucket) as session:
        upload = Upload(path, "large.tar.gz", metadata=(("a", "b"),))
        (outcome,) = sent(session, upload)
        assert outcome.error is None
        assert outcome.meta.etag.endswith("-3")
        facts = sending.look(session, "large.tar.gz")
    assert facts.size == LARGE
    assert facts.etag == outcome.meta.etag
    assert facts.content_type == "application/gzip"
    assert facts.metadata == (("a", "b"),)
    assert body_of(bucket, "large.tar.gz") == path.read_bytes()
    assert uploads_of(bucket) == []


def test_rclone_takes_small_and_large(session_to, rclone_bucket, tmp_path):
    path = large_file(tmp_path)
    with session_to(rclone_bucket) as session:
        small = [Upload(b"%d" % number, f"d{number % 3}/{number}") for number in range(100)]
        outcomes = sent(session, Upload(path, "large"), *small)
        assert [each.error for each in outcomes] == [None] * 101
        assert sending.look(session, "d1/1").size == 1
        (copied,) = flat(sending.copy(session, [CopyOf("d1/1", "copied", 1)]))
        assert copied.error is None
        (removed,) = flat(sending.remove(session, ["d2/2"]))
        assert removed.error is None
        with pytest.raises(NotFound):
            sending.look(session, "d2/2")
    assert (rclone_bucket.folder / "large").read_bytes() == path.read_bytes()
    assert (rclone_bucket.folder / "d1" / "1").read_bytes() == b"1"
    assert (rclone_bucket.folder / "copied").read_bytes() == b"1"


@pytest.mark.parametrize("which", ["bucket", "rclone_bucket"])
def test_what_is_there_is_left_alone(session_to, which, request, tmp_path):
    """Also by a server that does not know the condition."""
    target = request.getfixturevalue(which)
    path = large_file(tmp_path)
    with session_to(target) as session:
        assert sent(session, Upload(b"old", "k"), Upload(b"old", "l"))[0].error is None
        outcomes = sent(
            session,
            Upload(b"new", "k", if_absent=True),
            Upload(path, "l", if_absent=True),
            Upload(b"new", "m", if_absent=True),
        )
        errors = {each.upload.key: each.error for each in outcomes}
        assert isinstance(errors["k"], AlreadyExists)
        assert isinstance(errors["l"], AlreadyExists)
        assert errors["m"] is None
        assert sending.look(session, "k").size == 3
        assert sending.look(session, "l").size == 3
        copies = [CopyOf("m", "k", 3, if_absent=True), CopyOf("m", "n", 3, if_absent=True)]
        errors = {each.copy.key: each.error for each in flat(sending.copy(session, copies))}
        assert isinstance(errors["k"], AlreadyExists)
        assert errors["n"] is None
    if which == "bucket":
        assert uploads_of(target) == []
        assert body_of(target, "k") == b"old"


def test_a_copy_names_the_version_that_it_means(session_to, bucket, moto):
    other = "other-" + bucket.name
    bucket.client.create_bucket(Bucket=other)
    bucket.client.put_object(
        Bucket=other, Key="s p", Body=b"12345", Metadata={"a": "b"}, ContentType="text/x"
    )
    etag = bucket.put("here", b"here")
    with session_to(bucket) as session:
        copies = [
            CopyOf("s p", "from other", 5, source_bucket=other),
            CopyOf("here", "same", 4, source_etag=etag),
            CopyOf("nowhere", "nothing", 4),
        ]
        outcomes = {each.copy.key: each for each in flat(sending.copy(session, copies))}
        facts = sending.look(session, "from other")
    assert outcomes["from other"].error is None
    assert facts.metadata == (("a", "b"),)
    assert facts.content_type == "text/x"
    assert outcomes["same"].meta.etag == etag
    assert isinstance(outcomes["nothing"].error, NotFound)


@pytest.mark.parametrize("if_absent", [False, True])
def test_a_copy_of_another_version_is_refused(session_to, bucket, proxy, if_absent):
    # moto copies whatever is there.
    def names_another(request):
        return request.method == "PUT"

    proxy.fault(names_another, 1, status=412, code="PreconditionFailed: x-amz-copy-source-If-Match")
    etag = bucket.put("here", b"here")
    with session_to(bucket, proxy.url) as session:
        copies = [CopyOf("here", "there", 4, source_etag=etag, if_absent=if_absent)]
        (outcome,) = flat(sending.copy(session, copies))
    assert isinstance(outcome.error, ObjectChanged)


def test_a_large_copy_goes_in_parts(session_to, bucket, monkeypatch):
    monkeypatch.setattr(uploading, "PUT_MOST", 5 * MIB)
    monkeypatch.setattr(uploading, "COPY_PART", 5 * MIB)
    body = os.urandom(MIB) * 12 + b"rest"
    etag = bucket.put("source", body, Metadata={"a": "b"}, ContentType="text/x")
    with session_to(bucket) as session:
        copies = [
            CopyOf("source", "copy", len(body), source_etag=etag),
            CopyOf("source", "unnamed", len(body)),
        ]
        outcomes = {each.copy.key: each for each in flat(sending.copy(session, copies))}
        facts = sending.look(session, "copy")
    assert outcomes["copy"].error is None
    assert (facts.metadata, facts.content_type) == ((("a", "b"),), "text/x")
    assert body_of(bucket, "copy") == body
    assert isinstance(outcomes["unnamed"].error, UnexpectedReply)
    assert uploads_of(bucket) == []


# ---- what goes wrong


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"status": 503},
        {"status": 409, "code": "ConditionalRequestConflict"},
        {"status": 400, "code": "BadDigest"},
        {"lose_reply": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("if_absent", [False, True])
def test_a_failed_put_is_made_again(session_to, bucket, proxy, fault, if_absent):
    rule = proxy.fault("^PUT .*/k", 2, **fault)
    with session_to(bucket, proxy.url) as session:
        (outcome,) = sent(session, Upload(b"body", "k", if_absent=if_absent))
        assert outcome.error is None
        assert outcome.meta.etag == hashlib.md5(b"body").hexdigest()
    assert rule.hits == 2 if not (if_absent and "lose_reply" in fault) else rule.hits >= 1
    assert body_of(bucket, "k") == b"body"


def test_a_lost_reply_does_not_pass_anothers_object_for_ours(session_to, bucket, proxy):
    def other_comes_first(request):
        if request.method != "PUT":
            return False
        bucket.put("k", b"theirs")
        return True

    proxy.fault(other_comes_first, 1, status=500)
    with session_to(bucket, proxy.url) as session:
        (outcome,) = sent(session, Upload(b"ours!!", "k", if_absent=True))
    assert isinstance(outcome.error, AlreadyExists)
    assert body_of(bucket, "k") == b"theirs"


@pytest.mark.parametrize(
    ("match", "fault"),
    [
        ("^POST .*uploads", {"status": 500}),
        ("^POST .*uploads", {"status": 400, "code": "InvalidArgument"}),
        ("^PUT .*partNumber=2", {"status": 500}),
        ("^PUT .*partNumber=2", {"lose_reply": True}),
        ("^PUT .*partNumber", {"status": 501, "code": "NotImplemented"}),
        ("^POST .*uploadId", {"status": 200, "code": "InternalError"}),
        ("^POST .*uploadId", {"lose_reply": True}),
    ],
    ids=str,
)
def test_a_failed_step_of_an_upload_is_made_again(
    session_to, bucket, proxy, tmp_path, match, fault
):
    path = large_file(tmp_path)
    rule = proxy.fault(match, 1, **fault)
    with session_to(bucket, proxy.url) as session:
        (outcome,) = sent(session, Upload(path, "k", if_absent=True))
        assert outcome.error is None
        assert sending.look(session, "k").etag == outcome.meta.etag
    assert rule.hits == 1
    assert body_of(bucket, "k") == path.read_bytes()


@pytest.mark.parametrize("match", ["^PUT .*partNumber=2", "^POST .*uploadId"])
def test_an_upload_that_fails_is_aborted(session_to, bucket, proxy, tmp_path, match):
    path = large_file(tmp_path)
    proxy.fault(match, None, status=403)
    with session_to(bucket, proxy.url) as session:
        (outcome,) = sent(session, Upload(path, "k"))
        with pytest.raises(NotFound):
            sending.look(session, "k")
    assert isinstance(outcome.error, AccessDenied)
    assert "s3:PutObject" in outcome.error.hint
    assert outcome.meta is None
    assert uploads_of(bucket) == []


def test_what_is_broken_off_leaves_nothing_behind(session_to, bucket, proxy, tmp_path):
    path = large_file(tmp_path)
    rule = proxy.fault("^PUT .*partNumber=2", None, hang=True)
    with session_to(bucket, proxy.url) as session:
        with closing(sending.send(session, [Upload(path, "k")])) as batches:
            deadline = time.monotonic() + 60
            while not rule.hits and time.monotonic() < deadline:
                assert next(batches) == []
        assert rule.hits
        with pytest.raises(NotFound):
            sending.look(session, "k")
    assert uploads_of(bucket) == []


def test_a_file_that_changes_is_not_sent(session_to, bucket, proxy, tmp_path):
    path = large_file(tmp_path)

    def change(request):
        if "partNumber" not in request.query:
            return False
        path.write_bytes(b"another")
        return True

    proxy.fault(change, 1, status=500)
    with session_to(bucket, proxy.url) as session:
        (outcome,) = sent(session, Upload(path, "k"))
        assert isinstance(outcome.error, SourceChanged)
        assert str(path) in str(outcome.error)
    assert uploads_of(bucket) == []


def test_a_bucket_that_is_not_there(session_to, bucket):
    with session_to(bucket) as there:
        source = Source("s3", "no-such-bucket-here")
        options = MountOptions(endpoint_url=bucket.endpoint, cache_dir=there.cache_dir)
    with opened(source, options, jobs=2) as session:
        (outcome,) = sent(session, Upload(b"x", "k"))
        (removed,) = flat(sending.remove(session, ["k"]))
    assert isinstance(outcome.error, NoSuchBucket)
    assert isinstance(removed.error, NoSuchBucket)


def test_a_server_that_gives_up_is_told_as_it_is(session_to, bucket, proxy):
    proxy.fault("^PUT", None, status=500)
    with session_to(bucket, proxy.url, request_timeout=0.2) as session:
        (outcome,) = sent(session, Upload(b"x", "k"))
    assert isinstance(outcome.error, ServerFault)
    assert "PUT 'k'" in str(outcome.error)


# ---- what is asked on the wire


class Answers:
    """A receiver."""

    def __init__(self):
        self.answers, self.is_over, self.error = [], False, None

    def head(self, head):
        raise AssertionError

    data = page = head

    def answer(self, answer):
        self.answers.append(answer)

    def done(self, error):
        assert not self.is_over
        self.is_over, self.error = True, error


def ask(store, request):
    told = Answers()
    store.submit(request, told)
    deadline = time.monotonic() + 30
    while not told.is_over:
        assert time.monotonic() < deadline, "the store hangs"
        store.poll(0.5)
    return told


@pytest.fixture
def store(bucket, proxy):
    store = S3Store(bucket.name, StoreSettings(endpoint_url=proxy.url))
    yield store
    store.close()


@pytest.mark.parametrize("status", [400, 501])
def test_a_server_that_refuses_checksums_is_asked_without(store, proxy, status):
    proxy.fault("^PUT", 1, status=status, code="InvalidArgument")
    assert ask(store, Put("k", Bytes(b"one"))).error is None
    assert ask(store, Put("k", Bytes(b"two"))).error is None
    # It is remembered: the second goes in one request.
    assert proxy.counts["put"] == 3


def test_a_refusal_with_another_reason_is_told(store, proxy):
    proxy.fault("^PUT", 2, status=400, code="InvalidArgument")
    assert isinstance(ask(store, Put("k", Bytes(b"one"))).error, UnexpectedReply)
    assert ask(store, Put("k", Bytes(b"two"))).answers[0].crc32


def test_a_server_that_has_shown_that_it_knows_the_condition_is_not_looked_at_first(
    store, bucket, proxy
):
    def comes_first(request):
        if request.method == "PUT":
            bucket.put("k", b"theirs")
        return False

    proxy.fault(comes_first)
    assert isinstance(ask(store, Put("k", Bytes(b"x"), if_absent=True)).error, AlreadyExists)
    assert proxy.counts["head"] == 1
    proxy.heal()
    assert isinstance(ask(store, Put("k", Bytes(b"x"), if_absent=True)).error, AlreadyExists)
    assert ask(store, Put("l", Bytes(b"x"), if_absent=True)).error is None
    assert proxy.counts["head"] == 1


def test_a_server_that_does_not_implement_the_condition(store, proxy, bucket):
    rule = proxy.fault("^PUT", 2, status=501, code="NotImplemented")
    assert ask(store, Put("k", Bytes(b"x"), if_absent=True)).error is None
    assert rule.hits == 2
    assert body_of(bucket, "k") == b"x"


def test_reads_and_writes_share_connections(rclone_bucket):
    # moto ends the connection after each reply.
    store = S3Store(rclone_bucket.name, StoreSettings(endpoint_url=rclone_bucket.endpoint))
    for _ in range(3):
        assert ask(store, Put("k", Bytes(b"y" * 10))).error is None
        assert ask(store, Look("k")).answers[0].size == 10
        assert ask(store, Copy("", "k", "l")).error is None
        assert isinstance(ask(store, Look("m")).error, NotFound)
    totals = store.counters.totals()
    store.close()
    assert totals["connections.opened"] == 1
    assert totals["requests.write"] == 12


def test_a_large_conditional_body_is_only_sent_when_it_is_wanted(store, bucket, proxy, tmp_path):
    path = large_file(tmp_path, 3 * MIB)
    descriptor, status = open_regular(str(path))
    os.close(descriptor)
    body = FilePart(str(path), stamp_of(status), 0, status.st_size)
    assert ask(store, Put("k", body, if_absent=True)).error is None
    assert isinstance(ask(store, Put("k", body, if_absent=True)).error, AlreadyExists)
    assert body_of(bucket, "k") == path.read_bytes()


def test_a_cancelled_write_is_forgotten(store, proxy):
    proxy.fault("^PUT", 1, hang=True)
    told = Answers()
    store.submit(Put("k", Bytes(b"x")), told)
    deadline = time.monotonic() + 30
    while not proxy.counts["put"] and time.monotonic() < deadline:
        store.poll(0.05)
    store.cancel(told)
    assert ask(store, Put("l", Bytes(b"x"))).error is None
    assert not told.is_over
