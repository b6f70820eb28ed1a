from collections import Counter

from chaos.schedule import LINK_FAULTS, MQTT_FAULTS, PROCESS_FAULTS, rounds

PROCESSES = ("broker", "database", "reader", "writer", "gateway-1", "gateway-2")
LINKS, MQTT_LINKS = ("writer-database", "reader-database"), ("writer-broker", "gateway-1-broker")


def test_the_same_seed_gives_the_same_faults() -> None:
    assert list(rounds(7, 100, PROCESSES, LINKS, MQTT_LINKS)) == list(rounds(7, 100, PROCESSES, LINKS, MQTT_LINKS))
    assert list(rounds(7, 100, PROCESSES, LINKS, MQTT_LINKS)) != list(rounds(8, 100, PROCESSES, LINKS, MQTT_LINKS))


def test_every_process_is_struck_equally_often_and_by_every_fault() -> None:
    struck = [fault for one in rounds(1, 600, PROCESSES, LINKS, MQTT_LINKS) for fault in one.processes]
    assert Counter(fault.target for fault in struck) == dict.fromkeys(PROCESSES, 100)
    assert {fault.what for fault in struck} == set(PROCESS_FAULTS)


def test_two_are_struck_at_once_and_never_the_same_twice() -> None:
    sizes = Counter()
    for one in rounds(1, 600, PROCESSES, LINKS, MQTT_LINKS):
        assert len({fault.target for fault in one.processes}) == len(one.processes)
        sizes[len(one.processes)] += 1
    assert min(sizes[1], sizes[2]) > 100


def test_connections_are_struck_too_by_every_fault() -> None:
    faults = [fault for one in rounds(1, 600, PROCESSES, LINKS, MQTT_LINKS) for fault in one.links]
    for links, kinds in ((LINKS, LINK_FAULTS), (MQTT_LINKS, MQTT_FAULTS)):
        struck = [fault for fault in faults if fault.target in links]
        assert {fault.target for fault in struck} == set(links)
        assert {fault.what for fault in struck} == set(kinds)
