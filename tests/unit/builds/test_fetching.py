"""Archives of a run fetched, compared and unpacked, over a store in memory that fails on demand."""

import os
from contextlib import closing

import pytest

from s3mount.builds.checking import digests_of
from s3mount.builds.fetching import fetch
from s3mount.builds.finishing import Order
from s3mount.builds.members import BadArchive, RefusedMember
from s3mount.builds.places import listed
from s3mount.builds.sidecar import BadSidecar, ChecksumMismatch
from s3mount.bulk.outcome import Ending
from s3mount.bulk.selection import Selection
from s3mount.bulk.warm import prefetch_objects
from s3mount.errors import AccessDenied, NotFound, ServerFault
from s3mount.store.interface import Get
from s3mount.store.memory import MemoryStore
from tests.support.faulty_store import FaultyStore
from tests.unit.builds.archives import MANIFEST, archive, artifact
from tests.unit.bulk.sessions import session_over

PREFIX = "7-linux/"


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def faulty(store):
    return FaultyStore(store)


@pytest.fixture
def session(faulty, tmp_path):
    with session_over(faulty, tmp_path / "cache") as opened:
        yield opened


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def put(store, tmp_path):
    """Put an artifact and its checksum."""

    def put(name, *, digest=None, make=artifact, **options):
        path = tmp_path / name
        found = make(path, **options)
        store.put(f"{PREFIX}{name}", path.read_bytes())
        if digest is not False:
            store.put(f"{PREFIX}{name}.sha256sum", (digest or f"{found}  {name}\n").encode())
        path.unlink()
        return name

    return put


def run(session, out, *wanted, **options):
    """Fetch to the end; what became of each, by name."""
    found = listed(session.engine, PREFIX)
    wanted = wanted or [name for name in found if not name.endswith(".sha256sum")]
    ends = [e for batch in fetch(session, found, wanted, Order(out, **options)) for e in batch]
    assert len(ends) == len({each.filename for each in ends}) == len(wanted)
    assert [name for name in os.listdir(out) if name.startswith(".s3mount-")] == []
    return {each.filename: each for each in ends}


def files(root):
    return {
        str(each.relative_to(root)): each.read_bytes() for each in root.rglob("*") if each.is_file()
    }


def gets(faulty):
    return len(faulty.gets())


def test_each_becomes_a_tree_and_archives_go(session, out, put):
    names = [put(f"{name}_lib_generic.tar.{end}") for name, end in [("a", "xz"), ("b.c", "zst")]]
    ends = run(session, out)
    assert [ends[name].ending for name in names] == [Ending.FETCHED] * 2
    tree = "math-libs/BLAS/stage/lib/libblas.so"
    assert files(out) == {
        f"a_lib_generic/{tree}": b"elf",
        f"a_lib_generic/{MANIFEST}": b"math-libs/BLAS/stage\n",
        f"b.c_lib_generic/{tree}": b"elf",
        f"b.c_lib_generic/{MANIFEST}": b"math-libs/BLAS/stage\n",
    }
    assert ends[names[0]].place == str(out / "a_lib_generic")


def test_archives_may_stay(session, out, put):
    name = put("a_lib_generic.tar.xz")
    run(session, out, deletes=False)
    assert {each.name for each in out.iterdir()} == {name, "a_lib_generic"}
    again = run(session, out, deletes=False)
    assert again[name].ending is Ending.PRESENT


def test_without_unpacking(session, out, put):
    names = {put(f"a_{part}_generic.tar.xz") for part in ("lib", "dev")}
    ends = run(session, out, way="leave")
    assert {each.name for each in out.iterdir()} == names
    assert {each.place for each in ends.values()} == {str(out / name) for name in names}


def test_a_tree_takes_the_place_of_an_older_one(session, out, put):
    (out / "a_lib_generic" / "old").mkdir(parents=True)
    put("a_lib_generic.tar.xz")
    run(session, out)
    assert not (out / "a_lib_generic" / "old").exists()


def test_flat(session, out, put):
    put("a_lib_generic.tar.xz", files=[("lib/a", b"1"), ("lib/both", b"of a")], prefix="x/stage")
    put("b_lib_generic.tar.zst", files=[("lib/b", b"2"), ("lib/both", b"of b")], prefix="y/stage")
    ends = run(session, out, way="flatten")
    assert files(out) == {"lib/a": b"1", "lib/b": b"2", "lib/both": b"of b"}
    assert {each.place for each in ends.values()} == {str(out)}


def test_flat_the_last_name_has_the_last_word_whoever_is_first(session, out, put):
    big = [("lib/big", os.urandom(1 << 20)), ("lib/both", b"of a")]
    put("a_lib_generic.tar.xz", files=big, prefix="x/stage")
    put("b_lib_generic.tar.zst", files=[("lib/both", b"of b")], prefix="x/stage")
    run(session, out, way="flatten")
    assert (out / "lib" / "both").read_bytes() == b"of b"


def test_flat_goes_on_behind_one_that_fails(session, out, put):
    put("a_lib_generic.tar.xz", make=archive, digest=False)
    put("b_lib_generic.tar.xz", files=[("lib/b", b"2")], prefix="x")
    ends = run(session, out, way="flatten")
    assert isinstance(ends["a_lib_generic.tar.xz"].error, BadArchive)
    assert files(out) == {"lib/b": b"2", "a_lib_generic.tar.xz": files(out)["a_lib_generic.tar.xz"]}


@pytest.mark.parametrize("way", ["extract", "flatten", "leave"])
def test_a_wrong_checksum(session, out, put, way):
    name = put("a_lib_generic.tar.xz", digest="0" * 64)
    good = put("b_lib_generic.tar.xz")
    if way == "extract":
        (out / "a_lib_generic").mkdir(parents=True)
        (out / "a_lib_generic" / "old").write_text("old")
    ends = run(session, out, way=way)
    assert isinstance(ends[name].error, ChecksumMismatch)
    assert ends[name].ending is Ending.FAILED
    assert ends[good].error is None
    assert not (out / name).exists()
    if way == "extract":
        assert (out / "a_lib_generic" / "old").read_text() == "old"


def test_checksums_may_be_left_out(session, out, put):
    put("a_lib_generic.tar.xz", digest="0" * 64)
    assert run(session, out, verifies=False)["a_lib_generic.tar.xz"].error is None


def test_an_archive_without_a_checksum(session, out, put):
    put("a_lib_generic.tar.xz", digest=False)
    assert run(session, out)["a_lib_generic.tar.xz"].error is None


@pytest.mark.parametrize("body", ["no digest", "x" * 100_000])
def test_a_sidecar_that_is_none_fails_its_archive(session, faulty, out, put, body):
    name = put("a_lib_generic.tar.xz", digest=body)
    ends = run(session, out)
    assert ends[name].error is not None
    assert isinstance(ends[name].error, BadSidecar) == (body == "no digest")
    assert files(out) == {}


def test_an_empty_sidecar(session, store, put):
    name = put("a_lib_generic.tar.xz", digest=False)
    store.put(f"{PREFIX}{name}.sha256sum", b"")
    digests = digests_of(session.engine, listed(session.engine, PREFIX), [name])
    assert isinstance(digests[name], BadSidecar)


def test_an_archive_that_leads_out_leaves_nothing(session, out, put):
    def evil(path):
        return archive(path, ("../../evil", b"x"))

    name = put("a_lib_generic.tar.xz", make=evil)
    ends = run(session, out)
    assert isinstance(ends[name].error, RefusedMember)
    # What was fetched is right, and stays: it need not be fetched again.
    assert {each.name for each in out.iterdir()} == {name}


def test_what_is_there_and_right_is_not_fetched_again(session, store, faulty, out, put):
    name = put("a_lib_generic.tar.xz")
    run(session, out, way="leave")
    asked = gets(faulty)
    assert run(session, out, way="leave")[name].ending is Ending.PRESENT
    assert gets(faulty) - asked == 1  # the checksum
    os.utime(out / name)  # with a checksum the time says nothing
    assert run(session, out)[name].ending is Ending.PRESENT
    assert (out / "a_lib_generic").is_dir()
    assert not (out / name).exists()


@pytest.mark.parametrize("has_checksum", [True, False])
def test_what_is_there_and_wrong_is_replaced(session, out, put, has_checksum):
    """The bytes come from the cache, which has had them since the first run."""
    name = put("a_lib_generic.tar.xz", digest=None if has_checksum else False)
    run(session, out, way="leave")
    whole = (out / name).read_bytes()
    wrong = whole[:-1] + bytes([whole[-1] ^ 1])
    for body in (whole[:-1], wrong):
        (out / name).write_bytes(body)
        assert run(session, out, way="leave")[name].ending is Ending.COPIED
        assert (out / name).read_bytes() == whole
        (out / name).write_bytes(body)
        ends = run(session, out, way="leave", uses_cache=False)
        assert ends[name].ending is Ending.FETCHED
        assert (out / name).read_bytes() == whole


def test_a_link_is_no_archive_that_is_there(session, out, tmp_path, put):
    name = put("a_lib_generic.tar.xz")
    run(session, out, way="leave")
    os.rename(out / name, tmp_path / "elsewhere")
    (out / name).symlink_to(tmp_path / "elsewhere")
    assert run(session, out, way="leave")[name].ending is Ending.COPIED
    assert not (out / name).is_symlink()


def test_what_the_cache_has_is_not_fetched(session, faulty, out, put):
    name = put("a_lib_generic.tar.xz")
    for _ in prefetch_objects(session, PREFIX, Selection(), jobs=4):
        pass
    asked = gets(faulty)
    assert run(session, out)[name].ending is Ending.COPIED
    assert gets(faulty) - asked == 1  # the checksum, which must be that of now
    put("b_lib_generic.tar.xz")
    ends = run(session, out, "a_lib_generic.tar.xz", uses_cache=False)
    assert ends[name].ending is Ending.FETCHED


def test_downloads_that_fail(session, faulty, out, put):
    names = [put(f"{name}_lib_generic.tar.xz") for name in "abc"]
    faulty.fail(AccessDenied("no", status=403), matches=get_of(names[0]))
    faulty.fail(NotFound("gone", status=404), matches=get_of(names[1]))
    ends = run(session, out)
    assert isinstance(ends[names[0]].error, AccessDenied)
    assert isinstance(ends[names[1]].error, NotFound)
    assert ends[names[2]].error is None
    assert {each.name for each in out.iterdir()} == {"c_lib_generic"}
    assert len([get for get in faulty.gets() if get.key.endswith(names[1])]) == 1


def get_of(name):
    return lambda request: isinstance(request, Get) and request.key.endswith(name)


def test_what_a_store_fails_with_once_is_asked_for_again(session, faulty, out, put):
    name = put("a_lib_generic.tar.xz")
    faulty.fail(ServerFault("busy", status=503), matches=get_of(name))
    faulty.fail(ServerFault("busy", status=503), matches=get_of(".sha256sum"))
    assert run(session, out)[name].error is None


def test_a_checksum_that_cannot_be_read_fails_its_archive(session, faulty, out, put):
    name = put("a_lib_generic.tar.xz")
    faulty.fail(AccessDenied("no", status=403), matches=get_of(".sha256sum"))
    assert isinstance(run(session, out)[name].error, AccessDenied)
    assert files(out) == {}


def test_who_leaves_early_leaves_nothing_behind(session, out, put):
    for name in "abcdef":
        put(f"{name}_lib_generic.tar.xz", files=[("f", os.urandom(1 << 18))])
    found = listed(session.engine, PREFIX)
    wanted = [name for name in found if not name.endswith(".sha256sum")]
    for way in ("extract", "flatten"):
        with closing(fetch(session, found, wanted, Order(out, way))) as batches:
            assert any(batches)
        assert [each.name for each in out.iterdir() if each.name.startswith(".s3mount-")] == []


def test_what_a_killed_run_left_is_removed(session, out, put):
    (out / f".s3mount-{'a' * 24}.tree" / "deep").mkdir(parents=True)
    put("a_lib_generic.tar.xz")
    run(session, out)


def test_only_what_stands_directly_below_a_prefix_belongs_to_a_run(session, store):
    for key in ("7-linux", "7-linux/a", "7-linux/d/b", "7-linux2/c", "7-linux/", "7-linux/e/"):
        store.put(key, b"x" * (not key.endswith("/")))
    assert list(listed(session.engine, PREFIX)) == ["a"]
    assert list(listed(session.engine, PREFIX, "a")) == ["a"]
    assert listed(session.engine, PREFIX, "b") == {}
    assert "7-linux" in listed(session.engine, "")
