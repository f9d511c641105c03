"""``pneumoscope doctor``: what is here, what is missing, what to do about it."""

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pneumoscope.study.checks import Check


def doctor() -> None:
    """Check the installation: packages, device, films, bundles, cache, network settings.

    Exit status: 1 where something needed is missing.
    """
    from rich.markup import escape
    from rich.table import Table

    from pneumoscope.cli.consoles import on_stdout
    from pneumoscope.study.checks import run_checks

    marks = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "missing": "[red]MISSING[/]"}
    table = Table("", "what", "found", "what to do")
    checks: list[Check] = run_checks()
    for check in checks:
        table.add_row(marks[check.state], check.what, escape(check.found), escape(check.advice))
    on_stdout().print(table)
    if any(check.state == "missing" for check in checks):
        raise typer.Exit(1)
