"""Requests for whole objects, spelled shortly and by the rules for all requests."""

from hypothesis import given
from hypothesis import strategies as st

from s3mount.store.endpoint import Endpoint
from s3mount.store.interface import Get
from s3mount.store.plain_request import spelled
from s3mount.store.s3_request import headers_of, target_of
from s3mount.store.signing import AccessKey, Signer
from s3mount.store.whole_request import Speller, Spelling

SIGNER = Signer("eu-west-1")
HOSTS = st.sampled_from(["127.0.0.1:9000", "storage", "bucket.storage:80"])
ACCESS = st.none() | st.builds(
    AccessKey,
    st.just("AKID"),
    st.text("abc/+=", min_size=1),
    st.sampled_from(["", "token==", "a b"]),
)


class Sent:
    """What `plain_request.spelled` reads of a transfer."""

    method = "GET"

    def __init__(self, url, header_lines):
        self.url, self.header_lines = url, header_lines


def by_the_rules(endpoint, access, second, key, etag, *, payer):
    request = Get(key, etag, 0, 5, whole=True)
    path, query = target_of(request)
    path = endpoint.path + path
    headers = headers_of(request, requester_pays=payer, restore_status=True)
    lines = [f"{name}:{value}" for name, value in headers]
    if access is not None:
        lines = SIGNER.sign(endpoint.host, path, query, headers, access, second)
    return spelled(Sent(endpoint.origin + path, lines))


@given(
    HOSTS,
    st.sampled_from(["", "/bucket"]),
    ACCESS,
    st.integers(0, 1 << 32),
    st.text(min_size=1) | st.text("abc/._-~ +%", min_size=1),
    st.text(min_size=1) | st.text("0123456789abcdef-", min_size=1),
    st.booleans(),
)
def test_the_short_way_sends_the_same(host, path, access, second, key, etag, payer):
    endpoint = Endpoint(f"http://{host}", host.removesuffix(":80"), path, "eu-west-1", "id")
    spelling = Spelling(endpoint, access, second, SIGNER, requester_pays=payer)
    request = spelling.spell(key, etag)
    if request is not None:
        assert by_the_rules(endpoint, access, second, key, etag, payer=payer)[1] == request


def test_plain_keys_and_etags_take_the_short_way():
    endpoint = Endpoint("http://h:1", "h:1", "/b", "eu-west-1", "id")
    spelling = Spelling(endpoint, AccessKey("a", "b", "t"), 5, SIGNER, requester_pays=False)
    assert spelling.spell("a/ü +\udcff", "0" * 32 + "-7")
    assert spelling.spell("k", "") is None
    assert spelling.spell("k\ud800", "e") is None
    assert spelling.spell("k", 'e"') is None


def test_a_spelling_is_of_one_second_one_key_and_one_place():
    speller = Speller(requester_pays=False)
    here = Endpoint("http://h:1", "h:1", "/b", "eu-west-1", "id")
    there = Endpoint("http://h:2", "h:2", "/b", "eu-west-1", "id")
    access, other = AccessKey("a", "b"), AccessKey("c", "d")
    first = speller.at(here, access, 5, SIGNER)
    assert speller.at(here, access, 5, SIGNER) is first
    for changed in ((here, access, 6), (here, other, 5), (there, access, 5), (here, None, 5)):
        assert speller.at(*changed, SIGNER).spell("k", "e") != first.spell("k", "e")
