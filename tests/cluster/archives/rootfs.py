"""Root filesystems of Debian, to build images on where no registry can be reached: what is essential, and a few packages.

What serves neither a program nor its libraries (documentation, the state of apt, perl's modules) is left out;
so is the standard library's bytecode, since the official image of Python comes without it, too.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.cluster.archives.keeping import hashed
from tools.steps import run, step

SUITE: Final = "trixie"  # Python 3.13, as the Dockerfile's own base, which is made of the same release
_LEFT_OUT: Final = (
    "usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/i18n", "usr/share/zoneinfo", "usr/share/perl",
    "usr/share/perl5", "usr/share/bash-completion", "usr/lib/*/perl", "usr/lib/*/gconv", "var/log/*", "var/lib/apt", "var/lib/dpkg/info",
)  # fmt: skip


@dataclass(frozen=True)
class Base:
    """A root filesystem, by the packages that it holds beside the essential ones."""

    name: str
    packages: tuple[str, ...]

    @property
    def key(self) -> str:
        return hashed(*self._words())

    @property
    def image(self) -> str:
        return f"localhost/tideboard-test/{self.name}:{self.key}"

    def make(self, archive: Path) -> None:
        with step(f"Debian with {', '.join(self.packages)}"):
            run([*self._words(), archive], failing="the root filesystem cannot be made")

    def _words(self) -> tuple[str, ...]:
        leave_out = " ".join(f'"$1"/{path}' for path in _LEFT_OUT)
        hook = f'--customize-hook=rm -rf {leave_out}; find "$1"/usr/lib -name __pycache__ -prune -exec rm -rf {{}} +'
        return ("mmdebstrap", "--quiet", "--variant=essential", f"--include={','.join(self.packages)}", hook, SUITE)


# libstdc++6 and netbase are in the official image, too: apt and Python bring them there.
PYTHON: Final = Base("python", ("python3", "python3-venv", "ca-certificates", "libstdc++6", "netbase"))
SERVERS: Final = Base("servers", ("openjdk-21-jre-headless", "valkey-tools"))
