"""Templates, style sheets and the headers of pages. Everything a page needs comes from this service, nothing inline."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from cardservice.web.view import GatesView

FOLDER: Final = Path(__file__).resolve().parent
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
PAGE_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
MEDIA_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FOREVER: Final = "public, max-age=31536000, immutable"
"""For addresses that name their content."""
DEFAULT_COLOUR: Final = "#1d4d6d"
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file of ``static/``, held in memory, with the fingerprint that its address carries."""

    body: bytes
    media_type: str
    fingerprint: str


@cache
def static_files() -> Mapping[str, StaticFile]:
    """The files of ``static/`` by name; no other path is ever opened."""
    return {
        path.name: StaticFile(path.read_bytes(), MEDIA_TYPES[path.suffix], sha256(path.read_bytes()).hexdigest()[:12])
        for path in sorted((FOLDER / "static").iterdir())
        if path.suffix in MEDIA_TYPES
    }


def static_url(name: str) -> str:
    """Address of a static file; it changes with the content, so browsers may keep it for ever."""
    return f"/static/{name}?v={static_files()[name].fingerprint}"


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["static_url"] = static_url
    return environment


def render(template: str, **values: Any) -> str:
    """A template with these values, escaped."""
    return _templates().get_template(template).render(**values)


class Fragments(dict[str, str]):
    """The replaceable parts of the gates page by their HTML id, in the order of the page."""

    view: GatesView | None = None

    def board(self) -> str:
        """The part of the page that holds them all."""
        if self.view is None:
            return ""
        return render("board.html", view=self.view, parts={name: Markup(html) for name, html in self.items()})  # noqa: S704


def render_fragments(view: GatesView) -> Fragments:
    """Each replaceable part of the page, rendered by the same templates as the page itself."""
    parts = Fragments(numbers=render("numbers.html", numbers=view.numbers))
    parts.view = view
    for told in view.told:
        parts[told.key] = render("told.html", told=told, several=not view.tenant)
    for site in view.sites:
        for reader in site.readers:
            parts[reader.key] = render("reader.html", reader=reader)
        for lane in site.lanes:
            parts[lane.key] = render("lane.html", lane=lane)
    return parts


def brand_sheet(councils: Iterable[Mapping[str, Any]]) -> str:
    """A style sheet with each council's own colour and what reads on it."""
    rules = []
    for council in councils:
        colour, on = council_colours(council["brand"])
        rules.append(f'[data-council="{council["tenant"]}"]{{--brand:{colour};--on-brand:{on}}}')
    return "\n".join(rules)


def council_colours(brand: Mapping[str, Any]) -> tuple[str, str]:
    """A council's own colour, and black or white on it, whichever reads better (WCAG 1.4.3)."""
    colour = brand.get("colour", DEFAULT_COLOUR)
    if not (isinstance(colour, str) and _COLOUR.fullmatch(colour)):
        colour = DEFAULT_COLOUR
    # Pure black: with anything lighter there are colours on which neither reads well enough.
    return colour, "#ffffff" if contrast(colour, "#ffffff") >= contrast(colour, "#000000") else "#000000"


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two ``#rrggbb`` colours (WCAG 2.2, "contrast ratio"), 1 to 21."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    parts = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def page(html: str, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A page with the headers of all pages."""
    return web.Response(
        text=html, status=status, content_type="text/html", charset="utf-8", headers={**PAGE_HEADERS, **(headers or {})}
    )
