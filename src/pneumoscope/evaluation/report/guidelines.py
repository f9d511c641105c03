"""Which item of the reporting guidelines this report answers, and which a person must fill in.

Items are named by topic in our words; the published checklists are what counts.

Source: CLAIM: Mongan, Moy and Kahn, Radiol. Artif. Intell. 2 (2020) e200029, numbered as there
    and not as in the update of 2024.
    TRIPOD+AI: Collins et al., BMJ 385 (2024) e078378. STARD: Bossuyt et al., BMJ 351 (2015) h5527,
    whose items STARD-AI (Sounderajah et al., Nat. Med. 2025) keeps; what STARD-AI adds stands
    below them by topic and without its number.
"""

from collections.abc import Collection
from dataclasses import dataclass

from pneumoscope.evaluation.report.document import Table

PERSON = "a person must fill"


@dataclass(frozen=True)
class Item:
    """One item of a guideline.

    Attributes:
        number: its number there, empty where it has none here.
        topic: what it asks for, in a few words.
        sections: ids of the report's sections that answer it, wholly or in part.
        also: where else the answer stands, or how far it goes; by itself it is the answer.
        person: what is left to a person although the report answers in part.
        needs: what the report must have to answer, if not every report has it: ``"manifest"``,
            ``"gallery"`` or ``"external films"``.
    """

    number: str
    topic: str
    sections: tuple[str, ...] = ()
    also: str = ""
    person: str = ""
    needs: str = ""


_CARD = "MODEL_CARD.md of the bundle"
_RECIPE = "recipe in the manifest"

CLAIM = (
    Item("1", "Title or abstract names the study as one of AI, and the kind of AI"),
    Item("2", "Structured summary"),
    Item(
        "3",
        "Background, intended use and clinical role",
        ("intended-use",),
        person="the need, locally",
    ),
    Item("4", "Objectives and hypotheses"),
    Item("5", "Prospective or retrospective", ("intended-use",), "films are retrospective"),
    Item("6", "Goal of the study", ("intended-use",)),
    Item("7", "Sources of the data", ("intended-use", "paper-trail")),
    Item("8", "Who was eligible, where and when", ("intended-use",), "as far as published"),
    Item("9", "Preprocessing", ("intended-use",)),
    Item("10", "Selection of data subsets", ("leakage", "paper-trail")),
    Item("11", "Definitions of data elements", ("intended-use",), "labels only"),
    Item(
        "12", "De-identification", (), person="the public films come without names; others may not"
    ),
    Item("13", "Missing data", ("paper-trail",), "films left out", needs="manifest"),
    Item("14", "Definition of the reference standard", ("intended-use",)),
    Item("15", "Why this reference standard"),
    Item("16", "Who annotated, with what qualification", ("intended-use",), "as far as published"),
    Item("17", "Annotation tools"),
    Item("18", "Agreement within and between annotators"),
    Item("19", "Sample size and how it was determined", ("summary",), person="the reasoning"),
    Item("20", "How films were assigned to partitions", ("leakage", "paper-trail")),
    Item("21", "At which level partitions are disjoint", ("leakage",)),
    Item("22", "Description of the model", ("paper-trail",), _CARD, needs="manifest"),
    Item("23", "Software libraries and versions", ("paper-trail",), needs="manifest"),
    Item("24", "Initialisation of parameters", ("paper-trail",), _RECIPE, needs="manifest"),
    Item("25", "Augmentation, hyperparameters", ("paper-trail",), _RECIPE, needs="manifest"),
    Item(
        "26",
        "Selection of the final model",
        (),
        "docs/accuracy.md, docs/recipes.md, docs/style.md",
        needs="manifest",
    ),
    Item("27", "Ensembling", (), "none in a single bundle"),
    Item("28", "Metrics of performance", ("results", "discrimination", "operating-point")),
    Item("29", "Statistical measures and uncertainty", ("discrimination", "pairs")),
    Item("30", "Robustness or sensitivity analysis", ("robustness", "subgroups")),
    Item("31", "Explainability", ("subgroups",), "heat maps, no localisation", needs="gallery"),
    Item("32", "Testing on external data", ("population",), needs="external films"),
    Item("33", "Flow of participants", ("summary", "paper-trail"), person="a diagram"),
    Item("34", "Demographics of each partition", (), "age and sex are not in the data"),
    Item("35", "Performance on all partitions", ("results", "leakage")),
    Item("36", "Diagnostic accuracy with its precision", ("operating-point", "discrimination")),
    Item("37", "Failure analysis", ("subgroups",)),
    Item("38", "Limitations", ("intended-use",), person="those of the study at hand"),
    Item("39", "Implications for practice"),
    Item("40", "Registration"),
    Item("41", "Access to the protocol and code", ("paper-trail",), person="the protocol"),
    Item("42", "Funding and role of funders"),
)

TRIPOD_AI = (
    Item("1", "Title"),
    Item("2", "Abstract"),
    Item(
        "3a-c",
        "Context, intended use, known inequalities",
        ("intended-use",),
        person="inequalities",
    ),
    Item("4", "Objectives"),
    Item("5a-b", "Sources and dates of the data", ("intended-use",), "as far as published"),
    Item("6a-c", "Setting, eligibility, treatments", ("intended-use",), "as far as published"),
    Item("7", "Data preparation", ("intended-use",)),
    Item(
        "8a-c", "Outcome and how it was assessed", ("intended-use",), person="blinding of assessors"
    ),
    Item("9a-c", "Predictors", ("intended-use",), "the film alone"),
    Item("10", "Sample size", ("summary",), person="the reasoning"),
    Item("11", "Missing data", ("paper-trail",), "films left out", needs="manifest"),
    Item("12a-g", "Analysis: partitions, model, measures", ("results", "calibration", "pairs")),
    Item("13", "Class imbalance", ("paper-trail",), _RECIPE, needs="manifest"),
    Item("14", "Fairness", ("subgroups",), "age, sex and origin are not in the data"),
    Item("15", "Output of the model and its thresholds", ("operating-point", "calibration")),
    Item("16", "Differences of training and evaluation data", ("population", "leakage")),
    Item("17", "Ethical approval"),
    Item(
        "18a-f",
        "Funding, interests, protocol, data and code",
        ("paper-trail",),
        person="all but code",
    ),
    Item("19", "Patient and public involvement"),
    Item(
        "20a-c",
        "Participants: flow, characteristics",
        ("summary", "population"),
        person="a diagram",
    ),
    Item("21", "Numbers in each analysis", ("results", "subgroups")),
    Item("22", "The full model", ("paper-trail",), "the bundle itself", needs="manifest"),
    Item("23a-b", "Performance with intervals, by subgroup", ("discrimination", "subgroups")),
    Item("24", "Model updating", (), "none: nothing is refitted"),
    Item("25", "Interpretation"),
    Item("26", "Limitations", ("intended-use",), person="those of the study at hand"),
    Item(
        "27a-c",
        "Use in care: poor input, users, next steps",
        ("robustness",),
        person="users and steps",
    ),
)

STARD_AI = (
    Item("1", "Identification as a study of diagnostic accuracy"),
    Item("2", "Structured summary"),
    Item("3", "Background, intended use and role of the test", ("intended-use",)),
    Item("4", "Objectives and hypotheses"),
    Item("5", "Prospective or retrospective", ("intended-use",), "films are retrospective"),
    Item("6", "Eligibility", ("intended-use",), "as far as published"),
    Item("7", "How eligible participants were found"),
    Item("8", "Setting, place and dates", ("intended-use",), "as far as published"),
    Item("9", "Consecutive, random or convenience series"),
    Item("10a", "Index test, to be repeated", ("paper-trail",), _CARD, needs="manifest"),
    Item("10b", "Reference standard, to be repeated", ("intended-use",), "as far as published"),
    Item("11", "Why this reference standard"),
    Item("12a", "Cut-offs of the index test, set beforehand", ("operating-point",)),
    Item("12b", "Cut-offs of the reference standard"),
    Item(
        "13a", "What was known to those who ran the index test", ("paper-trail",), "the film only"
    ),
    Item("13b", "What was known to those who set the reference"),
    Item("14", "Methods for estimating and comparing accuracy", ("discrimination", "pairs")),
    Item("15", "Indeterminate results", ("paper-trail",), "films left out", needs="manifest"),
    Item("16", "Missing data", ("paper-trail",), "films left out", needs="manifest"),
    Item("17", "Variability of accuracy", ("subgroups", "robustness")),
    Item("18", "Sample size", ("summary",), person="the reasoning"),
    Item("19", "Flow of participants", ("summary",), person="a diagram"),
    Item("20", "Demographics and clinical characteristics", (), "not in the data"),
    Item("21a", "Severity among those with the condition", ("subgroups",), "cause only"),
    Item("21b", "Alternative diagnoses among those without"),
    Item("22", "Time between index test and reference", (), "both read one film"),
    Item("23", "Cross tabulation", ("results",)),
    Item("24", "Accuracy and its precision", ("operating-point", "discrimination")),
    Item("25", "Adverse events", (), "none: nobody was treated by these results"),
    Item("26", "Limitations", ("intended-use",), person="those of the study at hand"),
    Item("27", "Implications for practice"),
    Item("28", "Registration"),
    Item("29", "Protocol"),
    Item("30", "Funding"),
    Item("AI", "Source, split and preprocessing of the data sets", ("paper-trail", "leakage")),
    Item("AI", "Version, inputs and outputs", ("paper-trail",), _CARD, needs="manifest"),
    Item("AI", "Performance error analysis and bias", ("subgroups", "robustness")),
    Item("AI", "Whether development and test data are alike", ("population",)),
    Item("AI", "Availability of code, data and audit", ("paper-trail",), person="an outside audit"),
    Item("AI", "Commercial interests"),
)

GUIDELINES = {"CLAIM": CLAIM, "TRIPOD+AI": TRIPOD_AI, "STARD-AI": STARD_AI}


def guideline_tables(answered: Collection[str]) -> tuple[Table, ...]:
    """Returns one table a guideline: item, topic, and where the answer stands.

    Args:
        answered: ids of the sections that say something, and what else the report has
            (``Item.needs``); what it does not answer is for a person.
    """
    return tuple(
        Table(
            f"{name}: where this report answers",
            ("Item", "Topic", "Where"),
            tuple((item.number, item.topic, _where(item, answered)) for item in items),
            prose=True,
        )
        for name, items in GUIDELINES.items()
    )


def _where(item: Item, answered: Collection[str]) -> str:
    links = [f"[{name}](#{name})" for name in item.sections if name in answered]
    lacks = bool(item.needs) and item.needs not in answered
    if lacks or (item.sections and not links):
        return f"**{PERSON}**{f' (not here: {item.needs})' if lacks else ''}"
    if not links and not item.also:
        return f"**{PERSON}**{f': {item.person}' if item.person else ''}"
    also = f" ({item.also})" if item.also and links else item.also
    left = f"; **{PERSON}**: {item.person}" if item.person else ""
    return f"{', '.join(links)}{also}{left}"
