"""The units are what systemd understands, and say what the command understands."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from s3mount.cli.mount_words import sort_out
from s3mount.config import OPTIONS
from s3mount.config.sources import from_environment, from_o

SYSTEMD = Path(__file__).parents[2] / "systemd"
UNITS = {
    "s3mount@.service": "s3mount@builds.service",
    "s3mount-prefetch@.service": "s3mount-prefetch@builds.service",
    "s3mount-prefetch@.timer": "s3mount-prefetch@builds.timer",
    "examples/mnt-builds.mount": "mnt-builds.mount",
    "examples/mnt-builds.automount": "mnt-builds.automount",
}


@pytest.fixture(scope="module")
def unit_directory(tmp_path_factory):
    """All units, instantiated, with a program that is there."""
    made = tmp_path_factory.mktemp("units")
    for file, unit in UNITS.items():
        text = (SYSTEMD / file).read_text().replace("/usr/local/bin/s3mount", sys.executable)
        (made / unit).write_text(text)
    return made


@pytest.mark.parametrize("unit", UNITS.values())
def test_systemd_analyze_finds_nothing(unit, unit_directory):
    program = shutil.which("systemd-analyze")
    assert program, "systemd-analyze is missing: apt-get install systemd"
    done = subprocess.run(
        [program, "verify", "--man=no", str(unit_directory / unit)],
        env={"SYSTEMD_UNIT_PATH": f"{unit_directory}:/usr/lib/systemd/system:/lib/systemd/system"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_unit_is_verified():
    found = {str(path.relative_to(SYSTEMD)) for path in SYSTEMD.rglob("*.*") if path.is_file()}
    assert found == {*UNITS, "examples/builds.env"}


def assignments(text):
    lines = (line.strip() for line in text.splitlines())
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("["))
    return {name.lstrip("#"): value for name, _, value in pairs if not name.startswith("# ")}


def test_the_environment_file_says_options_that_there_are():
    environment = assignments((SYSTEMD / "examples" / "builds.env").read_text())
    assert {"SOURCE", "MOUNTPOINT", "PREFETCH_ARGS"} <= environment.keys()
    layer = from_environment(environment)
    known = {option.attribute: option for option in OPTIONS}
    assert layer.keys() >= {"allow_other", "cache_size", "cache_dir", "endpoint_url"}
    for attribute, given in layer.items():
        known[attribute].parse(given.text)


def test_the_mount_unit_says_options_that_there_are():
    unit = assignments((SYSTEMD / "examples" / "mnt-builds.mount").read_text())
    layer = from_o(sort_out([unit["Options"]]).options)
    assert layer.keys() == {"allow_other", "cache_size", "cache_dir"}


def test_the_service_keeps_no_mount_namespace_of_its_own():
    text = (SYSTEMD / "s3mount@.service").read_text()
    settings = assignments(text)
    hiding = (
        "Protect",
        "ReadOnlyPaths",
        "ReadWritePaths",
        "InaccessiblePaths",
        "Private",
        "Bind",
        "Root",
    )
    assert not [name for name in settings if name.startswith(hiding)]
    assert settings["Type"] == "notify"
