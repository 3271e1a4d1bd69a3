"""What the tests of the file system stand on."""

import pytest

from tests.unit.fs.builders import grounds


@pytest.fixture
def root(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def ground(root):
    with grounds(root) as ground:
        yield ground
