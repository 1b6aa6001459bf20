"""`python -m tools image`: the Dockerfile through the builder that is there. What is in the image is the Dockerfile's work, and `imagetree`'s.

Docker needs its engine running; Podman and Buildah do not. Buildah works in containers, too, where nothing may be isolated further.
"""

import argparse
import os
import shutil
import subprocess
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tools.steps import ROOT, StepError, alone, run, step

BUILDERS: Final = ("docker", "podman", "buildah")
NONE_THERE: Final = "the image needs a builder, and there is none here: install Docker (and start its engine), Podman, or Buildah (apt-get install buildah)"


@dataclass(frozen=True)
class Plan:
    """What is to be built. epoch: seconds, the time that everything in the image bears. ca: certificates to trust while building.

    file: the Dockerfile, where it is not the one in the folder.
    """

    tags: tuple[str, ...]
    version: str
    revision: str
    epoch: int
    arguments: Mapping[str, str] = field(default_factory=dict)
    ca: Path | None = None
    folder: Path = ROOT
    file: Path | None = None


def main(words: Sequence[str]) -> int:
    options = _parser().parse_args(words)
    builder = options.builder or choose(works)
    named = {"PYTHON_IMAGE": options.python_image, "NODE_IMAGE": options.node_image}
    arguments = dict(item.split("=", 1) for item in options.build_arg)
    arguments |= {name: value for name, value in named.items() if value}
    tag = options.tag or f"tideboard:{version()}"
    plan = Plan((tag,), version(), revision(), epoch(os.environ), arguments, options.ca)
    with alone(), step(f"{tag} by {builder}"):
        run(build_command(builder, plan), failing="the image cannot be built", environ={"DOCKER_BUILDKIT": "1"})
    if options.output:
        options.output.unlink(missing_ok=True)  # none of the three adds to an archive
        with step(f"{options.output}"):
            run(save_command(builder, tag, options.output), failing="the image cannot be written into an archive")
    return 0


def choose(works: Callable[[str], bool]) -> str:
    """The first builder that works."""
    for builder in BUILDERS:
        if works(builder):
            return builder
    raise StepError(NONE_THERE)


def build_command(builder: str, plan: Plan) -> list[str | Path]:
    """The words that build a plan."""
    created = datetime.fromtimestamp(plan.epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    labels = {"version": plan.version, "revision": plan.revision, "created": created}
    words: list[str | Path] = [builder, "build", *_manners(builder, plan.epoch)]
    for tag in plan.tags:
        words += ["--tag", tag]
    for name, value in labels.items():
        words += ["--label", f"org.opencontainers.image.{name}={value}"]
    for name, value in sorted(plan.arguments.items()):
        words += ["--build-arg", f"{name}={value}"]
    if plan.ca:
        words += ["--secret", f"id=ca,src={plan.ca}"]
    return [*words, "--file", plan.file or plan.folder / "Dockerfile", plan.folder]


def _manners(builder: str, epoch: int) -> list[str]:
    """What each wants to be told to keep steps for the next build, and to let everything bear one time."""
    if builder == "docker":
        return ["--build-arg", f"SOURCE_DATE_EPOCH={epoch}"]
    return [*(["--isolation", "chroot"] if builder == "buildah" else []), "--layers", "--timestamp", str(epoch)]


def save_command(builder: str, tag: str, output: Path) -> list[str]:
    """The words that write an image into a file which `docker load`, `podman load` and `ctr images import` read."""
    if builder == "buildah":
        return ["buildah", "push", tag, f"docker-archive:{output}:{tag}"]
    return [builder, "save", *(["--format", "docker-archive"] if builder == "podman" else []), "--output", str(output), tag]


def version() -> str:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])


def revision() -> str:
    """The commit that this is, and whether it is only nearly that one."""
    return _git("describe", "--always", "--abbrev=40", "--exclude=*", "--dirty") or "unknown"


def epoch(environ: Mapping[str, str]) -> int:
    """When this was made: as SOURCE_DATE_EPOCH says, or else the time of the commit."""
    said = environ.get("SOURCE_DATE_EPOCH") or _git("log", "-1", "--format=%ct")
    return int(said) if said.isdecimal() else int(time.time())


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def works(builder: str) -> bool:
    """It is installed, and, where it needs an engine, that answers."""
    if not shutil.which(builder):
        return False
    asked = [builder, "version", "--format", "{{.Server.Version}}"] if builder == "docker" else [builder, "--version"]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools image", description="Build the container image.")
    parser.add_argument("--tag", help="name of the image (default: tideboard:VERSION)")
    parser.add_argument("--builder", choices=BUILDERS, help="(default: the first that works)")
    parser.add_argument("--python-image", metavar="IMAGE", help="base with Python, in place of the Dockerfile's")
    parser.add_argument("--node-image", metavar="IMAGE", help="where the wall is built, in place of the Dockerfile's")
    parser.add_argument(
        "--build-arg", metavar="NAME=VALUE", action="append", default=[], help="another argument of the Dockerfile"
    )
    parser.add_argument("--ca", metavar="FILE", type=Path, help="certificates to trust while packages are fetched")
    parser.add_argument("--output", metavar="FILE", type=Path, help="write the image into this archive, too")
    return parser
