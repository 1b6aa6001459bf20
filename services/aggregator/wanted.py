"""What the dashboards in the registry ask for: views, and the selections under them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.contract.partials import Config
from services.contract.registry import Entry
from services.contract.views import View, retentions


@dataclass(frozen=True, slots=True)
class Wanted:
    """views: by id, with the longest window that shows each (ms). config: what folds compute for them."""

    views: Mapping[str, tuple[View, int]] = field(default_factory=dict)
    config: Config = field(default_factory=lambda: Config({}, {}))


def wanted(entries: Mapping[str, Entry]) -> Wanted:
    """Over all dashboards; one that cannot be read asks for nothing."""
    views: dict[str, tuple[View, int]] = {}
    for _, entry in sorted(entries.items()):
        if (dashboard := entry.dashboard()) is not None:
            for view, window in retentions(dashboard).items():
                views[view.id] = view, max(window, views.get(view.id, (view, 0))[1])
    config = Config({}, {})
    for view, window in views.values():
        for item in view.inputs:
            name = item.selection.id
            config.selections[name] = item.selection
            config.retentions[name] = max(window, config.retentions.get(name, 0))
    return Wanted(views, config)


def missing(held: Config, asked: Config) -> Config:
    """The part of `asked` that a fold under `held` cannot give: selections that are new, or kept longer than before."""
    names = [
        name for name, retention in asked.retentions.items() if name not in held.retentions or retention > held.retentions[name]
    ]
    return Config({name: asked.selections[name] for name in names}, {name: asked.retentions[name] for name in names})
