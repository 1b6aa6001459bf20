import mmap

from prometheus_client import REGISTRY

from services.gateway.memory import Memory, resident

MIB = 1 << 20


def shown() -> float | None:
    return REGISTRY.get_sample_value("tideboard_gateway_resident_bytes_per_viewer")


def test_memory_beyond_the_least_without_viewers_is_shared_by_those_who_are_there() -> None:
    viewers, held = 0, 50 * MIB
    memory = Memory(lambda: viewers, lambda: held)
    steps = (
        (0, 40 * MIB, 0),  # less than at the start: the start had more than it needed
        (4, 48 * MIB, 2 * MIB),
        (8, 48 * MIB, MIB),
        (0, 46 * MIB, 0),  # what Python keeps
        (3, 46 * MIB, 2 * MIB),  # is still viewers'
        (3, 39 * MIB, 0),  # never less than nothing
    )
    for viewers, held, expected in steps:  # noqa: B007  # read by the lambdas
        memory.look()
        assert shown() == expected


def test_this_process_has_memory() -> None:
    before = resident()
    with mmap.mmap(-1, 64 * MIB) as block:  # pages of its own: an allocator may have some left over that are resident already
        block[:] = b"x" * (64 * MIB)
        assert resident() - before > 32 * MIB
