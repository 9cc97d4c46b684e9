"""A planned move of many partitions at once, under load: how long each of them has no home that accepts.

From the logs: for every partition, from the entry that let go of it to the entry that took it, in milliseconds of the one clock that both regions share.
From outside: callers who append to some of the partitions without pause, and go where they are sent; from the last answer of the old home to the first
of the new one.
"""
import sys
import threading
import time
from pathlib import Path

from lab import ROOT, wait_until

sys.path.append(str(ROOT / 'tests' / 'integration'))

PARTITIONS = 10000
PROBES = 8
HANDOVER_TIMEOUT_S = 120


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


class Probe(threading.Thread):
    """Appends to one partition until it is told to stop, and notes when each answer came and from where."""

    def __init__(self, addresses, partition):
        from harness import Client
        super().__init__(daemon=True)
        self.partition = partition
        self.clients = [Client(address) for address in addresses]
        self.answers = []
        self.stopping = False

    def run(self):
        from harness import Refused, batch, event, write
        at = 0
        while not self.stopping:
            request = batch(write(f'probe-{self.partition}', event(), context='bench', partition=self.partition))
            while not self.stopping:
                try:
                    self.clients[at].append(request)
                    self.answers.append((time.monotonic(), at))
                    break
                except Refused as error:
                    at = 1 - at if error.code == 'FAILED_PRECONDITION' else at

    def pause_ms(self):
        before = [when for when, at in self.answers if at == 0]
        after = [when for when, at in self.answers if at == 1]
        return (min(after) - max(before)) * 1000


def entries_of(region, kind):
    """partition -> (hybrid time in ms) of the control events of this type in the region's own log."""
    from harness import Client, collect, events_of
    from tally.v1 import ledger_pb2
    client = Client(region.address)
    found = {}
    size = next(log['size'] for log in region.status()['logs'] if log['own'])
    for event in events_of(collect(client.read_log(ledger_pb2.ReadLogRequest(), timeout=120))):
        if event.entry.type == kind:
            found[event.entry.partition] = event.entry.time >> 16
        if event.entry.index + 1 >= size:
            break
    client.close()
    return found


def move(home, other, names):
    """Hands all of them over, and waits until the other region has taken the last; returns the seconds it took."""
    from harness import Client
    from tally.v1 import operations_pb2
    operations = Client(home.address, operations_pb2.DESCRIPTOR, 'Operations')
    taken = Client(other.address, operations_pb2.DESCRIPTOR, 'Operations')
    begun = time.monotonic()
    left = len(names)
    while left > 0:
        answer = operations.handover(operations_pb2.HandoverRequest(context='bench', partitions=names, to='b', reason='bench'),
                                     timeout=HANDOVER_TIMEOUT_S)
        left = answer.remaining
    while next(log['size'] for log in other.status()['logs'] if log['own']) < len(names) or not all_at(taken, operations_pb2, len(names)):
        time.sleep(0.05)
        if time.monotonic() - begun > HANDOVER_TIMEOUT_S:
            raise RuntimeError('not all partitions were taken')
    took = time.monotonic() - begun
    operations.close()
    taken.close()
    return took


def all_at(client, operations_pb2, count):
    start, page, found = 0, None, 0
    while page is None or page.next:
        page = client.list_homes(operations_pb2.ListHomesRequest(context='bench', **{'from': start}))
        start = page.next
        found += sum(home.region == 'b' for home in page.homes)
    return found >= count


def measure(lab, load):
    """One move. `load` is called to run something beside it, and must return when told by the event that it gets."""
    home, other = lab.pair()
    names = [f'p{number:05}' for number in range(PARTITIONS)]
    probes = [Probe((home.address, other.address), names[number * PARTITIONS // PROBES]) for number in range(PROBES)]
    finished = threading.Event()
    beside = threading.Thread(target=load, args=(home, finished), daemon=True)
    beside.start()
    for probe in probes:
        probe.start()
    time.sleep(1)
    took = move(home, other, names)
    wait_until(lambda: all(any(at == 1 for _, at in probe.answers) for probe in probes))
    for probe in probes:
        probe.stopping = True
    for probe in probes:
        probe.join()
    finished.set()
    beside.join()
    other.wait_indexed()
    released, taken = entries_of(home, '$AuthorityReleased'), entries_of(other, '$AuthorityTaken')
    missing = [name for name in names if name not in released or name not in taken]
    if missing:
        raise RuntimeError(f'{len(missing)} partitions were not moved: {missing[:3]}')
    pauses = [taken[name] - released[name] for name in names]
    return took, pauses, [probe.pause_ms() for probe in probes]
