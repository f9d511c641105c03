"""One chest-radiograph PHANTOM, made from formulas and a seed: no patient is behind it.

The film comes about as an X-ray does: tissue, air and bone are added up along the rays, disease
replaces air, and the sum becomes grey values through a random exposure. Anatomy and disease come
from the patient's seed, position and exposure from the film's; neither knows the label, and every
film is brought to a mean and a contrast drawn at random, so that brightness, contrast, framing or
the marker tell nothing about the class.
"""

import math
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pneumoscope.data.phantom_anatomy import (
    Canvas,
    Grid,
    View,
    bowel_gas,
    bump,
    chest_wall,
    draw_tissue_and_shoulders,
    draw_vessels,
    ellipse_radius,
    lungs_heart_belly,
    ribs,
    spine,
    step,
)
from pneumoscope.errors import UsageError

Pattern = Literal["bacteria", "virus"]
"""``bacteria``: one or two focal, lobar opacities; ``virus``: a diffuse, interstitial one."""

MIN_SIZE_PX = 64
"""Below this the word PHANTOM could not be read."""

# The grid covers more than the film, so that a film turned by _MAX_TURN has no empty corner, with
# fewer points than the film has pixels: it is twice as fast, and a detector blurs as much.
_MARGIN = 1.1
_MAX_TURN = math.radians(5)
_GRID_SHARE = 0.9

_LOBES = ((-0.55, 0.28), (-0.45, 0.62), (-0.55, 0.8), (0.55, 0.28), (0.55, 0.62), (0.58, 0.82))


def render_film(
    seed: int,
    pattern: Pattern | None,
    visibility: float = 1.0,
    *,
    film: int = 0,
    size_px: int = 256,
) -> NDArray[np.uint8]:
    """Returns a phantom film, (size_px, size_px), black 0 to white 255.

    Args:
        seed: The patient: the same seed is the same body and the same disease.
        pattern: The pneumonia, or None for a normal film.
        visibility: How much of the air the opacity replaces at most, in [0, 1].
        film: Number of the patient's film: another position, exposure and grain.
        size_px: Side of the film.

    Raises:
        UsageError: an argument is outside its range.

    >>> film = render_film(1, "bacteria", 0.8, size_px=128)
    >>> film.shape, film.dtype
    ((128, 128), dtype('uint8'))
    """
    if pattern is not None and pattern not in get_args(Pattern):
        raise UsageError(f"no pattern {pattern!r}; expected one of {get_args(Pattern)} or None")
    if not 0 <= visibility <= 1:
        raise UsageError(f"visibility is {visibility}; expected a number from 0 to 1")
    if size_px < MIN_SIZE_PX:
        raise UsageError(f"size_px is {size_px}; expected at least {MIN_SIZE_PX}")
    if seed < 0 or film < 0:
        raise UsageError(f"seed is {seed}, film is {film}; expected neither below 0")
    body = np.random.default_rng([seed, 0])
    disease = np.random.default_rng([seed, 1])
    shot = np.random.default_rng([seed, 2, film])
    zoom = _MARGIN * shot.uniform(0.96, 1.04)
    view = View(
        round(_GRID_SHARE * size_px),
        centre=(shot.uniform(-0.1, 0.1), shot.uniform(0.45, 0.59)),
        extent=(zoom * body.uniform(2.3, 2.65), zoom * body.uniform(1.6, 1.82)),
    )
    depth = _depth(view, body, shot, disease, pattern, visibility)
    return _burn_in(_expose(depth, size_px, shot), shot)


def _depth(
    view: View,
    body: np.random.Generator,
    shot: np.random.Generator,
    disease: np.random.Generator,
    pattern: Pattern | None,
    visibility: float,
) -> Grid:
    """Returns how much the rays are weakened: 0 beside the body, 1 in plain soft tissue."""
    wall = chest_wall(view.v, body)
    air, heart, belly = lungs_heart_belly(view, wall, body)
    vessels = view.drawing(draw_vessels(body))
    outline, bones = draw_tissue_and_shoulders(body)
    _draw_leads(bones, shot)
    tissue = view.drawing(outline, shrink=6, blur=1)
    if pattern is not None:
        air = air * (1 - visibility * _opacity(view, disease, pattern, vessels))
    windpipe = bump(view.u, body.normal(0, 0.012), 0.045) * step(0.3 - view.v, 0.05)

    depth: Grid = tissue - 0.78 * air * (1 + 0.06 * view.noise(body, 0.4))
    depth += body.uniform(0.12, 0.2) * vessels * air
    depth += 0.3 * heart + 0.42 * belly * (1 - 0.8 * bowel_gas(view, body))
    depth += (0.4 * spine(view, body) - 0.18 * windpipe) * np.minimum(tissue * 1.5, 1)
    depth += 0.24 * ribs(view, wall, body) * tissue + 0.45 * view.drawing(bones, shrink=2)
    return depth.clip(min=0)


def _opacity(view: View, rng: np.random.Generator, pattern: Pattern, vessels: Grid) -> Grid:
    """Returns the share of the air that the disease replaces at full visibility, in [0, 1]."""
    u, v = view.u, view.v
    if pattern == "virus":
        # Haze and a net, strongest round the hila, with thickened vessel walls.
        hilar = bump(np.abs(u), 0.35, 0.42) * bump(v, rng.normal(0.55, 0.08), 0.42)
        uneven = 1 + np.float32(rng.uniform(-0.4, 0.4)) * np.sign(u)
        net = 0.14 * view.noise(rng, 0.035) + 0.22 * bump(view.noise(rng, 0.07), 0, 0.4)
        haze = 0.4 + 0.17 * view.noise(rng, 0.25)
        share: Grid = hilar * uneven * (haze + net + 0.3 * vessels)
        return share.clip(0, 1)
    ragged = 0.25 * view.noise(rng, 0.22) + 0.12 * view.noise(rng, 0.09)
    mask = np.zeros_like(ragged)
    for _ in range(1 if rng.random() < 0.7 else 2):
        u0, v0 = _LOBES[int(rng.integers(len(_LOBES)))] + rng.normal(0, (0.08, 0.05))
        radii = (rng.uniform(0.24, 0.5), rng.uniform(0.14, 0.3))
        r = ellipse_radius(u, v, (u0, v0), radii)
        spot = step(1 - r + ragged, rng.uniform(0.15, 0.4)) * (u * u0 > 0)
        if rng.random() < 0.4:  # a fissure below cuts it off
            spot *= step(v0 + 0.12 - v + 0.15 * (np.abs(u) - 0.5), 0.012)
        mask = np.maximum(mask, spot)
    # Airways stay open and show dark inside: the air bronchogram.
    share = mask * (0.9 + 0.12 * view.noise(rng, 0.07) - 0.3 * vessels)
    return share.clip(0, 1)


def _draw_leads(canvas: Canvas, rng: np.random.Generator) -> None:
    """Draws the electrodes and cables that lie on one child in four."""
    if rng.random() > 0.25:
        return
    end = np.array([rng.uniform(-1.4, 1.4), rng.choice([-0.6, 1.6])])
    s = np.linspace(0, 1, 12)[:, None]
    for _ in range(int(rng.integers(1, 4))):
        at = np.array([rng.uniform(-0.9, 0.9), rng.uniform(0.1, 0.95)])
        bend = np.array([rng.uniform(-1, 1), (at[1] + end[1]) / 2])
        canvas.line((1 - s) ** 2 * at + 2 * s * (1 - s) * bend + s**2 * end, 0.016, 0.9)
        canvas.ellipse(at.tolist(), (0.035, 0.025), 1)


def _expose(depth: Grid, size_px: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Returns the film: turned, with grain, at a mean and contrast drawn at random."""
    grey = np.asarray(1 - np.exp(-0.9 * depth), dtype=np.float32)
    angle = float(np.clip(rng.normal(0, math.radians(2.2)), -_MAX_TURN, _MAX_TURN))
    scale = len(grey) / (_MARGIN * size_px)
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    middle, half = len(grey) / 2, size_px / 2
    matrix = (cos, sin, middle - half * (cos + sin), -sin, cos, middle - half * (cos - sin))
    turned = Image.fromarray(grey).transform(
        (size_px, size_px), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
    )
    grey = np.asarray(turned, dtype=np.float32)
    grain = rng.standard_normal(grey.shape, dtype=np.float32)
    grey = grey + rng.uniform(0.006, 0.02) * grain * (0.4 + grey)
    mean, spread = rng.normal(0.5, 0.05), rng.normal(0.23, 0.02)
    grey = mean + spread * (grey - grey.mean()) / grey.std()
    film: NDArray[np.uint8] = (255 * grey).round().clip(0, 255).astype(np.uint8)
    return film


def _burn_in(film: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Returns the film with its side marker and, the same on every film, the word PHANTOM."""
    size_px = len(film)
    image = Image.fromarray(film)
    draw = ImageDraw.Draw(image)
    side = "R" if rng.random() < 0.9 else "L"
    from_edge, y = size_px * rng.uniform(0.03, 0.12), size_px * rng.uniform(0.05, 0.4)
    x = from_edge if side == "R" else size_px - from_edge
    font = ImageFont.load_default(size_px * rng.uniform(0.05, 0.075))
    draw.text((x, y), side, int(rng.integers(215, 256)), font, anchor="mm")

    font = ImageFont.load_default(size_px * 0.058)
    left, top, right, bottom = draw.textbbox((0, 0), "PHANTOM", font)
    pad = round(size_px * 0.012)
    plate_top = size_px - (bottom - top + 2 * pad)
    draw.rectangle((0, plate_top, right - left + 2 * pad, size_px), 0)
    draw.text((pad - left, plate_top + pad - top), "PHANTOM", 235, font)
    return np.asarray(image)
