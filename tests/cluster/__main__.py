"""Clusters by hand, from outside.

python -m tests.cluster up [--nodes N] [--name NAME]   start one, and say how to use it
python -m tests.cluster enter [NAME] [-- COMMAND...]   a shell, or a command, inside it
python -m tests.cluster load ARCHIVE... [--name NAME]  give images to its nodes
python -m tests.cluster test [--nodes N] [--name NAME] [-- PYTEST...]   the suite, in one that is taken down afterwards,
                                                       or in the one that is named and stays up
python -m tests.cluster archives FOLDER                write the images of the tests' own pods
python -m tests.cluster list                           those that run
python -m tests.cluster down [NAME]                    take it down without a trace
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from tests.cluster import images, lifecycle, node, sandbox, suite
from tests.cluster import plan as plans
from tests.cluster.daemons import DaemonError, Daemons
from tools import kubernetes
from tools.steps import ROOT, StepError, show


def main() -> int:
    arguments = _parsed()
    try:
        return int(arguments.does(arguments))
    except StepError as error:
        return show(error)
    except DaemonError as error:
        print(f"tideboard: {error}", file=sys.stderr)
        return 1


def _up(arguments: argparse.Namespace) -> int:
    box = lifecycle.up(arguments.name, arguments.nodes)
    name = "" if arguments.name == ROOT.name else f" {arguments.name}"
    print(f"KUBECONFIG={box.plan.kubeconfig} (it can be reached from inside only)")
    print(f"enter it:     python -m tests.cluster enter{name}")
    print(f"take it down: python -m tests.cluster down{name}")
    return 0


def _enter(arguments: argparse.Namespace) -> int:
    box = lifecycle.found(arguments.name)
    command = arguments.command or [os.environ.get("SHELL", "/bin/sh")]
    return subprocess.run(box.inside(command), check=False, env=lifecycle.environ(box.plan)).returncode


def _test(arguments: argparse.Namespace) -> int:
    return suite.run(arguments.name, arguments.nodes, arguments.command)


def _list(_: argparse.Namespace) -> int:
    for box in lifecycle.running():
        print(f"{box.plan.name}\t{box.plan.count} nodes\tKUBECONFIG={box.plan.kubeconfig}")
    return 0


def _archives(arguments: argparse.Namespace) -> int:
    arguments.folder.mkdir(parents=True, exist_ok=True)
    programs = kubernetes.folder("pods")
    for path in images.small(programs, arguments.folder, [images.PROBE]):
        print(path)
    return 0


def _down(arguments: argparse.Namespace) -> int:
    plan = lifecycle.plan_of(arguments.name)
    lifecycle.down(plan)
    left = sandbox.left_behind(plan)
    for each in left:
        print(f"left behind: {each}", file=sys.stderr)
    return 1 if left else 0


def _load(arguments: argparse.Namespace) -> int:
    box = lifecycle.found(arguments.name)
    archives = [str(path.resolve()) for path in arguments.archives]
    return subprocess.run(
        box.inside([sys.executable, "-m", "tests.cluster", "give", box.plan.name, *archives]), check=False
    ).returncode


def _bring_up(arguments: argparse.Namespace) -> int:
    lifecycle.bring_up(lifecycle.plan_of(arguments.name))
    return 0


def _give(arguments: argparse.Namespace) -> int:
    plan = lifecycle.plan_of(arguments.name)
    node.load(node.machines(plan, Daemons(plan)), arguments.archives)
    return 0


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.cluster", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    each = verbs.add_parser("up", help="start one")
    each.add_argument("--nodes", type=int, default=2, choices=range(plans.MOST_NODES + 1))
    each.add_argument("--name", default=ROOT.name)
    each.set_defaults(does=_up)
    each = verbs.add_parser("test", help="run the suite")
    each.add_argument("--nodes", type=int, default=2, choices=range(plans.MOST_NODES + 1))
    each.add_argument("--name", default="")
    each.set_defaults(does=_test)
    each = verbs.add_parser("enter", help="a shell or a command inside")
    each.add_argument("name", nargs="?", default=ROOT.name)
    each.set_defaults(does=_enter)
    each = verbs.add_parser("load", help="give images to its nodes")
    each.add_argument("archives", nargs="+", type=Path)
    each.add_argument("--name", default=ROOT.name)
    each.set_defaults(does=_load)
    each = verbs.add_parser("archives", help="write the images of the cluster's own tests")
    each.add_argument("folder", type=Path)
    each.set_defaults(does=_archives)
    each = verbs.add_parser("list", help="those that run")
    each.set_defaults(does=_list)
    each = verbs.add_parser("down", help="take it down")
    each.add_argument("name", nargs="?", default=ROOT.name)
    each.set_defaults(does=_down)
    for verb, does in (("bring-up", _bring_up), ("give", _give)):  # for ourselves, from inside
        each = verbs.add_parser(verb)
        each.add_argument("name")
        each.set_defaults(does=does)
    each.add_argument("archives", nargs="+", type=Path)
    words = sys.argv[1:]
    cut = words.index("--") if "--" in words else len(words)
    arguments = parser.parse_args(words[:cut])
    arguments.command = words[cut + 1 :]
    return arguments


if __name__ == "__main__":
    sys.exit(main())
