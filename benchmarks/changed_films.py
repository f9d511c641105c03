"""What a model does on changed test films, its threshold frozen: a record of stored evidence.

    python benchmarks/changed_films.py EVALUATION

``EVALUATION`` is a folder that ``pneumoscope evaluate`` wrote, or its ``evidence/``. Prints JSON:
by the name of a change AUROC, recall, specificity and how many decisions it flips. For records of
weights that are not kept, of which the whole evidence would be as large as that of shipped ones.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from pneumoscope.errors import PneumoscopeError
from pneumoscope.evaluation.evidence import open_results
from pneumoscope.evaluation.robustness import evaluate_shifts


def changed_films(folder: Path) -> dict[str, Any]:
    """Returns the record of one model.

    Raises:
        EvaluationError: the evidence cannot be read.
        ValueError: it is of several models, or no changed films of both classes were scored.
    """
    models = open_results(folder)
    if len(models) != 1 or models[0].shift_table is None:
        raise ValueError(f"{folder} holds {len(models)} models, or scores of no changed films")
    (model,) = models
    variants = evaluate_shifts(model.shift_table, model.films("test"), model.threshold).variants
    if any(found.auroc is None for found in variants):
        raise ValueError(f"{folder} holds changed films of one class; both are needed")
    changes = {
        found.variant: {
            **{key: round(getattr(found, key), 4) for key in ("auroc", "recall", "specificity")},
            "flipped": found.flips.num_flipped,
        }
        for found in variants
    }
    return {"model_id": model.model_id, "changes": changes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("evaluation", type=Path)
    try:
        found = changed_films(parser.parse_args().evaluation)
    except (PneumoscopeError, ValueError) as error:
        parser.error(str(error))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
