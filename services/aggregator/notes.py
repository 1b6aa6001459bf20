"""What the readers of a view should know beside its values, from what partitions have noted of its selections. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from services.aggregator.census import Census
from services.contract.history import Notes
from services.contract.partials import SelectionNotes
from services.contract.views import BY_SERIES, View


def view_notes(
    view: View, partitions: Iterable[Mapping[str, SelectionNotes]], pooling: Sequence[tuple[bytes, int]] = ()
) -> Notes:
    """partitions: what each one, of each lineage, has noted by selection; pooling: what `combine.Values.pooling` says of each input."""
    late = late_at = since = pooled_limit = contested = 0
    pooled, left_out = Census(), Census()
    selections = {item.selection.id: (item.limit, item.selection.accumulator in BY_SERIES) for item in view.inputs}
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
