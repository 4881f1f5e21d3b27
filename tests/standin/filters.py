"""What can stand before Marathon's API: each takes a request and answers it, or lets it through with None."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable

from tests.standin.answers import Request, Response, message

Filter = Callable[[Request], Response | None]

_PAGE = "<!DOCTYPE html><html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>"


def html(status: int, title: str) -> Filter:
    """A web page for whatever is asked, as proxies, Jetty and login pages do."""
    return lambda request: Response(status, _PAGE.format(title).encode(), "text/html; charset=utf-8")


def basic_auth(user: str, password: str) -> Filter:
    """--http_credentials (HttpModule.scala): everything wants them, and the refusal is a page of Jetty's."""
    wanted = "Basic " + b64encode(f"{user}:{password}".encode()).decode()

    def refuse(request: Request) -> Response | None:
        if request.headers.get("authorization") == wanted:
            return None
        headers = {"WWW-Authenticate": 'Basic realm="Mesosphere"'}
        return Response(401, _PAGE.format("Error 401 Unauthorized").encode(), "text/html", headers)

    return refuse


def dcos_token(token: str) -> Filter:
    """A DC/OS cluster: `token=`, not `Bearer`; the plugin refuses in JSON."""
    wanted = f"token={token}"
    return lambda request: (
        None if request.headers.get("authorization") == wanted else message(401, "Invalid username or password.")
    )


def forbidden(request: Request) -> Response:
    """The authorizer plugin's answer to someone it knows."""
    return message(403, "Not Authorized to perform this action!")


def redirect(url: str, status: int = 307) -> Filter:
    """To the same path of another server."""
    return lambda request: Response(status, headers={"Location": url + request.path})


def no_leader(request: Request) -> Response:
    """A Marathon between two leaders (LeaderProxyFilter.scala, from 1.0 on)."""
    title = "Error 502 Could not determine the current leader"
    return Response(502, _PAGE.format(title).encode(), "text/html; charset=iso-8859-1")
