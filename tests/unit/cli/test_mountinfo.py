"""The kernel's table of mounts, with everything that may stand in it."""

from pathlib import Path

from s3mount.cli.mountinfo import Mount, mount_above, mount_at, parse, read_mounts

TABLE = (
    rb"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
42 27 0:39 / /mnt/with\040space\134\011tab ro shared:7 master:2 - fuse.s3mount s3://b/a\040b ro
43 27 0:40 / /mnt/x ro - fuse.s3mount one ro
44 27 0:41 / /mnt/x ro - fuse.s3mount two ro
45 27 0:42 / /mnt/caf\303\251/raw-caf"""
    + "é\n".encode()
    + b"""46 27 0:43 / /mnt/\377 ro - tmpfs none ro
half a line
47 27 0:44 / /mnt/- ro - tmpfs
"""
)


def test_escapes_optional_fields_and_broken_lines():
    mounts = parse(TABLE)
    assert Mount("0:39", "/mnt/with space\\\ttab", "fuse.s3mount", "s3://b/a b") in mounts
    assert Mount("254:0", "/", "ext4", "/dev/vda") in mounts
    assert not [mount for mount in mounts if mount.point == "/mnt/-"]


def test_of_stacked_mounts_the_topmost_counts():
    assert mount_at(parse(TABLE), Path("/mnt/x")).source == "two"


def test_the_mount_above():
    mounts = parse(TABLE)
    assert mount_above(mounts, Path("/mnt/x/deep/er")).source == "two"
    assert mount_above(mounts, Path("/mnt/x")).point == "/"
    assert mount_above(mounts, Path("/mnt/xy")).point == "/"
    assert mount_at(mounts, Path("/mnt")) is None


def test_the_real_table_has_a_root():
    assert mount_at(read_mounts(), Path("/"))
