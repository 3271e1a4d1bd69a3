"""What a known entry costs: resident memory of a process that knows many, divided by how many."""

import subprocess
import sys

LIMIT = 1024
"""Bytes an entry that the kernel knows may take, its listing and the kernel's attributes included."""

PROGRAM = """
import gc, hashlib
from s3mount.fs.filesystem import Attributes
from s3mount.fs.inodes import InodeTable
from s3mount.fuse.operations import Operations, Ownership
from s3mount.listing.directory import Directory, Entry
from s3mount.store.interface import ObjectMeta, Page

COUNT, EACH = 40_000, 1000
operations = Operations(None, Ownership(0, 0, 0o444, 0o555), None)

def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

def listed(number):
    prefix = f"builds/2026-{number:04}/"
    directory = Directory(prefix)
    directory.append(Page([meta(prefix, index) for index in range(EACH)], [], None))
    return directory

def meta(prefix, index):
    etag = hashlib.md5(f"{prefix}{index}".encode()).hexdigest()
    return ObjectMeta(f"{prefix}artifact-{index:08}.bin", 4096 + index, etag, 1_700_000_000_000_000_000 + index)

table = InodeTable("")
before = resident()
for number in range(COUNT // EACH):
    directory = listed(number)
    parent = table.child(table.get(1), Entry(directory.prefix.encode(), directory.prefix, True))
    for index in range(EACH):
        inode = table.child(parent, directory.at(index))
        inode.seen_in = directory
        inode.reply = operations._entry(Attributes(inode.number, False, inode.entry.size, inode.entry.mtime_ns, 1.0))
print((resident() - before) // COUNT)
"""


def test_a_known_entry_takes_at_most_a_kibibyte():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60
    )
    assert int(done.stdout) <= LIMIT
