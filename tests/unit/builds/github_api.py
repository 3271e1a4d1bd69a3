"""A server that answers what a test wants where GitHub is asked."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer


class _Api(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        status, body = self.server.reply
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def github():
    """A server with a ``reply``, what was ``asked``, and the ``environment`` that leads to it."""
    with HTTPServer(("127.0.0.1", 0), _Api) as server:
        server.asked, server.reply = [], (200, b"{}")
        server.environment = {"GITHUB_API_URL": f"http://127.0.0.1:{server.server_port}"}
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
