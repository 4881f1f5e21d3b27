"""The stand-in's HTTP server, a thread on a free port (of 127.0.0.1 unless told otherwise)."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from tests.standin import api
from tests.standin.answers import Request, Response
from tests.standin.cluster import Cluster
from tests.standin.filters import Filter
from tests.standin.world import World


class Standin:
    """One Marathon; two of them with one world are a leader and a Marathon that proxies to it.

    `bind` is the address to listen on, `prefix` the path under which a proxy shows it, `requests` what was asked. With
    the leader ends all that its world's agents run.
    """

    def __init__(
        self,
        world: World | None = None,
        *,
        filters: Sequence[Filter] = (),
        prefix: str = "",
        tls: ssl.SSLContext | None = None,
        bind: str = "127.0.0.1",
    ) -> None:
        self.world = world or World()
        self.filters = list(filters)
        self.prefix = prefix
        self.requests: list[Request] = []
        self._scheme = "https" if tls else "http"
        self._server = _Server((bind, 0), _Handler)
        self._server.standin = self
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.world.leader = self.world.leader or self.address
        self._cluster = Cluster(self.world) if self.address == self.world.leader else None
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if self._cluster:
            self._cluster.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        if self._cluster:
            self._cluster.stop()

    @property
    def address(self) -> str:
        """host:port."""
        host, port = self._server.server_address[:2]
        return f"{host!s}:{port}"

    @property
    def url(self) -> str:
        return f"{self._scheme}://{self.address}{self.prefix}"

    def respond(self, request: Request) -> Response:
        """The first answer of a filter, else the API's."""
        self.requests.append(request)
        for each in self.filters:
            refused = each(request)
            if refused:
                return refused
        if not request.path.startswith(self.prefix):
            return Response(404, b"404 page not found\n", "text/plain")
        return api.answer(self.world, replace(request, path=request.path.removeprefix(self.prefix)))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    standin: Standin

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away (or trusts no certificate of ours) is part of the tests; the rest is a bug."""
        if not isinstance(sys.exception(), ConnectionError | ssl.SSLError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _respond(self) -> None:
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        request = Request(self.command, unquote(parts.path), parse_qs(parts.query), headers, body)
        response = self.server.standin.respond(request)
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        if response.body:
            self.send_header("Content-Type", response.content_type)
        self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        self.wfile.write(response.body)

    do_GET = do_POST = do_PUT = do_DELETE = _respond  # noqa: N815

    def log_message(self, *arguments: Any) -> None:
        """Tests read `requests`."""
