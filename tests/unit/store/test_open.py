"""What a person types is one store or a clear refusal."""

import pytest

from s3mount.errors import ConfigError
from s3mount.store.directory import DirectoryStore
from s3mount.store.interface import StoreSettings
from s3mount.store.open import Source, open_store, parse_source


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("bucket", ("s3", "bucket", "")),
        ("bucket/", ("s3", "bucket", "")),
        ("bucket/a/b", ("s3", "bucket", "a/b/")),
        ("bucket/a/b/", ("s3", "bucket", "a/b/")),
        ("s3://bucket", ("s3", "bucket", "")),
        ("S3://bucket/a", ("s3", "bucket", "a/")),
        ("s3://bucket//a", ("s3", "bucket", "/a/")),
        ("s3://bucket/a?b#c%20", ("s3", "bucket", "a?b#c%20/")),
        ("my.old_Bucket-1", ("s3", "my.old_Bucket-1", "")),
        ("bucket/s3://x", ("s3", "bucket", "s3://x/")),
        ("file:///srv/a%20b", ("file", "/srv/a b", "")),
        ("file://localhost/srv/", ("file", "/srv", "")),
        ("file:/srv", ("file", "/srv", "")),
    ],
)
def test_sources(text, source):
    assert parse_source(text) == Source(*source)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no bucket"),
        ("  ", "no bucket"),
        ("s3://", "names no bucket"),
        ("s3:///key", "names no bucket"),
        ("/srv/dir", "path"),
        ("./dir", "is a path"),
        ("ab", "'ab'"),
        ("bu cket", "'bu cket'"),
        ("-bucket", "'-bucket'"),
        ("s3:bucket", "'s3:bucket'"),
        ("http://host/bucket", "address"),
        ("https://bucket.s3.amazonaws.com/x", "address"),
        ("gs://bucket", "gs"),
        ("arn:aws:s3:eu-west-1:1:accesspoint/x", "ARN"),
        ("bucket--use1-az4--x-s3", "S3 Express"),
        ("file://dir", "absolute"),
        ("file:dir", "absolute"),
        ("file://", "absolute"),
        ("file:///a?b", "%3F"),
        ("file:///a%00", "NUL"),
    ],
)
def test_refusals(text, said):
    with pytest.raises(ConfigError, match=said):
        parse_source(text)


def test_open_a_directory(tmp_path):
    store = open_store(Source("file", str(tmp_path)), StoreSettings())
    try:
        assert isinstance(store, DirectoryStore)
    finally:
        store.close()


def test_open_a_missing_directory(tmp_path):
    with pytest.raises(ConfigError, match="there is no directory"):
        open_store(Source("file", str(tmp_path / "none")), StoreSettings())
