"""Every command, option, value, recipe, key and script that a page names is there."""

import re
import shlex

import pytest
import typer
from pages import OTHERS, PAGES, ROOT, SHELLS, TYPED, blocks

from pneumoscope.cli.app import app
from pneumoscope.config import load_recipe, recipe_keys
from pneumoscope.data.label_map import read_label_map

PLACEHOLDERS = ("CONFIG", "RECIPE", "my.toml", "section.key=value", "KEY=VALUE")


def prose(text: str) -> str:
    """The page without its blocks."""
    return re.sub(r"^[ \t]*```.*?^[ \t]*```", "", text, flags=re.M | re.S)


def inline(page) -> list[str]:
    """What stands between backticks, also where a line breaks in it."""
    spans = re.findall(r"(?<!`)`([^`]+)`(?!`)", prose(page.read_text(encoding="utf-8")))
    return [" ".join(span.split()) for span in spans]


def shown_commands() -> list[tuple[str, str]]:
    """Every ``pneumoscope ...`` in a block or between backticks, with where it stands."""
    found = []
    for page in PAGES:
        for block in blocks(page):
            if block.language == "powershell" or (block.has_commands and not block.is_python):
                lines = [line.split(" #")[0] for line in block.typed]
                pieces = re.split(r"&&|;|\|", "\n".join(lines).replace("\n", " && "))
                found += [(str(block), piece.strip()) for piece in pieces]
        found += [(page.name, text) for text in inline(page)]
    pattern = re.compile(r"(?:.*-m |\.venv[/\\](?:bin|Scripts)[/\\])?(pneumoscope .*)")
    matches = ((where, pattern.fullmatch(text)) for where, text in found)
    return sorted({(where, match[1]) for where, match in matches if match})


SHOWN = shown_commands()


def test_commands_are_found():
    assert len(SHOWN) > 80
    assert {"README.md", "docs/index.md", "docs/data.md", "docs/report.md"} <= {
        where.split(":")[0] for where, _ in SHOWN
    }
    assert any(command.startswith("pneumoscope train cnn --set data.split") for _, command in SHOWN)


@pytest.mark.parametrize(("where", "command"), SHOWN, ids=lambda value: str(value)[:60])
def test_every_command_option_and_value_is_one(where, command):
    parser, arguments = typer.main.get_command(app), shlex.split(command)[1:]
    names = ["pneumoscope"]
    while getattr(parser, "commands", None) and arguments:
        if arguments[0].isupper() or arguments[0] == "..." or arguments[0].startswith("--"):
            return  # a placeholder, as COMMAND, or an option of the program itself
        names.append(arguments.pop(0))
        assert names[-1] in parser.commands, f"{where}: no command {names[-1]}"
        parser = parser.commands[names[-1]]
    if not getattr(parser, "commands", None):
        check(parser, names, arguments, where)


def check(parser, names: list[str], arguments: list[str], where: str) -> None:
    """Lets the program's own parser read a command; a bare name of one needs no arguments."""
    known = {name: p for p in parser.params for name in (*p.opts, *p.secondary_opts)}
    for option in arguments:
        if option.startswith("--") and option != "--help":
            assert option.split("=")[0] in known, f"{where}: {names} has no {option}"
    mentions = not [one for one in arguments if not one.startswith("--")]
    if mentions or "--help" in arguments or arguments[-1] in known:
        return  # the command or an option is spoken of, and not called
    try:
        context = parser.make_context(" ".join(names), list(arguments))
    except Exception as error:
        if type(error).__name__ in ("Exit", "Abort"):
            return
        pytest.fail(f"{where}: {' '.join(names)} {arguments}: {error}")
    values = context.params
    given = [values.get("recipe"), *(values.get("bundles") or ())]
    recipes = given[:1] if isinstance(given[0], str) else given[0] or []
    overrides = values.get("set_") or []
    for recipe in recipes or (["cnn"] if overrides else []):
        if recipe not in PLACEHOLDERS:
            load_recipe(recipe, overrides)


def overrides() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        found += [(page.name, one) for one in re.findall(r"--set[ \n]([\w.]+=[^\s`]+)", text)]
    return sorted(set(found))


@pytest.mark.parametrize(("where", "override"), overrides())
def test_every_set_is_a_key_and_a_value(where, override):
    if override in PLACEHOLDERS:
        return
    recipe = "pretrained_ti16" if override == "training.epochs=0" else "scratch"
    load_recipe(recipe, [override.strip("\"'")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_key_that_is_named_is_one(page):
    sections = {key.split(".")[0] for key in recipe_keys() if "." in key}
    for text in inline(page):
        match = re.fullmatch(r"(\w+)\.(\w+)( ?= ?[^=]+)?", text)
        if (
            match
            and match[1] in sections
            and match[2] not in ("py", "toml", "json", "safetensors", "pt")
        ):
            assert f"{match[1]}.{match[2]}" in recipe_keys(), text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_script_that_is_named_is_there(page):
    text = page.read_text(encoding="utf-8")
    for script in re.findall(r"\b((?:benchmarks|docs|tests)/[\w/]+\.py)", text):
        base = ROOT if (ROOT / script).is_file() else ROOT / "src"
        assert (base / script).is_file(), script


def test_the_example_of_a_label_map_is_one(tmp_path):
    (block,) = [b for b in blocks(ROOT / "docs" / "report.md") if b.language == "toml"]
    (tmp_path / "map.toml").write_text(block.text, encoding="utf-8")
    assert read_label_map(tmp_path / "map.toml").NORMAL == ["No Finding", "healthy"]


def test_every_tag_of_a_block_is_known():
    for page in PAGES:
        for block in blocks(page):
            assert block.language in (*SHELLS, *OTHERS), block
    assert len(TYPED) >= 30
