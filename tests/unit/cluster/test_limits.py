"""What a machine has too little of is told before anything is begun."""

import ctypes
import os

from tests.cluster import limits


def test_enough_is_enough() -> None:
    assert limits.complaint(2, used=0, limit=128) == ""


def test_too_few_are_told_with_what_can_be_done() -> None:
    said = limits.complaint(2, used=120, limit=128)
    assert "8 of 128 are free" in said
    assert "fs.inotify.max_user_instances" in said


def test_every_node_needs_some_more() -> None:
    fitting = [nodes for nodes in range(10) if not limits.complaint(nodes, used=80, limit=128)]
    assert fitting == [0, 1, 2, 3]


def test_an_instance_of_our_own_is_counted() -> None:
    descriptor = ctypes.CDLL(None).inotify_init1(0)
    assert descriptor >= 0
    try:
        assert limits.used() >= 1
    finally:
        os.close(descriptor)
