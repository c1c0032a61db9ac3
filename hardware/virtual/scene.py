"""What a gate's camera sees: a code on a card or a phone, held before it in a foyer. Pure: same input, same
picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

WIDTH, HEIGHT = 1280, 720
FOCAL_PIXELS = 1100.0
"""A lens of some 60 degrees across, as cameras over turnstiles have."""

MARGIN_MODULES = 4.0
"""Light border of the card round the picture, so that also a picture without a quiet zone has one."""

OVERSAMPLE = 2.0
"""The picture is scaled to twice its size in the frame before it is tilted; more is lost, less looks jagged.
"""

MAX_SIDE = 2400
"""Pixels of the picture's longer side before it is tilted."""

Pixels = NDArray[numpy.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How the code is held. Angles in degrees, blur in pixels (standard deviation), noise in grey levels of
    255.

    ``px_per_module`` is the size of one module in the middle of the frame; ``seed`` fixes background and
    noise.
    """

    tilt: float = 20.0
    roll: float = 6.0
    turn: float = 8.0
    blur: float = 0.8
    noise: float = 6.0
    px_per_module: float = 6.0
    seed: int = 1


def render(code: Image.Image | None, view: View, *, variants: int = 1) -> list[Image.Image]:
    """Frames of 1280 x 720 (RGB) with ``code`` (any picture of a QR code) before the lens, or without.

    The ``variants`` differ in their noise only, as frames of a camera on its post do.
    """
    random = numpy.random.default_rng(view.seed)
    frame = _foyer(random)
    if code is not None:
        frame = _hold(frame, _card(code, view), view)
    if view.blur > 0:
        frame = frame.filter(ImageFilter.GaussianBlur(view.blur))
    pixels = numpy.asarray(frame, dtype=numpy.float32)
    return [_grain(pixels, view.noise, random) for _ in range(variants)]


def _grain(pixels: Pixels, noise: float, random: numpy.random.Generator) -> Image.Image:
    """Add the noise of a sensor, alike in all colours as a JPEG from a dim room has it."""
    grain = random.standard_normal(size=(HEIGHT, WIDTH, 1), dtype=numpy.float32) * noise
    return Image.fromarray(numpy.clip(pixels + grain, 0, 255).astype(numpy.uint8))


def module_pixels(code: Image.Image) -> float:
    """Pixels of one module of a sharp picture of a code: the shortest run of one colour in any row."""
    dark = numpy.asarray(code.convert("L")) < 128
    shortest = dark.shape[1]
    for row in dark:
        edges = numpy.flatnonzero(row[1:] != row[:-1])
        if len(edges) > 1:
            shortest = min(shortest, int(numpy.diff(edges).min()))
    return float(shortest)


def _card(code: Image.Image, view: View) -> Image.Image:
    """The code on its light card, scaled for the frame."""
    module = module_pixels(code)
    scale = view.px_per_module * OVERSAMPLE / module
    scale = min(scale, MAX_SIDE / max(code.size))
    size = (max(1, round(code.width * scale)), max(1, round(code.height * scale)))
    small = code.convert("L").resize(size, Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BOX)
    margin = round(MARGIN_MODULES * module * scale)
    card = Image.new("L", (size[0] + 2 * margin, size[1] + 2 * margin), 236)
    # Ink on paper, or a phone's screen, is neither black nor white.
    card.paste(small.point([24 + level * 212 // 255 for level in range(256)]), (margin, margin))
    return card


def _hold(frame: Image.Image, card: Image.Image, view: View) -> Image.Image:
    """Lay the card into the frame, tilted, turned and rolled about its middle."""
    corners = _project(card.width / OVERSAMPLE, card.height / OVERSAMPLE, view)
    coefficients = _homography(corners, card.size)
    laid = card.transform((WIDTH, HEIGHT), Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BICUBIC)
    mask = Image.new("L", (WIDTH, HEIGHT), 0)
    ImageDraw.Draw(mask).polygon([(float(x), float(y)) for x, y in corners], fill=255)
    # Light falls from above: the lower edge of what is held up is a little darker.
    shade = numpy.linspace(1.06, 0.9, HEIGHT, dtype=numpy.float32)[:, None]
    lit = numpy.clip(numpy.asarray(laid, dtype=numpy.float32) * shade, 0, 255).astype(numpy.uint8)
    shadow = mask.filter(ImageFilter.GaussianBlur(14)).point([level // 3 for level in range(256)])
    frame.paste(Image.new("RGB", frame.size, (30, 28, 26)), (10, 16), shadow)
    frame.paste(Image.merge("RGB", [Image.fromarray(lit)] * 3), (0, 0), mask)
    return frame


def _project(width: float, height: float, view: View) -> NDArray[numpy.float64]:
    """Corners of the card in the frame, clockwise from top left, by a pinhole camera."""
    tilt, turn, roll = (math.radians(angle) for angle in (view.tilt, view.turn, view.roll))
    about_x = numpy.array([[1, 0, 0], [0, math.cos(tilt), -math.sin(tilt)], [0, math.sin(tilt), math.cos(tilt)]])
    about_y = numpy.array([[math.cos(turn), 0, math.sin(turn)], [0, 1, 0], [-math.sin(turn), 0, math.cos(turn)]])
    about_z = numpy.array([[math.cos(roll), -math.sin(roll), 0], [math.sin(roll), math.cos(roll), 0], [0, 0, 1]])
    x, y = width / 2, height / 2
    flat = numpy.array([[-x, -y, 0], [x, -y, 0], [x, y, 0], [-x, y, 0]])
    # At the focal length from the lens one unit of the card is one pixel.
    placed = flat @ (about_z @ about_y @ about_x).T + numpy.array([0, 0, FOCAL_PIXELS])
    seen: NDArray[numpy.float64] = placed[:, :2] / placed[:, 2:] * FOCAL_PIXELS
    seen += numpy.array([WIDTH / 2, HEIGHT / 2])
    return seen


def _homography(corners: NDArray[numpy.float64], size: tuple[int, int]) -> list[float]:
    """The eight numbers that take a pixel of the frame to one of the card (Heckbert 1989, 2.2)."""
    width, height = size
    rows: list[list[float]] = []
    values: list[float] = []
    for (x, y), (u, v) in zip(corners, ((0, 0), (width, 0), (width, height), (0, height)), strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
        values += [u, v]
    solved: list[float] = numpy.linalg.solve(numpy.array(rows), numpy.array(values)).tolist()
    return solved


def _foyer(random: numpy.random.Generator) -> Image.Image:
    """A foyer out of focus: wall, floor, a bright door, notices, people as shapes."""
    down = numpy.linspace(0, 1, HEIGHT, dtype=numpy.float32)[:, None, None]
    wall, floor = numpy.array([176, 172, 162]), numpy.array([104, 92, 82])
    pixels = wall * (1 - 0.35 * down) + numpy.zeros((HEIGHT, WIDTH, 3), dtype=numpy.float32)
    pixels[470:] = floor * (0.8 + 0.3 * down[470:])
    picture = Image.fromarray(numpy.clip(pixels, 0, 255).astype(numpy.uint8))
    draw = ImageDraw.Draw(picture)
    door = int(random.integers(80, 260))
    draw.rectangle((door, 90, door + 210, 520), fill=(222, 230, 236))
    draw.rectangle((door + 100, 90, door + 110, 520), fill=(120, 122, 124))
    for _ in range(4):
        left, top = int(random.integers(420, 1150)), int(random.integers(60, 260))
        colour = tuple(int(level) for level in random.integers(70, 220, size=3))
        draw.rectangle((left, top, left + 90, top + 120), fill=colour)
        for line in range(5):
            draw.rectangle((left + 10, top + 14 + 20 * line, left + 76, top + 22 + 20 * line), fill=(60, 60, 64))
    for _ in range(2):
        middle = int(random.integers(300, 1180))
        coat = tuple(int(level) for level in random.integers(30, 120, size=3))
        draw.ellipse((middle - 34, 240, middle + 34, 320), fill=(170, 136, 116))
        draw.rounded_rectangle((middle - 80, 316, middle + 80, 700), 50, fill=coat)
    return picture.filter(ImageFilter.GaussianBlur(5))
