"""Hostile Cookie headers: nothing in them is a cookie of ours, though some nearly are."""

from collections.abc import Callable

from asgi_sessions import CookieRefused, DuplicateCookie, MalformedSession

from .case import Case, live_cookie
from .target import Headers, Target

SIZE = 64 * 1024  # bytes; what servers let through at most


def _case(name: str, header: bytes | list[bytes], error: type[CookieRefused] | None, key: bytes = b"cookie") -> Case:
    """``LIVE`` stands for a cookie that works."""
    parts = header if isinstance(header, list) else [header]

    async def send(target: Target) -> Headers:
        live = await live_cookie(target) if any(b"LIVE" in part for part in parts) else b""
        return [(key, part.replace(b"LIVE", live)) for part in parts]

    return Case(name=name, send=send, error=error, reads=False)


def _filled(what: str, filler: bytes) -> list[Case]:
    # Stripped, a value of spaces is empty; nothing follows a name but separators.
    text = (filler * SIZE)[:SIZE]
    return [
        _case(f"64 KB of {what}", text, None),
        _case(f"64 KB of {what} as the value", b"session=" + text, MalformedSession),
        _case(f"64 KB of {what} in quotes as the value", b'session="' + text + b'"', MalformedSession),
        _case(f"64 KB of {what} before an equals sign", text + b"=session", None),
    ]


NOT_OURS = [
    _case("an empty header", b"", None),
    _case("an equals sign", b"=", None),
    _case("a value without a name", b"=session", None),
    _case("the name without an equals sign", b"session", None),
    _case("the live token as a nameless cookie", b"=LIVE", None),
    _case("the live token as a cookie without equals sign", b"LIVE", None),
    _case("the name as another cookie's value", b"other=session=LIVE", None),
    _case("the name in upper case", b"SESSION=LIVE", None),
    _case("the name capitalised", b"Session=LIVE", None),
    _case("the name with something before it", b"xsession=LIVE", None),
    _case("the name with something after it", b"sessionx=LIVE", None),
    _case("the name as PHP would write an array", b"session[]=LIVE", None),
    _case("the name in quotes", b'"session"=LIVE', None),
    _case("the name percent-encoded", b"%73ession=LIVE", None),
    _case("the name with a percent-encoded space", b"session%20=LIVE", None),
    _case("the name after NUL", b"\x00session=LIVE", None),
    _case("the name before NUL", b"session\x00=LIVE", None),
    _case("the name after a no-break space", b"\xc2\xa0session=LIVE", None),
    _case("the name after a Latin-1 no-break space", b"\xa0session=LIVE", None),
    _case("the name after an ideographic space", b"\xe3\x80\x80session=LIVE", None),
    _case("the name after a byte order mark", b"\xef\xbb\xbfsession=LIVE", None),
    _case("the name before a vertical tab", b"session\x0b=LIVE", None),
    _case("the name before a form feed", b"session\x0c=LIVE", None),
    _case("the name before a unit separator", b"session\x1f=LIVE", None),
    _case("the name after a line feed", b"a=b\nsession=LIVE", None),
    _case("the name after carriage return and line feed", b"a=b\r\nsession=LIVE", None),
    _case("the name before a line feed", b"session\n=LIVE", None),
    _case("pairs joined by a comma", b"a=b, session=LIVE", None),
    _case("pairs joined by an ampersand", b"a=b&session=LIVE", None),
    _case("the pair inside a quoted value", b'a="b, session=LIVE"', None),
    _case("the name with a prefix that browsers know", b"__Host-session=LIVE", None),
    _case("an RFC 2965 version before the name", b"$Version=1, session=LIVE", None),
    _case("the live cookie in a Cookie2 header", b"session=LIVE", None, key=b"cookie2"),
    _case("the live cookie in a Set-Cookie header", b"session=LIVE", None, key=b"set-cookie"),
    _case("ten thousand other cookies", b"; ".join(b"c%d=%d" % (n, n) for n in range(10_000)), None),
    _case("ten thousand headers", [b"c%d=1" % n for n in range(10_000)], None),
    _case("64 KB of the name alone", b"session" * (SIZE // 7), None),
    _case("64 KB of the name and semicolons", b"session;" * (SIZE // 8), None),
    _case("64 KB of the name as values", b"a=session;" * (SIZE // 10), None),
]

NOT_TOKENS = [
    _case("an empty value", b"session=", MalformedSession),
    _case("a value of a space and a tab", b"session= \t", MalformedSession),
    _case("a value of empty quotes", b'session=""', MalformedSession),
    _case("an equals sign as the value", b"session==", MalformedSession),
    _case("the live token in double quotes", b'session="LIVE"', MalformedSession),
    _case("the live token in single quotes", b"session='LIVE'", MalformedSession),
    _case("the live token after a quote", b'session="LIVE', MalformedSession),
    _case("the live token before a quote", b'session=LIVE"', MalformedSession),
    _case("the live token before a backslash", b"session=LIVE\\", MalformedSession),
    _case("the live token before an escaped octal", b"session=LIVE\\054", MalformedSession),
    _case("the live token before a comma", b"session=LIVE,", MalformedSession),
    _case("the live token twice with a comma", b"session=LIVE, session=LIVE", MalformedSession),
    _case("the live token before NUL", b"session=LIVE\x00", MalformedSession),
    _case("the live token after NUL", b"session=\x00LIVE", MalformedSession),
    _case("the live token before a percent-encoded NUL", b"session=LIVE%00", MalformedSession),
    _case("the live token before a line feed", b"session=LIVE\n", MalformedSession),
    _case("the live token before carriage return and line feed", b"session=LIVE\r\n", MalformedSession),
    _case("the live token before a no-break space", b"session=LIVE\xc2\xa0", MalformedSession),
    _case("the live token after a byte order mark", b"session=\xef\xbb\xbfLIVE", MalformedSession),
    _case("the live token before a byte beyond UTF-8", b"session=LIVE\xff", MalformedSession),
    _case("the live token before an encoded lone surrogate", b"session=LIVE\xed\xa0\x80", MalformedSession),
    _case("the live token with base64 padding", b"session=LIVE=", MalformedSession),
    _case("the live token with more base64 padding", b"session=LIVE==", MalformedSession),
    _case("the live token with a space inside", b"session=LIVE LIVE", MalformedSession),
    _case("the live token before a plus sign", b"session=LIVE+", MalformedSession),
    _case("the live token before a slash", b"session=LIVE/", MalformedSession),
    _case("the live token before a dot", b"session=LIVE.", MalformedSession),
    _case("the live token after a dot", b"session=.LIVE", MalformedSession),
    _case("the live token as a cookie's second value", b"session=x=LIVE", MalformedSession),
    _case("dots", b"session=...", MalformedSession),
    _case("two dots", b"session=..", MalformedSession),
    _case("a path", b"session=../../../../etc/passwd", MalformedSession),
    _case("a format string", b"session=%s%n{0}{0.__class__}", MalformedSession),
    _case("a Redis command", b"session=\r\nFLUSHALL\r\n", MalformedSession),
    _case("a template", b"session={{7*7}}${7*7}", MalformedSession),
    _case("a lookup that loggers do", b"session=${jndi:ldap://127.0.0.1/x}", MalformedSession),
    _case("the name over and over", b"session=" * (SIZE // 8), MalformedSession),
    _case("an empty value ten thousand times", b"session=;" * 10_000, MalformedSession),
    _case("four candidates of garbage", b"session=a; session=b; session=c; session=d", MalformedSession),
    _case("five candidates", b"session=a; session=b; session=c; session=d; session=e", DuplicateCookie),
    _case(
        "a live token among five candidates",
        b"session=LIVE; session=b; session=c; session=d; session=e",
        DuplicateCookie,
    ),
    _case("candidates over five headers", [b"session=%d" % n for n in range(5)], DuplicateCookie),
    _case("seven thousand candidates", b";".join(b"session=%d" % n for n in range(7_000)), DuplicateCookie),
]

FILLERS: list[tuple[str, bytes]] = [
    ("backslashes", b"\\"),
    ("quotes", b'"'),
    ("escaped quotes", b'\\"'),
    ("semicolons", b";"),
    ("spaces", b" "),
    ("tabs", b"\t"),
    ("NUL", b"\x00"),
    ("bytes beyond ASCII", b"\xff"),
    ("dots", b"."),
    ("percent signs", b"%"),
    ("letters", b"A"),
]

HEADERS: list[Case] = [*NOT_OURS, *NOT_TOKENS]
for what, filler in FILLERS:
    HEADERS += _filled(what, filler)

Make = Callable[[bytes], bytes]
FILLED: dict[str, Make] = {
    "letters": lambda text: b"session=" + text.replace(b"?", b"A"),
    "backslashes": lambda text: b'session="' + text.replace(b"?", b"\\"),
    "quotes": lambda text: b"session=" + text.replace(b"?", b'"'),
    "dots": lambda text: b"session=" + text.replace(b"?", b"."),
    "semicolons": lambda text: text.replace(b"?", b";"),
    "names": lambda text: text.replace(b"????????", b"session;"),
    "empty values": lambda text: text.replace(b"????????", b"session="),
    "letters and dots": lambda text: b"session=" + text.replace(b"??", b"A."),
}
