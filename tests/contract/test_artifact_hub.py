"""The hub backend against a hub over real HTTP: what is on the wire, what is tried again, what is refused."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from s3mount.artifact.failures import HubError, LocalClash
from s3mount.artifact.hub import HubBackend
from s3mount.artifact.hub_http import Web
from s3mount.artifact.settings import HubSettings
from s3mount.artifact.tree import local_files
from s3mount.cli.main import run
from s3mount.errors import AccessDenied, AlreadyExists, NotFound, Unreachable
from tests.support.hub import TOKEN, Fault, Hub
from tests.support.servers import free_port

ROOT = "artifacts/jobs/1"


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    """A directory to work in, and no proxy."""
    for name in list(os.environ):
        if name.startswith(("SEMAPHORE_", "ARTIFACT_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def hub():
    with Hub() as hub:
        yield hub


class Slept:
    """Waits without waiting."""

    def __init__(self):
        self.seconds = []

    def __call__(self, seconds):
        self.seconds.append(seconds)


@pytest.fixture
def slept():
    return Slept()


@pytest.fixture
def open_backend(slept):
    """``open_backend(hub)``: a backend that does not wait between tries; closed at the end."""
    opened = []

    def open_backend(hub, *, url="", token=TOKEN):
        backend = HubBackend(HubSettings(url or hub.url, token), Web(4, slept))
        opened.append(backend)
        return backend

    yield open_backend
    for backend in opened:
        backend.close()


@pytest.fixture
def backend(hub, open_backend):
    return open_backend(hub)


class Told:
    """Remembers what it was told."""

    def __init__(self):
        self.files = {}

    def __call__(self, remote, size):
        self.files[remote] = size


def push(backend, folder, remote=f"{ROOT}/d", *, force=False):
    told = Told()
    backend.push(local_files(str(folder), remote), force=force, told=told)
    return told.files


def pull(backend, remote, local, *, force=False):
    told = Told()
    backend.pull(remote, str(local), force=force, told=told)
    return told.files


@pytest.fixture
def tree(work):
    (work / "tree/sub").mkdir(parents=True)
    (work / "tree/a").write_bytes(b"a")
    (work / "tree/empty").write_bytes(b"")
    (work / "tree/sub/c").write_bytes(b"ccc")
    return work / "tree"


def test_a_push_on_the_wire(hub, backend, tree):
    assert push(backend, tree) == {f"{ROOT}/d/a": 1, f"{ROOT}/d/empty": 0, f"{ROOT}/d/sub/c": 3}
    (asked,) = hub.sent("POST")
    assert asked.path == "/api/v1/artifacts"
    assert asked.headers["authorization"] == TOKEN
    assert "content-type" not in asked.headers
    assert asked.body == (
        b'{"paths":["artifacts/jobs/1/d/a","artifacts/jobs/1/d/empty","artifacts/jobs/1/d/sub/c"]}\n'
    )
    methods = [each.method for each in hub.seen]
    assert methods == ["POST", *["HEAD"] * 3, *["PUT"] * 3], "all are looked at before one is sent"
    for each in hub.sent("PUT"):
        assert "content-type" not in each.headers
        assert "transfer-encoding" not in each.headers
        assert int(each.headers["content-length"]) == len(each.body)
        assert "authorization" not in each.headers
    assert hub.objects == {f"{ROOT}/d/a": b"a", f"{ROOT}/d/empty": b"", f"{ROOT}/d/sub/c": b"ccc"}


def test_a_forced_push_looks_at_nothing(hub, backend, tree):
    hub.objects[f"{ROOT}/d/a"] = b"old"
    push(backend, tree, force=True)
    assert hub.sent("HEAD") == []
    assert hub.told()[0]["type"] == 1
    assert hub.objects[f"{ROOT}/d/a"] == b"a"


def test_an_empty_directory_is_a_request_without_paths(hub, backend, work):
    (work / "none").mkdir()
    assert push(backend, work / "none") == {}
    assert hub.sent("POST")[0].body == b"{}\n"


@pytest.mark.parametrize("spelling", ["gateway", "client"])
def test_either_spelling_of_the_reply(open_backend, tree, work, spelling):
    with Hub(spelling) as hub:
        backend = open_backend(hub)
        push(backend, tree)
        pull(backend, f"{ROOT}/d", work / "out")
        assert (work / "out/sub/c").read_bytes() == b"ccc"
        assert backend.yank(f"{ROOT}/d") == 3
        assert [each.get("type") for each in hub.told()] == [None, 2, 3]


def test_a_hub_that_does_not_name_delete(open_backend, tree):
    with Hub(names_methods=False) as hub:
        backend = open_backend(hub)
        push(backend, tree)
        assert backend.yank(f"{ROOT}/d/a") == 1
        assert sorted(hub.objects) == [f"{ROOT}/d/empty", f"{ROOT}/d/sub/c"]


@pytest.mark.parametrize("storage_path", ["/", "/bucket/", "/My.Bucket/project-1/"])
def test_wherever_the_storage_keeps_them(open_backend, tree, work, storage_path):
    (tree / "a b+c %20 ä").write_bytes(b"odd")
    with Hub(storage_path=storage_path) as hub:
        backend = open_backend(hub)
        push(backend, tree)
        pull(backend, f"{ROOT}/d", work / "out")
        assert (work / "out/a b+c %20 ä").read_bytes() == b"odd"
        pull(backend, f"{ROOT}/d/a b+c %20 ä", work / "one")
        assert (work / "one").read_bytes() == b"odd"


def test_a_clash_is_told_before_a_byte_is_sent(hub, backend, tree):
    hub.objects[f"{ROOT}/d/sub/c"] = b"old"
    with pytest.raises(AlreadyExists) as caught:
        push(backend, tree)
    assert caught.value.message == (
        "'artifacts/jobs/1/d/sub/c' already exists in the remote storage; "
        "delete it first, or use --force flag"
    )
    assert hub.sent("PUT") == []


@pytest.mark.parametrize("status", [403, 404, 400])
def test_any_refusal_of_a_look_means_that_the_name_is_free(hub, backend, tree, status):
    hub.fail("HEAD", status, status, status)
    assert len(push(backend, tree)) == 3


def test_a_look_that_always_fails_fails_the_push(hub, backend, work):
    (work / "x").write_bytes(b"x")
    hub.fail("HEAD", *[503] * 5)
    with pytest.raises(HubError, match=r"HEAD request to .* failed with 503 status code"):
        push(backend, work / "x")
    assert len(hub.sent("HEAD")) == 5
    assert hub.sent("PUT") == []


@pytest.mark.parametrize("method", ["HEAD", "PUT", "POST"])
def test_a_push_that_succeeds_at_the_third_try(hub, backend, slept, work, method):
    (work / "x").write_bytes(b"body")
    hub.fail(method, 500, 502)
    push(backend, work / "x", f"{ROOT}/x")
    assert len(hub.sent(method)) == 3
    assert slept.seconds == ([1, 1] if method == "POST" else [0.5, 1])
    assert hub.objects == {f"{ROOT}/x": b"body"}


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_other_methods_recover_too(hub, backend, work, method):
    hub.objects[f"{ROOT}/x"] = b"body"
    hub.fail(method, 500, 429)
    if method == "GET":
        pull(backend, f"{ROOT}/x", work / "x")
        assert (work / "x").read_bytes() == b"body"
    else:
        assert backend.yank(f"{ROOT}/x") == 1
        assert hub.objects == {}
    assert len(hub.sent(method)) == 3


@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
def test_five_requests_and_no_more(hub, backend, work, method):
    (work / "x").write_bytes(b"body")
    hub.fail(method, *[500] * 10)
    if method != "PUT":
        hub.objects[f"{ROOT}/x"] = b"body"
    act = {
        "PUT": lambda: push(backend, work / "x", f"{ROOT}/x"),
        "GET": lambda: pull(backend, f"{ROOT}/x", work / "y"),
        "DELETE": lambda: backend.yank(f"{ROOT}/x"),
    }[method]
    with pytest.raises(HubError, match=rf"{method} request to .* failed with 500 status code"):
        act()
    assert len(hub.sent(method)) == 5
    assert not (work / "y").exists()


def test_not_implemented_is_not_tried_again(hub, backend, work):
    (work / "x").write_bytes(b"body")
    hub.fail("PUT", 501)
    with pytest.raises(HubError, match="501"):
        push(backend, work / "x")
    assert len(hub.sent("PUT")) == 1


@pytest.mark.parametrize(("status", "waits"), [(429, [7]), (503, [7]), (500, [0.5])])
def test_retry_after_is_honoured(hub, backend, slept, work, status, waits):
    (work / "x").write_bytes(b"body")
    hub.fail("PUT", Fault(status, {"Retry-After": "7"}))
    push(backend, work / "x")
    assert slept.seconds == waits


def test_a_hub_that_always_fails(hub, backend, work):
    hub.fail("POST", *[500] * 10)
    with pytest.raises(HubError, match=r"^request did not return a non-5xx response: "):
        backend.yank(f"{ROOT}/x")
    assert len(hub.sent("POST")) == 5


@pytest.mark.parametrize(
    ("status", "sort"), [(400, HubError), (401, AccessDenied), (403, AccessDenied), (404, NotFound)]
)
def test_a_hub_that_refuses_is_asked_once(hub, backend, work, status, sort):
    hub.fail("POST", Fault(status, body=b'{"code":5,"message":"artifact not found","details":[]}'))
    with pytest.raises(sort) as caught:
        pull(backend, f"{ROOT}/x", work / "x")
    assert caught.value.message == (
        f"failed to generate signed URLs - hub returned {status} status code"
    )
    assert "the hub says: artifact not found" in caught.value.hint
    assert len(hub.sent("POST")) == 1


def test_a_wrong_token_is_refused(open_backend, hub):
    with pytest.raises(AccessDenied, match="403"):
        open_backend(hub, token="another").list(f"{ROOT}/x")


def test_nobody_there(open_backend, hub, slept):
    backend = open_backend(hub, url=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(Unreachable, match=r"^request did not return a non-5xx response: "):
        backend.exists(f"{ROOT}/x")
    assert slept.seconds == [1, 1, 1, 1]


def test_a_storage_that_is_not_there_and_its_signature(backend, hub, work):
    url = f"http://127.0.0.1:{free_port()}/{ROOT}/x?Signature=secret"
    hub.reply = f'{{"URLs":[{{"URL":"{url}","method":"GET"}}]}}'.encode()
    with pytest.raises(Unreachable) as caught:
        pull(backend, f"{ROOT}/x", work / "x")
    assert "secret" not in str(caught.value)
    assert "refused" in str(caught.value)


@pytest.mark.parametrize("size", [4, 3 << 20])
def test_a_redirect_is_followed_with_the_body(hub, backend, work, size):
    (work / "x").write_bytes(b"x" * size)
    hub.fail("PUT", Fault(307, {"Location": f"{hub.url}/{ROOT}/x?for=PUT"}))
    push(backend, work / "x", f"{ROOT}/x")
    assert hub.objects[f"{ROOT}/x"] == b"x" * size


def test_a_reply_that_is_no_json(hub, backend):
    hub.reply = b"<html>"
    with pytest.raises(HubError, match=r"failed to decode signed URL http response"):
        backend.exists(f"{ROOT}/x")


def test_a_wrong_number_of_urls(hub, backend, work):
    (work / "x").write_bytes(b"body")
    hub.reply = b'{"urls":[]}'
    with pytest.raises(HubError, match=r"\(0\) for non-forceful push - should be 2"):
        push(backend, work / "x")
    with pytest.raises(HubError, match=r"\(0\) for forceful push - should be 1"):
        push(backend, work / "x", force=True)


def test_no_urls_is_nothing_found(hub, backend, work):
    hub.reply = b'{"URLs":[]}'
    with pytest.raises(NotFound, match="artifact not found: artifacts/jobs/1/x"):
        pull(backend, f"{ROOT}/x", work / "x")
    with pytest.raises(NotFound):
        backend.yank(f"{ROOT}/x")
    assert backend.exists(f"{ROOT}/x") is False
    assert backend.list(f"{ROOT}/x") == []


def test_a_url_for_something_else_is_not_followed(hub, backend, work):
    hub.reply = b'{"URLs":[{"URL":"http://127.0.0.1:1/artifacts/jobs/2/x","method":"GET"}]}'
    with pytest.raises(HubError, match="unrecognized URL"):
        pull(backend, f"{ROOT}/x", work / "x")


def test_no_name_leads_out_of_the_destination(hub, backend, work):
    hub.reply = (
        f'{{"URLs":[{{"URL":"{hub.url}/{ROOT}/d/../../evil?for=GET","method":"GET"}}]}}'.encode()
    )
    with pytest.raises(Exception, match="leads out of the directory"):
        pull(backend, f"{ROOT}/d", work / "out/in")
    assert not (work / "evil").exists()


def test_a_body_that_breaks_off_is_fetched_again(hub, backend, work):
    hub.objects[f"{ROOT}/x"] = b"0123456789"
    hub.fail("GET", Fault(cut=4))
    pull(backend, f"{ROOT}/x", work / "x")
    assert (work / "x").read_bytes() == b"0123456789"
    assert len(hub.sent("GET")) == 2


def test_a_body_that_always_breaks_off_leaves_nothing(hub, backend, work):
    hub.objects[f"{ROOT}/x"] = b"0123456789"
    hub.fail("GET", *[Fault(cut=4)] * 5)
    with pytest.raises(Unreachable):
        pull(backend, f"{ROOT}/x", work / "out")
    assert os.listdir(work) == []


def test_a_forced_pull_that_fails_leaves_the_old_file(hub, backend, work):
    hub.objects[f"{ROOT}/x"] = b"new"
    (work / "x").write_bytes(b"old")
    hub.fail("GET", *[Fault(cut=1)] * 5)
    with pytest.raises(Unreachable):
        pull(backend, f"{ROOT}/x", work / "x", force=True)
    assert (work / "x").read_bytes() == b"old"


def test_clashes_are_found_before_the_first_byte(hub, backend, work):
    hub.objects |= {f"{ROOT}/d/a": b"a", f"{ROOT}/d/b": b"b"}
    (work / "out").mkdir()
    (work / "out/b").write_bytes(b"mine")
    with pytest.raises(LocalClash):
        pull(backend, f"{ROOT}/d", work / "out")
    assert hub.sent("GET") == []


def test_a_storage_that_does_not_tell_sizes(open_backend, work):
    with Hub(tells_size=False) as hub:
        hub.objects |= {f"{ROOT}/d/a": b"body", f"{ROOT}/d/empty": b""}
        assert pull(open_backend(hub), f"{ROOT}/d", work / "out") == {
            f"{ROOT}/d/a": 4,
            f"{ROOT}/d/empty": 0,
        }
        assert (work / "out/a").read_bytes() == b"body"


def test_a_file_that_grows_is_not_sent(hub, backend, work):
    (work / "x").write_bytes(b"body")
    files = local_files(str(work / "x"), f"{ROOT}/x")
    (work / "x").write_bytes(b"longer body")
    with pytest.raises(Exception, match="changed while it was read"):
        backend.push(files, force=True, told=Told())
    assert hub.objects == {}


def test_listing_tells_sizes_and_times(hub, backend):
    hub.objects |= {f"{ROOT}/d/a": b"body", f"{ROOT}/d/empty": b""}
    rows = backend.list(f"{ROOT}/d")
    assert [(row.remote, row.size) for row in rows] == [(f"{ROOT}/d/a", 4), (f"{ROOT}/d/empty", 0)]
    assert {row.mtime_ns for row in rows} == {1_445_412_480_000_000_000}
    hub.fail("GET", 403)
    (row,) = backend.list(f"{ROOT}/d/a")
    assert (row.size, row.mtime_ns) == (None, None)


def test_who_is_ended_from_outside_leaves_nothing(hub, work):
    hub.objects[f"{ROOT}/x"] = b"body"
    hub.fail("GET", Fault(503, {"Retry-After": "120"}))
    environment = os.environ | hub.environment | {"SEMAPHORE_JOB_ID": "1", "TMPDIR": str(work)}
    command = [sys.executable, "-m", "s3mount", "artifact", "pull", "job", "x", "-d", "out/x"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        while not hub.sent("GET"):
            assert process.poll() is None
            time.sleep(0.01)
        process.terminate()
        assert process.wait(60) == 128 + signal.SIGTERM
    assert os.listdir(work / "out") == []


def test_a_proxy_of_the_environment(open_backend, hub, monkeypatch):
    hub.objects[f"{ROOT}/x"] = b"body"
    monkeypatch.setenv("http_proxy", hub.url)
    backend = open_backend(hub, url="http://hub.example")
    assert backend.exists(f"{ROOT}/x")
    assert hub.sent("POST")[0].path == "http://hub.example/api/v1/artifacts"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert open_backend(hub).exists(f"{ROOT}/x")
    assert hub.sent("POST")[1].path == "/api/v1/artifacts"


def test_the_command_says_it_in_the_known_words(hub, work, monkeypatch, capsys):
    for name, value in hub.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SEMAPHORE_JOB_ID", "1")
    assert run(["artifact", "pull", "job", "none"]) == 1
    said = capsys.readouterr().err
    assert "Error pulling artifact: failed to generate signed URLs - hub returned 404" in said
    assert "Please check if the artifact you are trying to pull exists." in said
    assert run(["artifact", "-v", "exists", "job", "none"]) == 1
    said = capsys.readouterr().err
    assert re.search(r"POST http://127\.0\.0\.1:\d+/api/v1/artifacts: try 1: 404", said)
    assert TOKEN not in said
    monkeypatch.setenv("SEMAPHORE_ARTIFACT_TOKEN", "another")
    assert run(["artifact", "exists", "job", "none"]) == 2, "not known is not no"
    monkeypatch.setenv("SEMAPHORE_ORGANIZATION_URL", "o.example")
    assert run(["artifact", "exists", "job", "none"]) == 2
    assert "failed to parse SEMAPHORE_ORGANIZATION_URL" in capsys.readouterr().err
    monkeypatch.delenv("SEMAPHORE_ARTIFACT_TOKEN")
    assert run(["artifact", "push", "job", "none"]) == 1
    assert capsys.readouterr().err.startswith("error: SEMAPHORE_ARTIFACT_TOKEN is not set\n")
