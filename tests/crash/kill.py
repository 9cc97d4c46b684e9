"""Kills tallyd with SIGKILL at random moments while clients append: kill.py [KILLS [SECONDS [SEED]]], whichever ends first.

Two regions copy each other's logs; a random one of them dies each time. After each restart every event that was acknowledged is there exactly once, in the log of
the incarnation that it was acknowledged in (a killed process loses nothing that was written, so no region may begin a new log), and tally-verify agrees. At the
end the copies are the same.
"""
import random
import sys
import threading
import time
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'integration'))
sys.dont_write_bytecode = True

from harness import Client, Lab, batch, check, collect, event, ledger_pb2, wait_until, write  # noqa: E402

VERIFY_EVERY = 10
LIFE_SECONDS_MAX = 0.4
PAUSE_SECONDS = 0.005  # so that reading everything again does not take longer than killing


class Writer:
    """A client of one region: appends, and after a failure appends the same events again until they are acknowledged."""

    def __init__(self, region, number):
        self.region = region
        self.stream = f'{region.name}-{number}'
        self.acknowledged = {}
        self.stopping = threading.Event()
        self.failure = None
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        rng = random.Random(self.stream)
        client = None
        sent = None
        while not self.stopping.is_set():
            try:
                client = client or Client(self.region.address)
                sent = sent or [event(rng.randbytes(rng.choice([10, 300, 300, 6000])), id=uuid.uuid4().bytes) for _ in range(rng.randint(1, 20))]
                answer = client.append(batch(write(self.stream, *sent, partition=self.region.name)), timeout=5)
                for one, result in zip(sent, answer.results):
                    self.acknowledged[one.id] = (result.origin or answer.origin, result.index)
                sent = None
                time.sleep(PAUSE_SECONDS)
            except Exception as error:
                if 'ID_REUSED' in str(error) or 'VERSION' in str(error):
                    self.failure = error
                    return
                if client:
                    client.close()
                client = None
                time.sleep(0.02)
        if client:
            client.close()

    def stop(self):
        self.stopping.set()
        self.thread.join()
        assert self.failure is None, self.failure


class Follower:
    """Reads each log once, a stretch after each restart, and checks what is acknowledged against it."""

    def __init__(self):
        self.seen = {}
        self.places = {}

    def read_on(self, region):
        origin = region.origin
        first = self.seen.get(origin, 0)
        for response in collect(region.client().read_log(ledger_pb2.ReadLogRequest(origin=origin, from_index=first), timeout=60)):
            for one in response.events:
                id = bytes(one.entry.event_id)
                assert id not in self.places, f'event {id.hex()} is in {origin} at {one.entry.index} and before that at {self.places[id]}'
                self.places[id] = (origin, one.entry.index)
                first = one.entry.index + 1
        self.seen[origin] = first

    def check(self, writers):
        for writer in writers:
            for id, place in list(writer.acknowledged.items()):
                assert self.places.get(id) == place, f'event {id.hex()} was acknowledged at {place} and is at {self.places.get(id)}'


def one_kill(regions, writers, follower, rng, number):
    victim = rng.choice(regions)
    time.sleep(rng.uniform(0, LIFE_SECONDS_MAX))
    victim.kill()
    if number % VERIFY_EVERY == 0:
        check('tally-verify', 'log', victim.log_folder(victim.name), '--key', victim.folder / 'keys' / 'region.pub', timeout=120)
    victim.start()
    own = [log for log in victim.status().logs if log.own]
    assert own[0].origin == victim.origin, f'{victim.name} began a new log: {victim.said()[-2000:]}'
    mine = [writer for writer in writers if writer.region is victim]
    snapshot = [(writer, dict(writer.acknowledged)) for writer in mine]
    follower.read_on(victim)
    for writer, acknowledged in snapshot:
        for id, place in acknowledged.items():
            assert follower.places.get(id) == place, f'{id.hex()} was acknowledged at {place} and is at {follower.places.get(id)}'


def finish(regions, writers, follower):
    for writer in writers:
        writer.stop()
    for region in regions:
        follower.read_on(region)
    follower.check(writers)
    for region in regions:
        for other in regions:
            other.wait_size(region.origin, region.size(), 60)
    for region in regions:
        region.stop()
    for region in regions:
        key = region.folder / 'keys' / 'region.pub'
        for holder in regions:
            check('tally-verify', 'log', holder.log_folder(region.name), '--key', key, timeout=300)
            check('tally-verify', 'compare', region.log_folder(region.name), holder.log_folder(region.name), timeout=300)


def main():
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 3600
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else random.randrange(1 << 32)
    rng = random.Random(seed)
    lab = Lab()
    begin = time.monotonic()
    try:
        regions = lab.cluster('eu', 'us')
        for region in regions:
            region.edit_config('^segment_size_bytes:.*', 'segment_size_bytes: 16777216')
            region.edit_config('^hello_interval_ms:.*', 'hello_interval_ms: 100')
            region.edit_config('^checkpoint_interval_ms:.*', 'checkpoint_interval_ms: 50')
            region.start(accepting=False)
        for region in regions:
            region.wait_accepting()
        writers = [Writer(region, number) for region in regions for number in range(2)]
        follower = Follower()
        number = 0
        while number < kills and time.monotonic() < begin + seconds:
            number += 1
            one_kill(regions, writers, follower, rng, number)
        wait_until(lambda: all(writer.acknowledged for writer in writers), 'every client to have been acknowledged')
        finish(regions, writers, follower)
        total = sum(len(writer.acknowledged) for writer in writers)
        print(f'  kill -9: {number} kills, {total} events acknowledged, all there exactly once, copies equal ({time.monotonic() - begin:.0f} s)')
    except BaseException:
        print(f'kill.py FAILED, seed {seed}: tests/crash/kill.py {kills} {seconds} {seed}\n{lab.outputs()}', file=sys.stderr)
        raise
    finally:
        lab.close()


main()
