"""Bytewax: tumbling windows of a second by host and metric. Prints {"samples", "cpu_s"}; run by the rivals' own Python."""

import json
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import bytewax.operators as op
import bytewax.operators.windowing as win
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.operators.windowing import EventClock, TumblingWindower
from bytewax.testing import TestingSink, run_main
from confluent_kafka import Producer

TOPIC = "wax-events"
State = tuple[int, float, float, float]


def produce(bootstrap: str, events: list[bytes]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "queue.buffering.max.messages": 1_000_000})
    for event in events:
        producer.produce(TOPIC, event)
    producer.flush()


def parsed(message: object) -> tuple[str, tuple[float, int]]:
    found = json.loads(message.value)  # type: ignore[attr-defined]
    seen.append(time.process_time())
    return f"{found['metric']}|{found['labels']['host']}", (found["value"], found["time"])


def add(state: State, sample: tuple[float, int]) -> State:
    value = sample[0]
    return state[0] + 1, state[1] + value, min(state[2], value), max(state[3], value)


def merge(one: State, other: State) -> State:
    return one[0] + other[0], one[1] + other[1], min(one[2], other[2]), max(one[3], other[3])


seen: list[float] = []


def main(bootstrap: str, file: str) -> None:
    events = Path(file).read_bytes().split(b"\n")
    produce(bootstrap, events)
    flow = Dataflow("bench")
    source = KafkaSource([bootstrap], [TOPIC], tail=False, batch_size=1_000)
    samples = op.map("parse", op.input("in", flow, source), parsed)
    clock = EventClock(lambda sample: datetime.fromtimestamp(sample[1] / 1000, UTC), timedelta(seconds=1))
    windower = TumblingWindower(timedelta(seconds=1), datetime(2025, 1, 1, tzinfo=UTC))
    folded = win.fold_window("window", samples, clock, windower, lambda: (0, 0.0, float("inf"), float("-inf")), add, merge)
    op.output("out", folded.down, TestingSink([]))
    run_main(flow)
    print(json.dumps({"samples": len(seen) - 1, "cpu_s": seen[-1] - seen[0]}))


main(*sys.argv[1:])
