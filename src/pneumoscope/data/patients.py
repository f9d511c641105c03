"""Which patient a film shows, read from its file name.

The names of Kaggle's "Chest X-Ray Images (Pneumonia)" (Kermany et al., Cell 2018) carry the
patient in front and the film behind::

    IM-0115-0001.jpeg  NORMAL2-IM-0986-0001-0002.jpeg      series IM or NORMAL2-IM, number, films
    person1000_bacteria_2931.jpeg  person447_virus_921_1.jpeg      number, cause, films

``IM`` and ``NORMAL2-IM`` are two series that count independently. The children of ``person`` are
counted anew in the test folder, and inside the training folder one number often has both a
bacterial and a viral series, which may or may not be one child. Hence two keys: one for grouping
inside the training folder (number only: never splits a child) and one for comparing folders
(number and cause: no false overlaps).
"""

import re
from pathlib import PurePosixPath

_SERIES = re.compile(r"((?:NORMAL2-)?IM-\d+)-\d+(?:-\d+)*", re.IGNORECASE)
_PERSON = re.compile(r"((person\d+)_(?:bacteria|virus))_\d+(?:_\d+)*", re.IGNORECASE)

_NUMBER = re.compile(r"(person|(?:NORMAL2-)?IM)-?(\d+)")

CAUSES = ("bacterial", "viral")
"""Causes of pneumonia that file names state, as :func:`film_series` gives them."""

NO_CAUSE = -1
"""Instead of an index into :data:`CAUSES`: not stated, or no pneumonia."""

BLOCK_SIZE = 25
"""Numbers of a block, see :func:`patient_block`."""


def patient_key(name: str) -> str:
    """Returns the full key of the patient (kind and number) that a file name states.

    A name of any other form stands for a patient of its own: its stem is returned. Upper and
    lower case are not told apart in the known forms, since archives change them.

    >>> patient_key("person100_bacteria_475.jpeg"), patient_key("NORMAL2-IM-0986-0001-0002.jpeg")
    ('person100_bacteria', 'NORMAL2-IM-0986')
    >>> patient_key("scan of Monday.png")
    'scan of Monday'
    """
    stem = PurePosixPath(name).stem
    if match := _PERSON.fullmatch(stem):
        return match[1].lower()
    if match := _SERIES.fullmatch(stem):
        return match[1].upper()
    return stem


def patient_group(name: str) -> str:
    """Returns the key for grouping inside one folder: by number alone, whatever the cause.

    >>> patient_group("person100_bacteria_475.jpeg"), patient_group("IM-0115-0001.jpeg")
    ('person100', 'IM-0115')
    """
    stem = PurePosixPath(name).stem
    if match := _PERSON.fullmatch(stem):
        return match[2].lower()
    return patient_key(name)


def patient_block(group: str) -> str:
    """Returns the block of a patient of :func:`patient_group`: its series and number by the 25.

    Files are numbered in order, and films with numbers close to one another look alike. A patient
    of any other form is a block of its own.

    >>> patient_block("IM-0115"), patient_block("NORMAL2-IM-0115"), patient_block("person1954")
    ('IM/4', 'NORMAL2-IM/4', 'person/78')
    >>> patient_block("scan of Monday")
    'scan of Monday'
    """
    match = _NUMBER.fullmatch(group)
    return f"{match[1]}/{int(match[2]) // BLOCK_SIZE}" if match else group


def names_patient(name: str) -> bool:
    """Returns whether a file name has one of the forms that state a patient.

    >>> names_patient("IM-0115-0001.jpeg"), names_patient("scan of Monday.png")
    (True, False)
    """
    stem = PurePosixPath(name).stem
    return bool(_PERSON.fullmatch(stem) or _SERIES.fullmatch(stem))


def film_series(name: str) -> str | None:
    """Returns the series that a file name states, or ``None`` for a name of another form.

    That is the cause of a pneumonia, or which of the two series of normal films it is from.

    >>> film_series("person100_bacteria_475.jpeg"), film_series("NORMAL2-IM-0986-0001-0002.jpeg")
    ('bacterial', 'NORMAL2')
    >>> film_series("person78_virus_140.jpeg"), film_series("IM-0115-0001.jpeg")
    ('viral', 'IM')
    >>> film_series("scan of Monday.png") is None
    True
    """
    if not names_patient(name):
        return None
    key = patient_key(name)
    endings = {"_bacteria": "bacterial", "_virus": "viral"}
    for ending, cause in endings.items():
        if key.endswith(ending):
            return cause
    return "NORMAL2" if key.startswith("NORMAL2") else "IM"
