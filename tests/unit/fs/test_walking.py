"""A program that reads a tree in order finds the files of the next directories on their way."""

import pytest

from tests.unit.fs.builders import grounds

MIB = 1 << 20
FILES = 3
LISTS = 12
"""Of seven directories with forty others below each; one by one they would be 280."""
WAITED = 10
"""Files of a hundred and twenty that nobody has got ready: the first of each listing that comes."""

pytestmark = pytest.mark.trio


@pytest.fixture
def root(tmp_path):
    return tmp_path / "cache"


def plant(ground, prefix, directories):
    for number in range(directories):
        for file in range(FILES):
            ground.put(f"{prefix}d{number:03}/f{file}", b"body")


async def read_directory(ground, path):
    """List a directory and read its files, as tar does."""
    names = await ground.ls((await ground.find(path)).inode, keep=True)
    for name in names:
        assert await ground.cat(f"{path}/{name.decode()}") == b"body"


def ordered(ground):
    return ground.fs._walker.counters.totals().get("siblings.files", 0)


async def test_files_of_the_next_directories_are_on_their_way(root):
    with grounds(root, neighbours=64 * MIB) as ground:
        plant(ground, "", 40)
        await ground.ls(keep=True)
        for number in range(40):
            await read_directory(ground, f"d{number:03}")
        assert ground.gets() == 40 * FILES
        assert ordered(ground) > 40 * FILES - 15


async def test_a_program_that_opens_no_file_has_none_fetched(root):
    with grounds(root, neighbours=64 * MIB) as ground:
        plant(ground, "", 40)
        await ground.ls(keep=True)
        for number in range(40):
            await ground.ls((await ground.find(f"d{number:03}")).inode, keep=True)
        assert ground.gets() == 0


async def test_who_reads_one_file_of_each_directory_gets_no_more(root):
    with grounds(root, neighbours=64 * MIB) as ground:
        plant(ground, "", 40)
        await ground.ls(keep=True)
        for number in range(40):
            await ground.ls((await ground.find(f"d{number:03}")).inode, keep=True)
            await ground.cat(f"d{number:03}/f0")
        assert ground.gets() == 40


async def test_a_tree_of_several_levels_is_read_ahead_as_well(root):
    with grounds(root, neighbours=64 * MIB) as ground:
        outer = [f"o{number}" for number in range(4)]
        for name in outer:
            plant(ground, f"{name}/", 8)
        await ground.ls(keep=True)
        for name in outer:
            await ground.ls((await ground.find(name)).inode, keep=True)
            for number in range(8):
                await read_directory(ground, f"{name}/d{number:03}")
        assert ground.gets() == 4 * 8 * FILES
        assert ordered(ground) > 4 * 8 * FILES - 20


async def test_long_directories_of_a_tree_are_read_ahead_to_their_ends(root):
    """What was got ready of one while the one before was read is no reason to look no further."""
    with grounds(root, neighbours=64 * MIB) as ground:
        for number in range(4):
            for file in range(200):
                ground.put(f"d{number}/f{file:03}", b"body")
        await ground.ls(keep=True)
        for number in range(4):
            await read_directory(ground, f"d{number}")
        assert ground.gets() == 800
        assert ordered(ground) >= 800 - 4


async def read_tree(ground, path=""):
    """List a directory, and read and go down in the order of its names, as cp -r does."""
    listed = [(await ground.find(path)).inode] if path else []
    for name in await ground.ls(*listed, keep=True):
        below = f"{path}/{name.decode()}" if path else name.decode()
        if below.endswith(".c"):
            assert await ground.cat(below) == b"body"
        else:
            await read_tree(ground, below)


async def test_directories_between_the_files_of_others_are_read_ahead(root):
    """Two directories down and two files each time, so that few files follow another of their directory."""
    keys = [
        f"m{main}/{below}"
        for main in range(6)
        for sub in range(6)
        for below in (f"d{sub}/a.c", f"d{sub}/e/b.c", f"d{sub}/f.c", f"d{sub}/g/h/i.c")
    ]
    with grounds(root, neighbours=64 * MIB) as ground:
        for key in keys:
            ground.put(key, b"body")
        await ground.ls(keep=True)
        await read_tree(ground, "m0")
        before = ground.gets() - ordered(ground)
        for main in range(1, 6):
            await read_tree(ground, f"m{main}")
        assert ground.gets() == len(keys)
        assert len(keys) - ordered(ground) - before <= WAITED


async def test_directories_on_the_way_do_not_deepen_a_walk(root):
    """Sixty-four files are on their way at the most, however many of them lie in directories between."""
    with grounds(root, neighbours=64 * MIB) as ground:
        for main in range(3):
            for file in range(4):
                ground.put(f"m{main}/a{file}.c", b"body")
            for sub in range(20):
                for file in range(40 if main == 2 else 1):
                    ground.put(f"m{main}/s{sub:02}/f{file:02}.c", b"body")
        await ground.ls(keep=True)
        for main in range(2):
            await read_tree(ground, f"m{main}")
        await ground.ls((await ground.find("m2")).inode, keep=True)
        for sub in range(20):
            await ground.ls((await ground.find(f"m2/s{sub:02}")).inode, keep=True)
        read = 2 * (4 + 20)
        for opened in range(4):
            await ground.cat(f"m2/a{opened}.c")
            assert ordered(ground) <= read + opened + 1 + 64
        assert ordered(ground) > read + 50


async def test_who_has_walked_below_one_directory_will_walk_below_the_next(root):
    """A tree of a few broad directories takes a few flat listings, not some for each of them."""
    with grounds(root, neighbours=64 * MIB) as ground:
        for main in range(8):
            for sub in range(10):
                for leaf in range(3):
                    ground.put(f"m{main}/d{sub}/e{leaf}/f.c", b"body")
        await ground.ls(keep=True)
        await read_tree(ground, "m0")
        before = len(ground.store.lists())
        for main in range(1, 8):
            await read_tree(ground, f"m{main}")
        assert ground.gets() == 240
        assert len(ground.store.lists()) - before <= LISTS


@pytest.mark.parametrize("there", [range(64), range(0, 200, 2), range(100, 140)])
async def test_what_is_there_already_does_not_hide_what_is_not(root, there):
    """A directory of which a part was read before, in another mount."""
    names = [f"f{file:03}" for file in range(200)]
    with grounds(root, neighbours=64 * MIB) as ground:
        store = ground.store
        for name in names:
            ground.put(f"d/{name}", b"body")
        await ground.ls(keep=True)
        for file in there:
            await ground.cat(f"d/{names[file]}")
    with grounds(root, store=store, neighbours=64 * MIB) as ground:
        await ground.ls(keep=True)
        before = ground.gets()
        known = sum(
            ground.reader.is_at_rest(store.inner._objects[f"d/{name}"].meta) for name in names
        )
        assert known >= len(there)
        await read_directory(ground, "d")
        fetched = ground.gets() - before
        assert fetched == 200 - known
        assert ordered(ground) >= fetched - 3


async def test_who_stops_has_cost_no_more_than_the_depth_of_a_walk(root):
    with grounds(root, neighbours=64 * MIB) as ground:
        plant(ground, "", 200)
        await ground.ls(keep=True)
        for number in range(60):
            await read_directory(ground, f"d{number:03}")
        assert 60 * FILES <= ground.gets() <= 60 * FILES + 64


async def test_files_that_are_too_much_for_one_step_are_not_fetched_ahead(root):
    with grounds(root, neighbours=3) as ground:
        plant(ground, "", 20)
        await ground.ls(keep=True)
        for number in range(10):
            await read_directory(ground, f"d{number:03}")
        assert (ground.gets(), ordered(ground)) == (10 * FILES, 0)


async def test_a_second_look_at_the_tree_costs_nothing(root):
    with grounds(root, neighbours=64 * MIB) as ground:
        plant(ground, "", 20)
        for _ in range(2):
            await ground.ls(keep=True)
            for number in range(20):
                await read_directory(ground, f"d{number:03}")
        assert ground.gets() == 20 * FILES
