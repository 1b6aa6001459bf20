"""The definition of the resource Dashboard. What each field means is told at length in docs/dashboards.md."""

from typing import Final, get_args

from services.contract import limits
from services.contract.dashboards import (  # fmt: skip
    DEFAULT_EVERY,
    DEFAULT_WINDOW,
    MAX_DECIMALS,
    MAX_PANELS,
    MAX_QUERIES,
    MAX_RESOLUTION_MS,
    MAX_RESOLUTIONS,
    PanelType,
    Threshold,
)
from services.contract.expressions import MAX_LENGTH
from services.contract.functions import MAX_TOP, PLAIN
from services.contract.layout import COLUMNS, MAX_HEIGHT, MAX_ROW
from services.contract.queries import EACH, ID_PATTERN, MAX_BUCKETS, MAX_PANES, MIN_EVERY_MS
from services.contract.series import LABEL_PATTERN, METRIC_PATTERN
from tools.crds import rules
from tools.crds.schemas import (
    Schema,
    anything,
    by_name,
    definition,
    duration,
    fields,
    integer,
    items,
    number,
    rule,
    text,
    whole,
)
from tools.crds.states import READY, status

_FUNCTIONS: Final = rf"^({'|'.join(PLAIN)}|p[0-9]{{1,2}}(\.[0-9]{{1,3}})?|topk\([0-9]{{1,3}}\))$"
_FUNCTION: Final = f"{', '.join(PLAIN)}, a quantile such as p50, p99 or p99.9, or topk(n) with n up to {MAX_TOP}"


def dashboard() -> Schema:
    panels = {"name": "Panels", "type": "integer", "description": "How many are shown.", "jsonPath": ".status.panels"}
    memory = {"name": "Memory", "type": "string", "description": "What it keeps in Redis, estimated.", "jsonPath": ".status.memory", "priority": 1}  # fmt: skip
    about = "A dashboard: panels, and the queries that they show. Open browsers follow its changes without a reload."
    return definition("Dashboard", "dashboards", [panels, *READY, memory], _spec(), _status(), about)


def _status() -> Schema:
    return status(
        panels={"type": "integer", "format": "int32", "description": "How many panels of it are shown: those of the last good version."},
        memory=text("What it keeps in Redis with ten groups in every query by labels: an estimate, such as 83Mi."),
    )  # fmt: skip


def _spec() -> Schema:
    return fields(
        "What is shown.",
        ("panels",),
        rules.buckets(DEFAULT_WINDOW, DEFAULT_EVERY),
        rules.panes(DEFAULT_EVERY),
        title=text("What stands above it. Default: its name."),
        window=duration(f"How far back panels look, such as 5m or 1h; at most {MAX_BUCKETS:,} times every. Default: {DEFAULT_WINDOW}."),
        every=duration(f"Length of a bucket where a query says nothing, from 50ms to 1h. Default: {DEFAULT_EVERY}."),
        maxGroups=integer("How many groups a query shows apart; others are pooled. Default: as many as fit.", 1, limits.MOST_GROUPS),
        resolutions=items(
            "Coarser buckets that are kept for longer than the window, the finest first. Default: 10s for 6h, 1m for 48h and 10m for 14d."
            " An empty list keeps the window alone.",
            fields(
                "Buckets of one length.",
                ("every", "for"),
                every=duration(
                    "Length of a bucket, up to 1d: a multiple of the one before.", rules.length(MIN_EVERY_MS, MAX_RESOLUTION_MS)
                ),
                for_=duration("How long they are kept: at least as long as the finer ones."),
            ),
            maxItems=MAX_RESOLUTIONS,
        ),
        panels=items(
            "What is shown, each with an id of its own.",
            _panel(),
            maxItems=MAX_PANELS,
            **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"]},
        ),
    )  # fmt: skip


def _panel() -> Schema:
    return fields(
        "A drawing of one or several queries.",
        ("id", "type"),
        rule("has(self.query) != has(self.queries)", "needs either query or queries"),
        rule("!has(self.min) || !has(self.max) || self.min < self.max", "max must be more than min"),
        id=text("Its name within the dashboard: letters, digits and '_'.", maxLength=63, pattern=whole(ID_PATTERN)),
        type=text("How it is drawn.", enum=list(get_args(PanelType))),
        title=text("What stands above it. Default: its id."),
        description=text("A sentence for who wants to know what it shows."),
        query=_query("What it shows. Either query or queries."),
        queries=items(
            "What it shows, where that is several. Either query or queries.",
            _query("One of the queries."),
            minItems=1,
            maxItems=MAX_QUERIES,
            **{"x-kubernetes-validations": [rule(
                "self.all(q, !has(q.id) || self.exists_one(r, has(r.id) && r.id == q.id))", "two queries have the same id",
            )]},
        ),
        fn=anything(f"The function of queries that name none: {_FUNCTION}; or a list of them. Default: avg.", pattern=_FUNCTIONS),
        expr=text(
            "Arithmetic over the ids of the queries, shown instead of them: bad / all * 100. They need the same by and every, and one function each.",
            maxLength=MAX_LENGTH,
        ),
        window=duration("How far back this panel looks, instead of the dashboard's window."),
        unit=text("What values are counted in, such as bytes, percent, percentunit (0 to 1), s or ms."),
        thresholds=items("From which values on the panel warns.", _threshold()),
        min=number("Where the scale begins. Default: what fits the values."),
        max=number("Where the scale ends. Default: what fits the values."),
        decimals=integer("Digits after the point. Default: what fits the values.", 0, MAX_DECIMALS),
        legend=text('What a line is called; {label} is replaced by its value: "{region}". Default: all labels by which there are groups.'),
        maxGroups=integer("How many groups a query of this panel shows apart, instead of the dashboard's number.", 1, limits.MOST_GROUPS),
        grid=_grid(),
    )  # fmt: skip


def _threshold() -> Schema:
    return fields(
        "A value, and what is so above it.",
        ("above", "state"),
        above=number("The value, in the panel's unit."),
        state=text("How values above it are shown.", enum=list(get_args(Threshold.__annotations__["state"]))),
    )


def _grid() -> Schema:
    return fields(
        f"Where the panel stands, in columns of {COLUMNS} and rows of 30 px. Default: from left to right.",
        ("x", "w", "h"),
        rule("has(self.y) != has(self.__true__)", "needs y, once"),
        rule(f"self.x + self.w <= {COLUMNS}", f"x + w must stay within {COLUMNS} columns"),
        x=integer("The first column, from 0.", 0, COLUMNS - 1),
        y=integer("The first row, from 0. Quotes around the name keep its spelling.", 0, MAX_ROW),
        true=integer(
            "What kubectl, Helm and others that read YAML 1.1 make of y without quotes: it is taken for y.", 0, MAX_ROW
        ),
        w=integer("How many columns.", 1, COLUMNS),
        h=integer("How many rows.", 1, MAX_HEIGHT),
    )


def _query(description: str) -> Schema:
    label = text("Name of a label.", pattern=whole(LABEL_PATTERN))
    return fields(
        description,
        ("metric",),
        id=text("Its name in expressions and legends. Default: a, b and so on.", maxLength=63, pattern=whole(ID_PATTERN)),
        metric=text("Name of the metric.", pattern=whole(METRIC_PATTERN)),
        where=by_name(
            "Conditions on labels, by the label's name; all of them must hold. A label that is absent has the empty value.",
            anything("A value, a list of values, '=~ expression', '!= value', '!~ expression', or several by operator: {\"!=\": [a, b]}."),
        ),
        by=items("Labels that make groups: a line for each set of their values. Default: all samples are one group.", label),
        fn=anything(f"What is computed of each group and bucket: {_FUNCTION}; or a list of them, each a line. Default: the panel's fn.", pattern=_FUNCTIONS),
        of=text("The label whose values distinct and topk are about.", pattern=whole(LABEL_PATTERN)),
        each=text("First reduce every series to one number per bucket, then apply fn to these numbers. Default: pool, all samples together.", enum=list(EACH)),
        every=duration(f"Length of a bucket, from 50ms to 1h; the window has {MAX_BUCKETS:,} at most. Default: the dashboard's.", rules.every()),
        over=duration(f"Length of a sliding window that ends with each bucket: a multiple of every, {MAX_PANES} buckets at most. Default: the bucket alone."),
    )  # fmt: skip
