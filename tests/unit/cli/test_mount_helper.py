"""What mount(8) says to its helper, and the words behind -o that are for others."""

import pytest

from s3mount.cli import mount_helper
from s3mount.cli.mount_helper import Order, mount_status, read_order
from s3mount.cli.mount_words import sort_out
from s3mount.errors import ConfigError


def test_the_words_of_mount():
    assert read_order(["b", "/mnt", "-o", "rw,allow_other"]) == Order(
        "b", "/mnt", ("rw,allow_other",)
    )
    assert read_order(["-t", "s3mount", "-sn", "b", "-v", "/mnt"]) == Order("b", "/mnt")
    assert read_order(["b", "/mnt", "-f"]).is_fake


@pytest.mark.parametrize(
    "words", [[], ["b"], ["b", "/m", "x"], ["b", "/m", "-z"], ["b", "/m", "-o"]]
)
def test_words_that_mount_does_not_say(words):
    with pytest.raises(ConfigError):
        read_order(words)
    assert mount_status(words) == 1


def test_another_namespace_is_refused():
    with pytest.raises(ConfigError, match="-N"):
        read_order(["b", "/mnt", "-N", "/proc/1/ns/mnt"])


@pytest.mark.parametrize(("status", "for_mount"), [(0, 0), (2, 1), (1, 32), (130, 32)])
def test_exit_statuses_are_those_of_mount(status, for_mount, monkeypatch):
    asked = []
    monkeypatch.setattr(mount_helper, "run", lambda words: asked.append(words) or status)
    assert mount_status(["b", "/mnt", "-o", "rw"]) == for_mount
    assert asked == [["mount", "-o", "rw", "--", "b", "/mnt"]]


def test_a_line_of_fstab():
    line = (
        "rw,_netdev,nofail,noauto,x-systemd.automount,x-systemd.idle-timeout=1h,user=joe,nosuid,nodev,noexec,"
        "dev,suid,noatime,comment=ours,defaults,allow_other,cache_size=50GiB,endpoint-url=http://h:9000"
    )
    assert sort_out([line]).options == {
        "allow_other": None,
        "cache_size": "50GiB",
        "endpoint-url": "http://h:9000",
    }


def test_the_last_of_equals_wins_and_a_file_may_be_named():
    words = sort_out(["region=a,config=/etc/x.toml", "region=b"])
    assert words.options == {"region": "b"}
    assert words.config == "/etc/x.toml"


@pytest.mark.parametrize("word", ["remount", "bind", "nonempty", "allow_root"])
def test_what_is_not_possible_says_what_is(word):
    with pytest.raises(ConfigError) as caught:
        sort_out([f"rw,{word}"])
    assert caught.value.hint
