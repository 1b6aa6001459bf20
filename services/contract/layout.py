"""Layout: where the panels of a dashboard stand. x, w in columns of 24; y, h in rows of 30 px."""

from collections.abc import Sequence
from typing import Final

import msgspec

from services.contract.document import DocumentError, shape

COLUMNS: Final = 24
MAX_ROW: Final = 10_000
MAX_HEIGHT: Final = 100
DEFAULT_SIZES: Final[dict[str, tuple[int, int]]] = {  # columns, rows
    "timeseries": (12, 8), "stat": (4, 4), "gauge": (4, 5), "bar": (8, 8), "table": (12, 8),
}  # fmt: skip


class Grid(msgspec.Struct, frozen=True):
    """Where a panel stands: x, w in columns of 24; y, h in rows of 30 px."""

    x: int
    y: int
    w: int
    h: int


class _Grid(msgspec.Struct, forbid_unknown_fields=True):
    x: int
    y: int
    w: int
    h: int


def lay_out(panels: Sequence[tuple[str, object]]) -> list[Grid]:
    """Where each panel stands, of (type, grid as it is written): as written, or else from left to right below everything that is."""
    written = [None if item is None else _grid(item, f"spec.panels[{i}].grid") for i, (_, item) in enumerate(panels)]
    x, y, row = 0, max((grid.y + grid.h for grid in written if grid), default=0), 0
    grids = []
    for (kind, _), grid in zip(panels, written, strict=True):
        if grid is None:
            w, h = DEFAULT_SIZES.get(kind, (12, 8))
            if x + w > COLUMNS:
                x, y, row = 0, y + row, 0
            grid = Grid(x, y, w, h)
            x, row = x + w, max(row, h)
        grids.append(grid)
    return grids


def _grid(item: object, path: str) -> Grid:
    grid = shape(item, _Grid, path)
    if not (
        grid.x >= 0 and 0 <= grid.y <= MAX_ROW and grid.w >= 1 and 1 <= grid.h <= MAX_HEIGHT and grid.x + grid.w <= COLUMNS
    ):
        limits = f"x + w must stay within {COLUMNS} columns, h within {MAX_HEIGHT} rows, y within {MAX_ROW}, w and h at least 1"
        raise DocumentError(path, limits)
    return Grid(grid.x, grid.y, grid.w, grid.h)
