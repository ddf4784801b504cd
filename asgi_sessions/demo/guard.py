"""What keeps other sites out of the demo's forms."""

from __future__ import annotations

from urllib.parse import urlsplit

from fastapi import HTTPException, Request

__all__ = ["HEADERS", "refuse_other_sites"]

HEADERS = {
    "Cache-Control": "no-store",  # the page is personal: after a logout, the back button must not show it
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; "
    "img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
}


async def refuse_other_sites(request: Request) -> None:
    """No site may post a form of its own in the visitor's name (CSRF).

    SameSite=Lax keeps our cookies out of the forms of other sites, but not out of those of a sibling subdomain, and
    the login form needs no cookie. Browsers say where a form comes from, and scripts cannot change what they say; a
    client that sends neither header is no browser, and has no visitor whom it could be misused against
    (OWASP Cross-Site Request Forgery Prevention Cheat Sheet, "Fetch Metadata headers").
    """
    if request.method != "POST":
        return
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    if foreign or site not in (None, "same-origin", "none"):
        raise HTTPException(403, "this form was sent from another site")
