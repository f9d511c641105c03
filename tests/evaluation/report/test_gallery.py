"""The films that were decided most wrongly, as pictures."""

import io

import numpy as np
from PIL import Image

from pneumoscope.evaluation.report.document import Gallery, Text
from pneumoscope.evaluation.report.gallery import Case, gallery_blocks
from pneumoscope.labels import Label


def case(label, score, level):
    film = np.full((32, 32), level, np.uint8)
    overlay = np.stack([film, film // 2, film // 4], axis=2)
    return Case(f"test/{label.name}/{level}.jpeg", label, score, film, overlay)


def test_misses_come_first_each_film_beside_its_map():
    cases = [case(Label.NORMAL, 0.9, 40), case(Label.PNEUMONIA, 0.01, 200)]
    misses, false_alarms, note = gallery_blocks(cases, 0.3)
    assert isinstance(misses, Gallery)
    assert isinstance(false_alarms, Gallery)
    assert misses.caption.startswith("Misses")
    (picture,) = misses.pictures
    assert picture.caption == (
        "`test/PNEUMONIA/200.jpeg`: score 0.0100, cleared; labelled PNEUMONIA"
    )
    (alarm,) = false_alarms.pictures
    assert "called; labelled NORMAL" in alarm.caption
    pixels = np.asarray(Image.open(io.BytesIO(picture.jpeg)))
    assert pixels.shape == (32, 64, 3)
    assert abs(pixels[:, :28].astype(int) - 200).max() < 8
    assert pixels[:, 36:, 0].mean() > pixels[:, 36:, 2].mean() + 100
    assert "no localisation" in note.markdown


def test_where_nothing_was_wrong_that_is_said():
    (text,) = gallery_blocks([], 0.3)
    assert isinstance(text, Text)
    assert "No film was decided wrongly" in text.markdown
