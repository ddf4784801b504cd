"""Cookies as bytes: find ours among the request's headers, write ours into the response's.

Reading trusts nothing, because every byte of a Cookie header may be an attacker's. Writing takes what was
validated when the application was configured. The response headers that go with a cookie are here too.

Sources: RFC 6265 (cookies); RFC 6265bis, draft-ietf-httpbis-rfc6265bis (prefixes, limits, what browsers do);
RFC 9110 (tokens, Vary); RFC 9111 (Cache-Control).
"""

import dataclasses
import re
from collections.abc import Iterable
from typing import Any, Literal, get_args

from ._engine.cache import Cache
from .exceptions import DuplicateCookie

SameSite = Literal["lax", "strict", "none"]
Headers = list[tuple[bytes, bytes]]
CookieScope = tuple[bytes, str, str | None]  # name, path and domain: what tells one cookie from another

MAX_COOKIE = 4096  # bytes of name and value together; browsers drop what is longer (RFC 6265bis, 5.6)
MAX_CANDIDATES = 4  # different values of one name that are worth the cryptography
MAX_AGE_LIMIT = 400 * 86400  # seconds; browsers shorten what is longer (RFC 6265bis, 5.5)

_MAX_NAME = 256  # bytes; ours, so that the value has room
_MAX_ATTRIBUTE = 1024  # bytes; browsers ignore an attribute whose value is longer (RFC 6265bis, 5.6)
_MAX_ENDINGS = 64  # different Max-Age that a writer keeps ready
_MAX_HOST = 253  # characters of a host name (RFC 1035, 2.3.4, without the length octets at both ends)

_WSP = b" \t"
_NOT_TOKEN = re.compile(r"[^!#$%&'*+\-.^_`|~0-9A-Za-z]")  # RFC 9110, 5.6.2
_PATH = re.compile(r"/[!-:<-~]*")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_MEMBER = re.compile(rb'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+', re.DOTALL)  # of a list: a comma in quotes is text
_NO_CACHE = b'no-cache="Set-Cookie"'
_VARY = b"vary", b"Cookie"
_CACHE_CONTROL = b"cache-control", _NO_CACHE


def find(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    """The different values of all cookies called exactly ``name``, in the order they came.

    Values are raw bytes: pairs end at ``;``, the first ``=`` ends the name, spaces and tabs around either are
    dropped (RFC 6265bis, 5.6), and nothing else is. Quotes stay, percent signs stay, ``$Version`` is a cookie
    like any other, a pair without ``=`` has no name. A value that comes again counts once. The time it takes
    is linear in the headers' length, whatever they hold.

    Several values are for the caller to judge. Browsers keep cookies of one name apart by domain, path and
    partition, so several come from a changed option or from cookie tossing. Under a ``__Host-`` name, where
    domain and path are fixed, only ``partitioned`` is left as an innocent reason (see ``is_prefixed``).

    Args:
        headers: ``scope["headers"]``; ASGI has lowercased the names, no other spelling is looked for.
        name: as ``check_cookie_name`` returns it.

    Returns:
        At most ``MAX_CANDIDATES`` values; an empty list if there is no such cookie.

    Raises:
        DuplicateCookie: there are more than ``MAX_CANDIDATES``. Judging only the first few would be unsafe: a
            sibling domain could put its own valid session first and push the visitor's out of sight with
            filler, so that what has to be refused as two live sessions would look like one.
    """
    values: list[bytes] = []
    for key, header in headers:
        if key == b"cookie" and (at := header.find(name)) >= 0:
            start = at + len(name) + 1
            end = header.find(b";", start)
            if end < 0:
                end = len(header)
            alone = header[at - 2 : start] == b"; " + name + b"=" if at else header[:start] == name + b"="
            if alone and not values and header.find(name, end) < 0:  # as browsers write it, and named but once
                values.append(header[start:end].strip(_WSP))
            else:
                _collect(header, name, at, values)
    return values


def _collect(header: bytes, name: bytes, at: int, values: list[bytes]) -> None:
    """Add the new values of one header, in which the name was found first at ``at``."""
    # Searching for the name beats splitting at every ";". Each step takes a pair, and none is taken twice:
    # once the name was found in a pair, in its place or elsewhere, the rest of that pair cannot matter.
    start = 0
    while at >= 0:
        start = header.rfind(b";", start, at) + 1 or start
        end = header.find(b";", at)
        if end < 0:
            end = len(header)
        key, equals, value = header[start:end].partition(b"=")
        value = value.strip(_WSP)
        if equals and key.strip(_WSP) == name and value not in values:
            values.append(value)
            if len(values) > MAX_CANDIDATES:
                raise DuplicateCookie(f"more than {MAX_CANDIDATES} different cookies are named {name.decode()!r}")
        start, at = end + 1, header.find(name, end)


def check_cookie_name(name: str) -> bytes:
    """The name as it goes into headers, once it is known to be a token (RFC 6265, 4.1.1; RFC 9110, 5.6.2).

    Raises:
        TypeError: not a ``str``.
        ValueError: empty, longer than 256 bytes, or with a character that a cookie's name cannot have.
    """
    if not isinstance(name, str):
        raise TypeError(f"cookie name {name!r}: write a str such as 'session', not {type(name).__name__}")
    if not name:
        raise ValueError("cookie name '': must not be empty; write e.g. 'session'")
    bad = _NOT_TOKEN.search(name)
    if bad is not None:
        raise ValueError(f"cookie name {name!r}: {bad[0]!r} cannot be in it; write letters, digits, '-', '_'")
    if len(name) > _MAX_NAME:
        raise ValueError(f"cookie name {name[:20]!r}...: {len(name)} bytes; write at most {_MAX_NAME}")
    return name.encode("ascii")


def is_prefixed(name: bytes) -> bool:
    """Whether browsers tie rules to it: ``__Host-`` and ``__Secure-``, in any case (RFC 6265bis, 4.1.3)."""
    return name.lower().startswith((b"__host-", b"__secure-"))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CookieOptions:
    """The attributes of one session's cookie, checked when they are made.

    Attributes:
        path: the cookie is sent to this path and below.
        domain: None: only to the host that set it; a host name: to that host and all below it. Kept in lower
            case and without a leading dot, which browsers ignore (RFC 6265bis, 5.6.3).
        same_site: ``"lax"``, ``"strict"`` or ``"none"``, in any case; None leaves the attribute out.
        https_only: None: Secure when the connection is https or wss, and always for ``__Host-`` and
            ``__Secure-`` names, SameSite=None and Partitioned. True: always. False: never.
        http_only: hidden from JavaScript.
        partitioned: one cookie jar per top-level site (CHIPS).

    Raises:
        TypeError: an option has the wrong type.
        ValueError: browsers would refuse, cut or misread the cookie; the message says what to write instead.
    """

    path: str = "/"
    domain: str | None = None
    same_site: SameSite | None = "lax"
    https_only: bool | None = None
    http_only: bool = True
    partitioned: bool = False

    def __post_init__(self) -> None:
        _check_path(self.path)
        object.__setattr__(self, "path", str.__str__(self.path))
        for option, kinds in {"http_only": bool, "partitioned": bool, "https_only": bool | None}.items():
            value = getattr(self, option)
            if not isinstance(value, kinds):
                raise TypeError(f"{option}={value!r}: write True or False, not {type(value).__name__}")
        object.__setattr__(self, "domain", _normal_domain(self.domain))
        object.__setattr__(self, "same_site", _normal_same_site(self.same_site))
        if self.same_site == "none":
            self._check_secure("same_site='none'")
        if self.partitioned:
            self._check_secure("partitioned=True")

    def validate(self, cookie_name: str) -> None:
        """Check what depends on the cookie's name (RFC 6265bis, 4.1.3).

        Raises:
            TypeError, ValueError: as ``check_cookie_name``.
            ValueError: a ``__Host-`` or ``__Secure-`` name, in any case, with ``https_only=False``; a
                ``__Host-`` name with a domain, or with a path other than ``/``.
        """
        name = check_cookie_name(cookie_name)
        if is_prefixed(name):
            self._check_secure(f"the cookie name {cookie_name!r}")
        if not name.lower().startswith(b"__host-"):
            return
        instead = f"the name {cookie_name!r} asks for, or rename the cookie with the prefix '__Secure-'"
        if self.domain is not None:
            raise ValueError(f"domain={self.domain!r}: write domain=None, as {instead}")
        if self.path != "/":
            raise ValueError(f"path={self.path!r}: write path='/', as {instead}")

    def replace(self, **changes: Any) -> "CookieOptions":
        """A copy with some options changed; raises as the constructor does."""
        return dataclasses.replace(self, **changes)

    def _check_secure(self, what: str) -> None:
        if self.https_only is False:
            raise ValueError(f"https_only=False: browsers refuse {what} without Secure; write None or True")


def _check_path(path: object) -> None:
    if not isinstance(path, str):
        raise TypeError(f"path={path!r}: write a str such as '/', not {type(path).__name__}")
    if not path.startswith("/"):
        raise ValueError(f"path={path!r}: must start with '/'; write e.g. '/' or '/app'")
    if len(path) > _MAX_ATTRIBUTE:
        raise ValueError(f"path={path[:20]!r}...: {len(path)} characters; write at most {_MAX_ATTRIBUTE}")
    if not _PATH.fullmatch(path):
        # A space is printable, but no request has one in its path: the cookie would never come back.
        raise ValueError(f"path={path!r}: write printable ASCII, and space and ';' as %20 and %3B")


def _normal_domain(domain: object) -> str | None:
    if domain is None:
        return None
    if not isinstance(domain, str):
        raise TypeError(f"domain={domain!r}: write a str such as 'example.com', or None")
    if not domain.isascii():
        raise ValueError(f"domain={domain!r}: write its ASCII form, such as 'xn--mnchen-3ya.de'")
    host = domain.removeprefix(".").lower()
    if len(host) > _MAX_HOST:
        raise ValueError(f"domain={domain[:20]!r}...: {len(host)} characters; write at most {_MAX_HOST}")
    if not _HOST.fullmatch(host):
        raise ValueError(
            f"domain={domain!r}: write a host name such as 'example.com', without scheme, port and path, "
            "or None for the host that sets the cookie"
        )
    return host


def _normal_same_site(same_site: object) -> str | None:
    if same_site is None:
        return None
    instead = "write 'lax', 'strict' or 'none', or None to leave the attribute out"
    if not isinstance(same_site, str):
        raise TypeError(f"same_site={same_site!r}: {instead}")
    if same_site.lower() not in get_args(SameSite):
        raise ValueError(f"same_site={same_site!r}: {instead}")
    return same_site.lower()


class CookieWriter:
    """Writes one session's Set-Cookie headers; whatever stays the same is put together beforehand.

    Attributes:
        name: the cookie's name, as ``find`` takes it.
        options: the attributes.
        scope: name, path and domain: cookies that differ in one of them are different cookies.
        room: bytes that the value may take: ``MAX_COOKIE`` counts name and value, without the ``=`` (RFC 6265bis, 5.6).

    Raises:
        TypeError, ValueError: as ``CookieOptions.validate``.
    """

    __slots__ = ("_endings", "_prefix", "_scope", "_tails", "name", "options", "room", "scope")

    def __init__(self, name: str, options: CookieOptions) -> None:
        options.validate(name)
        self.name = check_cookie_name(name)
        self.options = options
        self.room = MAX_COOKIE - len(self.name)
        self.scope: CookieScope = self.name, options.path, options.domain
        scope = f"; Path={options.path}" + (f"; Domain={options.domain}" if options.domain else "")
        self._prefix, self._scope = self.name + b"=", scope.encode("ascii")
        self._endings: Cache[tuple[int | None, bool], bytes] = Cache(_MAX_ENDINGS)  # what comes after the value
        must = is_prefixed(self.name) or options.same_site == "none" or options.partitioned
        https_only = True if must else options.https_only
        self._tails = [_tail(options, secure if https_only is None else https_only) for secure in (False, True)]

    def set(self, value: bytes, max_age: int | None, secure: bool) -> bytes:
        """The header's value that sets the cookie.

        Args:
            value: a sealed token: ASCII letters, digits, ``-``, ``_`` and ``.`` only. It is written as it is,
                and its size is not checked (see ``room``).
            max_age: seconds, brought between 0 and 400 days; None: until the browser is closed.
            secure: whether the connection's scheme is https or wss.
        """
        ending = self._endings.get((max_age, secure))
        if ending is None:
            age = b"" if max_age is None else b"; Max-Age=%d" % min(max(max_age, 0), MAX_AGE_LIMIT)
            ending = self._endings.put((max_age, secure), self._scope + age + self._tails[secure])
        return self._prefix + value + ending

    def expire(self, *, secure: bool) -> bytes:
        """The header's value that deletes the cookie; has the attributes without which browsers keep it."""
        past = b"; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"
        return self._prefix + self._scope + past + self._tails[secure]


def _tail(options: CookieOptions, secure: bool) -> bytes:
    tail = b"; HttpOnly" if options.http_only else b""
    if options.same_site:
        tail += b"; SameSite=" + options.same_site.capitalize().encode()
    return tail + (b"; Secure" if secure else b"") + (b"; Partitioned" if options.partitioned else b"")


def add_headers(headers: Headers, cookies: Iterable[bytes]) -> None:
    """Mark a response as one that used a session, in place; header names may be in any case.

    Args:
        cookies: values of Set-Cookie.
    """
    varies = guarded = False
    for name, _ in headers:
        if len(name) == 4:  # looking at the length first takes half the time
            varies = varies or name.lower() == b"vary"
        elif len(name) == 13:
            guarded = guarded or name.lower() == b"cache-control"
    if varies:
        _add_vary(headers)
    else:
        headers.append(_VARY)
    if not cookies:
        return
    for cookie in cookies:
        headers.append((b"set-cookie", cookie))
    if guarded:
        _add_cache_control(headers)
    else:
        headers.append(_CACHE_CONTROL)


def _add_vary(headers: Headers) -> None:
    """Have caches keep one response per Cookie header (RFC 9110, 12.5.5)."""
    found = _positions(headers, b"vary")
    named = {member.strip(_WSP).lower() for at in found for member in headers[at][1].split(b",")}
    if named.isdisjoint((b"*", b"cookie")):
        name, value = headers[found[0]]
        headers[found[0]] = name, (value.rstrip(b" \t,") + b", Cookie").removeprefix(b", ")


def _add_cache_control(headers: Headers) -> None:
    """Have caches never hand out our Set-Cookie (RFC 9111, 5.2.2.4).

    What the application wrote stays. Nothing is added where it is as strict: ``no-store``, or ``private`` or
    ``no-cache``, either for the whole response or for fields with Set-Cookie among them.
    """
    found = _positions(headers, b"cache-control")
    if any(_guards_cookies(member) for at in found for member in _MEMBER.findall(headers[at][1])):
        return
    # In front, so that a quote which the application forgot to close cannot swallow it.
    name, value = headers[found[0]]
    headers[found[0]] = name, (_NO_CACHE + b", " + value if value.strip(_WSP) else _NO_CACHE)


def _positions(headers: Headers, name: bytes) -> list[int]:
    return [at for at, (key, _) in enumerate(headers) if key.lower() == name]


def _guards_cookies(directive: bytes) -> bool:
    name, equals, argument = directive.partition(b"=")
    kind = name.strip(_WSP).lower()
    if not equals:
        return kind in (b"no-store", b"private", b"no-cache")
    fields = argument.strip(b' \t"').lower().split(b",")
    return kind in (b"private", b"no-cache") and b"set-cookie" in [field.strip(_WSP) for field in fields]
