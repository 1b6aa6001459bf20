"""The suite, as `make test-cluster` runs it: a cluster is started, pytest runs inside its sandbox, and it is taken down without a trace.

With TIDEBOARD_TEST_CLUSTER=external pytest runs here, against the cluster of KUBECONFIG.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from tests.cluster import lifecycle, sandbox
from tests.cluster.archives import archives
from tests.cluster.cluster import EXTERNAL, VARIABLE
from tools.steps import ROOT

_INSIDE: Final = "tests/cluster"
_OUTSIDE: Final = "tests/cluster/outside"
_NOTHING: Final = 5  # pytest has found no test


def run(name: str, count: int, words: Sequence[str]) -> int:
    """The exit code. name: of a cluster that runs and is to stay; words: what pytest is told instead of running everything."""
    if os.environ.get(VARIABLE) == EXTERNAL:
        return _pytest([], _chosen(words))
    if name:
        return _inside(lifecycle.found(name), words)
    lifecycle.refuse_where_it_cannot_be()
    if count:
        archives()
    lifecycle.sweep()
    with _ending_in_order():
        box = lifecycle.up(f"test-{os.getpid()}", count, tied=True)
        code = 1
        try:
            code = _inside(box, words)
        finally:
            lifecycle.down(box.plan, keep_logs=code != 0)
    left = sandbox.left_behind(box.plan)
    for each in left:
        print(f"left behind: {each}", file=sys.stderr)
    outside = 0 if _names(words) else _pytest([], [_OUTSIDE, *words])
    if words and outside == _NOTHING:
        outside = 0
    return code or outside or int(bool(left))


def _names(words: Sequence[str]) -> bool:
    """Whether these words name files, folders or tests, and not only how to run them."""
    return any((ROOT / word.partition("::")[0]).exists() for word in words)


def _chosen(words: Sequence[str]) -> list[str]:
    """What pytest is told to run inside. What starts clusters itself, and sweeps up after others, runs only outside of one."""
    return [*([] if _names(words) else [_INSIDE]), f"--ignore={_OUTSIDE}", *words]


@contextmanager
def _ending_in_order() -> Iterator[None]:
    """A SIGTERM, as make sends it when it is told to end, ends us as Ctrl-C does: the cluster is taken down first."""

    def told(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, told)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _inside(box: sandbox.Sandbox, words: Sequence[str]) -> int:
    return _pytest(box.inside([]), _chosen(words), lifecycle.environ(box.plan))


def _pytest(prefix: Sequence[str], words: Sequence[str], environ: dict[str, str] | None = None) -> int:
    return subprocess.run([*prefix, sys.executable, "-m", "pytest", *words], cwd=ROOT, env=environ, check=False).returncode
