"""The control plane: etcd, the API server, and then the controllers and the scheduler, which end at once where there is no API server.

And kwok, which plays the nodes that exist on paper. Started from inside the sandbox.
"""

from typing import Final

from tests.cluster import commands, objects
from tests.cluster.api import Api, ApiError, of_kubeconfig, until
from tests.cluster.daemons import Daemons
from tests.cluster.plan import Plan

NAMES: Final = ("etcd", "apiserver", "controller-manager", "scheduler")
FAKES: Final = "kwok"


def start(plan: Plan, daemons: Daemons) -> Api:
    """Start it, and wait until it takes pods."""
    daemons.start("etcd", commands.etcd(plan))
    daemons.start("apiserver", commands.apiserver(plan))
    api = of_kubeconfig(plan.kubeconfig)
    until("the API server to be ready", lambda: _ready(api, daemons))
    daemons.start("controller-manager", commands.controller_manager(plan))
    daemons.start("scheduler", commands.scheduler(plan))
    api.apply([objects.storage(), *objects.volumes(plan)])
    return api


def wait(api: Api, daemons: Daemons) -> None:
    """Until pods are admitted, which need their namespace's service account."""
    until("the default service account", lambda: _there(api, "/api/v1/namespaces/default/serviceaccounts/default", daemons))


def start_fakes(plan: Plan, daemons: Daemons) -> None:
    if not daemons.alive(FAKES):
        daemons.start(FAKES, commands.fakes(plan))


def _ready(api: Api, daemons: Daemons) -> bool:
    daemons.check("etcd", "apiserver")
    return api.text("/readyz") == "ok"


def _there(api: Api, path: str, daemons: Daemons) -> bool:
    daemons.check(*NAMES)
    try:
        return bool(api.get(path))
    except ApiError:
        return False
