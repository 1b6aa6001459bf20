"""Transactions, as a reader of a topic sees them: which batches of an answer are not to be read. Pure.

A broker that is asked for what is committed answers up to the end of the last transaction that is over, aborted ones included, and says beside
it which producers' transactions were aborted, and from which offset on. Each lasts until the producer's next control batch.
"""

from collections.abc import Iterable
from typing import Any


class Aborted:
    """The aborted transactions of one answer. Batches are to be asked about in the order of their offsets."""

    def __init__(self, transactions: Iterable[tuple[int, int]]) -> None:
        """transactions: (producer id, first offset) of each."""
        self._to_come = sorted(transactions, key=lambda item: item[1], reverse=True)
        self._open: set[int] = set()

    def holds(self, batch: Any) -> bool:
        """Whether a batch holds no records for a reader: it is of an aborted transaction, or marks the end of one."""
        while self._to_come and self._to_come[-1][1] <= batch.base_offset:
            self._open.add(self._to_come.pop()[0])
        if batch.is_control_batch:
            self._open.discard(batch.producer_id)
            return True
        return bool(self._open) and batch.is_transactional and batch.producer_id in self._open
