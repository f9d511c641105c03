"""What ``screen`` says about single films, and what commands say while they go on."""

import ast
from collections.abc import Callable, Iterator
from functools import cache

from error_messages import in_order
from source_text import Module, Reader, called, has_words, modules, returned

GATE = {
    "screening.gate": ("objection", "_exposure", "_pose"),
    "data.dicom_claims": ("_about_body_part", "_about_view"),
}
"""The functions that say why a film is not judged."""

REMARKS = {
    "data.radiograph": ("_decode_image", "_load", "_grey_of"),
    "data.decoding": (),
    "data.dicom": ("_render_colour",),
    "data.dicom_claims": ("check_is_radiograph", "_about_body_part", "_about_view"),
    "data.dicom_display": ("_apply_voi",),
    "screening.screener": ("_warnings",),
    "screening.gate": ("frame_warning",),
}
"""The functions that add to a film's warnings."""

SPEAKING = ("cli", "data", "study", "training", "screening")
"""The stages whose notices on standard error are listed."""


def _module(name: str) -> Module:
    (found,) = [module for module in modules() if module.name == name]
    return found


@cache
def reasons_to_abstain() -> list[str]:
    """Returns why the gate, or a DICOM file itself, says that a film is not to be judged."""
    found: set[str] = set()
    for name, functions in GATE.items():
        module = _module(name)
        for function in (f for one in functions for f in module.functions(one)):
            for value in returned(function):
                # Of an objection and notes, the first.
                found |= _phrases(module, value.elts[0] if isinstance(value, ast.Tuple) else value)
    return in_order(found)


@cache
def warnings() -> list[str]:
    """Returns the warnings that a film can have."""
    found: set[str] = set()
    for name, functions in REMARKS.items():
        module = _module(name)
        for function in (f for one in functions for f in module.functions(one)):
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and called(node) == "append":
                    found |= _phrases(module, node.args[0])
                elif isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
                    for leaf in _parts(node.value.elts[-1]):
                        found |= _phrases(module, leaf)
                elif isinstance(node, ast.Return) and isinstance(node.value, ast.JoinedStr):
                    found |= _phrases(module, node.value)
    table = _module("data.decoding").tree.body
    (noteworthy,) = [
        n.value for n in table if isinstance(n, ast.Assign) and "_NOTEWORTHY" in ast.dump(n)
    ]
    found |= {row[1] for row in ast.literal_eval(noteworthy)}
    return in_order(found)


@cache
def errors_of_films() -> list[str]:
    """Returns what else ``screen`` says in ``error``, besides what the reader says."""
    module = _module("screening.screener")
    found: set[str] = set()
    for call in module.calls("_answer"):
        for keyword in call.keywords:
            if keyword.arg == "error":
                found |= _phrases(module, keyword.value)
    for module in map(_module, ("screening.zips", "screening.films")):
        for call in module.calls("RefusedFilm"):
            found |= _phrases(module, call.args[1])
    return in_order(found)


@cache
def notices() -> list[str]:
    """Returns what commands say besides their answer, on standard error."""
    found: set[str] = set()
    for module in modules():
        if module.name.split(".")[0] in SPEAKING:
            for call in module.calls("print"):
                if call.args and any(k.arg in ("style", "markup") for k in call.keywords):
                    found |= _phrases(module, call.args[0])
    convert = _module("study.convert")
    for node in ast.walk(convert.functions("_warn")[0]):
        if isinstance(node, ast.JoinedStr):
            found |= _phrases(convert, node)
    return in_order({text for text in found if " " in text})


def _parts(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.Tuple):
        for element in node.elts:
            yield from _parts(element)
    elif isinstance(node, ast.IfExp):
        yield from (*_parts(node.body), *_parts(node.orelse))
    else:
        yield node


def _phrases(module: Module, node: ast.expr) -> set[str]:
    return {text for text in Reader(module).texts(node) if has_words(text)}


LISTS: dict[str, tuple[str, Callable[[], list[str]]]] = {
    "Reasons to abstain": (
        "Status `abstained`; the first of the film's warnings. Look at the film: turn, invert or "
        "export it again as the reason says. `--no-gate` scores it all the same. What is behind "
        "them: [screening](../screening.md#what-is-refused).",
        reasons_to_abstain,
    ),
    "Warnings": (
        "Phrases about a film that was read; the answer stands as it is. Where one says that "
        "something may be wrong, look at the film in a viewer, and export it again if it is.",
        warnings,
    ),
    "Errors of single films": (
        "Status `error`, beside those of [RadiographError](#radiographerror); the others are "
        "screened. A folder or archive that cannot be screened has a line too. Where a score is no "
        "number the bundle is not fit for use: train it again, or take another.",
        errors_of_films,
    ),
    "Notices": (
        "Beside the answer, while a command goes on. They want nothing but to be read.",
        notices,
    ),
}
"""By heading: what to do, and the texts."""
