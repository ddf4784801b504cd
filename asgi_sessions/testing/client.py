"""The cookies of a test client: what it would send, and what it keeps of a response."""

from __future__ import annotations

from collections.abc import Iterable
from email.message import Message
from http.cookiejar import CookieJar
from typing import Any, Protocol
from urllib.parse import urlsplit
from urllib.request import Request

from ..cookies import find

__all__ = ["Client", "ClientCookies", "Response", "cookies_after"]


class Client(Protocol):
    """Anything with a cookie jar and a base URL: Starlette's and FastAPI's ``TestClient``, clients of httpx, httpx2."""

    @property
    def cookies(self) -> Any: ...
    @property
    def base_url(self) -> Any: ...


class Response(Protocol):
    """What such a client returned."""

    @property
    def status_code(self) -> int: ...
    @property
    def headers(self) -> Any: ...
    @property
    def request(self) -> Any: ...


class ClientCookies:
    """A client's jar, seen from one path of its host; what is sent and kept is decided by the jar.

    Raises:
        ValueError: the client has no base URL, so its cookies belong to no host.
    """

    def __init__(self, client: Client, path: str) -> None:
        base = urlsplit(str(getattr(client, "base_url", "")))
        if not base.scheme or not base.netloc:
            raise ValueError(
                f"{type(client).__name__} has no base_url, so nobody knows which host its cookies are for; "
                "write e.g. base_url='http://testserver'"
            )
        self.scheme = base.scheme
        self._url = f"{base.scheme}://{base.netloc}{path}"
        self._jar: CookieJar = getattr(client.cookies, "jar", client.cookies)

    def header(self) -> bytes:
        """The Cookie header that the client would send; empty without cookies."""
        request = self._request()
        self._jar.add_cookie_header(request)
        return (request.get_header("Cookie") or "").encode("latin-1")

    def keep(self, set_cookies: Iterable[bytes]) -> None:
        """Take what a response would bring.

        Raises:
            ValueError: the client would not send it back.
        """
        for line in set_cookies:
            self._keep(line)

    def _keep(self, line: bytes) -> None:
        name, value = _pair(line)
        self._drop_loose(name.decode("ascii"))
        self._jar.extract_cookies(_Headers(line), self._request())  # type: ignore[arg-type]  # all that it asks for
        if value and value not in find([(b"cookie", self.header())], name):
            attributes = line.partition(b"; ")[2].decode("ascii")
            raise ValueError(
                f"the client would not send the cookie {name.decode('ascii')!r} ({attributes}) to {self._url}; "
                "make its base_url fit, e.g. base_url='https://testserver' for a Secure cookie"
            )

    def _drop_loose(self, name: str) -> None:
        """What ``client.cookies.set(name, value)`` left belongs to no host, so that no response could replace it."""
        for cookie in [cookie for cookie in self._jar if cookie.name == name and not cookie.domain]:
            self._jar.clear(cookie.domain, cookie.path, cookie.name)

    def _request(self) -> Request:
        return Request(self._url)  # noqa: S310 - nothing is opened: it tells the jar where the cookies go


class _Headers:
    """As much of a response as a ``CookieJar`` looks at."""

    def __init__(self, set_cookie: bytes) -> None:
        self._message = Message()
        self._message["Set-Cookie"] = set_cookie.decode("ascii")

    def info(self) -> Message:
        return self._message


def cookies_after(response: Response, name: bytes) -> bytes:
    """The Cookie header that follows a response, as far as the cookie ``name`` goes."""
    sent = find([(b"cookie", response.request.headers.get("cookie", "").encode("latin-1"))], name)
    for line in _set_cookies(response.headers):
        if _pair(line)[0] == name:
            sent = [] if _is_deleted(line) else [_pair(line)[1]]
    return b"; ".join(name + b"=" + value for value in sent)


def _set_cookies(headers: Any) -> list[bytes]:
    lines = headers.get_list("set-cookie") if hasattr(headers, "get_list") else headers.getlist("set-cookie")
    return [line.encode("latin-1") for line in lines]


def _pair(set_cookie: bytes) -> tuple[bytes, bytes]:
    name, _, value = set_cookie.partition(b";")[0].partition(b"=")
    return name.strip(), value.strip()


def _is_deleted(set_cookie: bytes) -> bool:
    return b"max-age=0" in [attribute.strip().lower() for attribute in set_cookie.split(b";")[1:]]
