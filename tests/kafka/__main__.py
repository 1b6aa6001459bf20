"""`python -m tests.kafka`: fetch and prepare Apache Kafka for the tests, and say where it is."""

import sys

from tests.kafka import jars
from tests.kafka.server import prepare
from tests.servers import ROOT

if __name__ == "__main__":
    try:
        prepare()
    except (jars.KafkaMissingError, AssertionError) as error:
        sys.exit(f"tideboard: {error}")
    print(f"Apache Kafka: {len(list((jars.home() / 'libs').glob('*.jar')))} jars in {jars.home().relative_to(ROOT)}")
