"""What `all` consists of: which children, with which command, environment and address. Ports are given; nothing is started."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from services.local.catalog import LOCAL, admin_port
from services.local.embedded import BROKER_ENVIRONMENT, broker_command, valkey_command
from services.local.members import BROKER, VALKEY, Command, Composition, Member
from services.local.settings import LocalSettings

_LOCAL_HOST: Final = "127.0.0.1"
# A fetch that the embedded broker holds does not end when something arrives (tansu 0.6.0).
_EMBEDDED_FETCH_WAIT_MS: Final = "50"


@dataclass(frozen=True, slots=True)
class Need:
    """A port that must be free, who needs it, and the setting that chooses another."""

    host: str
    port: int
    who: str
    setting: str


def compose(
    local: LocalSettings, environ: Mapping[str, str], values: Mapping[str, Any], free_port: Callable[[], int], parent: int
) -> Composition:
    """values: every setting's value by its variable. parent: whose end is the children's end."""
    servers: list[Member] = []
    reach = {name: environ[name] for name in ("REDIS_URL", "KAFKA_BOOTSTRAP_SERVERS") if environ.get(name)}
    if "REDIS_URL" not in reach:
        port = local.valkey_port or free_port()
        servers.append(Member(VALKEY, Command(valkey_command(port, parent), dict(environ)), _LOCAL_HOST, port))
        reach["REDIS_URL"] = f"redis://{_LOCAL_HOST}:{port}/0"
    if "KAFKA_BOOTSTRAP_SERVERS" not in reach:
        port = local.broker_port or free_port()
        command = Command(broker_command(port, parent), {**environ, **BROKER_ENVIRONMENT})
        servers.append(Member(BROKER, command, _LOCAL_HOST, port))
        reach["KAFKA_BOOTSTRAP_SERVERS"] = f"{_LOCAL_HOST}:{port}"
        reach.setdefault("TIDEBOARD_KAFKA_FETCH_WAIT_MS", environ.get("TIDEBOARD_KAFKA_FETCH_WAIT_MS", _EMBEDDED_FETCH_WAIT_MS))
    base = int(values["TIDEBOARD_ADMIN_PORT"])
    for name in LOCAL:
        reach |= {variable: str(free_port()) for variable in (_port_of(name),) if values.get(variable) == 0}
    admins = {name: admin_port(name, base) for name in (*LOCAL, "all")}
    known = {**values, **reach}
    reach |= {name: value for name, value in _for_the_collector(known, admins).items() if not environ.get(name)}
    services = [_service(name, {**environ, **reach}, known, admins[name], parent) for name in LOCAL]
    gateway = next(member for member in services if member.name == "gateway")
    return Composition((*servers, *services), reach["REDIS_URL"], f"http://{_shown(gateway.host)}:{gateway.port}/")


def needs(composition: Composition, values: Mapping[str, Any]) -> list[Need]:
    """The ports that must be free before anything is started."""
    found = []
    for member in composition.members:
        if member.name in (VALKEY, BROKER):
            found.append(
                Need(member.host, member.port, f"the embedded {member.name}", f"TIDEBOARD_LOCAL_{member.name.upper()}_PORT")
            )
            continue
        if member.port:
            found.append(Need(member.host, member.port, f"the {member.name}", f"TIDEBOARD_{member.name.upper()}_PORT"))
        found.append(
            Need(str(values["TIDEBOARD_ADMIN_HOST"]), member.admin, f"the {member.name}'s admin server", "TIDEBOARD_ADMIN_PORT")
        )
    return found


def refusal(need: Need) -> str:
    """The sentence about a port that is taken."""
    return f"port {need.port}, which {need.who} needs, is taken by another process; {need.setting} chooses another port"


def _service(name: str, environ: Mapping[str, str], values: Mapping[str, Any], admin: int, parent: int) -> Member:
    own = {
        "TIDEBOARD_PARENT": str(parent),
        "TIDEBOARD_ADMIN_PORT": str(admin),
        "TIDEBOARD_LOG_FORMAT": "json",
        "TIDEBOARD_GATEWAY_DRAIN_DEADLINE": "0",  # there is no other gateway to hand viewers to
        "OPENBLAS_NUM_THREADS": "1",  # numpy would start a thread per core for algebra that nobody does here
    }
    command = Command((sys.executable, "-m", "services", name), {**environ, **own})
    host = str(values.get(f"TIDEBOARD_{name.upper()}_HOST", _LOCAL_HOST))
    return Member(name, command, host, int(values.get(_port_of(name), 0)), admin)


def _for_the_collector(values: Mapping[str, Any], admins: Mapping[str, int]) -> dict[str, str]:
    """Where it posts, and the metrics that it reads: the pipeline is on a dashboard, too."""
    ingestor = f"{_shown(str(values.get('TIDEBOARD_INGESTOR_HOST', _LOCAL_HOST)))}:{values.get(_port_of('ingestor'))}"
    admin = _shown(str(values["TIDEBOARD_ADMIN_HOST"]))
    return {
        "TIDEBOARD_COLLECTOR_URL": f"http://{ingestor}/api/v1/samples",
        "TIDEBOARD_COLLECTOR_SCRAPE": ",".join(f"{name}=http://{admin}:{port}/metrics" for name, port in admins.items()),
    }


def _port_of(name: str) -> str:
    """The setting of the port where a service serves; not every service has one."""
    return f"TIDEBOARD_{name.upper()}_PORT"


def _shown(host: str) -> str:
    """An address that a browser on this machine can open."""
    return _LOCAL_HOST if host in ("0.0.0.0", "::", "") else host  # noqa: S104, it is compared
