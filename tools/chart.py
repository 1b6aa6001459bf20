"""The Helm chart, as the checks see it: its schema follows from its values, and both Helms find nothing to complain about.

python -m tools.chart            # writes values.schema.json
python -m tools.chart --check    # fails where that would change it, or where `helm lint --strict` fails
"""

import json
import sys
from pathlib import Path
from typing import Final

from tools.clients import client
from tools.schema import SchemaError, schema
from tools.steps import ROOT, StepError, run

CHART: Final = ROOT / "deploy" / "helm" / "tideboard"
SCHEMA: Final = CHART / "values.schema.json"
HELMS: Final = ("helm3", "helm4")


def values_files() -> list[Path]:
    """Every set of values that the chart is checked with: the defaults (an empty file), what `ci` holds, and the worked examples."""
    return sorted([*CHART.glob("ci/*-values.yaml"), *CHART.glob("values-*.yaml")])


def written() -> str:
    """values.schema.json as it has to be. StepError where values.yaml does not say enough."""
    try:
        found = schema((CHART / "values.yaml").read_text(encoding="utf-8"), "Values of the Tideboard chart")
    except SchemaError as error:
        raise StepError(f"values.yaml: {error}") from None
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def check() -> None:
    """StepError names the first thing that is wrong."""
    if not SCHEMA.is_file() or SCHEMA.read_text(encoding="utf-8") != written():
        raise StepError("values.schema.json is not what values.yaml says; make chart writes it")
    for helm in HELMS:
        program = client(helm)
        for values in values_files():
            run([program, "lint", "--strict", "--quiet", CHART, "-f", values], failing=f"{helm} lint: {values.name} fails")


def main(arguments: list[str]) -> int:
    try:
        if arguments == ["--check"]:
            check()
        else:
            SCHEMA.write_text(written(), encoding="utf-8")
    except StepError as error:
        print(f"{error.output}\n{error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
