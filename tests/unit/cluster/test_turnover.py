"""What became of pods, from the events of a watch."""

from typing import Any

from tests.cluster.turnover import Turnover


def pod(name: str, image: str, *, ready: bool = True, leaving: bool = False, code: int | None = None) -> dict[str, Any]:
    state = {"running": {}} if code is None else {"terminated": {"exitCode": code}}
    return {
        "metadata": {"name": name, "labels": {"app.kubernetes.io/component": "gateway"}}
        | ({"deletionTimestamp": "2026-01-01T00:00:00Z"} if leaving else {}),
        "spec": {"containers": [{"image": image}]},
        "status": {
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "containerStatuses": [{"state": state}],
        },
    }


def test_a_rollout_one_by_one() -> None:
    turnover = Turnover()
    turnover.take("ADDED", pod("old-1", "a"))
    turnover.take("ADDED", pod("old-2", "a"))
    turnover.begin()
    turnover.take("ADDED", pod("new-1", "b", ready=False))
    assert turnover.together == set()
    turnover.take("MODIFIED", pod("new-1", "b"))
    assert turnover.together == {"gateway"}
    turnover.take("MODIFIED", pod("old-1", "a", leaving=True))
    assert turnover.leaving == ["old-1"]
    assert not turnover.settled("gateway", 3)
    turnover.take("MODIFIED", pod("old-1", "a", leaving=True, ready=False, code=0))
    turnover.take("DELETED", pod("old-1", "a", leaving=True, ready=False))
    assert turnover.settled("gateway", 2)
    assert turnover.least["gateway"] == 2
    assert [(life.image, life.code) for life in turnover.ended] == [("a", 0)]


def test_a_pod_that_does_not_end_by_itself() -> None:
    turnover = Turnover()
    turnover.take("ADDED", pod("old-1", "a"))
    turnover.begin()
    turnover.take("MODIFIED", pod("old-1", "a", ready=False, leaving=True, code=137))
    turnover.take("DELETED", pod("old-1", "a", ready=False, leaving=True, code=137))
    assert [life.code for life in turnover.ended] == [137]
    assert turnover.least["gateway"] == 0
