"""`python3 -m tools VERB`, as the Makefile calls it. Old Pythons must be able to read this file, to be told that they
are old; so it has no annotations."""

import os
import shutil
import subprocess
import sys

OLDEST = (3, 11)
NAMES = ("python3.13", "python3.12", "python3.11", "python3.14")


def main():
    if sys.version_info[:2] < OLDEST:
        for name in NAMES:
            path = getattr(shutil, "which", lambda _: None)(name)
            if path and subprocess.call([path, "-c", "import ensurepip, venv"], stderr=subprocess.PIPE) == 0:
                os.execv(path, [path, "-m", "tools"] + sys.argv[1:])  # noqa: RUF005, S606
        return refuse("Python {}.{} is too old; install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3.11 ...")
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        return refuse("Python {}.{} lacks its venv module; apt install python{}.{}-venv brings it on Debian and Ubuntu")

    from tools.verbs import main

    return main(sys.argv[1:])


def refuse(sentence):
    sys.stderr.write("tideboard: " + sentence.format(*(sys.version_info[:2] * 2)) + "\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
