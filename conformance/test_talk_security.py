"""Talk: who is let in, from where, and what the page may do."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

from conformance.assembly import PhoneWorld
from conformance.browsing import Answer, Transport
from conformance.minted import mintings
from harness.suite import Checks, case

FOREIGN = "https://elsewhere.example"
TYPES = {"script": ("text/javascript", "application/javascript"), "style sheet": ("text/css",)}
STRANGERS = {"without a token": "", "with a wrong token": "talk-wrong"}


class Page(HTMLParser):
    """What a page names: `files` (what it is, link) and its policy, where it is in a meta element."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.files: list[tuple[str, str]] = []
        self.policy = ""
        self.feed(answer.text)
        self.policy = answer.headers.get("content-security-policy") or self.policy

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "script" and given.get("src"):
            self.files.append(("script", given["src"]))
        elif tag == "link" and "stylesheet" in given.get("rel", "").lower().split():
            self.files.append(("style sheet", given.get("href", "")))
        elif tag == "meta" and given.get("http-equiv", "").lower() == "content-security-policy":
            self.policy = given.get("content", "")

    def sources(self, directive: str) -> list[str] | None:
        """The sources of a directive, or those of `default-src`; None when anything is allowed."""
        directives = [part.split() for part in self.policy.split(";") if part.strip()]
        rules = {name.lower(): sources for name, *sources in reversed(directives)}
        return rules.get(directive, rules.get("default-src"))


def content_type(answer: Answer) -> str:
    """The media type of an answer, without its parameters."""
    return answer.headers.get("content-type", "").partition(";")[0].strip().lower()


def loose_sources(sources: list[str], own: str) -> list[str]:
    """The sources of a policy that let foreign or inline scripts run; a nonce or a hash takes inline ones back."""
    named = [source for source in sources if not source.startswith("'")]
    foreign = [source for source in named if source.rstrip("/") != own]
    guarded = any(source.startswith(("'nonce-", "'sha256-", "'sha384-", "'sha512-")) for source in sources)
    return foreign + [source for source in sources if source == "'unsafe-inline'" and not guarded]


def allows(sources: list[str], origin: str, own: str) -> bool:
    """Whether a list of sources of a policy allows connections to an origin."""
    address = urlsplit(origin)
    for source in sources:
        if source in ("*", origin) or source == f"{address.scheme}:" or (source == "'self'" and origin == own):
            return True
        host = source.partition("://")[2] or source
        scheme = source.partition("://")[0] if "://" in source else address.scheme
        name, _, port = host.partition("/")[0].partition(":")
        fits = name == address.hostname or (name.startswith("*.") and (address.hostname or "").endswith(name[1:]))
        if scheme == address.scheme and fits and (port in ("", "*") or port == str(address.port)):
            return True
    return False


@case(about="TALK-SE-011", claims=["talk.page"], audio=False)
async def test_the_page_and_its_files(world: PhoneWorld, check: Checks) -> None:
    """A browser opens the page and loads what it names."""
    page = await world.web.page()
    good = page.status == 200 and content_type(page) == "text/html"
    check("TALK-SE-011", good, f"the page is answered {page.status}, {content_type(page) or 'of no type'}")
    read = Page(page)
    for kind, link in read.files:
        url = urljoin(world.web.origin + world.web.page_path(), link)
        if url.startswith(world.web.origin + "/"):
            file = await world.web.page(url.removeprefix(world.web.origin))
            good = file.status == 200 and content_type(file) in TYPES[kind]
            check("TALK-SE-011", good, f"{link} is answered {file.status}, {content_type(file) or 'of no type'}")
    sources = read.sources("script-src")
    loose = loose_sources(sources or [], world.web.origin)
    from_where = " ".join(sources) if sources is not None else "anywhere"
    check("TALK-SE-009", sources is not None and not loose, f"scripts may come from {from_where}")
    header = page.headers.get("content-security-policy", "")
    framed = "frame-ancestors" in header or "x-frame-options" in page.headers
    check("TALK-SE-010", framed, "neither frame-ancestors nor X-Frame-Options is there")


@case(about="TALK-SE-012", claims=["talk.page", "talk.webrtc"], dialect="ga", audio=False)
async def test_the_page_may_go_where_it_is_sent(world: PhoneWorld, check: Checks) -> None:
    """A browser opens the page, makes its session call, and wants to send the offer."""
    page = await world.web.page()
    with check.expects("TALK-SE-012"):
        grant = await world.web.granted("webrtc")
    given, own = Page(page).sources("connect-src"), world.web.origin
    sources = ["*"] if given is None else given
    for url in (own, grant.offer_url):
        origin = urlsplit(url)._replace(path="", query="", fragment="").geturl()
        check("TALK-SE-012", allows(sources, origin, own), f"the page may not connect to {origin}: {' '.join(sources)}")
    # Only what comes by HTTP has headers, and only that could be kept in a cache.
    if grant.answer.headers:
        stored = grant.answer.headers.get("cache-control", "")
        check(
            "TALK-SE-005", "no-store" in stored, f"the answer with the secret says Cache-Control: {stored or 'nothing'}"
        )
    invites(world, check, grant.answer)


def invites(world: PhoneWorld, check: Checks, answer: Answer) -> None:
    """No page of another origin may read this answer."""
    allowed = answer.headers.get("access-control-allow-origin")
    good = allowed in (None, world.web.origin)
    check("TALK-SE-008", good, f"the answer has Access-Control-Allow-Origin: {allowed}")


async def is_refused(
    world: PhoneWorld,
    check: Checks,
    rule: str,
    transport: Transport,
    how: str,
    *,
    token: str | None = None,
    origin: str = "",
) -> Answer:
    """A session call that is to be refused, before anything is asked of OpenAI."""
    before = asked(world)
    answer = await world.web.asks(transport, token=token, origin=origin)
    check(rule, 400 <= answer.status < 500, f"a session call {how} is answered {answer.status}")
    check(rule, asked(world) == before, f"a session call {how} made the gateway ask OpenAI for something")
    return answer


def asked(world: PhoneWorld) -> int:
    """How often OpenAI was asked for anything."""
    return len(mintings(world.wire)) + len(world.openai.openings)


async def strangers_come(world: PhoneWorld, check: Checks, transport: Transport) -> None:
    """Without the token, with wrong ones, from elsewhere; in the end somebody is let in."""
    short = world.planted["talk.token"][:-4]
    for how, wrong in {**STRANGERS, "with a part of the token": short}.items():
        await is_refused(world, check, "TALK-SE-006", transport, how, token=wrong)
    table = world.profile.talk.webrtc if transport == "webrtc" else world.profile.talk.relay
    origins = (FOREIGN, "null") if table is not None and table.kind == "request" else ()
    for origin in origins:  # only a request comes from a page
        answer = await is_refused(world, check, "TALK-SE-007", transport, f"from {origin}", origin=origin)
        invites(world, check, answer)
    preflight = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    if table is not None and table.request is not None:
        url = world.web.origin + table.request.partition(" ")[2]
        invites(world, check, await world.web.request("OPTIONS", url, headers=preflight, origin=FOREIGN))
    with check.expects("TALK-SE-006"):
        await world.web.granted(transport)


@case(about="TALK-SE-006", claims=["talk.token", "talk.webrtc"], dialect="ga", audio=False)
async def test_strangers_ask_for_a_secret(world: PhoneWorld, check: Checks) -> None:
    """Session calls without the token, with wrong ones, and from the pages of others; then one that is as it should."""
    await strangers_come(world, check, "webrtc")


@case(about="TALK-SE-006", claims=["talk.token", "talk.relay"], audio=False)
async def test_strangers_ask_for_a_ticket(world: PhoneWorld, check: Checks) -> None:
    """The same for the relay."""
    if world.profile.talk.relay is not None and world.profile.talk.relay.kind not in (None, "driver"):
        await strangers_come(world, check, "relay")


@case(about="TALK-SE-013", claims=["talk.token", "talk.tools", "tools"], audio=False)
async def test_strangers_call_a_tool(world: PhoneWorld, check: Checks) -> None:
    """Tool calls without the token, with a wrong one, from the page of another; then one that is as it should."""
    tool = world.profile.claims.tool or ""
    for how, token in STRANGERS.items():
        answer = await world.web.runs(tool, "{}", token=token)
        check("TALK-SE-013", 400 <= answer.status < 500, f"a tool call {how} is answered {answer.status}")
    if world.profile.talk.tool is not None and world.profile.talk.tool.kind == "request":
        answer = await world.web.runs(tool, "{}", origin=FOREIGN)
        check("TALK-SE-007", 400 <= answer.status < 500, f"a tool call from {FOREIGN} is answered {answer.status}")
    answer = await world.web.runs(tool, '{"city": "Paris"}')
    check("TALK-SE-013", answer.ok, f"a tool call as it should be is answered {answer.status}")
