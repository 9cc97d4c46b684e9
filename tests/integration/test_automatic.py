"""Automatic failover with a real etcd: who may seize, when nobody does, and that etcd is needed for nothing else."""
import signal

from etcd import Etcd
from harness import Refused, batch, check, event, read, read_log, refused, wait_until, write
from test_policy import context, wait_connected

from tally.v1 import control_pb2, operations_pb2

LEASE_S = 2
WAIT_S = 60
AUTOMATIC = 'failover: automatic'


def automatic(lab, *names, text=AUTOMATIC, without=(), broken=()):
    """Regions, started, whose context bank fails over by itself; those in `without` are told of an etcd where none is."""
    etcd = Etcd(lab).start()
    made = lab.cluster(*names, broken=broken)
    for region in made:
        url = 'http://127.0.0.1:9' if region.name in without else etcd.url
        region.edit_config(r'^  - name: bank$', '  - name: bank\n    ' + text)
        region.edit_config(r'^hello_interval_ms: .*', 'hello_interval_ms: 100')
        region.edit_config(r'^peer_timeout_ms: .*', f'peer_timeout_ms: 1000\netcd:\n  endpoints: [{url}]\n  lease_s: {LEASE_S}')
        region.start(accepting=False)
    for region in made:
        region.wait_accepting()
    for region in made:
        if region.name not in without:
            wait_armed(region)
    return [etcd, *made]


def wait_armed(region):
    wait_until(lambda: region.status().automatic.state == 'armed', f'{region.name} to be armed: {region.status().automatic}', WAIT_S)


def wait_degraded(region):
    wait_until(lambda: region.status().automatic.state == 'degraded', f'{region.name} to be degraded', WAIT_S)


def written(home, *others, stream='s'):
    home.client().append(batch(write(stream, event(b'{"n":1}'))))
    for region in others:
        region.wait_size(home.origin, home.size(), WAIT_S)


def seizures(region, origin):
    return [control_pb2.AuthorityChange.FromString(e.payload) for e in read_log(region.client(), origin) if e.entry.type == '$AuthoritySeized']


def homes(region):
    return {home.partition: home.region for home in region.operations().list_homes(operations_pb2.ListHomesRequest(context='bank')).homes}


def wait_home(region, partition, home):
    wait_until(lambda: homes(region).get(partition) == home, f'{region.name} to see {partition} at {home}: {homes(region)}', WAIT_S)


def test_a_home_that_is_killed_is_seized_from_by_exactly_one_survivor(lab):
    etcd, eu, us, ap = automatic(lab, 'eu', 'us', 'ap', text='failover: manual')
    written(eu, us, ap)
    check('tally', 'context', 'set', 'bank', '--failover', 'automatic', '--reason', 'nobody is awake at night', '--server', ap.address)
    for region in (us, ap):
        wait_until(lambda region=region: context(region).failover == 'automatic', f'{region.name} to know', WAIT_S)
        region.wait_size(eu.origin, eu.size(), WAIT_S)
    eu.kill()
    wait_until(lambda: any(len(seizures(region, region.origin)) for region in (us, ap)), 'a seizure', WAIT_S)
    claims = {key: by for key, by in etcd.keys().items() if key.startswith('claims/')}
    assert list(claims) == ['claims/eu/bank'], claims
    winner, other = (us, ap) if claims['claims/eu/bank'] == 'us' else (ap, us)
    for region in (us, ap):
        wait_home(region, '*', winner.name)
    assert not seizures(other, other.origin)
    made = seizures(winner, winner.origin)
    assert made and all(s.actor == 'automatic' and s.previous == 'eu' and not s.forced for s in made), made
    assert all(f'claim of revision {etcd.revision("claims/eu/bank")}' in s.reason for s in made), made
    winner.client().append(batch(write('s', event(b'{"n":2}'))))
    wait_until(lambda: winner.status().automatic.takeovers == 1 and not winner.status().automatic.loss, 'the end of it', WAIT_S)
    # The old home comes back: it is fenced by the higher epoch, and the claim on it is gone.
    eu.start()
    wait_home(eu, '*', winner.name)
    wait_until(lambda: not any(key.startswith('claims/') for key in etcd.keys()) and 'alive/eu' in etcd.keys(), f'the claim to go: {etcd.keys()}', WAIT_S)
    refused('FAILED_PRECONDITION', eu.client().append, batch(write('s')))
    wait_until(lambda: len(read(eu.client(), 's')) == 2, 'eu to follow', WAIT_S)
    assert sum(len(seizures(region, region.origin)) for region in (eu, us, ap)) == len(made)


def test_a_home_that_renews_its_lease_is_not_seized_from_though_a_survivor_does_not_hear_it(lab):
    etcd, eu, us, ap = automatic(lab, 'eu', 'us', 'ap', broken=[('eu', 'us')])
    written(eu, us, ap)
    wait_until(lambda: context(us).failover_ready, 'us to be ready for a failover', WAIT_S)
    wait_until(lambda: 'its lease has not ended' in us.status().automatic.loss, 'us to see why it may not', WAIT_S)
    # For much longer than a seizure would take, by etcd's own time: until a lease that begins now has ended.
    lease = etcd.ask('lease/grant', TTL=str(LEASE_S))['ID']
    wait_until(lambda: etcd.ask('lease/timetolive', ID=lease).get('TTL') == '-1', 'a lease to end', WAIT_S)
    assert us.status().automatic.state == 'armed' and context(us).failover_ready
    assert not [key for key in etcd.keys() if key.startswith('claims/')] and not seizures(us, us.origin)
    written(eu, us, ap)


def test_without_etcd_it_is_degraded_and_appends_go_on_and_with_it_armed_again(lab):
    etcd, eu, us, ap = automatic(lab, 'eu', 'us', 'ap')
    etcd.kill()
    for region in (eu, us, ap):
        wait_degraded(region)
    assert 'DEGRADED to assisted: the service is out of reach' in check('tally', 'status', '--server', us.address)
    wait_until(lambda: 'ALARM: automatic failover is DEGRADED to assisted' in us.said(), 'the alarm')
    written(eu, us, ap)
    eu.kill()
    wait_until(lambda: f'tally failover bank --from eu --reason WHY --server {us.address}' in us.said(), 'the advice', WAIT_S)
    wait_until(lambda: 'nobody seizes by himself' in us.said(), 'the word about it', WAIT_S)
    eu.start()
    written(eu, us, ap)
    etcd.start()
    for region in (eu, us, ap):
        wait_armed(region)
    assert not seizures(us, us.origin) and not seizures(ap, ap.origin)
    # What fails a check is not seized, and said; once it passes it is.
    ap.process.send_signal(signal.SIGSTOP)
    lab.at_end(lambda: ap.process.send_signal(signal.SIGCONT) if ap.process.poll() is None else None)
    wait_connected(us, 1)
    eu.kill()
    wait_until(lambda: 'alive/eu' not in etcd.keys(), 'the lease to end', WAIT_S)
    wait_until(lambda: 'ALARM: context bank: region eu is lost, and NOT seized: check survivors fails' in us.said(), 'the alarm', WAIT_S)
    assert 'NOT seized: check survivors fails' in check('tally', 'status', '--server', us.address)
    assert not [key for key in etcd.keys() if key.startswith('claims/')] and not seizures(us, us.origin)
    ap.process.send_signal(signal.SIGCONT)
    wait_until(lambda: len(seizures(us, us.origin)) + len(seizures(ap, ap.origin)), 'a seizure', WAIT_S)


def test_a_fenced_home_that_stands_still_is_seized_from_and_accepts_nothing_when_it_goes_on(lab):
    etcd, eu, us = automatic(lab, 'eu', 'us', 'ap', text='isolation: fence\n    lease_ms: 2000\n    ' + AUTOMATIC, without=('ap',))[:3]
    wait_until(lambda: context(eu).lease_held, 'a lease', WAIT_S)
    written(eu, us)
    eu.process.send_signal(signal.SIGSTOP)
    lab.at_end(lambda: eu.process.send_signal(signal.SIGCONT) if eu.process.poll() is None else None)
    wait_until(lambda: seizures(us, us.origin), 'a seizure', WAIT_S)
    eu.process.send_signal(signal.SIGCONT)
    for _ in range(50):
        try:
            eu.client().append(batch(write('s')))
            raise AssertionError('the old home accepted')
        except Refused as refusal:
            assert refusal.code in ('UNAVAILABLE', 'FAILED_PRECONDITION'), refusal


def test_a_home_that_cannot_reach_etcd_is_neither_stopped_nor_seized_from(lab):
    etcd, eu, us = automatic(lab, 'eu', 'us', without=('eu',))
    wait_degraded(eu)
    written(eu, us)
    assert 'known/eu' not in etcd.keys()
    eu.kill()
    wait_until(lambda: 'never registered' in us.status().automatic.loss, 'us to say that it cannot know', WAIT_S)
    assert not seizures(us, us.origin)
