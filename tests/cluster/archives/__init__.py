"""Archives of the images that a cluster without a registry is given: Tideboard in two versions, Kafka, and Valkey.

Tideboard's image is the Dockerfile's, on Debian's Python instead of the official image's, which is Debian's release with the same
Python. Kafka and Valkey stand in for the images that the chart names: the same programs, called the same, at the same places.
Each archive is kept in the user's cache under a hash of what it was made from. Giving them to nodes is `tests.cluster.images`.

    python -m tests.cluster.archives    # makes what is missing, and prints where they are
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.cluster.archives import keeping, recipes

TIDEBOARD: Final = "ghcr.io/tideboard/tideboard"
VERSIONS: Final = ("test-a", "test-b")
KAFKA: Final = "docker.io/apache/kafka:4.1.1"
VALKEY: Final = "docker.io/valkey/valkey:9.1.2"


def archives() -> list[Path]:
    """Every archive, for `ctr images import`; what is missing is made, with a line for each step. StepError where it cannot be."""
    tags = [f"{TIDEBOARD}:{version}" for version in VERSIONS]
    return [
        keeping.kept(recipe)
        for recipe in (recipes.servers(KAFKA, VALKEY), recipes.tideboard(dict(zip(tags, VERSIONS, strict=True))))
    ]


def names() -> Mapping[str, str]:
    """Every image's name, by what it is called in tests."""
    return {**{version: f"{TIDEBOARD}:{version}" for version in VERSIONS}, "kafka": KAFKA, "valkey": VALKEY}
