"""What an archive is called, and which are wanted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.builds.names import (
    COMPONENTS,
    EXTENSIONS,
    ArtifactName,
    archives_among,
    is_archive,
    preferred,
    tree_of,
)
from s3mount.builds.selecting import base_arch, filtered, matches_target, of_group, patterns
from s3mount.errors import ConfigError

field = st.text(st.characters(exclude_characters="_/\0", codec="utf-8"), min_size=1, max_size=8)


@given(field, field, field, st.sampled_from(EXTENSIONS))
def test_a_name_comes_back(name, component, family, extension):
    artifact = ArtifactName(name, component, family)
    assert ArtifactName.from_filename(f"{artifact}{extension}") == artifact
    assert len({artifact, ArtifactName(name, component, family)}) == 1


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("blas_lib_gfx94X-dcgpu.tar.zst", ("blas", "lib", "gfx94X-dcgpu")),
        ("rocm-core_dev_generic.tar.xz", ("rocm-core", "dev", "generic")),
        ("a.b_c_d.tar.xz", ("a.b", "c", "d")),
        ("blas_lib_gfx942:xnack+.tar.zst", ("blas", "lib", "gfx942:xnack+")),
        ("underscore_name_component_generic.tar.xz", None),
        ("a_b.tar.xz", None),
        ("__.tar.xz", None),
        ("a__c.tar.xz", None),
        ("a_b_c.tar.gz", None),
        ("a_b_c.tar", None),
        ("a_b_c", None),
        ("a_b_c.tar.xz.sha256sum", None),
        ("d/a_b_c.tar.xz", None),
        ("", None),
    ],
)
def test_names_of_archives(filename, expected):
    found = ArtifactName.from_filename(filename)
    assert found == (None if expected is None else ArtifactName(*expected))


def test_names_of_paths(tmp_path):
    expected = ArtifactName("a.b", "lib", "gfx942:xnack+")
    (tmp_path / str(expected)).mkdir()
    assert ArtifactName.from_path(tmp_path / str(expected)) == expected
    assert ArtifactName.from_path(tmp_path / f"{expected}.tar.zst") == expected
    (tmp_path / "a_b_c.tar.zst").mkdir()
    assert ArtifactName.from_path(tmp_path / "a_b_c.tar.zst") is None
    assert ArtifactName.from_path(tmp_path / "missing_b_c") is None


def test_a_tree_has_the_whole_name():
    assert tree_of("a.b_c_d.tar.xz") == "a.b_c_d"
    assert tree_of("a_b_c.tar.gz") is None
    assert is_archive("any.tar.zst")
    assert COMPONENTS == ("lib", "run", "dev", "dbg", "doc", "test")


def test_archives_among_files():
    files = ["b_lib_x.tar.xz", "a_lib_x.tar.zst", "a_lib_x.tar.zst.sha256sum", "index.html", "log"]
    assert archives_among(files) == ["a_lib_x.tar.zst", "b_lib_x.tar.xz"]
    assert archives_among(files, "a") == ["a_lib_x.tar.zst"]
    assert archives_among(["ab_lib_x.tar.xz"], "a") == []
    assert archives_among([]) == []


def test_of_two_archives_of_one_tree_zstd_is_preferred():
    for files in (["a_b_c.tar.xz", "a_b_c.tar.zst"], ["a_b_c.tar.zst", "a_b_c.tar.xz"]):
        assert preferred([*files, "d_e_f.tar.xz"]) == ["a_b_c.tar.zst", "d_e_f.tar.xz"]


# Groups.

FILES = [
    "blas_lib_generic.tar.zst",
    "blas_lib_gfx94X-dcgpu.tar.zst",
    "blas_lib_gfx942.tar.zst",
    "blas_lib_gfx942:xnack+.tar.zst",
    "blas_lib_gfx1100.tar.zst",
    "generic_lib_gfx1100.tar.zst",
    "odd_generic_name_gfx942.tar.zst",
]


def chosen(*args, **options):
    return {each.removesuffix(".tar.zst") for each in of_group(FILES, *args, **options)}


def test_without_group_and_targets_everything_is_wanted():
    assert of_group(FILES, None) == set(FILES)
    assert of_group(FILES, None, []) == of_group(FILES, "", [""]) == set(FILES)


def test_a_group_is_its_family_and_generic():
    assert chosen("gfx94X-dcgpu") == {"blas_lib_generic", "blas_lib_gfx94X-dcgpu"}
    assert chosen("gfx94X") == chosen("GFX94X-DCGPU") == {"blas_lib_generic"}
    assert chosen("generic") == {"blas_lib_generic"}


def test_targets_with_and_without_features_match_each_other():
    both = {"blas_lib_generic", "blas_lib_gfx942", "blas_lib_gfx942:xnack+"}
    assert chosen(None, ["gfx942"]) == chosen(None, ["gfx942:xnack-"]) == both
    family = chosen("gfx94X-dcgpu", ["gfx942", "gfx1100"])
    assert family == both | {"blas_lib_gfx94X-dcgpu", "blas_lib_gfx1100", "generic_lib_gfx1100"}


def test_the_older_rule_searches_the_whole_name():
    found = chosen("gfx94X", match="substring")
    assert found == {
        *("blas_lib_generic", "blas_lib_gfx94X-dcgpu", "generic_lib_gfx1100"),
        "odd_generic_name_gfx942",
    }


@pytest.mark.parametrize(
    ("target", "base"),
    [("gfx942", "gfx942"), ("gfx942:xnack+", "gfx942"), (":xnack+", ":xnack+"), ("", "")],
)
def test_base_arch(target, base):
    assert base_arch(target) == base


def test_an_empty_target_never_matches():
    assert not matches_target("gfx942", ["", ":xnack+"])
    assert not matches_target("", [""])
    assert matches_target("gfx942:sramecc+", ["gfx942:xnack-"])


# Patterns.

ARTIFACTS = ["blas_lib_generic.tar.zst", "blas_test_generic.tar.xz", "rand_lib_generic.tar.zst"]


@pytest.mark.parametrize(
    ("includes", "excludes", "expected", "unmatched"),
    [
        ([], [], ARTIFACTS, []),
        (["blas"], [], ARTIFACTS[:2], []),
        (["^rand", "_test_"], [], ARTIFACTS[1:], []),
        ([], ["_test_"], [ARTIFACTS[0], ARTIFACTS[2]], []),
        ([], ["blas", "rand"], [], []),
        (["blas", "fft"], ["_test_"], ARTIFACTS[:1], ["fft"]),
        (["zst$"], [], [ARTIFACTS[0], ARTIFACTS[2]], []),
        (["fft", "x+y"], [], [], ["fft", "x+y"]),
        # What is excluded was found nevertheless.
        (["blas"], ["blas"], [], []),
    ],
)
def test_patterns_are_searched_for_in_whole_names(includes, excludes, expected, unmatched):
    found = filtered(ARTIFACTS, patterns(includes, "INCLUDE"), patterns(excludes, "--exclude"))
    assert found == (expected, unmatched)


def test_what_is_no_regular_expression_is_named():
    with pytest.raises(ConfigError, match=r"--exclude: '\[' is not a regular expression"):
        patterns(["a", "["], "--exclude")
