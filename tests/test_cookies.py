"""Cookies as bytes: what is found in hostile headers, and what is written into responses."""

from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asgi_sessions import cookies
from asgi_sessions.cookies import (
    MAX_AGE_LIMIT,
    MAX_CANDIDATES,
    CookieOptions,
    CookieWriter,
    add_headers,
    check_cookie_name,
    find,
    is_prefixed,
)
from asgi_sessions.exceptions import DuplicateCookie

from .timing import LINEAR, takes_at_most


def found(*cookie_headers, name=b"session"):
    return find([(b"cookie", header) for header in cookie_headers], name)


# -- reading


@pytest.mark.parametrize(
    ("header", "values"),
    [
        (b"session=abc", [b"abc"]),
        (b"theme=dark; session=abc; lang=de", [b"abc"]),
        (b"theme=dark;session=abc;lang=de", [b"abc"]),
        (b"theme=dark; \t session \t=\t abc \t; lang=de", [b"abc"]),
        (b"session=", [b""]),
        (b"session=;", [b""]),
        (b"session", []),
        (b"session; session=abc", [b"abc"]),
        (b"", []),
        (b";", []),
        (b"=", []),
        (b"=session=abc", []),
        (b"session=a=b==", [b"a=b=="]),
        (b"session==", [b"="]),
        (b"xsession=abc", []),
        (b"sessionx=abc", []),
        (b"session =abc", [b"abc"]),
        (b"my session=abc", []),
        (b"session x=abc", []),
        (b"SESSION=abc", []),
        (b"sessionsession=abc", []),
        (b"x=session=abc", []),
        (b"session=session=abc", [b"session=abc"]),
        (b"x=session; session=abc", [b"abc"]),
        (b"session xsession=a; session=abc", [b"abc"]),
        (b"__Host-session=abc", []),
        (b"session,session=abc", []),
        (b"a=1, session=abc", []),
    ],
)
def test_only_a_pair_with_exactly_this_name_is_found(header, values):
    assert found(header) == values


@pytest.mark.parametrize(
    ("header", "value"),
    [
        (b'session="abc"', b'"abc"'),
        (b'session="a;b"', b'"a'),
        (rb'session="a\"b"', rb'"a\"b"'),
        (rb'session="\073"', rb'"\073"'),
        (b"session=a%3Bb", b"a%3Bb"),
        (b"session=a+b", b"a+b"),
        (b"session=a b", b"a b"),
        (b"$Version=1; session=abc; $Path=/", b"abc"),
        (b"session=abc\x00", b"abc\x00"),
        (b"session=\x0babc\x0c", b"\x0babc\x0c"),
        (b"session=abc\r\n", b"abc\r\n"),
        (b"session=\xa0abc\x85", b"\xa0abc\x85"),
        (b"session=\xe3\x80\x80abc", b"\xe3\x80\x80abc"),
        (b"session=\xff\xfe", b"\xff\xfe"),
    ],
)
def test_a_value_is_handed_over_as_the_bytes_that_came(header, value):
    assert found(header) == [value]


@pytest.mark.parametrize("filler", [b"\x00", b"\x0b", b"\x0c", b"\r", b"\n", b"\x1c", b"\x85", b"\xa0"])
def test_only_space_and_tab_are_dropped_around_a_name(filler):
    assert found(filler + b"session=abc") == []
    assert found(b"session" + filler + b"=abc") == []


def test_several_cookie_headers_are_read_in_order():
    headers = [(b"cookie", b"session=b"), (b"accept", b"session=x"), (b"cookie", b"a=1; session=a")]
    assert find(headers, b"session") == [b"b", b"a"]


def test_only_the_lowercase_cookie_header_is_read():
    headers = [(b"Cookie", b"session=a"), (b"cookie2", b"session=b"), (b"x-cookie", b"session=c")]
    assert find(headers, b"session") == []


def test_any_iterable_of_headers_is_read_once():
    assert find(iter([(b"host", b"x"), (b"cookie", b"session=a")]), b"session") == [b"a"]


def test_a_value_that_comes_again_counts_once():
    assert found(b"session=a; session=b; session=a", b"session=b", b"session=a") == [b"a", b"b"]


def test_a_thousand_identical_cookies_are_one_candidate():
    assert found(b"session=a; " * 1000) == [b"a"]


def test_as_many_candidates_as_allowed_are_handed_over():
    assert found(b"session=1; session=2", b"session=3; session=4") == [b"1", b"2", b"3", b"4"]


def test_cookie_tossing_cannot_push_the_visitors_cookie_out_of_sight():
    tossed = b"; ".join(b"session=%d" % number for number in range(MAX_CANDIDATES))
    with pytest.raises(DuplicateCookie, match="more than 4 different cookies are named 'session'"):
        found(tossed + b"; session=the-visitors-own")


def test_the_refusal_of_too_many_candidates_tells_no_value():
    with pytest.raises(DuplicateCookie) as caught:
        found(b"; ".join(b"session=secret%d" % number for number in range(9)))
    assert "secret" not in str(caught.value)


def test_differing_duplicates_of_a_prefixed_name_all_reach_the_caller():
    assert found(b"__Host-id=a; __Host-id=b", name=b"__Host-id") == [b"a", b"b"]


def test_a_prefixed_name_is_matched_exactly():
    assert found(b"__host-id=a; __HOST-id=b; id=c", name=b"__Host-id") == []


def plain_find(headers, name):
    """The oracle of ``find()``: RFC 6265, 4.2.1, read leniently, with the white space of RFC 6265bis, 5.6."""
    lines = [line for key, line in headers if key == b"cookie"]
    pairs = [pair.partition(b"=") for line in lines for pair in line.split(b";")]
    found = [value.strip(b" \t") for key, equals, value in pairs if equals and key.strip(b" \t") == name]
    values = list(dict.fromkeys(found))
    if len(values) > MAX_CANDIDATES:
        raise DuplicateCookie
    return values


def outcome(search, headers, name):
    try:
        return search(headers, name)
    except DuplicateCookie:
        return DuplicateCookie


names = [b"session", b"xsession", b"__Host-session", b"SESSION", b"sess", b"ion", b"$Version", b"a", b"b"]
marks = [b"session=", b"=", b";", b"; ", b" ", b"\t", b",", b'"', b"\\", b"\x00", b"\n", b"\xa0", b"\xff"]
pieces = st.sampled_from(names + marks)
cookie_headers = st.lists(pieces, max_size=24).map(b"".join) | st.binary(max_size=40)
all_headers = st.lists(st.tuples(st.sampled_from([b"cookie", b"cookie", b"host"]), cookie_headers), max_size=4)


@settings(max_examples=200, deadline=None)
@given(headers=all_headers, name=st.sampled_from([b"session", b"s", b"a", b"aa", b"__Host-session"]))
@example(headers=[(b"cookie", b"aaa=1;aa=2;a=3; a a=4;a=a=a;;aa")], name=b"a")
@example(headers=[(b"cookie", b"; session=1;session=2;session=3;session=4;session=5")], name=b"session")
def test_find_agrees_with_its_plain_twin(headers, name):
    assert outcome(find, headers, name) == outcome(plain_find, headers, name)


def fragments(name):
    pairs = [name + b"=" + value for value in (b"", b"1", b"2", b"3", b"4", b"5", b'"6"', b"a=b")]
    others = [name, name[:3], name[3:], b"x" + name, b"theme=dark", b"=", b" ", b"\t", b'"', b"\\", b"\x00", b"\xff"]
    return pairs * 2 + [b"; ", b"; ", b";"] * 6 + others


def test_find_agrees_with_its_plain_twin_on_random_headers(request):
    random, seen = Random(6265), set()
    for _ in range(200_000 if request.config.getoption("--chaos") else 20_000):
        name = random.choice([b"session", b"a", b"aa", b"__Host-session"])
        keys = random.choices([b"cookie", b"cookie", b"cookie", b"host"], k=random.randrange(1, 5))
        headers = [(key, b"".join(random.choices(fragments(name), k=random.randrange(16)))) for key in keys]
        result = outcome(find, headers, name)
        assert result == outcome(plain_find, headers, name), (headers, name)
        seen.add(result if result is DuplicateCookie else len(result))
    assert seen == {0, 1, 2, 3, 4, DuplicateCookie}


@pytest.mark.parametrize(
    "filler",
    [
        b'"',
        b"\\",
        b'\\"',
        b";",
        b"; ",
        b"=",
        b" ",
        b"\t",
        b"session",
        b"session ",
        b"session=",
        b"sessio",
        b"s",
        b"session=a; ",
        b"session;",
        b"session =",
        b" session",
        b"x=session;",
        b";session=\\",
        b"\x00",
        b"\xff",
    ],
)
@pytest.mark.parametrize("start", [b"", b"session=", b'session="', b"session"])
async def test_time_is_linear_in_the_length_of_the_header(start, filler):
    small, large = (start + filler * (size // len(filler)) for size in (8192, 65536))
    assert await takes_at_most(LINEAR, found, small, large)


# -- names


@pytest.mark.parametrize("name", ["session", "__Host-id", "a", "!#$%&'*+-.^_`|~09azAZ", "x" * 256])
def test_a_token_is_a_cookie_name(name):
    assert check_cookie_name(name) == name.encode()


@pytest.mark.parametrize("bad", [*list(' \t\r\n\x00\x7f()<>@,;:\\"/[]?={}'), "é", "\u017f", "\ud800", "\uff53"])
def test_a_character_that_no_cookie_name_has_is_refused_by_name(bad):
    with pytest.raises(ValueError) as caught:
        check_cookie_name(f"my{bad}session")
    assert repr(bad) in str(caught.value)


def test_an_empty_cookie_name_is_refused():
    with pytest.raises(ValueError, match="must not be empty"):
        check_cookie_name("")


def test_a_cookie_name_that_leaves_little_room_is_refused():
    with pytest.raises(ValueError, match="257 bytes; write at most 256"):
        check_cookie_name("x" * 257)


@pytest.mark.parametrize("name", [b"session", None, 1])
def test_a_cookie_name_that_is_no_text_is_refused(name):
    with pytest.raises(TypeError, match="write a str such as 'session'"):
        check_cookie_name(name)


def test_prefixes_count_in_any_case():
    assert all(map(is_prefixed, [b"__Host-x", b"__host-x", b"__HOST-x", b"__Secure-x", b"__sEcUrE-x"]))
    assert not any(map(is_prefixed, [b"session", b"__Host", b"_Host-x", b"x__Host-", b"__Secure_x"]))


# -- attributes


@pytest.mark.parametrize("path", ["/", "/app", "/a/b%20c", "/~x!$&'()*+,=:@", "/" + "x" * 1023])
def test_a_path_of_printable_ascii_is_accepted(path):
    assert CookieOptions(path=path).path == path


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "path='': must start with '/'"),
        ("app", "path='app': must start with '/'"),
        (" /app", "must start with '/'"),
        ("/a;Domain=evil", "write printable ASCII, and space and ';' as %20 and %3B"),
        ("/a b", "write printable ASCII"),
        ("/a\r\nX: y", "write printable ASCII"),
        ("/a\n", "write printable ASCII"),
        ("/\x00", "write printable ASCII"),
        ("/\x7f", "write printable ASCII"),
        ("/é", "write printable ASCII"),
        ("/" + "x" * 1024, "1025 characters; write at most 1024"),
    ],
)
def test_a_path_that_browsers_would_misread_is_refused(path, message):
    with pytest.raises(ValueError, match=message):
        CookieOptions(path=path)


@pytest.mark.parametrize(
    ("domain", "normal"),
    [
        ("example.com", "example.com"),
        (".example.com", "example.com"),
        ("Example.COM", "example.com"),
        ("localhost", "localhost"),
        ("127.0.0.1", "127.0.0.1"),
        ("xn--mnchen-3ya.de", "xn--mnchen-3ya.de"),
        ("a-b.c1", "a-b.c1"),
        (".".join(["x" * 63] * 3 + ["x" * 61]), ".".join(["x" * 63] * 3 + ["x" * 61])),
    ],
)
def test_a_host_name_is_kept_in_its_normal_form(domain, normal):
    assert CookieOptions(domain=domain).domain == normal


@pytest.mark.parametrize(
    "domain",
    [
        "",
        ".",
        "..example.com",
        "example..com",
        "example.com.",
        "https://example.com",
        "example.com:8000",
        "example.com/app",
        "a b",
        "a;b",
        "a,b",
        "a_b.com",
        "-a.com",
        "a-.com",
        "example.com\n",
        "a\x00",
        "[::1]",
        "*.a",
        "x" * 64 + ".com",
    ],
)
def test_a_domain_that_is_no_host_name_is_refused(domain):
    with pytest.raises(ValueError, match=r"write a host name such as 'example\.com', without scheme, port"):
        CookieOptions(domain=domain)


@pytest.mark.parametrize("domain", ["münchen.de", "example.com\u212a", "ex\u0430mple.com"])
def test_a_domain_beyond_ascii_is_refused(domain):
    with pytest.raises(ValueError, match="write its ASCII form"):
        CookieOptions(domain=domain)


def test_a_domain_longer_than_any_host_name_is_refused():
    with pytest.raises(ValueError, match="254 characters; write at most 253"):
        CookieOptions(domain=".".join(["x" * 63] * 3 + ["x" * 62]))


@pytest.mark.parametrize("same_site", ["lax", "Lax", "LAX", "strict", "Strict", "none", "None", None])
def test_same_site_is_accepted_in_any_case(same_site):
    assert CookieOptions(same_site=same_site).same_site == (same_site and same_site.lower())


@pytest.mark.parametrize("same_site", ["", "laxx", "lax; Secure", "no", " lax"])
def test_an_unknown_same_site_is_refused(same_site):
    with pytest.raises(ValueError, match="write 'lax', 'strict' or 'none', or None"):
        CookieOptions(same_site=same_site)


@pytest.mark.parametrize(
    "options",
    [
        {"same_site": True},
        {"same_site": 1},
        {"path": None},
        {"path": b"/"},
        {"domain": b"example.com"},
        {"domain": 1},
        {"https_only": "yes"},
        {"https_only": 1},
        {"http_only": None},
        {"http_only": 1},
        {"partitioned": None},
        {"partitioned": "true"},
    ],
)
def test_an_option_of_the_wrong_type_is_refused_by_name(options):
    (option, value), *_ = options.items()
    with pytest.raises(TypeError) as caught:
        CookieOptions(**options)
    assert f"{option}={value!r}: write " in str(caught.value)


@pytest.mark.parametrize(
    ("options", "what"),
    [({"same_site": "None"}, "same_site='none'"), ({"partitioned": True}, "partitioned=True")],
)
def test_an_attribute_that_needs_secure_is_refused_without_it(options, what):
    with pytest.raises(ValueError, match=f"https_only=False: browsers refuse {what} without Secure"):
        CookieOptions(https_only=False, **options)


@pytest.mark.parametrize("name", ["__Host-id", "__host-id", "__Secure-id", "__SECURE-id"])
def test_a_prefixed_name_is_refused_without_secure(name):
    with pytest.raises(ValueError, match=f"browsers refuse the cookie name '{name}' without Secure; write None"):
        CookieOptions(https_only=False).validate(name)


@pytest.mark.parametrize("name", ["__Host-id", "__host-id", "__HOST-id"])
def test_a_host_name_prefix_is_refused_with_a_domain_or_a_path(name):
    with pytest.raises(ValueError, match=r"domain='example\.com': write domain=None, as the name '__"):
        CookieOptions(domain="example.com").validate(name)
    with pytest.raises(ValueError, match="path='/app': write path='/', as the name '__"):
        CookieOptions(path="/app").validate(name)


def test_a_secure_prefix_may_have_a_domain_and_a_path():
    CookieOptions(domain="example.com", path="/app").validate("__Secure-id")


def test_an_ordinary_name_may_go_without_secure():
    CookieOptions(https_only=False, domain="example.com", path="/app").validate("session")


def test_validation_covers_the_name_itself():
    with pytest.raises(ValueError, match="';' cannot be in it"):
        CookieOptions().validate("a;b")


def test_options_are_replaced_under_the_same_rules():
    options = CookieOptions(same_site="strict")
    assert options.replace(path="/app") == CookieOptions(same_site="strict", path="/app")
    with pytest.raises(ValueError, match="must start with '/'"):
        options.replace(path="app")
    with pytest.raises(TypeError, match="secure"):
        options.replace(secure=True)


def test_options_are_frozen():
    with pytest.raises(AttributeError):
        CookieOptions().path = "/app"


# -- writing


def test_the_default_cookie_has_these_attributes_and_no_others():
    writer = CookieWriter("session", CookieOptions())
    assert writer.set(b"VALUE", max_age=1209600, secure=True) == (
        b"session=VALUE; Path=/; Max-Age=1209600; HttpOnly; SameSite=Lax; Secure"
    )
    assert writer.set(b"VALUE", max_age=1209600, secure=False) == (
        b"session=VALUE; Path=/; Max-Age=1209600; HttpOnly; SameSite=Lax"
    )


def test_a_browser_session_cookie_has_no_max_age():
    writer = CookieWriter("session", CookieOptions())
    assert writer.set(b"VALUE", max_age=None, secure=False) == b"session=VALUE; Path=/; HttpOnly; SameSite=Lax"


def test_all_attributes_are_written():
    options = CookieOptions(path="/app", domain=".Example.com", same_site="none", partitioned=True)
    assert CookieWriter("cart", options).set(b"v", max_age=60, secure=False) == (
        b"cart=v; Path=/app; Domain=example.com; Max-Age=60; HttpOnly; SameSite=None; Secure; Partitioned"
    )


def test_attributes_that_are_off_are_left_out():
    options = CookieOptions(same_site=None, http_only=False, https_only=False)
    assert CookieWriter("cart", options).set(b"v", max_age=None, secure=True) == b"cart=v; Path=/"


@pytest.mark.parametrize(
    ("max_age", "written"),
    [(-1, 0), (-(10**30), 0), (0, 0), (1, 1), (MAX_AGE_LIMIT, 34560000), (MAX_AGE_LIMIT + 1, 34560000)],
)
def test_max_age_stays_between_nothing_and_400_days(max_age, written):
    cookie = CookieWriter("session", CookieOptions()).set(b"v", max_age=max_age, secure=False)
    assert b"; Max-Age=%d;" % written in cookie


@pytest.mark.parametrize(
    ("name", "options", "on_http", "on_https"),
    [
        ("session", {}, False, True),
        ("session", {"https_only": True}, True, True),
        ("session", {"https_only": False}, False, False),
        ("session", {"same_site": "none"}, True, True),
        ("session", {"partitioned": True}, True, True),
        ("__Host-session", {}, True, True),
        ("__secure-session", {}, True, True),
    ],
)
def test_secure_follows_the_scheme_unless_something_asks_for_it(name, options, on_http, on_https):
    writer = CookieWriter(name, CookieOptions(**options))
    for secure, expected in ((False, on_http), (True, on_https)):
        assert (b"; Secure" in writer.set(b"v", max_age=60, secure=secure)) is expected
        assert (b"; Secure" in writer.expire(secure=secure)) is expected


def attributes(cookie):
    _, *parts = cookie.split(b"; ")
    return [part for part in parts if not part.startswith((b"Max-Age=", b"Expires="))]


@settings(max_examples=100, deadline=None)
@given(
    options=st.builds(
        CookieOptions,
        path=st.sampled_from(["/", "/app"]),
        domain=st.sampled_from([None, "example.com"]),
        same_site=st.sampled_from([None, "lax", "strict", "none"]),
        https_only=st.sampled_from([None, True]),
        http_only=st.booleans(),
        partitioned=st.booleans(),
    ),
    secure=st.booleans(),
)
def test_a_cookie_is_deleted_with_the_very_attributes_it_was_set_with(options, secure):
    writer = CookieWriter("session", options)
    assert attributes(writer.expire(secure=secure)) == attributes(writer.set(b"v", max_age=60, secure=secure))


def test_a_deletion_cookie_is_empty_and_past():
    writer = CookieWriter("session", CookieOptions(path="/app", domain="example.com"))
    assert writer.expire(secure=True) == (
        b"session=; Path=/app; Domain=example.com; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"
        b"; HttpOnly; SameSite=Lax; Secure"
    )


def test_a_written_cookie_is_found_again():
    writer = CookieWriter("session", CookieOptions())
    pair = writer.set(b"the-token_1.x", max_age=60, secure=False).split(b"; ")[0]
    assert found(pair, name=writer.name) == [b"the-token_1.x"]


def test_size_counts_name_and_value_without_the_equals_sign():
    assert CookieWriter("session", CookieOptions()).room == 4089 == cookies.MAX_COOKIE - len("session")


def test_a_writer_refuses_options_that_its_name_forbids():
    with pytest.raises(ValueError, match="write domain=None"):
        CookieWriter("__Host-session", CookieOptions(domain="example.com"))
    with pytest.raises(ValueError, match="' ' cannot be in it"):
        CookieWriter("my session", CookieOptions())


# -- the response's other headers

COVERED = b"vary", b"Cookie"
COOKIE = b"set-cookie", b"session=x"


def with_cookie(headers):
    """The headers of a response with a cookie, without that and Vary."""
    joined = [*headers, COVERED]
    add_headers(joined, [COOKIE[1]])
    assert joined.count(COOKIE) == 1
    return [header for header in joined if header not in (COVERED, COOKIE)]


def test_without_a_cookie_nothing_but_vary_is_added():
    headers = [(b"Cache-Control", b"public")]
    add_headers(headers, [])
    assert headers == [(b"Cache-Control", b"public"), COVERED]


def test_each_cookie_is_a_header_of_its_own():
    headers = []
    add_headers(headers, [b"a=1", b"b=2"])
    assert headers[1:3] == [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], [(b"vary", b"Cookie")]),
        ([(b"server", b"x")], [(b"server", b"x"), (b"vary", b"Cookie")]),
        ([(b"vary", b"Accept-Encoding")], [(b"vary", b"Accept-Encoding, Cookie")]),
        ([(b"Vary", b"Accept-Encoding")], [(b"Vary", b"Accept-Encoding, Cookie")]),
        ([(b"VARY", b"Origin,")], [(b"VARY", b"Origin, Cookie")]),
        ([(b"vary", b"")], [(b"vary", b"Cookie")]),
        ([(b"vary", b"X-Cookie")], [(b"vary", b"X-Cookie, Cookie")]),
        ([(b"vary", b"Cookie2")], [(b"vary", b"Cookie2, Cookie")]),
        ([(b"vary", b"Origin"), (b"vary", b"Accept")], [(b"vary", b"Origin, Cookie"), (b"vary", b"Accept")]),
    ],
)
def test_cookie_is_joined_into_vary(before, after):
    add_headers(before, [])
    assert before == after


@pytest.mark.parametrize(
    "headers",
    [
        [(b"vary", b"*")],
        [(b"Vary", b" * ")],
        [(b"vary", b"Accept, *")],
        [(b"vary", b"Cookie")],
        [(b"vary", b"cookie")],
        [(b"VARY", b"Accept-Encoding,COOKIE")],
        [(b"vary", b"Accept"), (b"Vary", b"\tCookie , Origin")],
    ],
)
def test_a_vary_that_covers_cookie_stays_as_it_is(headers):
    before = list(headers)
    add_headers(headers, [])
    assert headers == before


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], [(b"cache-control", b'no-cache="Set-Cookie"')]),
        ([(b"cache-control", b"")], [(b"cache-control", b'no-cache="Set-Cookie"')]),
        (
            [(b"Cache-Control", b"public, max-age=60")],
            [(b"Cache-Control", b'no-cache="Set-Cookie", public, max-age=60')],
        ),
        (
            [(b"cache-control", b"public"), (b"cache-control", b"max-age=60")],
            [(b"cache-control", b'no-cache="Set-Cookie", public'), (b"cache-control", b"max-age=60")],
        ),
    ],
)
def test_no_cache_is_joined_into_cache_control(before, after):
    assert with_cookie(before) == after


@pytest.mark.parametrize(
    "value",
    [
        b"must-revalidate",
        b's-maxage=1, x="no-store"',
        b'x="a, no-store, b"',
        rb'x="a\", no-store, \"b"',
        b'x="a, no-store',
        b'no-cache="foo, bar"',
        b'private="x"',
        b'no-cache=""',
        b"no-storeX",
        b"x-private",
        b'no-cache="X-Set-Cookie"',
        b'x="private", no-cache="foo"',
    ],
)
def test_what_only_looks_strict_is_made_strict(value):
    headers = [(b"cache-control", value)]
    assert with_cookie(headers) == [(b"cache-control", b'no-cache="Set-Cookie", ' + value)]


@pytest.mark.parametrize(
    "value",
    [
        b"no-store",
        b"No-Store",
        b"private",
        b"no-cache",
        b"max-age=0,no-cache",
        b"private, max-age=60",
        b'no-cache="Set-Cookie"',
        b'NO-CACHE="foo, SET-COOKIE , bar"',
        b"no-cache=set-cookie",
        b'private="Set-Cookie"',
        b'x="a, b", no-store',
        rb'x="a\"", private',
    ],
)
def test_a_cache_control_that_is_as_strict_stays_as_it_is(value):
    headers = [(b"Cache-Control", b"max-age=1"), (b"cache-control", value)]
    assert with_cookie(headers) == headers


@given(st.lists(st.tuples(st.sampled_from([b"vary", b"Cache-Control", b"x"]), st.binary(max_size=20)), max_size=4))
@settings(max_examples=100, deadline=None)
def test_joining_a_second_time_changes_nothing(headers):
    add_headers(headers, [b"a=1"])
    once = list(headers)
    add_headers(headers, [b"a=1"])
    assert headers == [*once, (b"set-cookie", b"a=1")]
