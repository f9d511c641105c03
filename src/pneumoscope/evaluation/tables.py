"""The comparison as tables: built once, shown in the terminal, in Markdown and in a picture."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table as RichTable
from rich.text import Text

from pneumoscope.evaluation.intervals import Interval
from pneumoscope.evaluation.metrics import SetMetrics
from pneumoscope.evaluation.operating_point import Summary
from pneumoscope.evaluation.results import (
    METRICS,
    ModelResult,
    mean_and_sd,
    reference_results,
    seed_groups,
)
from pneumoscope.labels import DISCLAIMER, Label

COLUMNS = (
    "Model",
    "Params (M)",
    "Time (min)",
    "Acc",
    "Prec",
    "Recall",
    "Spec",
    "F1",
    "AUROC",
    "Thr",
)
INTERVAL_COLUMNS = ("Model", "Recall", "Spec", "AUROC", "TP", "FN", "FP", "TN")
MISSING = "-"
INDENTED = "  recall-first"

Row = tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """The two rows of one model, without its name."""

    name: str
    at_default: Row
    recall_first: Row

    @property
    def full_rows(self) -> tuple[Row, Row]:
        """Rows that each name the model and the operating point."""
        return (f"{self.name}, at 0.5", *self.at_default), (
            f"{self.name}, recall-first",
            *self.recall_first,
        )

    @property
    def short_rows(self) -> tuple[Row, Row]:
        """Rows to be read together: the second names the operating point only."""
        return (self.name, *self.at_default), (INDENTED, *self.recall_first)


@dataclass(frozen=True)
class Table:
    """A titled table of text.

    Attributes:
        title: says PHANTOM where phantoms are in play.
        columns: headings; the first column is a name, the others are numbers.
        sections: one a model.
    """

    title: str
    columns: tuple[str, ...]
    sections: tuple[Section, ...]


def results_table(results: Sequence[ModelResult], split: str = "test") -> RichTable:
    """Returns the comparison table on the test set (or on validation), for the terminal.

    Args:
        results: models under distinct names, tested on one set (``Comparison.results``).
        split: ``"test"`` or ``"val"``.
    """
    return to_rich(headline_table(results, split))


def headline_table(results: Sequence[ModelResult], split: str) -> Table:
    """Returns every model's figures at 0.5 and at its recall-first threshold.

    Below the models stand mean and standard deviation of recipes run with several seeds and,
    for the official test set, the reference study.

    Args:
        results: models under distinct names that have films of the split.
        split: ``"val"`` or ``"test"``.
    """
    sections = [
        _section(
            result.name,
            _millions(result.num_parameters),
            _mean_minutes([result.train_time_s]),
            *(_figures(summary) for summary in result.summaries(split)),
        )
        for result in results
    ]
    for name, group in seed_groups(results).items():
        both = zip(*(result.summaries(split) for result in group), strict=True)
        sections.append(
            _section(
                f"{name}, mean ± sd of {len(group)} seeds",
                _millions(group[0].num_parameters),
                _mean_minutes([result.train_time_s for result in group]),
                *(_spreads(summaries) for summaries in both),
            )
        )
    if split == "test":
        sections += [
            _section(
                reference.name,
                _millions(reference.num_parameters),
                MISSING,
                *(_figures(summary) for summary in reference.summaries),
            )
            for reference in reference_results(results)
        ]
    return Table(_title(results, split), COLUMNS, tuple(sections))


def interval_table(results: Sequence[ModelResult], metrics: Sequence[SetMetrics]) -> Table:
    """Returns recall, specificity and AUROC with 95 % intervals, and the counts, on test.

    Args:
        results: models under distinct names, tested on one set.
        metrics: what ``evaluate_predictions`` says of each one's test films.
    """
    sections = []
    for result, of_test in zip(results, metrics, strict=True):
        intervals = of_test["intervals"]
        sections.append(
            Section(
                result.name,
                *(
                    (
                        _with_interval(summary["recall"], bounds["recall"]),
                        _with_interval(summary["specificity"], bounds["specificity"]),
                        _with_interval(summary["auroc"], intervals["auroc"]),
                        *(str(summary[count]) for count in ("tp", "fn", "fp", "tn")),
                    )
                    for summary, bounds in (
                        (of_test["at_0.5"], intervals["at_0.5"]),
                        (of_test["at_threshold"], intervals["at_threshold"]),
                    )
                ),
            )
        )
    return Table(f"{_title(results, 'test')}, 95 % intervals", INTERVAL_COLUMNS, tuple(sections))


def to_markdown(table: Table) -> str:
    """Returns the table as Markdown: its title in bold above it, the disclaimer below."""
    rule = ("---", *["---:"] * (len(table.columns) - 1))
    rows = [table.columns, rule, *(row for section in table.sections for row in section.full_rows)]
    lines = ["| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in rows]
    return "\n".join([f"**{table.title}**", "", *lines, "", f"*{DISCLAIMER}*"])


def to_rich(table: Table) -> RichTable:
    """Returns the table for the terminal: recall-first rows in bold, the disclaimer below."""
    rich = RichTable(
        title=Text(table.title),
        caption=Text(DISCLAIMER),
        box=box.SIMPLE_HEAD,
        padding=0,
    )
    # Two lines for what is long: the table fits 80 columns. Text and not str throughout, since
    # square brackets in a name are no markup.
    for index, column in enumerate(table.columns):
        rich.add_column(
            Text(column.replace(" (", "\n(")),
            justify="right" if index else "left",
            overflow="fold",
            min_width=None if index else len(INDENTED),
        )
    for section in table.sections:
        at_default, recall_first = (
            [Text(cell.replace(" ± ", "\n±")) for cell in row] for row in section.short_rows
        )
        rich.add_row(*at_default)
        rich.add_row(*recall_first, style="bold", end_section=True)
    return rich


def format_threshold(threshold: float) -> str:
    """Returns a threshold to 4 decimals, or to as many as tell it from 0 and 1.

    Example:
        >>> format_threshold(0.28941), format_threshold(0.99999712), format_threshold(1.0)
        ('0.2894', '0.999997', '1.0000')
    """
    decimals = 4
    while threshold not in (0, 1) and float(f"{threshold:.{decimals}f}") in (0, 1):
        decimals += 1
    return f"{threshold:.{decimals}f}"


def _title(results: Sequence[ModelResult], split: str) -> str:
    sizes = {(len(r.films(split)), int(r.films(split).y_true.sum())) for r in results}
    name = {"val": "Validation set", "test": "Test set"}[split]
    if any(result.phantom for result in results):
        name = f"PHANTOM: {name.lower()}"
    if len(sizes) > 1:  # splits of two kinds differ in validation
        return f"{name}, each model's own"
    num_films, num_pneumonia = sizes.pop()
    return (
        f"{name}, {num_films} films: {num_pneumonia} {Label.PNEUMONIA.name}, "
        f"{num_films - num_pneumonia} {Label.NORMAL.name}"
    )


def _section(name: str, params: str, time: str, at_default: Row, recall_first: Row) -> Section:
    return Section(name, (params, time, *at_default), (params, time, *recall_first))


def _millions(num_parameters: int | None) -> str:
    return MISSING if num_parameters is None else f"{num_parameters / 1e6:.2f}"


def _mean_minutes(times_s: Sequence[float | None]) -> str:
    known = [time_s for time_s in times_s if time_s is not None]
    return f"{sum(known) / len(known) / 60:.1f}" if len(known) == len(times_s) else MISSING


def _figures(summary: Summary) -> Row:
    fractions = (summary[metric] for metric in METRICS if metric != "thr")
    return (*map(_fraction, fractions), format_threshold(summary["thr"]))


def _spreads(summaries: Sequence[Summary]) -> Row:
    spreads = (mean_and_sd([summary[metric] for summary in summaries]) for metric in METRICS)
    return tuple(f"{s[0]:.3f} ± {s[1]:.3f}" if s else MISSING for s in spreads)


def _fraction(value: float | None) -> str:
    return MISSING if value is None else f"{value:.4f}"


def _with_interval(value: float | None, interval: Interval) -> str:
    if interval is None:
        return _fraction(value)
    return f"{_fraction(value)} ({interval[0]:.4f} to {interval[1]:.4f})"
