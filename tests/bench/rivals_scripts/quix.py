"""Quix Streams: tumbling windows of a second by host and metric. Prints {"samples", "cpu_s"}; run by the rivals' own Python."""

import json
import sys
import time
from pathlib import Path

from confluent_kafka import Producer
from quixstreams import Application
from quixstreams.dataframe.windows import Count, Max, Min, Sum

TOPIC = "quix-events"


def produce(bootstrap: str, events: list[bytes]) -> None:
    """Windows are kept by the key of messages, so they are given one."""
    producer = Producer({"bootstrap.servers": bootstrap, "queue.buffering.max.messages": 1_000_000})
    for event in events:
        found = json.loads(event)
        producer.produce(TOPIC, event, f"{found['metric']}|{found['labels']['host']}".encode())
    producer.flush()


def main(bootstrap: str, file: str) -> None:
    events = Path(file).read_bytes().split(b"\n")
    app = Application(
        bootstrap, consumer_group="bench", auto_offset_reset="earliest", state_dir="state", loglevel="ERROR",
        use_changelog_topics=False,
    )  # fmt: skip
    topic = app.topic(TOPIC, timestamp_extractor=lambda value, *_: value["time"])
    produce(bootstrap, events)
    seen: list[float] = []

    def look(value: dict[str, object]) -> None:
        seen.append(time.process_time())

    frame = app.dataframe(topic).update(look)
    frame = frame.tumbling_window(1_000, grace_ms=1_000).agg(
        count=Count(), sum=Sum("value"), min=Min("value"), max=Max("value")
    ).final()  # fmt: skip
    app.run(count=len(events), timeout=30)
    print(json.dumps({"samples": len(seen) - 1, "cpu_s": seen[-1] - seen[0]}))


main(*sys.argv[1:])
