"""`python3 -m tools.wall`: the wall and its packages, as a tool that runs beside others."""

import os
import sys

from tools import machine
from tools.steps import ROOT, StepError

if __name__ == "__main__":
    os.chdir(ROOT)
    try:
        machine.wall()
    except StepError as error:
        sys.exit(f"{error.output}\n{error}")
