"""One run of the harness: a world, faults for a while, quiet, and the comparison."""

import asyncio
import logging
import random
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from redis.asyncio import Redis

from services.transport.history import read_view
from tests.chaos import wanted
from tests.chaos.checking import Found, Records, compare, expected
from tests.chaos.faults import AWAY_S, Faults
from tests.chaos.follower import difference
from tests.chaos.outcome import Outcome
from tests.chaos.outsiders import brought
from tests.chaos.points import UNIQUE
from tests.chaos.reference import all_samples
from tests.chaos.schedule import LONG_AWAY, Broker, deal, once, ordinal, process_faults, server_faults
from tests.chaos.world import World
from tests.servers import ROOT

STEADY_S: Final = 4.0
"""Longer than the coarsest buckets of the run's dashboards wait to be computed again."""
AGAIN_S: Final = 3.0
WARM_S: Final = 2.0
PATIENCE_S: Final = 60.0
"""How much longer than asked a run may take, until half of the kinds of faults were really done."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What a run is to do. longest_away_s: of Kafka. only: these kinds of faults, or all. settle_s: how long it may take to recover. tree: the folder that holds the services."""

    seed: int
    seconds: float
    broker: Broker = "kafka"
    longest_away_s: float = 10.0
    only: tuple[str, ...] = ()
    settle_s: float = 150.0
    tree: Path = ROOT


async def run(plan: Plan, say: Say) -> Outcome:
    """A run. Its data and logs are kept where it found something wrong; the story says where."""
    seed, broker = plan.seed, plan.broker
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # that its server is gone is no news here
    folder = Path(tempfile.mkdtemp(prefix=f"tideboard-chaos-{seed}-"))
    outcome = Outcome(seed, broker, plan.seconds)
    world = World(seed, broker, plan.tree, folder)
    faults = Faults(world, plan.longest_away_s, say)
    try:
        await world.start()
        faults.tell("everything runs")
        await asyncio.sleep(WARM_S)
        await _break_things(world, faults, plan, outcome)
        await _look(world, faults, plan.settle_s, outcome)
    except Exception as error:  # the other runs go on
        outcome.found("exception", [f"the run itself failed: {type(error).__name__}: {error}"])
        faults.tell(traceback.format_exc())
    finally:
        outcome.faults, outcome.story, outcome.away_s = faults.done, faults.story, faults.away_s
        await world.stop()
        if not outcome.wrong:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            outcome.story.append(f"logs of the services: {folder}")
    return outcome


async def _break_things(world: World, faults: Faults, plan: Plan, outcome: Outcome) -> None:
    seed = plan.seed
    special = tuple(kind for kind in once(plan.broker, seed) if not plan.only or kind in plan.only)
    until = time.monotonic() + plan.seconds + (AWAY_S[1] if LONG_AWAY in special else 0.0)

    async def lane(kinds: tuple[str, ...], name: str) -> None:
        chance, cards, put_off = random.Random(f"{name} {seed}"), deal(kinds, ordinal(plan.broker, seed)), list[str]()
        due = {kind for kind, _ in zip(cards, range(-(-len(kinds) // 2)), strict=False)}
        cards = deal(kinds, ordinal(plan.broker, seed))
        while (time.monotonic() < until or due) and time.monotonic() < until + PATIENCE_S:
            kind = next(cards) if not put_off or chance.random() < 0.5 else put_off.pop(0)
            if await faults.do(kind):
                due.discard(kind)
            else:
                put_off.append(kind)
            outcome.found("ended", world.crashed())
            await asyncio.sleep(chance.choice((0.1, 0.8, 2.0)))

    async def once_each() -> None:
        """With something said before and after each."""
        chance = random.Random(f"once {seed}")
        for kind in special:
            await asyncio.sleep(plan.seconds * chance.uniform(0.25, 0.5))
            assert await faults.do(kind), f"{kind} was not done"
            await asyncio.sleep(plan.seconds * 0.25)

    async with asyncio.TaskGroup() as lanes:
        lanes.create_task(once_each())
        for name, kinds in (("processes", process_faults(plan.broker, seed)), ("servers", server_faults(plan.broker, seed))):
            if allowed := tuple(kind for kind in kinds if not plan.only or kind in plan.only):
                lanes.create_task(lane(allowed, name))
    await faults.end()


async def _look(world: World, faults: Faults, settle_s: float, outcome: Outcome) -> None:
    """Wait until nothing moves, and compare everything; again for a while where something differs, for who is slow is not wrong."""
    faults.tell("the last fault is over")
    await world.heal()
    faults.tell("everything runs again, and nobody says anything")
    began = time.monotonic()
    outcome.found("lost", await world.brought(settle_s))
    lacking = await world.settled(settle_s, STEADY_S)
    faults.tell(lacking or "nothing moves any more")
    logs = [*world.over, await world.whole_log()]
    redis = world.feed.client()  # without the patience of the product's: what is compared waits for a busy machine
    job = await expected(redis, logs, world.entries)
    while True:
        settled = time.monotonic() - began
        found = await compare(redis, job)
        missed = await _differences(world, redis)
        if not (found.wrong or missed) or settled > settle_s:
            break
        faults.tell(f"{len(found.wrong)} cells and {len(missed)} of subscribers differ")
        await asyncio.sleep(AGAIN_S)
    await redis.aclose()
    outcome.settled_s = max(0.0, settled - STEADY_S)
    if lacking:
        outcome.found("settle", [f"after {settle_s:.0f} s of quiet not everything is folded: {lacking}"])
    outcome.found("ended", world.crashed())
    outcome.found("job", job.wrong)
    outcome.found("cells", found.wrong)
    outcome.found("subscriber", missed)
    outcome.found("judge", (fault for item in world.subscribers for fault in item.faults))
    _count(world, found, logs, outcome)
    if world.kind == "kafka":
        _look_for_accepted(world, logs[-1][1], outcome)


def _count(world: World, found: Found, logs: list[tuple[str, Records]], outcome: Outcome) -> None:
    said = world.said
    outcome.view_cells, outcome.partial_cells = found.view_cells, found.partial_cells
    outcome.records = sum(len(records) for _, log in logs for records in log.values())
    samples = all_samples([log for _, log in logs])
    outcome.samples, outcome.orders, outcome.started = (
        len(samples),
        brought(samples).total(),
        sum(sample.start > 0 for sample in samples),
    )
    outcome.pooled_cells = found.pooled_cells
    outcome.duplicates, outcome.poison, outcome.bad = said.duplicates, said.poison, said.bad
    outcome.tombstones = said.tombstones
    outcome.messages = sum(judge.heard for item in world.subscribers for judge in item.judges.values())
    outcome.gaps = sum(item.gaps for item in world.subscribers)
    outcome.returns = sum(item.returns for item in world.subscribers)
    outcome.lost_bytes = world.feed.lost_bytes
    outcome.found("ingestor", said.faults)


async def _differences(world: World, redis: Redis) -> list[str]:
    """Where what a subscriber assembled is not the history. One that lost its last message may hear so only when the view moves again."""
    now, found = int(time.time() * 1000), []
    for subscriber in world.subscribers:
        for view_id, (view, window) in wanted.views(world.entries).items():
            history = await read_view(redis, view_id)
            follower = subscriber.followers.get(view_id)
            if history is None or follower is None or (subscriber.careless and follower.version < history.version):
                continue
            wrong = difference(follower, history, now - window - view.every_ms)
            found += [f"subscriber of view {view_id}: {text}" for text in wrong]
    return found


def _look_for_accepted(world: World, log: Records, outcome: Outcome) -> None:
    """Whatever was answered 202 is in the log."""
    there = {int(sample.value) for sample in all_samples([log]) if sample.metric == UNIQUE}
    if missing := sorted(world.said.accepted - there):
        outcome.found("lost", [f"{len(missing)} accepted samples are not in the log, such as {missing[:5]}"])
