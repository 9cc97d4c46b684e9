"""The drills. Each is a function with a lab; its docstring is what happens, and the story that it prints is what it took.

What each does with `tally` is what ../../tools/README.md tells an operator to do.
"""
import json
import os
import random
import shutil
import sqlite3
import struct
import time
import uuid
from pathlib import Path

from certificates import Authority, Files
from etcd import Etcd
from harness import Refused, batch, check, event, read_log, run, wait_until, write
from lab import CLIENTS
from verdict import PAYMENT

FAKETIME = '/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1'

SLOW_DISK = Path(__file__).resolve().parents[2] / 'build' / 'gameday' / 'slow_disk.so'
ABSENCE_PAYMENTS = 20000  # as many as a small bank makes in a week


# --- What drills share ---

def _die(lab, region):
    """As if its site had lost power: no connection is closed, and nothing that was on its way leaves any more. Links between the others are whole."""
    lab.network.heal()
    lab.network.isolate(region.name)
    region.kill()
    lab.say(f'{region.name} is gone: it was killed, and its site is silent')
    return time.monotonic()


def _cut(lab, region, others):
    for other in others:
        lab.network.both_ways(region.name, other.name, cut=True)
    lab.say(f'{region.name} and {", ".join(other.name for other in others)} do not hear each other; clients reach all')


def _tail(lab, load, home, others, more=60):
    """Payments that only `home` has."""
    before = home.size()
    wait_until(lambda: home.size() >= before + more, f'{home.name} to accept {more} payments that nobody else has')
    held = max(other.size(home.origin) for other in others)
    lab.say(f'{home.name} has acknowledged on: {home.size()} entries, and the others hold at most {held} of them')


def _repeat(lab, load, home, recorded):
    """A client that never saw the answer asks the new home, with the same ids."""
    entry = recorded.entry
    request = batch(write(entry.stream, event(recorded.payload, entry.type, entry.event_id), partition=entry.partition))

    def answered():
        try:
            load.acknowledge(entry.partition, time.monotonic(), request, home.client().append(request))
            return True
        except Refused:
            return False
    wait_until(answered, f'{home.name} to answer a repetition')


def _settle(lab, home, regions):
    """Some are accepted, some compensated later by hand, the rest rejected in one go."""
    lab.settling_since = time.monotonic()
    lab.wait_settled(regions)
    lab.operator('tally', 'reconcile', 'list', '--context', 'bank', '--server', home.address)
    open_items = [item for item in lab.items(home, '--state', 'open') if item['late']]
    places = [f'{item["origin"]}@{item["index"]}' for item in open_items]
    assert len(places) >= 5, f'a tail should have come back late, but only {places} is open'
    lab.operator('tally', 'reconcile', 'show', places[0], '--server', home.address)
    lab.operator('tally', 'reconcile', 'accept', *places[:2], '--actor', 'anna', '--reason', 'still wanted', '--server', home.address)
    lab.operator('tally', 'reconcile', 'drop', places[2], '--actor', 'anna', '--reason', 'paid by telephone', '--server', home.address)
    lab.operator('tally', 'reconcile', 'reject', '--all', '--expect-count', len(places) - 3, '--actor', 'anna', '--reason', 'too late', '--server', home.address)
    wait_until(lambda: not lab.items(home, '--state', 'open'), 'no item to be open')


def _late_of(verdict, *states):
    assert set(states) <= set(verdict.late), verdict.late


def _hand_over(lab, load, old, new, partitions):
    began = time.monotonic()
    moved = [argument for partition in partitions for argument in ('--partition', partition)]
    lab.operator('tally', 'handover', 'bank', '--to', new.name, *moved, '--reason', 'maintenance', '--server', old.address)
    for partition in partitions:
        wait_until(lambda: load.first_answer(new.name, {partition}, began), f'{new.name} to serve {partition}')
    lab.wait_load(load, 50)
    pauses = sorted(load.pauses(partitions, began, time.monotonic()).values())
    p99 = pauses[min(len(pauses) - 1, int(len(pauses) * 0.99))]
    lab.say(f'{len(partitions)} partitions moved to {new.name}; longest pause of a client: median {pauses[len(pauses) // 2] * 1000:.0f} ms, '
            f'p99 {p99 * 1000:.0f} ms')
    lab.phases[f'pause p99 to {new.name}'] = p99


def _rate(load, seconds=3):
    """Payments a second that are acknowledged by each region."""
    began = time.monotonic()
    time.sleep(seconds)
    with load.lock:
        recent = [answer.origin for answer in load.answers if answer.at > began]
    return {origin.split('/')[1]: recent.count(origin) / seconds for origin in sorted(set(recent))}


def _bulk(load, region, partitions, count, each=500):
    """That many payments more, in batches, as clients that only reach this region make them."""
    chance = random.Random(count)
    for number in range(0, count, each):
        partition = partitions[number // each % len(partitions)]
        payments = []
        for _ in range(each):
            cents = chance.randint(1, 100000)
            payments.append(event(json.dumps({'cents': cents}).encode(), PAYMENT, uuid.UUID(int=chance.getrandbits(128), version=4).bytes))
            load.book.sent[str(uuid.UUID(bytes=payments[-1].id))] = (partition, cents)
        request = batch(write(f'bulk-{partition}-{number}', *payments, partition=partition))
        load.acknowledge(partition, time.monotonic(), request, region.client().append(request))


# --- Losses ---

def region_loss(lab):
    """A region dies when the others have all it had; another takes over; it comes back. Nothing may be late."""
    eu, us, ap = regions = lab.regions_up()
    load = lab.load(regions)
    lab.wait_load(load)
    lab.drain_partitions(load, eu, (us, ap))
    died = _die(lab, eu)
    load.paused.clear()
    lab.wait_missed(us, eu, died)
    lab.fail_over(us, eu, load, lost_at=died)
    lab.wait_load(load)
    lab.come_back(eu)
    lab.wait_load(load)
    verdict = lab.finish(regions)
    assert not verdict.late, verdict.late


def unreplicated_tail(lab):
    """A region dies with payments that nobody else has. They come back late, and are settled; what clients repeated meanwhile is a duplicate."""
    eu, us, ap = regions = lab.regions_up()
    load = lab.load(regions)
    lab.wait_load(load)
    _cut(lab, eu, (us, ap))
    _tail(lab, load, eu, (us, ap))
    last = [recorded for recorded in read_log(eu.client(), eu.origin) if recorded.entry.type == PAYMENT][-3:]
    died = _die(lab, eu)
    lab.wait_missed(us, eu, died)
    lab.fail_over(us, eu, load, lost_at=died)
    for recorded in last:
        _repeat(lab, load, us, recorded)
    lab.say(f'{len(last)} payments of the tail were repeated at us')
    lab.wait_load(load)
    lab.come_back(eu)
    lab.wait_load(load)
    load.stop()
    _settle(lab, us, regions)
    _late_of(lab.finish(regions), 'accepted', 'dropped', 'duplicate', 'rejected')


def _automatic(lab, etcd):
    """Before the start: context bank fails over by itself."""
    def edit(region):
        region.edit_config(r'^  - name: bank$', '  - name: bank\n    failover: automatic')
        region.edit_config(r'^listen: ', f'etcd:\n  endpoints: [{etcd.url}]\n  lease_s: 3\nlisten: ')
    return edit


def _wait_automatic(lab, regions, state, since, phase):
    for region in regions:
        wait_until(lambda region=region: region.status().automatic.state == state, f'{region.name} to be {state}', 60)
    lab.say(f'automatic failover is {state} in {", ".join(region.name for region in regions)}, after {lab.phase(phase, since):.2f} s')


def _seizures(regions):
    return {region.name: [e for e in read_log(region.client(), region.origin) if e.entry.type == '$AuthoritySeized'] for region in regions}


def etcd_loss(lab):
    """etcd dies: nothing stops, and failover is assisted. A region dies, too: nobody seizes. etcd comes back: one survivor takes over by itself."""
    etcd = Etcd(lab, lab.host(CLIENTS)).start()
    eu, us, ap = regions = lab.regions_up(_automatic(lab, etcd))
    load = lab.load(regions)
    _wait_automatic(lab, regions, 'armed', time.monotonic(), 'armed')
    lab.wait_load(load)
    etcd.kill()
    lost = time.monotonic()
    _wait_automatic(lab, regions, 'degraded', lost, 'degraded')
    rates = _rate(load)
    lab.say(f'payments a second without etcd: {rates}')
    assert set(rates) == {'eu', 'us', 'ap'} and all(rates.values()), rates
    lab.drain_partitions(load, eu, (us, ap))
    died = _die(lab, eu)
    load.paused.clear()
    lab.wait_missed(us, eu, died)
    for survivor in (us, ap):
        wait_until(lambda survivor=survivor: 'nobody seizes by himself' in survivor.status().automatic.loss, f'{survivor.name} to leave it to a person', 40)
    lab.operator('tally', 'status', '--server', us.address, shown=40)
    assert not any(_seizures((us, ap)).values())
    etcd.start()
    back = time.monotonic()
    _wait_automatic(lab, (us, ap), 'armed', back, 'armed again')
    wait_until(lambda: any(_seizures((us, ap)).values()), 'a survivor to take over', 60)
    winner = next(region for region in (us, ap) if _seizures((us, ap))[region.name])
    partitions = set(lab.partitions('eu'))
    first = wait_until(lambda: load.first_answer(winner.name, partitions, back), f'{winner.name} to acknowledge a payment for eu', 40)
    lab.say(f'{winner.name} took over by itself; first payment {lab.phase("first accepted append", back, first):.2f} s after etcd was back')
    lab.wait_load(load)
    lab.come_back(eu)
    lab.wait_load(load)
    made = _seizures(regions)
    assert sum(1 for seized in made.values() if seized) == 1, made
    verdict = lab.finish(regions)
    assert not verdict.late, verdict.late


def second_loss(lab):
    """us takes over from eu and dies, too, before eu is back; ap takes over from us; then both come back."""
    eu, us, ap = regions = lab.regions_up()
    load = lab.load(regions)
    lab.wait_load(load)
    _cut(lab, eu, (us, ap))
    _tail(lab, load, eu, (us, ap))
    died = _die(lab, eu)
    lab.wait_missed(us, eu, died)
    lab.fail_over(us, eu, load, lost_at=died)
    lab.wait_load(load, 50)
    _cut(lab, us, (ap,))
    _tail(lab, load, us, (ap,), 40)
    died = _die(lab, us)
    lab.wait_missed(ap, us, died)
    lab.operator('tally', 'failover', 'bank', '--from', 'us', '--dry-run', '--server', ap.address, shown=12)
    lab.fail_over(ap, us, load, force=True, lost_at=died)
    lab.come_back(eu, still_away=us)
    lab.come_back(us)
    lab.wait_load(load)
    load.stop()
    _settle(lab, ap, regions)
    _late_of(lab.finish(regions), 'accepted', 'rejected')


def lost_disk(lab):
    """The disk of a region is lost, but the others have all of its log: it comes back whole, and goes on with it."""
    eu, us, ap = regions = lab.regions_up()
    load = lab.load(regions)
    lab.wait_load(load)
    lab.drain_partitions(load, eu, (us, ap))
    load.paused.clear()
    load.paused.update(lab.partitions('eu'))
    _die(lab, eu)
    for name in ('logs', 'index', 'signed', 'projections'):
        shutil.rmtree(eu.folder / name, ignore_errors=True)
    lab.say('its disk is lost: configuration and keys are put back by hand')
    lab.come_back(eu)
    load.paused.clear()
    lab.wait_load(load)
    assert eu.log(eu.origin).own, 'it should go on with its log'
    sql = lab.folder / 'payments.sql'
    lab.operator('tally', 'projection', 'create', sql, '--server', eu.address)
    verdict = lab.finish(regions)
    assert not verdict.late and not verdict.named_lost, verdict


def new_incarnation(lab):
    """The disk of a region is lost, and with it signed payments that nobody else has: the range is named, and a new log begins."""
    eu, us, ap = regions = lab.regions_up()
    load = lab.load(regions)
    lab.wait_load(load)
    _cut(lab, eu, (us, ap))
    _tail(lab, load, eu, (us, ap))
    load.paused.update(lab.partitions('eu'))
    time.sleep(0.5)
    wait_until(lambda: eu.log(eu.origin).checkpoint_size == eu.size(), 'eu to sign what it has')
    _die(lab, eu)
    for name in ('logs', 'index', 'projections'):
        shutil.rmtree(eu.folder / name, ignore_errors=True)
    lab.say('its logs are lost; it remembers what it has signed')
    lab.come_back(eu)
    own = next(log for log in eu.status().logs if log.own)
    wait_until(lambda: eu.log('bank/eu/1').lost_to > 0, 'eu to name what is lost')
    lost = eu.log('bank/eu/1')
    lab.say(f'eu goes on with {own.origin}; lost are entries {lost.lost_from} to {lost.lost_to - 1} of bank/eu/1')
    assert own.origin == 'bank/eu/2', own
    load.paused.clear()
    lab.wait_load(load)
    lab.operator('tally', 'projection', 'create', lab.folder / 'payments.sql', '--server', eu.address)
    verdict = lab.finish(regions)
    assert verdict.named_lost and not verdict.late, verdict


# --- Links ---

def _torn(lab, tear):
    """Clients at both sides of a torn network: eu goes on, and us is made to take over."""
    eu, us, ap = regions = lab.regions_up()
    load = lab.load(regions)
    lab.wait_load(load)
    torn = time.monotonic()
    tear(eu, us, ap)
    far = lab.load((us, ap), lab.partitions('eu'), {partition: 'us' for partition in lab.partitions('eu')}, 'far')
    lab.wait_missed(us, eu, torn)
    lab.fail_over(us, eu, far, lost_at=torn)
    _tail(lab, load, eu, (us, ap))
    lab.wait_load(far, 50)
    lab.say('both sides have acknowledged payments of the same partitions')
    healed = time.monotonic()
    lab.network.heal()
    partitions = set(lab.partitions('eu'))
    wait_until(lambda: load.first_answer('us', partitions, healed), 'the clients of eu to be sent to us', 60)
    lab.say(f'the network is whole, and eu sends its clients to us, after {lab.phase("return", healed):.2f} s')
    lab.wait_load(load)
    load.stop()
    far.stop()
    _settle(lab, us, regions)
    _late_of(lab.finish(regions), 'accepted', 'dropped', 'rejected')


def split_brain(lab):
    """The network is cut between eu and the rest; both sides accept payments of eu's partitions; then it heals."""
    _torn(lab, lambda eu, us, ap: _cut(lab, eu, (us, ap)))


def one_way_partition(lab):
    """What eu sends is lost, what is sent to eu arrives; both sides accept; then it heals."""
    def tear(eu, us, ap):
        for other in (us, ap):
            lab.network.link(eu.name, other.name, cut=True)
        lab.say('what eu sends to us and ap is lost; what they send arrives')
    _torn(lab, tear)


def slow_link(lab):
    """100 ms and one packet in a hundred lost between regions: payments, and a planned move."""
    eu, us, ap = regions = lab.regions_up()
    for one, other in ((eu, us), (eu, ap), (us, ap)):
        lab.network.both_ways(one.name, other.name, delay_ms=100, loss_percent=1)
    lab.say('regions are 100 ms from each other, and 1 % of the packets is lost')
    load = lab.load(regions)
    lab.wait_load(load, 300)
    _hand_over(lab, load, eu, us, lab.partitions('eu'))
    verdict = lab.finish(regions)
    assert not verdict.late, verdict.late


def week_of_divergence(lab):
    """eu is cut off and goes on by itself for a week's worth of payments, while us has taken over; then the network heals."""
    eu, us, ap = regions = lab.regions_up()
    load = lab.load(regions)
    lab.wait_load(load)
    torn = time.monotonic()
    _cut(lab, eu, (us, ap))
    far = lab.load((us, ap), lab.partitions('eu'), {partition: 'us' for partition in lab.partitions('eu')}, 'far')
    lab.wait_missed(us, eu, torn)
    lab.fail_over(us, eu, far, lost_at=torn)
    _bulk(load, eu, lab.partitions('eu'), ABSENCE_PAYMENTS)
    lab.say(f'eu alone has accepted {ABSENCE_PAYMENTS} payments since')
    healed = time.monotonic()
    lab.network.heal()
    lab.wait_load(load)
    load.stop()
    far.stop()
    lab.settling_since = time.monotonic()
    lab.wait_settled(regions)
    lab.say(f'the network is whole, and every region has seen all of it, {lab.phase("caught up", healed):.2f} s after')
    began = time.monotonic()
    open_items = [item for item in lab.items(us, '--state', 'open') if item['late']]
    assert len(open_items) >= ABSENCE_PAYMENTS, len(open_items)
    lab.operator('tally', 'reconcile', 'report', '--context', 'bank', '--server', us.address, shown=12)
    places = [f'{item["origin"]}@{item["index"]}' for item in open_items[:3]]
    lab.operator('tally', 'reconcile', 'accept', *places, '--actor', 'anna', '--reason', 'still wanted', '--server', us.address)
    for partition in lab.partitions('eu'):  # one answer lists 10,000 at most
        rest = [item for item in lab.items(us, '--state', 'open', '--partition', partition) if item['late']]
        lab.operator('tally', 'reconcile', 'reject', '--all', '--partition', partition, '--expect-count', len(rest), '--actor', 'anna', '--reason', 'paid again',
                     '--server', us.address)
    lab.say(f'{len(open_items)} decisions are in the log, after {lab.phase("decisions", began):.2f} s')
    _late_of(lab.finish(regions), 'accepted', 'rejected')


# --- Disks ---

def slow_disk(lab):
    """Each durable write of eu takes 40 ms more: eu is slow, nobody else is; then its partitions are moved away, and nothing is lost."""
    control = lab.folder / 'slow'
    control.write_bytes(struct.pack('<I', 0))

    def on_slow_disk(region):
        if region.name == 'eu':
            region.wrapper = ('env', f'LD_PRELOAD={SLOW_DISK}', f'SLOW_DISK_FILE={control}')
    eu, us, ap = regions = lab.regions_up(on_slow_disk)
    load = lab.load(regions)
    lab.wait_load(load)
    before = _rate(load)
    with control.open('r+b') as file:
        file.write(struct.pack('<I', 40))
    lab.say(f'a durable write of eu takes 40 ms more; before, batches a second: {json.dumps(before)}')
    slow = _rate(load)
    lab.say(f'now: {json.dumps(slow)}')
    assert slow['eu'] < before['eu'] / 2, 'the disk of eu should have become slow'
    assert min(slow['us'], slow['ap']) > min(before['us'], before['ap']) / 2, 'a slow disk in eu should slow nobody else'
    assert all(peer.connected for peer in us.status().peers), 'a slow region is not a lost one'
    _hand_over(lab, load, eu, us, lab.partitions('eu'))
    moved = _rate(load)
    lab.say(f'after the move: {json.dumps(moved)}')
    assert moved.get('us', 0) > slow['us'] * 1.5, 'us should serve what eu was too slow for'
    verdict = lab.finish(regions)
    assert not verdict.late, verdict.late


# --- Moves ---

def planned_handover(lab):
    """All partitions of eu move to us under load, and back."""
    eu, us, ap = regions = lab.regions_up()
    load = lab.load(regions)
    lab.wait_load(load)
    _hand_over(lab, load, eu, us, lab.partitions('eu'))
    _hand_over(lab, load, us, eu, lab.partitions('eu'))
    verdict = lab.finish(regions)
    assert not verdict.late, verdict.late


planned_handover.partitions_each = 20


def loss_during_handover(lab):
    """eu lets go, and us dies before it takes over: nobody is the home, until ap is told to take over; then us comes back."""
    eu, us, ap = regions = lab.regions_up()
    load = lab.load(regions)
    lab.wait_load(load)
    lab.network.both_ways('eu', 'us', cut=True)
    lab.network.both_ways('us', 'ap', cut=True)
    lab.operator('tally', 'handover', 'bank', '--to', 'us', '--reason', 'maintenance', '--server', eu.address)
    died = _die(lab, us)
    lab.operator('tally', 'homes', 'bank', '--server', ap.address)
    lab.wait_missed(ap, us, died)
    lab.operator('tally', 'failover', 'bank', '--from', 'eu', '--dry-run', '--server', ap.address, shown=12)
    lab.fail_over(ap, eu, load, force=True, lost_at=died)
    lab.come_back(us)
    lab.wait_load(load)
    load.stop()
    lab.wait_settled(regions)
    lab.operator('tally', 'homes', 'bank', '--server', us.address, shown=6)
    lab.finish(regions)


def successor_restarts(lab):
    """eu lets go, us dies before it takes over, and is started again: it takes over without being told."""
    eu, us, ap = regions = lab.regions_up()
    load = lab.load(regions)
    lab.wait_load(load)
    lab.network.both_ways('eu', 'us', cut=True)
    lab.network.both_ways('us', 'ap', cut=True)
    lab.operator('tally', 'handover', 'bank', '--to', 'us', '--reason', 'maintenance', '--server', eu.address)
    died = _die(lab, us)
    lab.come_back(us)
    partitions = set(lab.partitions('eu'))
    first = wait_until(lambda: load.first_answer('us', partitions, died), 'us to serve what eu let go of', 40)
    lab.say(f'us serves what eu let go of, {lab.phase("first accepted append", died, first):.2f} s after its loss')
    lab.wait_load(load)
    verdict = lab.finish(regions)
    assert not verdict.late, verdict.late


def stale_clients(lab):
    """After a planned move, clients with an old configuration ask the old home, and others ask whoever is nearest."""
    eu, us, ap = regions = lab.regions_up()
    load = lab.load(regions)
    lab.wait_load(load)
    _hand_over(lab, load, eu, us, lab.partitions('eu'))
    everything = list(lab.homes(None))
    stale = lab.load(regions, lab.partitions('eu'), {partition: 'eu' for partition in everything}, 'stale')
    nearest = lab.load(regions, everything, {partition: 'ap' for partition in everything}, 'nearest')
    for one in (stale, nearest):
        lab.wait_load(one)
        lab.say(f'{one.name} clients are served; they were sent on {one.refusals["WRONG_HOME"]} times')
        assert one.refusals['WRONG_HOME'] > 0, one.refusals
    verdict = lab.finish(regions)
    assert not verdict.late, verdict.late


# --- Clocks ---

def wrong_clocks(lab):
    """The clock of eu is five minutes ahead of that of us, and ten of that of ap; eu is lost, ap takes over, eu comes back.

    No clock is set forwards: libfaketime does not reach the absolute times that gRPC waits for, and such a region would sleep as long as its clock is ahead.
    """
    def turn(region):
        behind = {'us': '-300s', 'ap': '-600s'}.get(region.name)
        if behind:
            region.wrapper = ('env', f'LD_PRELOAD={FAKETIME}', f'FAKETIME={behind}', 'FAKETIME_DONT_FAKE_MONOTONIC=1')
    eu, us, ap = regions = lab.regions_up(turn)
    load = lab.load(regions)
    lab.wait_load(load)
    _cut(lab, eu, (us, ap))
    _tail(lab, load, eu, (us, ap))
    died = _die(lab, eu)
    lab.wait_missed(ap, eu, died)
    refused = run('tally', 'failover', 'bank', '--from', 'eu', '--reason', 'eu is lost', '--server', ap.address)
    assert refused.returncode != 0 and 'FAIL clock' in refused.stdout + refused.stderr, refused.stdout + refused.stderr
    lab.fail_over(ap, eu, load, force=True, lost_at=died)
    lab.wait_load(load)
    lab.come_back(eu)
    lab.wait_load(load)
    load.stop()
    _settle(lab, ap, regions)
    _late_of(lab.finish(regions), 'accepted', 'dropped', 'rejected')


# --- Every region accepts ---

CLICK = 'Clicked'
CLICKS = f'''-- tally: projection clicks
-- tally: schema
CREATE TABLE clicks (id TEXT PRIMARY KEY, n INTEGER NOT NULL, times INTEGER NOT NULL);
-- tally: on web {CLICK}
INSERT INTO clicks VALUES (:event_id, json_extract(:payload, '$.n'), 1) ON CONFLICT (id) DO UPDATE SET times = times + 1;
'''


def _click(region, number, n):
    """One commutative event, whose id follows from its number."""
    made = event(json.dumps({'n': n}).encode(), CLICK, uuid.UUID(int=number, version=4).bytes)
    answer = region.client().append(batch(write(f'page-{number % 7}', made, context='web', partition='shop')))
    assert answer.results, answer


def _clicks(lab, region, position):
    """What the projection has made of them at a position: by id, and its digest."""
    digest = json.loads(check('tally', 'projection', 'digest', 'clicks', '--wait', position, '--server', region.address, '--json'))
    status = json.loads(check('tally', 'projection', 'status', 'clicks', '--server', region.address, '--json'))
    with sqlite3.connect(f'file:{status["file"]}?mode=ro', uri=True) as db:
        return digest['digest'], {id: (n, times) for id, n, times in db.execute('SELECT id, n, times FROM clicks')}


def multi_home(lab):
    """eu and the rest are cut off from each other, and clicks go to both, many of them to both sides under one id; then they meet."""
    eu, us, ap = regions = lab.regions_up(lambda region: region.edit_config(
        r'^contexts:$', f'contexts:\n  - name: web\n    default_home: eu\n    topology: multi-home\n    event_types:\n      - type: {CLICK}\n        commutative: true'))
    sql = lab.folder / 'clicks.sql'
    sql.write_text(CLICKS)
    for region in regions:
        check('tally', 'projection', 'create', sql, '--server', region.address)
    load = lab.load(regions)
    lab.wait_load(load, 50)
    torn = time.monotonic()
    _cut(lab, eu, (us, ap))
    lab.wait_missed(us, eu, torn)
    sent = {}
    for number in range(300):
        sent[number] = number % 10 + 1
        sides = ((eu,), (us,), (us, eu), (eu, ap))[number % 4]  # the last two: a client that got no answer asks the other side
        for region in sides:
            _click(region, number, sent[number])
    both = sum(number % 4 >= 2 for number in sent)
    lab.say(f'{len(sent)} clicks were acknowledged while the network was torn, {both} of them on both sides of it')
    lab.wait_load(load, 50)
    lab.network.heal()
    load.stop()
    lab.settling_since = time.monotonic()
    position = lab.wait_settled(regions, lab.settling_since)
    duplicates = [item for item in lab.items(eu, '--context', 'web')]
    assert len(duplicates) == both and {item['state'] for item in duplicates} == {'duplicate'}, (len(duplicates), {item['state'] for item in duplicates})
    assert all(not item['late'] for item in duplicates), 'what any region may accept is never late'
    seen = [_clicks(lab, region, position) for region in regions]
    wanted = {str(uuid.UUID(int=number, version=4)): (n, 1) for number, n in sent.items()}
    for region, (_, rows) in zip(regions, seen):
        assert rows == wanted, f'{region.name}: {len(rows)} ids, {sum(times for _, times in rows.values())} effects'
    assert len({digest for digest, _ in seen}) == 1, seen
    lab.operator('tally', 'reconcile', 'list', '--context', 'web', '--server', ap.address, shown=2)
    lab.say(f'clicks: acknowledged {len(sent)}, lost nothing, late none, duplicated nothing: {both} were in two logs, and each of the {len(wanted)} ids '
            f'counts once, {sum(n for n, _ in wanted.values())} in all, the same in every region')
    verdict = lab.finish(regions)
    assert not verdict.late, verdict.late


# --- Certificates ---

def _secure(lab, region, files, shown):
    folder = region.folder / 'tls'
    folder.mkdir()
    mine = Files(folder / 'ca.pem', folder / 'region.pem', folder / 'region.key')
    mine.take(files)
    region.serve_tls(mine, shown)
    return mine


def certificate(lab):
    """The certificate of us expires under load: it loses its peers when connections are made anew, is alive, and catches up when the files are replaced.

    Connections that are up outlive a certificate, so the drill breaks them, as the next fault of the network would.
    """
    authority = Authority(lab.folder)
    shown = authority.issue('operator')
    variables = dict(zip(('TALLY_TLS_CA', 'TALLY_TLS_CERT', 'TALLY_TLS_KEY'), map(str, (shown.ca, shown.cert, shown.key))))
    os.environ.update(variables)
    lab.at_end(lambda: [os.environ.pop(name) for name in variables])
    own = {}

    def error_of(region):
        return next(peer for peer in region.status().peers if peer.region == 'us').error

    def secure(region):
        address = f'IP:{lab.host(region.name)}'
        files = authority.issue_for('us', 45, alternative=address) if region.name == 'us' else authority.issue(region.name, alternative=address)
        own[region.name] = _secure(lab, region, files, shown)
    eu, us, ap = regions = lab.regions_up(secure)
    load = lab.load(regions)
    lab.wait_load(load)
    lab.operator('tally', 'status', '--server', us.address, shown=12)
    wait_until(lambda: 'EXPIRED' in us.said(), 'us to say that its certificate has expired', 60)
    assert us.status().certificate.state == 'expired'
    expired = time.monotonic()
    lab.say(f'the certificate has expired; us says: {us.said().split("ALARM: ")[-1].splitlines()[0]}')
    lab.network.isolate('us')
    for survivor in (eu, ap):
        lab.wait_missed(survivor, us, expired)
    for survivor in (eu, ap):
        wait_until(lambda: 'cannot be reached' in error_of(survivor), f'the connection of {survivor.name} to us to break', 60)
    lab.network.heal()
    for survivor in (eu, ap):
        wait_until(lambda: 'certificate verify failed' in error_of(survivor), f'{survivor.name} to say why us is no peer any more', 40)
    lab.say('the network is whole again, and us is shut out all the same')
    lab.operator('tally', 'status', '--server', us.address, code=3)
    said = lab.operator('tally', 'failover', 'bank', '--from', 'us', '--dry-run', '--server', eu.address, shown=24)
    assert 'may be alive, and only shut out' in said, said
    replaced = time.monotonic()
    own['us'].take(authority.issue('us', alternative=f'IP:{lab.host("us")}'))
    lab.say('a new certificate and its key are put in the place of the old ones; nothing is restarted')
    for survivor in (eu, ap):
        wait_until(lambda: next(peer for peer in survivor.status().peers if peer.region == 'us').connected, f'{survivor.name} to be connected to us', 40)
    lab.say(f'us is back, {lab.phase("back after replacement", replaced):.2f} s after the files were there')
    lab.operator('tally', 'status', '--server', us.address, shown=12)
    lab.wait_load(load)
    verdict = lab.finish(regions)
    assert not verdict.late, verdict.late
