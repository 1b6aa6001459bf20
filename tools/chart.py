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
DASHBOARDS: Final = ROOT / "dashboards"
SHIPPED: Final = CHART / "files" / "dashboards"
"""A chart holds its files itself: those of the repository's folder, and the one that `helm test` looks at."""
HELMS: Final = ("helm3", "helm4")


def values_files() -> list[Path]:
    """Every set of values that the chart is checked with: the defaults (an empty file), what `ci` holds, and the worked examples."""
    return sorted([*CHART.glob("ci/*-values.yaml"), *CHART.glob("values-*.yaml")])


def written() -> dict[Path, str]:
    """Every file that follows from others. StepError where values.yaml does not say enough."""
    shipped = {SHIPPED / path.name: path.read_text(encoding="utf-8") for path in DASHBOARDS.glob("*.yaml")}
    return {SCHEMA: _schema(), **shipped}


def _schema() -> str:
    try:
        found = schema((CHART / "values.yaml").read_text(encoding="utf-8"), "Values of the Tideboard chart")
    except SchemaError as error:
        raise StepError(f"values.yaml: {error}") from None
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def check() -> None:
    """StepError names the first thing that is wrong."""
    for path, text in written().items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            raise StepError(f"{path.relative_to(ROOT)} is not what it is made from; make chart writes it")
    for helm in HELMS:
        program = client(helm)
        for values in values_files():
            run([program, "lint", "--strict", "--quiet", CHART, "-f", values], failing=f"{helm} lint: {values.name} fails")


def main(arguments: list[str]) -> int:
    try:
        if arguments == ["--check"]:
            check()
        else:
            for path, text in written().items():
                path.write_text(text, encoding="utf-8")
    except StepError as error:
        print(f"{error.output}\n{error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
