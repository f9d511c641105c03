"""Films read once, in order, whatever happens to some of them."""

import hashlib
from pathlib import Path

import pytest

from pneumoscope.data.preprocessing import prepare
from pneumoscope.data.quality import measure_quality
from pneumoscope.data.radiograph import read_radiograph
from pneumoscope.data.scan import scan_folder
from pneumoscope.errors import RadiographError
from pneumoscope.study.reading import ReadFilm, read_films


@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_films_come_in_order_as_network_and_measures_see_them(
    phantoms: Path, batch_size: int
) -> None:
    folder = scan_folder(phantoms)
    films = folder.in_folder("test")
    batches = list(read_films(folder.root, films, 32, batch_size))
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    found = [one for batch in batches for one in batch]
    assert len(found) == len(films)
    for film, one in zip(films, found, strict=True):
        assert isinstance(one, ReadFilm)
        radiograph = read_radiograph(folder.root / film.path)
        assert one.measured.film == film
        assert (one.pixels == prepare(radiograph, 32)).all()
        assert (one.view == prepare(radiograph, 224)).all()
        assert one.measured.quality == measure_quality(radiograph)
        assert one.measured.sha256 == hashlib.sha256(one.view.tobytes()).hexdigest()


def test_an_error_stands_in_the_place_of_its_film(own_phantoms: Path) -> None:
    folder = scan_folder(own_phantoms)
    films = folder.in_folder("test")
    bad = own_phantoms / films[2].path
    bad.write_bytes(b"no film")
    (batch,) = read_films(folder.root, films, 32, 100)
    assert [isinstance(one, RadiographError) for one in batch].index(True) == 2
    assert sum(isinstance(one, ReadFilm) for one in batch) == len(films) - 1
    assert str(bad) in str(batch[2])


def test_copies_under_two_names_have_one_hash(own_phantoms: Path) -> None:
    folder = scan_folder(own_phantoms)
    films = folder.in_folder("test")
    (own_phantoms / films[1].path).write_bytes((own_phantoms / films[0].path).read_bytes())
    (batch,) = read_films(folder.root, films, 32, 100)
    hashes = [one.measured.sha256 for one in batch if isinstance(one, ReadFilm)]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == len(films) - 1
