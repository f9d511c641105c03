"""The contact sheet: one HTML file, films sorted by risk, nothing loaded from elsewhere."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from jinja2 import Environment
from numpy.typing import NDArray
from PIL import Image

from pneumoscope.data.decoding import one_line
from pneumoscope.labels import DISCLAIMER
from pneumoscope.screening.screener import Screening

THUMBNAIL_PX = 128
"""Side of a film on the sheet; about 4 kB each."""

_TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>Pneumoscope: {{ screenings|length }} films</title>
<style>
body { font: 14px/1.4 system-ui, sans-serif; margin: 1.5rem; color: #1c1c1c; background: #fff }
ol { list-style: none; padding: 0; display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)) }
li { border: 1px solid #ccc; border-left: .4rem solid #767676; padding: .6rem;
  overflow-wrap: anywhere }
li.PNEUMONIA { border-left-color: #b00020 } li.NORMAL { border-left-color: #1b7a3d }
img { width: {{ size }}px; height: {{ size }}px; display: block; background: #000 }
strong { display: block } small { color: #555; display: block }
</style>
</head>
<body>
<h1>{{ screenings|length }} films, by risk</h1>
<p><strong>{{ disclaimer }}</strong></p>
<p>{{ counts }}. Model {{ models }}.{% if note %} {{ note }}{% endif %}
{%- if heat %} Colours show what the answer hung on, not where disease is.{% endif %}</p>
<ol>
{% for screening, thumbnail in screenings %}
<li class="{{ screening.decision or screening.status }}">
{% if thumbnail %}<img alt="" src="data:image/jpeg;base64,{{ thumbnail }}">{% endif %}
<strong>{{ screening.decision or screening.status }}
{%- if screening.p_pneumonia is not none %}, {{ "%.3f"|format(screening.p_pneumonia) }}
<small>threshold {{ "%.3f"|format(screening.threshold) }}</small>{% endif %}</strong>
{{ name(screening.path) }}
{% if screening.error %}<small>{{ screening.error }}</small>{% endif %}
{% for warning in screening.warnings %}<small>{{ warning }}</small>{% endfor %}
</li>
{% endfor %}
</ol>
</body>
</html>
"""


def thumbnail(picture: NDArray[np.uint8]) -> str:
    """Returns a small JPEG of a film (H, W) or overlay (H, W, 3), in base64."""
    stream = io.BytesIO()
    size = (THUMBNAIL_PX, THUMBNAIL_PX)
    Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR).save(stream, "JPEG")
    return base64.b64encode(stream.getvalue()).decode("ascii")


def contact_sheet(
    films: Sequence[tuple[Screening, str | None]], *, note: str | None, heat: bool
) -> str:
    """Returns the sheet: the highest scores first, then the abstained, then the errors.

    Args:
        films: screenings with what :func:`thumbnail` gave, where there is a picture.
        note: a sentence to put above the films, or ``None``.
        heat: the pictures are overlays of heat maps.
    """
    order = {"ok": 0, "abstained": 1, "error": 2}
    by_risk = sorted(films, key=lambda film: (order[film[0].status], -(film[0].p_pneumonia or 0)))
    kinds = [screening.decision or screening.status for screening, _ in films]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(sorted(kinds)))
    template = Environment(autoescape=True).from_string(_TEMPLATE)
    return template.render(
        screenings=by_risk,
        counts=counts,
        models=", ".join(sorted({screening.model_id for screening, _ in films})),
        disclaimer=DISCLAIMER,
        note=note,
        heat=heat,
        name=one_line,
        size=THUMBNAIL_PX,
    )
