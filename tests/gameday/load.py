"""The settlement client: appends payments, goes where it is sent, repeats what was not answered with the same ids, and keeps the book."""
import json
import random
import threading
import time
import uuid
from collections import defaultdict
from typing import NamedTuple

from harness import Client, Refused, batch, event, write
from verdict import PAYMENT, Book, Place

ANSWER_SECONDS_MAX = 2
PAUSE_SECONDS = 0.03          # between two batches of a partition
RETRY_SECONDS = 0.03
FAILURES_BEFORE_ASKING_ANOTHER = 3
DRAIN_SECONDS_MAX = 45
# A connection that is not made is given up after a second and tried again: a client that waits for gRPC's minutes measures gRPC.
RECONNECT = [('grpc.initial_reconnect_backoff_ms', 100), ('grpc.min_reconnect_backoff_ms', 1000), ('grpc.max_reconnect_backoff_ms', 500)]


class Answer(NamedTuple):
    at: float        # monotonic
    asked: float     # when the batch was sent for the first time
    partition: str
    origin: str


class Settlement:
    """One thread a partition. `asks` names the region that a partition's thread asks first; afterwards it follows what it is told."""

    def __init__(self, regions, partitions, asks, name='client', seed=1):
        self.addresses = {region.name: region.address for region in regions}
        self.shown = {region.name: region.shown for region in regions}
        self.clients = {}
        self.asks = asks
        self.name = name
        self.seed = seed
        self.book = Book()
        self.answers = []
        self.refusals = defaultdict(int)
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.drain_until = None
        self.paused = set()
        self.unanswered = []
        self.broken = []
        self.threads = [threading.Thread(target=self.pay, args=(partition,), daemon=True) for partition in partitions]

    def start(self):
        for thread in self.threads:
            thread.start()
        return self

    def stop(self):
        """Ends when every batch that was begun has its answer; `unanswered` has those that got none in time."""
        self.drain_until = time.monotonic() + DRAIN_SECONDS_MAX
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        for client in self.clients.values():
            client.close()
        assert not self.broken, self.broken[:3]
        assert not self.unanswered, f'{len(self.unanswered)} batches without an answer, the first: {self.unanswered[0]}'

    def client(self, region):
        with self.lock:
            if region not in self.clients:
                self.clients[region] = Client(self.addresses[region], options=RECONNECT, tls=self.shown[region])
            return self.clients[region]

    def pay(self, partition):
        chance = random.Random(f'{self.seed} {self.name} {partition}')
        region = self.asks[partition]
        number = 0
        while not self.stopping.is_set():
            if partition in self.paused:
                time.sleep(PAUSE_SECONDS)
                continue
            payments = []
            for _ in range(chance.randint(1, 3)):
                cents = chance.randint(1, 100000)
                payments.append(event(json.dumps({'cents': cents}).encode(), PAYMENT, uuid.UUID(int=chance.getrandbits(128), version=4).bytes))
                with self.lock:
                    self.book.sent[str(uuid.UUID(bytes=payments[-1].id))] = (partition, cents)
            number += 1
            region = self.send(region, partition, batch(write(f'{self.name}-{partition}-{number % 5}', *payments, partition=partition)))
            time.sleep(PAUSE_SECONDS)

    def send(self, region, partition, request):
        """Until it is acknowledged; returns who answered in the end."""
        asked = time.monotonic()
        failures = 0
        while True:
            try:
                self.acknowledge(partition, asked, request, self.client(region).append(request, timeout=ANSWER_SECONDS_MAX))
                return region
            except Refused as error:
                code = error.detail.code if error.detail and error.detail.code else error.code
                with self.lock:
                    self.refusals[code] += 1
                if code in ('ID_REUSED', 'INVALID_ARGUMENT', 'INVALID'):
                    self.broken.append(f'{region}: {error}')
                    return region
                region, failures = self.next_region(region, error, failures)
            if self.drain_until and time.monotonic() > self.drain_until:
                self.unanswered.append(f'{partition} at {region}, refusals so far: {dict(self.refusals)}')
                return region
            time.sleep(RETRY_SECONDS)

    def next_region(self, region, error, failures):
        if error.detail and error.detail.home_region in self.addresses:
            return error.detail.home_region, 0 if error.detail.home_region == region else failures
        if failures + 1 < FAILURES_BEFORE_ASKING_ANOTHER:
            return region, failures + 1
        names = sorted(self.addresses)
        return names[(names.index(region) + 1) % len(names)], 0

    def acknowledge(self, partition, asked, request, answer):
        events = [e for w in request.writes for e in w.events]
        with self.lock:
            for sent, result in zip(events, answer.results, strict=True):
                self.book.acknowledged[str(uuid.UUID(bytes=sent.id))] = Place(result.origin or answer.origin, result.index)
            self.answers.append(Answer(time.monotonic(), asked, partition, answer.origin))

    def count(self):
        with self.lock:
            return len(self.book.acknowledged)

    def first_answer(self, region, partitions, since):
        """When `region` first acknowledged something for one of the partitions, or None."""
        with self.lock:
            times = [a.at for a in self.answers if a.at > since and a.partition in partitions and a.origin.split('/')[1] == region]
        return min(times, default=None)

    def pauses(self, partitions, since, until):
        """partition -> the longest time between two answers that began or ended in that time."""
        longest = {}
        with self.lock:
            for partition in partitions:
                times = sorted(a.at for a in self.answers if a.partition == partition)
                gaps = [after - before for before, after in zip(times, times[1:]) if before < until and after > since]
                longest[partition] = max(gaps, default=0)
        return longest


def merged(*loads):
    book = Book()
    for load in loads:
        book.sent |= load.book.sent
        book.acknowledged |= load.book.acknowledged
    return book
