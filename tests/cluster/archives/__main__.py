"""`python -m tests.cluster.archives`: make what is missing, and print where the archives are, or why they cannot be."""

import sys

from tests.cluster.archives import archives
from tools.steps import StepError, show

if __name__ == "__main__":
    try:
        for archive in archives():
            print(archive)
    except StepError as error:
        sys.exit(show(error))
