"""nginx in front of a folder and of the listings: two ports, one of them as far away as the round trip.

The distance is made inside nginx (module echo): a request sleeps before it is served, the first one of a connection
twice, which stands for the handshake; then its bytes come as fast as they can. Signatures are not checked.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks import gauges
from tests.benchmarks.bulk.lines import BUCKET, ROUND_TRIP, Place
from tests.benchmarks.bulk.traffic import LOG_FORMAT, Traffic, read_traffic
from tests.benchmarks.bulk.tree import Tree
from tests.benchmarks.machine import CHECKOUT
from tests.support.servers import end_process, free_port

ECHO = Path("/usr/lib/nginx/modules/ngx_http_echo_module.so")
HINT = "apt-get install nginx-light libnginx-mod-http-echo"
FLUSH = 0.1  # seconds after which nginx writes its log
START_SECONDS = 20.0
CONNECTIONS = 4096

CONFIG = """
load_module {echo};
daemon off; worker_processes 1; worker_rlimit_nofile {files}; pid {root}/nginx.pid;
error_log {root}/error.log; {user}
events {{ worker_connections {connections}; }}
http {{
    log_format bulk '{log_format}';
    access_log {root}/access.log bulk buffer=64k flush={flush}ms;
    client_body_temp_path {root}/t1; proxy_temp_path {root}/t2; fastcgi_temp_path {root}/t3;
    uwsgi_temp_path {root}/t4; scgi_temp_path {root}/t5;
    sendfile on; tcp_nodelay on; keepalive_requests 1000000000; keepalive_timeout 1h;
    default_type application/octet-stream; root {data};
    proxy_http_version 1.1; proxy_set_header Connection "";
    proxy_buffer_size 16k; proxy_buffers 64 16k; proxy_max_temp_file_size 0;
    map $http_range $ranged {{ "" 0; default 1; }}
    map $connection_requests $pause {{ 1 {handshake}; default {delay}; }}
    upstream listing {{ server 127.0.0.1:{listing}; keepalive 64; }}
    server {{
        listen 127.0.0.1:{near} backlog=4096;
        location = /{bucket} {{ proxy_pass http://listing; }}
        location = /{bucket}/ {{ proxy_pass http://listing; }}
        location / {{ try_files $uri =404; }}
    }}
    server {{
        listen 127.0.0.1:{far} backlog=4096;
        location = /{bucket} {{ echo_sleep $pause; echo_exec @listing; }}
        location = /{bucket}/ {{ echo_sleep $pause; echo_exec @listing; }}
        location / {{ echo_sleep $pause; echo_exec @file; }}
        location @listing {{ proxy_pass http://listing; }}
        location @file {{ try_files $uri =404; }}
    }}
}}
"""


class Server:
    """The running server.

    Args:
        urls: where each place is.
        root: folder of its log.
        pids: the processes whose CPU is the server's.
    """

    def __init__(self, urls: dict[Place, str], root: Path, pids: tuple[int, ...]) -> None:
        self.urls = urls
        self._log = root / "access.log"
        self._pids = pids
        self._read_to = 0

    @property
    def cpu(self) -> float:
        """CPU seconds that nginx and the listings have used so far."""
        return sum(gauges.usage(pid).cpu for pid in self._pids)

    def traffic(self) -> Traffic:
        """What was asked since the last call; waits until the log is written."""
        time.sleep(3 * FLUSH)
        with self._log.open("rb") as log:
            log.seek(self._read_to)
            text = log.read()
        self._read_to += len(text)
        return read_traffic(text.decode().splitlines())


@contextlib.contextmanager
def serving(tree: Tree, root: Path, size: str) -> Iterator[Server]:
    """Run nginx and the listings of a shape (``FULL`` or ``QUICK``).

    Raises:
        SystemExit: nginx or its module is missing, or it does not start.
    """
    nginx = find_nginx()
    root.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.benchmarks.bulk.listing", size]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=CHECKOUT, stdin=pipe, stdout=pipe, text=True) as listing:
        assert listing.stdin is not None
        assert listing.stdout is not None
        ports = {"listing": int(listing.stdout.readline()), "near": free_port(), "far": free_port()}
        config = root / "nginx.conf"
        config.write_text(config_text(tree, root, ports))
        process = subprocess.Popen([nginx, "-c", str(config)], stdin=subprocess.DEVNULL)
        try:
            await_log(process, root)
            near, far = (f"http://127.0.0.1:{ports[place]}" for place in ("near", "far"))
            yield Server({"near": near, "far": far}, root, (process.pid, listing.pid))
        finally:
            end_process(process)
            listing.stdin.close()


def find_nginx() -> str:
    """Where nginx is; it stands in /usr/sbin, which is not on every path."""
    nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if nginx is None or not ECHO.exists():
        raise SystemExit(
            f"the benchmark of bulk transfers needs nginx with its echo module: {HINT}"
        )
    return nginx


def config_text(tree: Tree, root: Path, ports: dict[str, int]) -> str:
    """The configuration of nginx."""
    return CONFIG.format(
        **ports,
        echo=ECHO,
        root=root,
        data=tree.root,
        bucket=BUCKET,
        user="user root;" if os.geteuid() == 0 else "",
        log_format=LOG_FORMAT,
        flush=round(FLUSH * 1000),
        delay=ROUND_TRIP,
        handshake=2 * ROUND_TRIP,
        connections=CONNECTIONS,
        files=3 * CONNECTIONS,
    )


def await_log(process: subprocess.Popen[bytes], root: Path) -> None:
    """Wait until nginx has read its configuration and listens."""
    deadline = time.monotonic() + START_SECONDS
    while not (root / "nginx.pid").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"nginx did not start: see {root / 'error.log'}")
        time.sleep(0.02)
