"""Other collections: folders and tables by a map, and everything that can be wrong with one."""

import shutil
from pathlib import Path

import pytest

from pneumoscope.data.label_map import read_label_map, scan_mapped
from pneumoscope.errors import ConfigError, LayoutError
from pneumoscope.labels import Label

FOLDERS = (
    'NORMAL = ["No Finding", "healthy"]\nPNEUMONIA = ["Lung Opacity"]\nignore = ["Effusion"]\n'
)
TABLE = '[table]\nfile = "labels.csv"\npath = "Image"\nlabel = "Finding"\n'


@pytest.fixture
def film(phantoms):
    return next((phantoms / "test" / "NORMAL").iterdir())


@pytest.fixture
def put(tmp_path, film):
    """Puts a film at a path below the collection's folder."""

    def put_film(name):
        path = tmp_path / "films" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(film, path)

    return put_film


@pytest.fixture
def read(tmp_path):
    """Reads a label map from text."""

    def read_text(text):
        path = tmp_path / "map.toml"
        path.write_text(text)
        return read_label_map(path)

    return read_text


def test_a_film_belongs_to_the_nearest_folder_that_the_map_names(tmp_path, put, read):
    put("site a/no finding/1.jpeg")
    put("site a/LUNG OPACITY/deep/2.png")
    put("healthy/lung opacity/3.jpeg")  # the nearest counts
    put("effusion/4.jpeg")
    put("effusion/no finding/5.jpeg")
    put(".hidden/healthy/6.jpeg")
    (tmp_path / "films" / "README.md").write_text("not a film, and in no class")
    folder = scan_mapped(tmp_path / "films", read(FOLDERS))
    assert {film.path: film.label for film in folder.films} == {
        "site a/no finding/1.jpeg": Label.NORMAL,
        "site a/LUNG OPACITY/deep/2.png": Label.PNEUMONIA,
        "healthy/lung opacity/3.jpeg": Label.PNEUMONIA,
        "effusion/no finding/5.jpeg": Label.NORMAL,
    }
    assert {film.folder for film in folder.films} == {"test"}
    assert [film.path for film in folder.films] == sorted(film.path for film in folder.films)


def test_dicom_files_without_an_extension_are_found(tmp_path, put, read, shared_dir):
    put("healthy/1.jpeg")
    target = tmp_path / "films" / "lung opacity" / "IM000001"
    target.parent.mkdir(parents=True)
    dicom = next((shared_dir / "data" / "dicom").iterdir())
    shutil.copy(dicom, target)
    folder = scan_mapped(tmp_path / "films", read(FOLDERS))
    assert [film.path for film in folder.films] == ["healthy/1.jpeg", "lung opacity/IM000001"]


def test_patients_come_from_a_pattern_or_the_known_names(tmp_path, put, read):
    put("healthy/00012_003.jpeg")
    put("lung opacity/00012_007.jpeg")
    put("lung opacity/other.jpeg")
    patients = {
        film.path: film.patient_id
        for film in scan_mapped(
            tmp_path / "films", read(r"patient = '^(\d+)_'" + "\n" + FOLDERS)
        ).films
    }
    assert patients["healthy/00012_003.jpeg"] == patients["lung opacity/00012_007.jpeg"] == "00012"
    assert patients["lung opacity/other.jpeg"] == "other"
    put("lung opacity/person1_virus_6.jpeg")
    known = scan_mapped(tmp_path / "films", read(FOLDERS)).films
    assert "person1_virus" in {film.patient_id for film in known}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("elsewhere/9.jpeg", r"elsewhere/9\.jpeg is in no folder that the label map names"),
        ("9.jpeg", r"films/9\.jpeg is in no folder that the label map names"),
    ],
)
def test_a_film_in_no_named_folder_is_refused(tmp_path, put, read, name, message):
    put("healthy/1.jpeg")
    put("lung opacity/2.jpeg")
    put(name)
    with pytest.raises(LayoutError, match=message):
        scan_mapped(tmp_path / "films", read(FOLDERS))


def test_what_is_no_film_among_films_is_refused(tmp_path, put, read):
    put("healthy/1.jpeg")
    put("lung opacity/2.jpeg")
    (tmp_path / "films" / "healthy" / "notes.txt").write_text("x")
    with pytest.raises(LayoutError, match=r"notes\.txt is not a film"):
        scan_mapped(tmp_path / "films", read(FOLDERS))


def test_a_class_without_films_or_a_missing_folder_is_named(tmp_path, put, read):
    put("healthy/1.jpeg")
    with pytest.raises(LayoutError, match=r"no film of PNEUMONIA \(Lung Opacity\)"):
        scan_mapped(tmp_path / "films", read(FOLDERS))
    with pytest.raises(LayoutError, match="is not a folder"):
        scan_mapped(tmp_path / "absent", read(FOLDERS))


def test_labels_from_a_table(tmp_path, put, read):
    for name in ("a/1.jpeg", "a/2.jpeg", "b/3.jpeg", "b/4.jpeg"):
        put(name)
    (tmp_path / "labels.csv").write_text(
        "Image,Finding,Patient\n"
        "1.jpeg,No Finding,p1\n"
        "a/2.jpeg,Effusion|Lung Opacity,p1\n"  # pneumonia is not hidden by what is ignored
        "3.jpeg,Effusion,p2\n"
        "gone.jpeg,Effusion,p9\n"  # ignored: it need not be there
    )
    text = FOLDERS + TABLE + 'patient = "Patient"\n'
    folder = scan_mapped(tmp_path / "films", read(text))
    assert [(f.path, f.label, f.patient_id) for f in folder.films] == [
        ("a/1.jpeg", Label.NORMAL, "patient-00001"),
        ("a/2.jpeg", Label.PNEUMONIA, "patient-00001"),
    ]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("Image,Label\n1.jpeg,healthy\n", "has no column 'Finding'; it has Image, Label"),
        ("", "has no column 'Image'; it has none"),
        ("Image,Finding\n1.jpeg,Mass\n", "line 2: the label map does not name 'Mass'"),
        ("Image,Finding\n9.jpeg,healthy\n", r"line 2: '9\.jpeg' is not below"),
        ("Image,Finding\nsame.jpeg,healthy\n", r"'same\.jpeg' stands 2 times below"),
        (
            "Image,Finding\n1.jpeg,healthy\n1.jpeg,Lung Opacity\n",
            r"line 3: '1\.jpeg' was named on line 2 already",
        ),
        ("Image,Finding\n1.jpeg\n", "line 2: too few cells"),
    ],
)
def test_a_table_that_does_not_fit_is_named_with_its_line(tmp_path, put, read, lines, message):
    put("1.jpeg")
    put("a/same.jpeg")
    put("b/same.jpeg")
    (tmp_path / "labels.csv").write_text(lines)
    with pytest.raises(LayoutError, match=message):
        scan_mapped(tmp_path / "films", read(FOLDERS + TABLE))


def test_a_table_beside_a_map_that_is_named_relatively(tmp_path, put, monkeypatch):
    put("1.jpeg")
    put("2.jpeg")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "map.toml").write_text(FOLDERS + TABLE)
    (tmp_path / "sub" / "labels.csv").write_text(
        "Image,Finding\n1.jpeg,healthy\n2.jpeg, Lung Opacity\n"
    )
    monkeypatch.chdir(tmp_path)
    assert len(scan_mapped(Path("films"), read_label_map(Path("sub/map.toml"))).films) == 2
    monkeypatch.chdir(tmp_path / "sub")
    assert len(scan_mapped(tmp_path / "films", read_label_map(Path("map.toml"))).films) == 2


def test_a_table_is_looked_for_in_both_places_and_named_if_absent(tmp_path, put, read):
    put("1.jpeg")
    with pytest.raises(LayoutError, match=r"labels\.csv .*is looked for beside that map and in"):
        scan_mapped(tmp_path / "films", read(FOLDERS + TABLE))
    put("2.jpeg")
    (tmp_path / "films" / "labels.csv").write_text(
        "Image,Finding\n1.jpeg,healthy\n2.jpeg,Lung Opacity\n"
    )
    assert len(scan_mapped(tmp_path / "films", read(FOLDERS + TABLE)).films) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("NORMAL = [", "is not TOML"),
        ('NORMAL = ["a"]', r"map\.toml: PNEUMONIA: Field required"),
        ('NORMAL = []\nPNEUMONIA = ["b"]', "NORMAL: List should have at least 1 item"),
        ('NORMAL = ["a"]\nPNEUMONIA = ["A"]', "'a' stands twice"),
        ('NORMAL = ["a"]\nPNEUMONIA = ["b"]\nNORMALS = ["c"]', "NORMALS: Extra inputs"),
        ('NORMAL = ["a"]\nPNEUMONIA = ["b"]\npatient = "("', "no regular expression"),
        ('NORMAL = ["a"]\nPNEUMONIA = ["b"]\npatient = "x"', "patient has no group"),
        ('NORMAL = ["a"]\nPNEUMONIA = ["b"]\n[table]\nfile = "x"', "table.path: Field required"),
    ],
)
def test_a_map_that_is_none_is_refused_by_name(read, text, message):
    with pytest.raises(ConfigError, match=message):
        read(text)


def test_a_map_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*absent\.toml"):
        read_label_map(tmp_path / "absent.toml")
