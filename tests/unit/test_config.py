"""Options: how values are written, which place wins, and what a wrong one says."""

import contextlib
import dataclasses
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.config import OPTIONS, MountOptions, as_flags, quantities, reference, resolve, split_o
from s3mount.config import options as table
from s3mount.config.options import BY_ATTRIBUTE
from s3mount.config.quantities import Share
from s3mount.config.sources import (
    FILE_VARIABLE,
    combine,
    config_files,
    from_environment,
    from_flags,
    from_o,
)
from s3mount.errors import ConfigError

REPOSITORY = Path(__file__).parents[2]


def resolved(flags=None, o="", environment=None, document=None, bucket="b", tmp_path=None):
    path = None
    if document is not None:
        path = tmp_path / "s3mount.toml"
        path.write_text(document)
    environment = environment or {}
    return resolve(
        flags=flags or {},
        o_pairs=split_o(o),
        environment={FILE_VARIABLE: os.devnull} | environment,
        config=path,
        bucket=bucket,
    )


@given(st.integers(0, 2**60))
def test_a_size_survives_writing_and_reading(size):
    assert quantities.read_size(quantities.write_size(size)) == size


@given(st.floats(0, 1e9))
def test_a_duration_survives_writing_and_reading(seconds):
    assert quantities.read_duration(quantities.write_duration(seconds)) == seconds


@given(st.integers(0, 0o777))
def test_a_mode_survives_writing_and_reading(mode):
    assert quantities.read_mode(quantities.write_mode(mode)) == mode


@given(st.text(max_size=8))
def test_any_text_is_read_or_refused(text):
    for option in OPTIONS:
        with contextlib.suppress(ValueError):
            option.parse(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("10GiB", 10 << 30),
        ("10G", 10 << 30),
        ("10g", 10 << 30),
        ("512M", 512 << 20),
        ("1048576", 1 << 20),
        ("500MB", 500_000_000),
        ("1.5K", 1536),
        ("0", 0),
        ("7 MiB", 7 << 20),
    ],
)
def test_sizes_as_people_write_them(text, size):
    assert quantities.read_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1", "10 parsecs", "1e9", "10GiBB", "99999P", "٣"])
def test_sizes_that_are_none(text):
    with pytest.raises(ValueError, match="is "):
        quantities.read_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("60s", 60),
        ("5m", 300),
        ("1h30m", 5400),
        ("250ms", 0.25),
        ("1.5", 1.5),
        ("0", 0),
        ("2d", 172800),
    ],
)
def test_durations_as_people_write_them(text, seconds):
    assert quantities.read_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-5s", "5 minutes", "1h-30m", "inf", "nan", "1,5s"])
def test_durations_that_are_none(text):
    with pytest.raises(ValueError, match="is "):
        quantities.read_duration(text)


def test_owners_by_name_and_number():
    assert quantities.read_user("root") == quantities.read_user("0") == 0
    with pytest.raises(ValueError, match="is no user of this machine"):
        quantities.read_user("nobody-of-that-name")


def test_the_defaults_are_the_same_however_they_are_had():
    assert combine([], os.environ) == MountOptions()


def test_a_share_of_the_disk_becomes_bytes():
    flags = {"cache_size": "25%", "cache_min_free": "5%"}
    options = combine([from_flags(flags)], {}, disk=lambda _: 1000 << 20)
    assert (options.cache_size, options.cache_min_free) == (250 << 20, 50 << 20)
    assert Share(100).of(7) == 7


VALUES = {
    "prefix": st.sampled_from(["", "a/", "a b/c/"]),
    "endpoint_url": st.sampled_from(["", "http://127.0.0.1:9000", "https://s3.example.org/x"]),
    "region": st.sampled_from(["", "eu-central-1"]),
    "profile": st.sampled_from(["", "ci", "a=b, c"]),
    "no_sign_request": st.booleans(),
    "allow_other": st.booleans(),
    "addressing_style": st.sampled_from(["auto", "path", "virtual"]),
    "cache_dir": st.sampled_from([Path("/tmp/a"), Path("/srv/with space")]),
    "cache_size": st.integers(1 << 20, 1 << 50),
    "metadata_ttl": st.floats(0, 1e6),
    "uid": st.integers(0, 2**31),
    "file_mode": st.integers(0, 0o777),
    "concurrency": st.integers(1, 1024),
    "log_file": st.sampled_from([None, Path("/var/log/s3mount.log")]),
}


@given(st.fixed_dictionaries({}, optional=VALUES))
def test_flags_for_the_daemon_say_the_same_options(values):
    options = MountOptions(**values)
    flags = {}
    for flag in as_flags(options, os.environ):
        name, equals, text = flag.removeprefix("--").partition("=")
        attribute = name.replace("-", "_")
        if attribute not in BY_ATTRIBUTE:
            attribute = (
                attribute.removeprefix("no_") if attribute.startswith("no_") else f"no_{attribute}"
            )
            text, equals = "no", "="
        flags[attribute] = text if equals else "yes"
    assert combine([from_flags(flags)], os.environ) == options


PLACES = ("flag", "o", "environment", "bucket", "file")


@given(said=st.fixed_dictionaries({place: st.none() | st.integers(1, 1024) for place in PLACES}))
def test_the_strongest_place_wins(said, tmp_path_factory):
    where = tmp_path_factory.mktemp("precedence")
    document = f"concurrency = {said['file']}\n" if said["file"] else ""
    document += f'[bucket."b"]\nconcurrency = {said["bucket"]}\n' if said["bucket"] else ""
    document += '[bucket."other"]\nconcurrency = 5\n'
    options = resolved(
        flags={"concurrency": str(said["flag"]) if said["flag"] else None},
        o=f"concurrency={said['o']}" if said["o"] else "",
        environment={"S3MOUNT_CONCURRENCY": str(said["environment"])}
        if said["environment"]
        else {},
        document=document,
        tmp_path=where,
    )
    assert options.concurrency == next((said[place] for place in PLACES if said[place]), 64)


def test_the_users_file_is_stronger_than_the_machines(tmp_path, monkeypatch):
    monkeypatch.setattr("s3mount.config.sources.SYSTEM_FILE", tmp_path / "etc.toml")
    own = tmp_path / ".config" / "s3mount" / "config.toml"
    own.parent.mkdir(parents=True)
    own.write_text("concurrency = 7")
    (tmp_path / "etc.toml").write_text('concurrency = 9\nregion = "eu-west-1"')
    environment = {"HOME": str(tmp_path)}
    assert config_files(None, environment) == [own, tmp_path / "etc.toml"]
    options = resolve(flags={}, o_pairs={}, environment=environment, config=None, bucket="b")
    assert (options.concurrency, options.region) == (7, "eu-west-1")


def test_a_wrong_value_names_the_place_the_value_and_what_is_allowed(tmp_path):
    said = {
        "--cache-size": {"flags": {"cache_size": "ten"}},
        "-o cache_size": {"o": "cache_size=ten"},
        "-o cache-size": {"o": "cache-size=ten"},
        "S3MOUNT_CACHE_SIZE": {"environment": {"S3MOUNT_CACHE_SIZE": "ten"}},
        f"cache-size in {tmp_path}/s3mount.toml": {"document": 'cache-size = "ten"'},
        f'cache_size in [bucket."b"] of {tmp_path}/s3mount.toml': {
            "document": '[bucket.b]\ncache_size = "ten"'
        },
    }
    for place, arguments in said.items():
        with pytest.raises(ConfigError) as caught:
            resolved(**arguments, tmp_path=tmp_path)
        assert caught.value.message == f'{place}: "ten" is not a size'
        assert "10GiB" in caught.value.hint
        assert "20%" in caught.value.hint


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"concurrency": "0"}, "is less than 1"),
        ({"memory_limit": "1M"}, "is less than 16MiB"),
        ({"request_timeout": "2d"}, "is more than 1h"),
        ({"cache_size": "120%"}, "is more than the whole disk"),
        ({"file_mode": "0999"}, "is not an octal mode"),
        ({"file_mode": "4755"}, "has bits beyond 0777"),
        ({"endpoint_url": "localhost:9000"}, "is not an http:// or https:// URL"),
        ({"addressing_style": "host"}, "is not one of them"),
        ({"allow_other": "perhaps"}, "is neither yes nor no"),
        ({"cache_dir": ""}, "is empty"),
    ],
)
def test_what_is_wrong_is_said_in_a_phrase(flags, says):
    with pytest.raises(ConfigError, match=says):
        resolved(flags)


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ({"o": "cashe_size=1G"}, "did you mean cache-size?"),
        ({"environment": {"S3MOUNT_CASHE_SIZE": "1G"}}, "did you mean S3MOUNT_CACHE_SIZE?"),
        ({"document": 'cache-sise = "1G"'}, "did you mean cache-size?"),
        ({"document": 'colour = "red"'}, "see s3mount mount --help"),
    ],
)
def test_an_unknown_option_is_answered_with_the_nearest(arguments, hint, tmp_path):
    with pytest.raises(ConfigError, match="no such option") as caught:
        resolved(**arguments, tmp_path=tmp_path)
    assert caught.value.hint == hint


def test_variables_that_only_share_the_first_word_are_let_pass():
    environment = {
        "S3MOUNT_SERVICE_HOST": "10.0.0.1",
        "S3MOUNT_PORT": "tcp://x",
        "S3MOUNT_REGION": "",
    }
    assert from_environment(environment) == {}


def test_files_that_are_wrong(tmp_path):
    with pytest.raises(ConfigError, match=r"is not TOML.*line 1"):
        resolved(document="cache-size = 10GiB", tmp_path=tmp_path)
    with pytest.raises(ConfigError, match="is not a text") as caught:
        resolved(document="file-mode = 0o444", tmp_path=tmp_path)
    assert "in quotes" in caught.value.hint
    with pytest.raises(ConfigError, match="No such file"):
        resolve(flags={}, o_pairs={}, environment={}, config=tmp_path / "none.toml", bucket="b")
    with pytest.raises(ConfigError, match="is not a table"):
        resolved(document='bucket = "b"', tmp_path=tmp_path)


def test_o_needs_values_where_there_is_no_switch():
    assert from_o({"allow_other": None})["allow_other"].text == "yes"
    with pytest.raises(ConfigError, match="-o region needs a value"):
        from_o({"region": None})
    assert split_o(r"a,b=c\,d,,e=") == {"a": None, "b": "c,d", "e": ""}


def test_where_the_cache_is(monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert table.default_cache_dir({}) == Path("/var/cache/s3mount")
    assert table.default_cache_dir({"HOME": "/home/x"}) == Path("/home/x/.cache/s3mount")
    assert table.default_cache_dir({"HOME": "/x", "XDG_CACHE_HOME": "/y"}) == Path("/y/s3mount")
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    assert table.default_cache_dir({}) == Path("/var/tmp/s3mount-54321")


def test_relative_paths_are_made_absolute_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolved({"cache_dir": "c", "log_file": "l"}).cache_dir == tmp_path / "c"
    assert resolved({"ca_bundle": "ca.pem"}).ca_bundle == str(tmp_path / "ca.pem")


def test_every_option_has_a_line_of_help_and_a_name_of_its_own():
    assert [option.attribute for option in OPTIONS] == [
        f.name for f in dataclasses.fields(MountOptions)
    ]
    assert all(option.summary.endswith(".") and option.allowed for option in OPTIONS)


def test_the_page_of_all_options_is_the_table():
    written = (REPOSITORY / "docs" / "configuration.md").read_text()
    assert written == reference.page(), "python -m s3mount.config.reference > docs/configuration.md"
