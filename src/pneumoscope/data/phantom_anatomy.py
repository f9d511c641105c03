"""The body of a phantom: tissue, air and bone as thicknesses on a grid of body coordinates.

``u`` runs across the chest (-1 and 1 are the inner chest walls; the patient's right is at -1, as
on a film) and ``v`` down it (0 at the tips of the lungs, about 0.95 at the diaphragm). ``u`` is a
row and ``v`` a column, so what depends on one of them alone costs next to nothing. Shapes with a
formula are computed, shapes that are lines and polygons are drawn; the numbers are taken by eye
from films of small children.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Grid = NDArray[np.floating[Any]]
Points = Sequence[Sequence[float]] | NDArray[Any]

# The area that drawings and noise cover, as (low, high); every view lies inside it.
_AREA_U = (-1.7, 1.7)
_AREA_V = (-0.8, 1.8)
_PX_PER_UNIT = 120


def step(x: Grid, width: float) -> Grid:
    """Returns a smooth step from 0 to 1 as ``x`` passes zero."""
    return np.asarray(0.5 + 0.5 * np.tanh(x / np.float32(width)), dtype=np.float32)


def bump(x: Grid, centre: float, width: float) -> Grid:
    """Returns a Gaussian bell of height 1."""
    return np.asarray(
        np.exp(-np.square((x - np.float32(centre)) / np.float32(width))), dtype=np.float32
    )


def ellipse_radius(u: Grid, v: Grid, centre: Sequence[float], radii: Sequence[float]) -> Grid:
    """Returns the distance from ``centre`` (u, v) in ``radii``: 1 on the ellipse."""
    squares = np.square((u - centre[0]) / radii[0]) + np.square((v - centre[1]) / radii[1])
    return np.asarray(np.sqrt(squares), dtype=np.float32)


def _curve(x: Grid, knots: Sequence[tuple[float, float]]) -> Grid:
    """Returns a smooth curve through the knots that does not overshoot between them."""
    # Imported here because it takes half a second, and asking is_phantom() needs no curves.
    from scipy import interpolate

    at, values = zip(*knots, strict=True)
    drawn = interpolate.PchipInterpolator(at, values)(np.clip(x, at[0], at[-1]))
    return np.asarray(drawn, dtype=np.float32)


class Canvas:
    """A drawing in body coordinates; values are in [0, 1]."""

    def __init__(self) -> None:
        """Starts with nothing drawn."""
        width, height = (round((high - low) * _PX_PER_UNIT) for low, high in (_AREA_U, _AREA_V))
        self.image = Image.new("L", (width, height))
        self._draw = ImageDraw.Draw(self.image)

    @staticmethod
    def _pixels(points: Points) -> list[tuple[float, float]]:
        return [
            ((u - _AREA_U[0]) * _PX_PER_UNIT, (v - _AREA_V[0]) * _PX_PER_UNIT) for u, v in points
        ]

    def line(self, points: Points, width: float, value: float) -> None:
        """Draws a line through ``points``."""
        width_px = max(1, round(width * _PX_PER_UNIT))
        self._draw.line(self._pixels(points), round(255 * value), width_px)

    def polygon(self, points: Points, value: float) -> None:
        """Fills the polygon of ``points``."""
        self._draw.polygon(self._pixels(points), round(255 * value))

    def ellipse(self, centre: Sequence[float], radii: Sequence[float], value: float) -> None:
        """Fills an upright ellipse."""
        corners = [(centre[0] + s * radii[0], centre[1] + s * radii[1]) for s in (-1, 1)]
        self._draw.ellipse(self._pixels(corners), round(255 * value))


class View:
    """The part of the body that a film sees, as a square grid of ``num`` x ``num`` points.

    Attributes:
        u: Row of coordinates across the chest (1, num).
        v: Column of coordinates down the chest (num, 1).
    """

    def __init__(self, num: int, centre: tuple[float, float], extent: tuple[float, float]) -> None:
        """Looks at ``extent`` (across, down) round ``centre`` (u, v)."""
        self.num = num
        left, top = centre[0] - extent[0] / 2, centre[1] - extent[1] / 2
        steps = (np.arange(num, dtype=np.float32) + np.float32(0.5)) / num
        self.u: Grid = (left + extent[0] * steps)[None, :]
        self.v: Grid = (top + extent[1] * steps)[:, None]
        self._box = (left, top, left + extent[0], top + extent[1])

    def sample(self, image: Image.Image) -> Grid:
        """Returns a picture of the whole area, of any resolution, seen in this view."""
        across = image.width / (_AREA_U[1] - _AREA_U[0])
        down = image.height / (_AREA_V[1] - _AREA_V[0])
        left, top, right, bottom = self._box
        box = (
            (left - _AREA_U[0]) * across,
            (top - _AREA_V[0]) * down,
            (right - _AREA_U[0]) * across,
            (bottom - _AREA_V[0]) * down,
        )
        seen = image.resize((self.num, self.num), Image.Resampling.BICUBIC, box)
        return np.asarray(seen, dtype=np.float32)

    def drawing(self, canvas: Canvas, *, shrink: int = 1, blur: float = 0) -> Grid:
        """Returns a canvas in this view, in about [0, 1]; shrunk first, it has softer edges."""
        image = canvas.image.reduce(shrink).filter(ImageFilter.GaussianBlur(blur))
        return self.sample(image) / np.float32(255)

    def noise(self, rng: np.random.Generator, period: float) -> Grid:
        """Returns smooth noise of about unit variance that is fixed to the body."""
        shape = [math.ceil((high - low) / period) for low, high in (_AREA_V, _AREA_U)]
        return self.sample(Image.fromarray(rng.standard_normal(shape, dtype=np.float32)))


def chest_wall(v: Grid, rng: np.random.Generator) -> Grid:
    """Returns the half width of the rib cage, a column."""
    top, middle = rng.uniform(0.95, 1.2), rng.uniform(0.96, 1.03)
    knots = [(-0.09, 0.001), (-0.04, 0.26 * top), (0.04, 0.44 * top), (0.2, 0.64 * top)]
    knots += [(0.4, 0.83 * middle), (0.6, 0.94 * middle), (0.85, 1.0), (1.3, 0.98), (2.0, 0.85)]
    return _curve(v, knots)


def lungs_heart_belly(view: View, wall: Grid, rng: np.random.Generator) -> tuple[Grid, Grid, Grid]:
    """Returns the lungs' air, the heart with the great vessels and the belly, each in [0, 1]."""
    u, v, side = view.u - rng.normal(0, 0.015), view.v, np.abs(view.u)
    size = rng.uniform(0.85, 1.15)
    thymus, knob = rng.uniform(0, 0.12), rng.uniform(0, 0.03)
    left_border = [(-0.3, 0.13), (0.02, 0.14), (0.2, 0.19 + thymus)]
    left_border += [(0.31, 0.21 + thymus / 2 + knob), (0.42, 0.25), (0.58, 0.36), (0.75, 0.5)]
    left_border += [(0.88, 0.55), (1, 0.5), (1.2, 0.2)]
    right_border = [(-0.3, 0.13), (0.05, 0.15), (0.22, 0.19 + 0.7 * thymus), (0.42, 0.21)]
    right_border += [(0.6, 0.27), (0.74, 0.31), (0.88, 0.28), (1.1, 0.18)]
    from_border = np.minimum(size * _curve(v, left_border) - u, size * _curve(v, right_border) + u)
    shadow = step(from_border, 0.02)

    lateral = np.clip((side - 0.35) / 0.65, 0, 1.2)
    medial = np.clip((0.45 - side) / 0.45, 0, 1)
    crest = rng.normal(0.92, 0.02) + rng.normal(0.04, 0.025) * step(view.u, 0.1)
    dome = crest + rng.uniform(0.14, 0.24) * lateral**3.2 + 0.05 * medial**2
    above = step(dome - v, 0.01)
    inside = step(wall * 0.98 - side, 0.01) * step(v, 0.03)

    # Air is thinnest at the tips and the side walls; a little of it reaches behind the dome.
    down = _curve(v, [(0, 0.5), (0.3, 0.9), (0.6, 1), (1, 0.92)])
    across = np.sqrt(np.maximum(1.05 - np.square(np.square(side / wall)), 0.1))
    recess = 0.2 * lateral * np.exp(-np.maximum(v - dome, 0) / np.float32(0.1))
    air = inside * (1 - shadow) * down * across * (above + (1 - above) * recess)
    bulk = bump(v, 0.76, 0.28) * np.sqrt(np.clip(1.05 - np.square((u - 0.1) / 0.5), 0, 1))
    heart = shadow * (0.5 + 0.5 * bulk) * above * step(v + 0.1, 0.15)
    return air, heart, (1 - above) * inside


def ribs(view: View, wall: Grid, rng: np.random.Generator) -> Grid:
    """Returns the ribs: each a tilted half ring, with its back and its front half.

    A ring of half width W seen from the front is the half ellipse
    v = v_k + drop (1 -+ sqrt(1 - (u / W)^2)) / 2, minus behind and plus in front; as the rings
    are evenly spaced, one periodic function of v draws all of them.
    """
    side, v, wall = np.abs(view.u), view.v, wall * 1.03 + 0.01
    spacing, drop = rng.uniform(0.115, 0.135), rng.uniform(0.22, 0.44)
    first, tilt, uneven = rng.uniform(-0.09, -0.03), rng.uniform(0.1, 0.25), rng.uniform(0, 6)
    t = np.minimum(side / wall, np.float32(0.999))
    root = np.sqrt(1 - t * t)
    steep = drop / 2 * t / (root * wall)

    def halves(curve: Grid, slope: Grid, half_width: float, num: int) -> Grid:
        phase = (v - curve - first) / spacing
        index = np.floor(phase + 0.5)
        shift = 0.07 * np.sin(2.4 * index + uneven)
        across = np.sqrt(1 + np.square(slope))
        s = np.abs(phase - index - shift) * (spacing / half_width / np.minimum(across, 2.4))
        hollow = 0.55 + 0.45 * np.square(np.minimum(s, 1))
        exists = np.abs(index - (num - 1) / 2) < num / 2
        thickness: Grid = step(1 - s, 0.2) * hollow * exists
        return thickness

    back = halves(drop * (1 - root) / 2 - 0.05 * np.sin(math.pi * t), steep, 0.028, 12)
    front = halves(drop * (1 + root) / 2 + tilt * (1 - t), steep + tilt / wall, 0.035, 8)
    both = back * step(side - 0.1, 0.03) + 0.6 * front * step(t - 0.52, 0.07)
    # Where the rays graze a rib, at the side, they meet more bone.
    grazing = np.minimum(1 / np.sqrt(1.05 - t * t), 2.4)
    return np.asarray(both * grazing * step(wall - side, 0.012), dtype=np.float32)


def spine(view: View, rng: np.random.Generator) -> Grid:
    """Returns the vertebral column: bodies, thinner discs, pedicles and spinous processes."""
    u, v = view.u - rng.normal(0, 0.02) * np.sin(2.2 * view.v), view.v
    phase = v / rng.uniform(0.105, 0.12) + 0.3
    w = phase - np.floor(phase + 0.5)
    half = (0.12 + 0.02 * np.clip(v, 0, 1)) * (1 - 0.1 * np.cos(2 * math.pi * w))
    from_edge = half - np.abs(u)
    body = 0.75 - 0.35 * step(np.abs(w) - 0.36, 0.06) + 0.22 * bump(from_edge, 0.02, 0.016)
    pedicle = bump(np.abs(u), 0.075, 0.022) * bump(w, -0.12, 0.17)
    process = bump(u, 0, 0.02) * bump(w, 0.2, 0.22)
    return np.asarray(
        step(from_edge, 0.014) * body + 0.35 * pedicle + 0.25 * process, dtype=np.float32
    )


def draw_vessels(rng: np.random.Generator) -> Canvas:
    """Returns the vessels (and airways) that fan out from both hila, forking as they thin."""
    canvas = Canvas()
    for side in (-1, 1):
        hilum = (side * 0.2, 0.47 - 0.03 * side)
        angles = np.array([-1.3, -0.8, -0.3, 0.2, 0.6, 0.95, 1.25]) + rng.normal(0, 0.12, 7)
        twigs = [(hilum, angle, 0.026) for angle in angles.tolist()]
        while twigs:
            (u, v), angle, width = twigs.pop()
            points = [(u, v)]
            for turn in rng.normal(0, 0.14, 3).tolist():
                angle += turn
                u += side * 0.055 * math.cos(angle)
                v += 0.055 * math.sin(angle)
                points.append((u, v))
            canvas.line(points, width, min(0.9, width / 0.028))
            for fork in (0.35, -0.35):
                thinner = width * rng.uniform(0.55, 0.8)
                if thinner > 0.008:
                    twigs.append(((u, v), angle + fork * rng.uniform(0.5, 1.4), thinner))
    return canvas


def draw_tissue_and_shoulders(rng: np.random.Generator) -> tuple[Canvas, Canvas]:
    """Returns the soft tissue of head, trunk and arms, and the bones of shoulders and arms."""
    tissue, bones = Canvas(), Canvas()
    lift, neck, flank = rng.uniform(-0.08, 0.06), rng.uniform(0.3, 0.42), rng.uniform(1.08, 1.2)
    elbow = (rng.uniform(1.5, 1.9), rng.uniform(0.7, 1.1))
    if rng.random() < 0.3:  # arms up
        elbow = (rng.uniform(1.6, 1.9), rng.uniform(-0.7, -0.4))
    s = np.linspace(0, 1, 16)
    sweep = 0.12 + lift * s - 0.1 * np.sin(math.pi * s) + 0.05 * np.sin(2 * math.pi * s)
    clavicle = np.stack([0.13 + 0.87 * s, sweep], axis=1)
    corners = [(0.88, 0.02), (1.06, 0.08), (1, 0.2), (0.86, 0.48), (0.8, 0.44), (0.74, 0.1)]
    blade = np.array(corners) + np.array([0, lift])
    slope = [(0, -0.35), (neck, -0.32), (neck + 0.12, -0.2), (1.14, lift - 0.15), (1.2, 0.25)]
    for side in (-1, 1):
        mirror = np.array([side, 1])
        shoulder = (side * 1.14, 0.06 + lift)
        arm = [shoulder, (side * elbow[0], elbow[1])]
        tissue.line(arm, 0.44, 0.55)
        tissue.ellipse(shoulder, (0.24, 0.22), 0.6)
        tissue.polygon(np.array([*slope, (0.6, 0.4), (0, 0.4)]) * mirror, 0.62)
        bones.line(arm, 0.13, 0.5)
        bones.line(arm, 0.07, 0.3)
        bones.ellipse(shoulder, (0.1, 0.085), 0.55)
        bones.polygon(blade * mirror, 0.2)
        bones.line(blade[[1, 3]] * mirror, 0.03, 0.5)
        bones.line(clavicle * mirror, 0.06, 0.9)
        bones.line(clavicle * mirror, 0.03, 0.6)
    tissue.polygon([(-neck, -0.8), (neck, -0.8), (neck, 0.2), (-neck, 0.2)], 0.62)
    tissue.ellipse((0, rng.uniform(-0.95, -0.72)), (0.55, 0.42), 0.95)
    half = [(0.25, -0.12), (0.75, 0), (1, 0.2), (flank, 0.45), (flank, 0.8), (flank - 0.03, 1.1)]
    trunk = np.array([*half, (flank + 0.02, 1.5), (flank + 0.1, 1.8)])
    tissue.polygon(np.concatenate([trunk, (trunk * (-1, 1))[::-1]]), 1)
    return tissue, bones


def bowel_gas(view: View, rng: np.random.Generator) -> Grid:
    """Returns gas in the stomach and the bowel, with walls that show brighter than nothing."""
    gas = np.zeros((view.num, view.num), dtype=np.float32)
    low = slice(int(np.searchsorted(view.v[:, 0], 0.9)), None)
    for _ in range(int(rng.integers(1, 6))):
        centre = (rng.uniform(-0.1, 0.75), rng.uniform(1.12, 1.5))
        radii = (rng.uniform(0.07, 0.22), rng.uniform(0.05, 0.1))
        r = ellipse_radius(view.u, view.v[low], centre, radii)
        gas[low] += np.float32(rng.uniform(0.3, 1)) * (
            step(1 - r, 0.15) - 0.35 * bump(r, 1.15, 0.14)
        )
    return gas
