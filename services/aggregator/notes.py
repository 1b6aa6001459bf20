"""What the readers of a view should know beside its values, from what partitions have noted of its selections. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from services.aggregator.census import Census
from services.contract.history import NO_NOTES, Notes
from services.contract.partials import SelectionNotes
from services.contract.views import BY_SERIES, Selection, View


def view_notes(
    view: View, partitions: Iterable[Mapping[str, SelectionNotes]], pooling: Sequence[tuple[bytes, int]] = ()
) -> Notes:
    """partitions: what each one, of each lineage, has noted by selection; pooling: what `combine.Values.pooling` says of each input."""
    partitions = list(partitions)
    if not any(partitions) and not any(registers or lacking for registers, lacking in pooling):
        return NO_NOTES
    late = late_at = since = pooled_limit = contested = 0
    pooled, left_out = Census(), Census()
    selections = _selections(view)
    for notes in partitions:
        for name, (limit, single) in selections.items():
            if (held := notes.get(name)) is None:
                continue
            late, late_at = late + held.late, max(late_at, held.late_at)
            contested += held.contested
            left_out = left_out.with_(held.census if single else held.left_out)
            if held.since and not single:
                since = min(since or held.since, held.since)
                pooled, pooled_limit = pooled.with_(held.census), limit
    partial = 0
    for item, (registers, lacking) in zip(view.inputs, pooling, strict=False):
        partial = max(partial, lacking)
        if registers:
            pooled, pooled_limit = pooled.with_(registers), item.limit
    return Notes(
        late=late, late_at=late_at, pooled=pooled.count(), since=since, limit=pooled_limit, left_out=left_out.count(),
        partial=partial, contested=contested,
    )  # fmt: skip


@lru_cache(maxsize=4096)  # names of selections are hashes, and this is asked at every tick
def _selections(view: View) -> Mapping[str, tuple[int, bool]]:
    """By id the limit of groups, and whether it is of single series. A coarser resolution lacks what the finer ones lack that it is made of."""
    found = {}
    for item in view.inputs:
        selection: Selection | None = item.selection
        while selection is not None:
            found[selection.id] = item.limit, selection.accumulator in BY_SERIES
            selection = selection.finer
    return found
