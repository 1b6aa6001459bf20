"""Names of topics, Redis keys and channels. Who writes each is said beside it.

A part in braces is a hash tag: keys that one script touches share it, so that they share a slot of Redis Cluster.
"""

from typing import Final

# Kafka topics. The ingestor makes the missing ones.
SAMPLES_TOPIC: Final = "tideboard.samples"
LINEAGE_TOPIC: Final = "tideboard.lineage"  # one partition, kept for ever; its first record names the log
LATE_TOPIC: Final = "tideboard.late"  # samples that came after their cells had been dropped; one partition
DEAD_LETTER_TOPIC: Final = "tideboard.dead-letter"  # records that nobody could read; one partition

AGGREGATOR_GROUP: Final = "tideboard-aggregator"  # consumer group: offsets that aggregators have committed, for who watches lag

# The registry of dashboards. Written by who owns the YAML: services.local on a machine, services.operator in a cluster.
DASHBOARDS: Final = "{tb:registry}:dashboards"  # hash: name -> registry.Entry as JSON
DASHBOARDS_REVISION: Final = "{tb:registry}:revision"  # counter, raised by every write
DASHBOARDS_CHANNEL: Final = "tb:registry"  # pub/sub: the name of the dashboard that changed

# The registry of sources, written by the same; and how far each is read, written by ingestors.
SOURCES: Final = "{tb:registry}:sources"  # hash: name -> registry.Entry as JSON
SOURCES_REVISION: Final = "{tb:registry}:sources:revision"  # counter, raised by every write
SOURCES_CHANNEL: Final = "tb:registry:sources"  # pub/sub: the name of the source that changed

# Who watches what. Written by gateways, read by aggregators to choose the pace of commits.
WATCHED: Final = "tb:watched"  # sorted set: view id -> epoch ms until when it is watched
WATCHED_CHANNEL: Final = "tb:watched"  # pub/sub: somebody began to watch; payload: the view ids, space separated

# Aggregators.
AGGREGATORS: Final = "tb:aggregators"  # sorted set: instance -> epoch ms until when its lease holds
AGGREGATORS_CHANNEL: Final = "tb:aggregators"  # pub/sub: an instance came or left
AGGREGATOR_BEATS: Final = "tb:aggregators:beats"  # hash: instance -> views.Beat as JSON, once a second

# Ingestors, those that read sources.
INGESTORS: Final = "tb:ingestors"  # sorted set: instance -> epoch ms until when its lease holds
INGESTORS_CHANNEL: Final = "tb:ingestors"  # pub/sub: an instance came or left

# Logs.
VIEWS: Final = "tb:views"  # set: the views that have a history, or are about to
LINEAGES: Final = "tb:lineages"  # sorted set: "<lineage>:<partitions>" -> epoch ms when it was first seen

BUDGET: Final = (
    "tb:budget"  # hash: for how many ms coarse data is kept at most (kept), since when (at); an aggregator writes it
)


def fold_key(lineage: str, partition: int, part: str) -> str:
    """A key of one partition's fold. `part`: meta, log, state, cells:<selection>, groups:<selection>."""
    return f"{{tb:{lineage}:{partition}}}:{part}"


def source_key(source: str) -> str:
    """A hash: how far each partition of a source's topic is read."""
    return f"tb:source:{source}"


def view_key(view: str, part: str) -> str:
    """A key of one view's history. `part`: meta, rows, groups, buckets, versions."""
    return f"{{tb:view:{view}}}:{part}"


def view_channel(view: str) -> str:
    """The pub/sub channel on which changes of one view are published."""
    return f"{{tb:view:{view}}}:changes"
