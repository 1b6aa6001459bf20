from services.contract.history import NO_NOTES, Cells, Notes
from services.contract.live import Since, ViewNotes
from services.gateway.dashboard import Composition, Picture, Position
from services.gateway.viewstate import ViewState
from tests.unit.gateway.merge import Merge
from tests.unit.gateway.worlds import EVERY, Client, dashboard, panel

NOW = 30_000
SAME = panel("again", "load")  # shows the same view as another panel
HOST = dashboard(panel("load", "load"), panel("net", "bytes", ["rate", "avg"], window="30s"), SAME)


class World:
    """A picture whose states follow their merges."""

    def __init__(self, revision: str = "r1") -> None:
        self.composition = Composition(HOST, revision)
        self.merges = {view: Merge() for view in self.composition.views}
        self.states = {view: ViewState(EVERY, 60_000) for view in self.composition.views}
        self.picture = Picture(self.composition, self.states)

    def write(self, place: int, values: dict[tuple[int, int], float], closed: int = 0) -> None:
        view = list(self.states)[place]
        change = self.merges[view].write(values, closed)
        if not self.states[view].version:
            self.states[view].load(self.merges[view].history(), -1)
        else:
            self.states[view].apply(change)

    def begin_epoch(self, place: int) -> None:
        view = list(self.states)[place]
        before = self.merges[view]
        self.merges[view] = Merge(f"{before.epoch}+", before.version + 1_000)
        self.merges[view].write({(0, 9): 9.0})
        self.states[view].load(self.merges[view].history(), -1)

    def shows(self, client: Client) -> bool:
        return (
            client.epoch == self.picture.epoch
            and client.tables == {view: merge.table() for view, merge in self.merges.items()}
            and client.versions == {view: state.version for view, state in self.states.items()}
            and client.closed == {view: state.closed for view, state in self.states.items()}
        )


def test_views_are_numbered_in_the_order_of_lines_and_named_once() -> None:
    composition = Composition(HOST, "r1")
    assert [[line.view for line in item.lines] for item in composition.panels] == [[0], [1, 2], [0]]
    assert [window for _, window in composition.views.values()] == [60_000, 30_000, 30_000]
    assert [view.additive for view, _ in composition.views.values()] == [False, True, False]


def test_a_snapshot_is_the_dashboard_whole() -> None:
    world = World()
    world.write(0, {(29_000, 0): 0.5, (28_000, 1): float("nan")}, closed=29_000)
    snapshot = world.picture.snapshot(NOW, 5)
    client = Client()
    client.hear(snapshot)
    assert world.shows(client)
    assert (snapshot.title, snapshot.window, snapshot.hz, snapshot.now) == ("Host", 60_000, 5, NOW)
    assert [item.title for item in snapshot.panels] == ["load", "net", "again"]


def test_a_snapshot_leaves_out_what_is_older_than_the_window_of_its_view() -> None:
    world = World()
    old = {(-1_000, 0): 1.0, (-5_000, 0): 1.0, (29_000, 0): 2.0}
    world.write(0, old)
    world.write(1, old)
    views = world.picture.snapshot(NOW).views
    assert [cells.start for cells in views[0].cells] == [-5_000, -1_000, 29_000]
    assert [cells.start for cells in views[1].cells] == [29_000]


def test_a_delta_says_only_what_changed_since_a_mark() -> None:
    world = World()
    world.write(0, {(0, 0): 1.0})
    world.write(1, {(0, 0): 1.0})
    mark = world.picture.mark
    assert world.picture.delta(mark, NOW) is None
    world.write(0, {(1_000, 0): 2.0}, closed=1_000)
    delta = world.picture.delta(mark, NOW)
    assert delta
    (part,) = delta.views
    assert (part.view, part.from_, part.to, part.closed) == (0, 1, 2, 1_000)
    assert part.cells == [Cells(1_000, [0], [2.0])]
    assert part.groups == []
    assert world.picture.delta(world.picture.mark, NOW) is None


def test_a_panel_is_as_old_as_the_end_of_the_newest_bucket_of_its_views_and_of_no_age_without_values() -> None:
    world = World()
    assert world.picture.ages(NOW) == {}
    world.write(0, {(20_000, 0): 1.0, (25_000, 0): 2.0})
    assert world.picture.ages(NOW) == {"load": 4_000, "again": 4_000}
    world.write(1, {(10_000, 0): 1.0})
    assert world.picture.ages(NOW) == {"load": 4_000, "net": 19_000, "again": 4_000}
    world.write(2, {(27_000, 0): 1.0})
    assert world.picture.ages(NOW)["net"] == 2_000, "as new as the newest of its lines"
    world.write(0, {(29_500, 0): 3.0})
    assert world.picture.ages(NOW)["load"] == 0, "a bucket that goes on is not older than nothing"


def test_the_mark_is_the_same_object_until_something_changes() -> None:
    world = World()
    world.write(0, {(0, 0): 1.0})
    mark = world.picture.mark
    assert world.picture.mark is mark
    world.write(0, {(0, 0): 1.0})
    assert world.picture.mark != mark


def test_a_bucket_that_only_closes_is_said_without_cells() -> None:
    world = World()
    world.write(0, {(0, 0): 1.0})
    mark = world.picture.mark
    view = next(iter(world.states))
    world.states[view].apply(world.merges[view].close(1_000))
    delta = world.picture.delta(mark, NOW)
    assert delta
    assert [(part.from_, part.to, part.closed, part.cells) for part in delta.views] == [(1, 1, 1_000, [])]


def test_the_epoch_is_the_same_on_every_gateway_and_another_one_for_another_document() -> None:
    one, two = World(), World()
    for world in (one, two):
        world.write(0, {(0, 0): 1.0})
    one.write(1, {(0, 0): 1.0})
    one.write(1, {(0, 0): 2.0})
    two.states[list(two.states)[1]].load(one.merges[list(one.states)[1]].history(), -1)
    assert one.picture.epoch == two.picture.epoch
    assert World("r2").picture.epoch != World("r1").picture.epoch


def test_who_has_more_than_this_gateway_is_not_brought_to_now_by_a_delta() -> None:
    world = World()
    world.write(0, {(0, 0): 1.0})
    view = next(iter(world.states))
    more, less, other = (
        Since(epoch, {view: version}) for epoch, version in ((world.picture.epoch, 5), (world.picture.epoch, 1), ("e", 5))
    )
    assert [world.picture.ahead(since) for since in (more, less, other)] == [[view], [], []]
    assert [world.picture.resumes(since) for since in (more, less, other)] == [False, True, False]
    assert world.picture.ahead(Position(world.picture.epoch, (1, 7))) == [list(world.states)[1]]


def test_of_a_view_that_since_does_not_name_all_cells_are_sent() -> None:
    world = World()
    world.write(0, {(0, 0): 1.0})
    delta = world.picture.resume(Since(world.picture.epoch, {}), NOW)
    assert (delta.views[0].from_, delta.views[0].cells) == (0, [Cells(0, [0], [1.0])])


# Notes


def test_notes_are_told_once_when_they_change_and_with_every_snapshot_and_resume() -> None:
    world = World()
    for place in range(3):
        world.write(place, {(29_000, 0): 0.5})
    mark = world.picture.mark
    since = Since(world.picture.epoch, {view: state.version for view, state in world.states.items()})
    second = list(world.states)[1]
    notes = Notes(at=29_500, pooled=70, limit=20, since=28_000)
    world.states[second].apply(world.merges[second].note(notes))
    delta = world.picture.delta(mark, NOW)
    assert delta
    assert (delta.views, delta.notes) == ([], [ViewNotes(1, notes)])
    mark = world.picture.mark
    assert world.picture.delta(mark, NOW) is None
    resumed = world.picture.resume(since, NOW)
    assert resumed.notes == [ViewNotes(1, notes)]
    assert [view.notes for view in world.picture.snapshot(NOW).views] == [NO_NOTES, notes, NO_NOTES]
    world.states[second].apply(world.merges[second].note(Notes(at=29_900)))
    told = world.picture.delta(mark, NOW)
    assert told
    assert told.notes == [ViewNotes(1, Notes(at=29_900))]
