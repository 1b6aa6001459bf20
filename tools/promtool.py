"""Prometheus' own checker of rules: the machine's, or else the one in Debian's package, unpacked into the user's cache.

The package is not installed: its service would listen on this machine.

    python -m tools.promtool    # fetches it where it is missing, and prints where it is
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tools.clients import cache
from tools.making import whole
from tools.steps import StepError, run, step

MISSING: Final = "the alerts are tried with promtool, which is neither here nor to be had by apt-get: install Prometheus"


def promtool() -> Path:
    """Where it is. StepError where it cannot be had."""
    if own := shutil.which("promtool"):
        return Path(own)
    return whole(cache() / "promtool", _unpack) / "usr" / "bin" / "promtool"


def _unpack(into: Path) -> None:
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise StepError(MISSING)
    with step("promtool"), tempfile.TemporaryDirectory(dir=into.parent) as folder:
        _download(Path(folder))
        (package,) = Path(folder).glob("*.deb")
        run(["dpkg-deb", "-x", package, into], failing=MISSING)


def _download(folder: Path) -> None:
    """Lists of packages may be missing, or name a file that is gone."""
    if subprocess.run(["apt-get", "download", "-qq", "prometheus"], cwd=folder, capture_output=True, check=False).returncode:
        sudo = [] if os.geteuid() == 0 else ["sudo"]
        run([*sudo, "apt-get", "update", "-qq"], failing="apt-get update failed")
        run(["apt-get", "download", "-qq", "prometheus"], cwd=folder, failing=MISSING)


if __name__ == "__main__":
    try:
        print(promtool())
    except StepError as error:
        sys.exit(f"{error.output}\n{error}")
