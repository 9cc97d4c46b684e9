"""Three regions in the network of network.py, what an operator does to them, and what they say at the end."""
import json
import sqlite3
import sys
import time
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'integration'))

from harness import Lab, Region, check, control_pb2, read_log, run, wait_until  # noqa: E402
from load import Settlement, merged  # noqa: E402
from verdict import BEGINS_EPOCH, PAYMENT, Entry, Evidence, Place, judge  # noqa: E402

REGIONS = ('eu', 'us', 'ap')
CLIENTS = 'clients'
PORT = 7400
SETTLED_SECONDS_MAX = 60
PROJECTION = f'''-- tally: projection payments
-- tally: schema
CREATE TABLE payments (id TEXT PRIMARY KEY, partition TEXT NOT NULL, cents INTEGER NOT NULL, times INTEGER NOT NULL);
-- tally: on bank {PAYMENT}
INSERT INTO payments VALUES (:event_id, :partition, json_extract(:payload, '$.cents'), 1) ON CONFLICT (id) DO UPDATE SET times = times + 1;
'''


class PlacedRegion(Region):
    wrapper = ()  # more commands before tallyd, of drills that disturb one

    def command(self):
        """A tallyd in its namespace, that ends with this process whatever happens."""
        return [*self.lab.network.inside(self.name), 'setpriv', '--pdeathsig', 'KILL', *self.wrapper, *super().command()]


class GamedayLab(Lab):
    region_class = PlacedRegion

    def __init__(self, network, partitions_each=4):
        super().__init__()
        self.network = network
        self.partitions_each = partitions_each
        self.begun = time.monotonic()
        self.phases = {}
        self.settling_since = None  # monotonic: when the clients had stopped
        self.loads = []

    def host(self, name):
        return self.network.host(name)

    def port(self):
        return PORT if self.network.can_fail else super().port()

    def homes(self, known):
        return {f'{region}-{n}': region for region in REGIONS for n in range(self.partitions_each)}

    def partitions(self, region):
        return [partition for partition, home in self.homes(None).items() if home == region]

    # --- The story ---

    def say(self, text):
        print(f'  {time.monotonic() - self.begun:6.2f} s  {text}', flush=True)

    def phase(self, name, since, until=None):
        self.phases[name] = (until or time.monotonic()) - since
        return self.phases[name]

    def operator(self, *arguments, code=0, shown=4):
        """A command as the runbooks have it; its first lines are part of the story."""
        self.say('$ ' + ' '.join(f"'{a}'" if ' ' in str(a) else str(a) for a in arguments))
        done = run(*arguments)
        assert done.returncode == code, f'exit {done.returncode}: {done.stdout}{done.stderr}'
        for line in (done.stdout + done.stderr).splitlines()[:shown]:
            print(f'              {line[:160]}', flush=True)
        return done.stdout + done.stderr

    # --- Begin ---

    def regions_up(self, edit=None):
        made = self.cluster(*REGIONS)
        for region in made:
            if edit:
                edit(region)
            region.start(accepting=False)
        for region in made:
            region.wait_accepting()
            wait_until(lambda: all(peer.connected for peer in region.status().peers), f'{region.name} to know its peers')
        sql = self.folder / 'payments.sql'
        sql.write_text(PROJECTION)
        for region in made:
            check('tally', 'projection', 'create', sql, '--server', region.address)
        self.say('eu, us and ap are up, a projection of all payments in each')
        return made

    def load(self, regions, partitions=None, asks=None, name='client'):
        homes = self.homes(None)
        load = Settlement(regions, partitions or list(homes), {**homes, **(asks or {})}, name)
        self.loads.append(load)
        self.at_end(lambda: load.stopping.set())
        return load.start()

    def wait_load(self, load, more=150, seconds=30):
        """Until so many more payments are acknowledged."""
        enough = load.count() + more
        wait_until(lambda: load.count() >= enough, f'{more} more payments to be acknowledged, {dict(load.refusals)}', seconds)

    def drain_partitions(self, load, home, others):
        """Clients leave the home's partitions alone until the others have all of its log."""
        load.paused.update(self.partitions(home.name))
        def still():
            size = home.size()
            return all(other.size(home.origin) == size for other in others)
        wait_until(still, f'the others to hold what {home.name} has')
        time.sleep(0.3)
        wait_until(still, f'the others to hold what {home.name} has')

    # --- What happens ---

    def wait_missed(self, survivor, lost, since):
        wait_until(lambda: not next(p for p in survivor.status().peers if p.region == lost.name).connected, f'{survivor.name} to miss {lost.name}', 40)
        self.say(f'{survivor.name} has noticed that {lost.name} is gone, after {self.phase("detection", since):.2f} s')

    def fail_over(self, home, lost, load, force=False, lost_at=None):
        """As the runbook has it: evidence, then the seizure; until clients are served again."""
        began = time.monotonic()
        forced = ['--force'] if force else []
        command = ['tally', 'failover', 'bank', '--from', lost.name, '--reason', f'{lost.name} is lost', *forced, '--server', home.address]

        def tried():
            done = run(*command)
            assert done.returncode == 0 or 'retry' in done.stderr or 'indexed' in done.stderr, done.stdout + done.stderr
            return done.returncode == 0 and done
        done = wait_until(tried, f'{home.name} to seize what {lost.name} had')
        self.say('$ ' + ' '.join(f"'{a}'" if ' ' in a else a for a in command))
        for line in done.stdout.splitlines():
            print(f'              {line[:160]}')
        self.phase('failover', began)
        partitions = set(self.partitions(lost.name))
        first = wait_until(lambda: load.first_answer(home.name, partitions, began), f'{home.name} to acknowledge a payment for {lost.name}')
        self.say(f'{home.name} has acknowledged its first payment for {lost.name}, {self.phase("first accepted append", lost_at or began, first):.2f} s after the loss')

    def come_back(self, region, still_away=None):
        began = time.monotonic()
        self.network.heal()
        if still_away:
            self.network.isolate(still_away.name)
        region.start(accepting=False)
        region.wait_accepting()
        self.say(f'{region.name} is back and accepting what is still its own, after {self.phase("return", began):.2f} s')

    def items(self, region, *options):
        """tally reconcile list --json, without the digest that is its last line."""
        lines = [json.loads(line) for line in check('tally', 'reconcile', 'list', '--json', *options, '--server', region.address).splitlines()]
        return [line for line in lines if 'state' in line]

    def wait_settled(self, regions, since=None):
        began = since or time.monotonic()

        def same():
            positions = {region.status().position for region in regions}
            return len(positions) == 1 and positions.pop()
        position = wait_until(same, f'all regions to hold the same: {[region.status().position for region in regions]}', SETTLED_SECONDS_MAX)
        self.say(f'all regions hold the same, {position}, after {self.phase("settled", began):.2f} s')
        return position

    # --- End ---

    def entries(self, region, origin):
        made = []
        for recorded in read_log(region.client(), origin):
            entry = recorded.entry
            begins = None
            if entry.type in BEGINS_EPOCH:
                basis = control_pb2.AuthorityChange.FromString(recorded.payload).basis
                begins = {log: int(size) for log, size in (part.split('@') for part in basis.split(','))} if basis else {}
            cents = json.loads(recorded.payload)['cents'] if entry.type == PAYMENT else 0
            made.append(Entry(str(uuid.UUID(bytes=entry.event_id)), entry.type, entry.partition, entry.epoch, entry.time, cents, begins,
                              recorded.SerializeToString()))
        return made

    def effects(self, region, position):
        digest = json.loads(check('tally', 'projection', 'digest', 'payments', '--wait', position, '--server', region.address, '--json'))
        assert digest['position'] == position, digest
        status = json.loads(check('tally', 'projection', 'status', 'payments', '--server', region.address, '--json'))
        with sqlite3.connect(f'file:{status["file"]}?mode=ro', uri=True) as db:
            rows = {id: tuple(rest) for id, *rest in db.execute('SELECT id, partition, cents, times FROM payments')}
        return digest['digest'], rows

    def evidence(self, regions):
        position = self.wait_settled(regions, self.settling_since)
        copies, late, effects, digests, lost = {}, {}, {}, {}, {}
        for region in regions:
            logs = region.status().logs
            copies[region.name] = {log.origin: self.entries(region, log.origin) for log in logs}
            lost |= {log.origin: (log.lost_from, log.lost_to) for log in logs if log.lost_to > log.lost_from}
            late[region.name] = {Place(item['origin'], item['index']): item['state'] for item in self.items(region) if item['late']}
            digests[region.name], effects[region.name] = self.effects(region, position)
        return Evidence(merged(*self.loads), copies, late, effects, digests, self.homes(None), lost)

    def finish(self, regions):
        """Stops the clients, waits until all is settled, and judges. Returns the verdict for what a drill wants besides."""
        for load in self.loads:
            if not load.stopping.is_set():
                load.stop()
        self.settling_since = self.settling_since or time.monotonic()
        verdict = judge(self.evidence(regions))
        states = ', '.join(f'{count} {state}' for state, count in sorted(verdict.late.items())) or 'none'
        self.say(f'acknowledged {verdict.acknowledged}, lost {verdict.named_lost or "nothing"}, late: {states}; '
                 f'{verdict.effective} effective payments of {verdict.cents / 100:.2f} in all, the same in every region')
        print('           times: ' + ', '.join(f'{name} {seconds:.2f} s' for name, seconds in self.phases.items()), flush=True)
        assert not verdict.faults, '\n'.join(['the verdict:', *verdict.faults[:20], f'{len(verdict.faults)} faults in all'])
        return verdict
