"""Writes ``docs/reference/`` from the code, and tables of results from scores and records.

The reference has the command line, the keys of recipes and the messages. The tables are those of
the README, of ``docs/accuracy.md`` and of ``docs/report.md``; they are made from the shipped
bundles' scores and the records in ``benchmarks/results``, without a film.

::

    python docs/generate.py            write them
    python docs/generate.py --check    write nothing; exit status 1 where one is out of date
"""

import inspect
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_type_hints

import typer
from messages_page import messages_page
from result_tables import PAGES, ROOT, filled

from pneumoscope.cli.app import app
from pneumoscope.config import Recipe, Section
from pneumoscope.data.label_map import LabelMap, LabelTable
from pneumoscope.labels import DISCLAIMER

FOLDER = Path(__file__).parent / "reference"
PATTERNS = {
    r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$": "of 1 to 64 letters, digits, `_`, `.` and `-`, the first "
    "a letter or a digit"
}
"""What the patterns of keys say, in words."""
NOTE = "<!-- Written by docs/generate.py from the code; change that, and run it again. -->"


def pages() -> dict[str, str]:
    """Returns the content of every page of the reference by its file name."""
    return {"cli.md": cli_page(), "config.md": config_page(), "messages.md": messages_page(NOTE)}


def pages_with_tables() -> dict[Path, str]:
    """Returns the content of every page that has tables of results by its path."""
    return {ROOT / page: filled((ROOT / page).read_text(encoding="utf-8")) for page in PAGES}


def cli_page() -> str:
    """Returns the reference of the command line: every command, argument and option."""
    lines = [
        "# Command line\n",
        NOTE,
        f"\n*{DISCLAIMER}*\n",
        "Exit status: 0 is success; 1 a failure, with its line on standard error; 2 wrong usage. "
        "What the messages mean and what to do: [troubleshooting](../troubleshooting.md).\n",
    ]
    for name, command in walk(typer.main.get_command(app), "pneumoscope"):
        lines += [f"## `{name}`\n", paragraphs(command.help), ""]
        lines += [f"```text\n{usage(name, command)}\n```\n", *parameters(command)]
        if names := getattr(command, "commands", None):
            links = [f"[`{sub}`](#{name.replace(' ', '-')}-{sub})" for sub in names]
            lines += [f"Commands: {', '.join(links)}.\n"]
    return "\n".join(lines)


def walk(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yields a command and all those below it, each with its full name.

    Only plain attributes of commands and parameters are read, which all versions of typer have.
    """
    yield name, command
    for sub, child in getattr(command, "commands", {}).items():
        yield from walk(child, f"{name} {sub}")


def usage(name: str, command: Any) -> str:
    """Returns how a command is called."""
    if getattr(command, "commands", None):
        return f"{name} COMMAND ..."
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    shown = [f"{shape(command, p)}{'...' if p.nargs == -1 else ''}" for p in arguments]
    optional = [
        text if p.required else f"[{text}]" for p, text in zip(arguments, shown, strict=True)
    ]
    return " ".join([name, *optional, "[OPTIONS]"])


def parameters(command: Any) -> list[str]:
    """Returns the table of a command's arguments and options."""
    rows = []
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            shown = shape(command, parameter)
        else:
            shown = " / ".join([*parameter.opts, *parameter.secondary_opts])
            shown += "" if parameter.is_flag else f" {shape(command, parameter)}"
        rows.append(f"| `{cell(shown)}` | {default_of(parameter)} | {cell(parameter.help or '')} |")
    return ["| | default | |", "|---|---|---|", *rows, ""] if rows else []


def shape(command: Any, parameter: Any) -> str:
    """Returns what stands for a value: its metavar, its choices, or its type."""
    if parameter.metavar:
        return str(parameter.metavar).removesuffix("...")
    if parameter.param_type_name == "argument":
        return str(parameter.name).upper()
    hint = get_type_hints(inspect.unwrap(command.callback))[parameter.name]
    (kind,) = [one for one in get_args(hint) or (hint,) if one is not type(None)]
    if issubclass(kind, Enum):
        return "|".join(str(choice.value) for choice in kind)
    return {int: "NUMBER", float: "NUMBER", Path: "PATH"}.get(kind, "TEXT")


def default_of(parameter: Any) -> str:
    """Returns the default of a parameter in words."""
    if parameter.required:
        return "required"
    default = getattr(parameter.default, "value", parameter.default)
    if isinstance(default, bool):
        return "yes" if default else "no"
    return f"`{default}`" if isinstance(default, str | int | float | Path) and default != "" else ""


def paragraphs(text: str) -> str:
    """Returns a docstring's text without the indentation of the code."""
    return "\n".join(line.strip() for line in text.strip().splitlines())


def config_page() -> str:
    """Returns the reference of recipes and label maps: every key, range, default and meaning."""
    lines = [
        "# Recipes: every key\n",
        NOTE,
        "\nA recipe is a TOML file; `--set section.key=value` changes one value. An unknown key, a "
        "wrong type and a value out of range are refused by name. How they are used, and which "
        "keys do not go together: [training](../training.md#levers).\n",
        "A default of `-` means that the key is left out: the network's own value holds, "
        "`max_steps` has no limit, and every epoch has `model.patch_drop_rate` where there is no "
        "`last_patch_drop_rate`. `model.name` is one of the names of [models](../models.md).\n",
        "## At the top\n",
        *keys_table(Recipe),
    ]
    for name, field in Recipe.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            lines += [f"## `[{name}]`\n", f"{first_line(section)}\n", *keys_table(section)]
    lines += [
        "# Label maps\n",
        "The TOML file of `evaluate --labels`; how it is used: [the report](../report.md).\n",
        "## At the top of the map\n",
        *keys_table(LabelMap),
        "## `[table]`\n",
        *keys_table(LabelTable),
    ]
    return "\n".join(lines)


def first_line(section: type[Section]) -> str:
    """Returns what a section is about."""
    return (section.__doc__ or "").strip().splitlines()[0]


def keys_table(section: type[Section]) -> list[str]:
    """Returns the table of the keys of a section that are not sections themselves."""
    schema = section.model_json_schema()
    rows = []
    for key, value in schema["properties"].items():
        if "$ref" in value or any("$ref" in option for option in value.get("anyOf", ())):
            continue
        default = value.get("default")
        shown = "required" if key in schema.get("required", ()) else toml(default)
        meaning = value.get("description", "")
        rows.append(f"| `{key}` | {cell(kind(value))} | {shown} | {cell(meaning)} |")
    return ["| key | value | default | meaning |", "|---|---|---|---|", *rows, ""]


def toml(value: Any) -> str:
    """Returns a default as it is written in TOML; what is left out by default is a dash."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


def kind(schema: dict[str, Any]) -> str:
    """Returns what a key takes, from its JSON schema: type, choices or range."""
    if "anyOf" in schema:
        (schema,) = (option for option in schema["anyOf"] if option.get("type") != "null")
    if "enum" in schema:
        return ", ".join(toml(choice) for choice in schema["enum"])
    names = {"integer": "whole number", "number": "number", "boolean": "true or false"}
    names |= {"string": "text", "array": "list of texts"}
    signs = (
        ("minimum", ">="),
        ("exclusiveMinimum", ">"),
        ("maximum", "<="),
        ("exclusiveMaximum", "<"),
    )
    limits = [f"{sign} {schema[limit]:,}" for limit, sign in signs if limit in schema]
    limits += [PATTERNS[schema["pattern"]]] if "pattern" in schema else []
    return " ".join([names[schema["type"]], ", ".join(limits)]).strip()


def cell(text: str) -> str:
    """Returns text for a cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")


def main() -> int:
    """Writes the pages, or compares them with those there; returns the exit status."""
    stale = []
    contents = {FOLDER / name: content for name, content in pages().items()} | pages_with_tables()
    for path, content in contents.items():
        if "--check" not in sys.argv[1:]:
            path.parent.mkdir(exist_ok=True)
            path.write_text(content, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != content:
            stale.append(str(path))
    for path_name in stale:
        print(f"{path_name} is out of date; run python docs/generate.py", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
