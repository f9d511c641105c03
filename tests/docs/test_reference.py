"""The generated reference is what the code says, and leaves nothing out."""

import re
from pathlib import Path

import generate
import pytest
import typer
from result_tables import filled

from pneumoscope.cli.app import app
from pneumoscope.config import recipe_keys
from pneumoscope.data.label_map import LabelMap, LabelTable

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def committed():
    return {path.name: path.read_text("utf-8") for path in (DOCS / "reference").glob("*.md")}


def test_the_pages_are_those_of_the_code(committed):
    assert committed == generate.pages(), "run python docs/generate.py"


def test_the_tables_of_results_are_those_of_scores_and_records():
    for path, content in generate.pages_with_tables().items():
        text = path.read_text("utf-8")
        assert "<!-- table: " in text, path
        assert text == content, "run python docs/generate.py"


def test_a_table_is_made_anew(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    monkeypatch.setattr(generate, "pages_with_tables", lambda: {page: filled(page.read_text())})
    monkeypatch.setattr(generate, "FOLDER", tmp_path / "reference")
    page.write_text("before\n<!-- table: seeds -->\nold\n<!-- end of table -->\nafter\n")
    monkeypatch.setattr("sys.argv", ["generate.py"])
    assert generate.main() == 0
    before, header, *_, after = page.read_text().split("\n\n")
    assert (before, after) == ("before\n<!-- table: seeds -->", "<!-- end of table -->\nafter\n")
    assert header.startswith("| at the recall-first threshold | AUROC |")
    monkeypatch.setattr("sys.argv", ["generate.py", "--check"])
    assert generate.main() == 0
    page.write_text(page.read_text().replace("CNN, three seeds | .98", "CNN, three seeds | .99"))
    assert generate.main() == 1


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("<!-- table: no_such -->\n<!-- end of table -->", KeyError),
        ("<!-- table: seeds -->\n", ValueError),
        ("<!-- end of table -->\n", ValueError),
        ("<!-- table: no-such -->\n<!-- end of table -->\n", ValueError),
        ("<!-- table: seeds --> \n<!-- end of table -->\n", ValueError),
        ("<!--table: seeds -->\n<!-- end of table -->\n", ValueError),
        ("<!-- table: seeds -->\n<!-- table: seeds -->\n<!-- end of table -->\n", ValueError),
    ],
)
def test_a_table_without_a_name_or_an_end_is_refused(text, error):
    with pytest.raises(error):
        filled(text)


def test_a_stale_page_is_found(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(generate, "pages_with_tables", dict)
    monkeypatch.setattr(generate, "FOLDER", tmp_path)
    monkeypatch.setattr("sys.argv", ["generate.py", "--check"])
    assert generate.main() == 1
    monkeypatch.setattr("sys.argv", ["generate.py"])
    assert generate.main() == 0
    monkeypatch.setattr("sys.argv", ["generate.py", "--check"])
    assert generate.main() == 0
    (tmp_path / "cli.md").write_text("old")
    assert generate.main() == 1
    assert "cli.md is out of date" in capsys.readouterr().err


def test_every_command_and_option_is_there(committed):
    sections = dict(re.findall(r"^## `(.+?)`\n(.*?)(?=^## |\Z)", committed["cli.md"], re.M | re.S))

    def check(command, name):
        section = sections.pop(name)
        for parameter in command.params:
            for shown in (*parameter.opts, *parameter.secondary_opts):
                if shown.startswith("-"):
                    assert f"`{shown}" in section or f"/ {shown}`" in section, (name, shown)
            assert (parameter.help or "").split("|")[0] in section
        for sub, child in getattr(command, "commands", {}).items():
            check(child, f"{name} {sub}")

    check(typer.main.get_command(app), "pneumoscope")
    assert not sections, "sections of no command"


def test_every_key_is_there_with_its_meaning(committed):
    recipes, maps = committed["config.md"].split("# Label maps")
    sections = {"": recipes.split("## `[")[0]}
    sections |= dict(re.findall(r"^## `\[(\w+)\]`\n(.*?)(?=^## |\Z)", recipes, re.M | re.S))
    for key in recipe_keys():
        section, _, name = key.rpartition(".")
        (row,) = re.findall(rf"^\| `{name}` \|.*$", sections[section], re.M)
        assert len(row.rsplit("|", 2)[1].strip()) > 5, f"{key} has no description"
    for key in (*LabelMap.model_fields, *LabelTable.model_fields):
        assert f"| `{key}` |" in maps or f"## `[{key}]`" in maps, key
