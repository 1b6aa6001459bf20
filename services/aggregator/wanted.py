"""What the dashboards in the registry ask for: views, and the selections under them. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from services.contract.levels import kept
from services.contract.partials import Config
from services.contract.registry import Entry
from services.contract.views import View


@dataclass(frozen=True, slots=True)
class Wanted:
    """views: by id, with the longest time for which a dashboard keeps each (ms). config: what folds compute for them."""

    views: Mapping[str, tuple[View, int]] = field(default_factory=dict)
    config: Config = field(default_factory=lambda: Config({}, {}))


def wanted(
    entries: Mapping[str, Entry], cap_ms: int = 0, lingering: Mapping[str, tuple[View, int]] = MappingProxyType({})
) -> Wanted:
    """Over all dashboards; one that cannot be read asks for nothing. cap_ms: for how long what is coarse is kept at most, 0: as the dashboards say.
    lingering: views that are wanted though no dashboard asks for them.
    """
    views: dict[str, tuple[View, int]] = dict(lingering)
    for _, entry in sorted(entries.items()):
        if (dashboard := entry.dashboard()) is not None:
            for view, window in kept(dashboard).items():
                if cap_ms and view.coarse:
                    window = min(window, cap_ms)
                views[view.id] = view, max(window, views.get(view.id, (view, 0))[1])
    config = Config({}, {})
    for view, window in views.values():
        for item in view.inputs:
            name = item.selection.id
            config.selections[name] = item.selection
            config.retentions[name] = max(window + item.over_ms, config.retentions.get(name, 0))
    for name, selection in sorted(config.selections.items(), key=lambda found: found[1].every_ms):
        if (
            finer := selection.finer
        ) is not None:  # another dashboard may keep the finer cells for longer than this one keeps the coarser ones
            config.retentions[name] = max(config.retentions[name], config.retentions[finer.id] + finer.every_ms)
    return Wanted(views, config)


def sampled(config: Config) -> Config:
    """The part that is made of samples, not rolled up."""
    names = [name for name, item in config.selections.items() if item.finer is None]
    return _part(config, names)


def lacking(held: Config, asked: Config) -> Config:
    """What is to be folded next for a fold under `held` to give `asked`: first what is made of samples, which live views show and for which
    little of the log is read; then what is rolled up, together with what it is rolled up from.
    """
    first = sampled(missing(held, asked))
    return first if first.selections else all_lacking(held, asked)


def all_lacking(held: Config, asked: Config) -> Config:
    """Everything that is to be folded for a fold under `held` to give `asked`, together with what it is rolled up from."""
    found = missing(held, asked)
    names = set(found.selections)
    for item in found.selections.values():
        while (finer := item.finer) is not None:
            names.add(finer.id)
            item = finer
    return _part(asked, sorted(names))


def joined(held: Config, part: Config, asked: Config) -> Config:
    """What a fold under `held` computes once it has been joined by one of `part`, on its way to `asked`: that, as far as it is there."""
    retentions = {
        name: asked.retentions[name] if name in part.selections else min(retention, held.retentions[name])
        for name, retention in asked.retentions.items()
        if name in part.selections or name in held.selections
    }
    return Config({name: asked.selections[name] for name in retentions}, retentions)


def missing(held: Config, asked: Config) -> Config:
    """The part of `asked` that a fold under `held` cannot give: selections that are new, or kept longer than before."""
    names = [
        name for name, retention in asked.retentions.items() if name not in held.retentions or retention > held.retentions[name]
    ]
    return _part(asked, names)


def _part(config: Config, names: Iterable[str]) -> Config:
    names = list(names)
    return Config({name: config.selections[name] for name in names}, {name: config.retentions[name] for name in names})
