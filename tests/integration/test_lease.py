"""Fenced contexts and what operators do about homes that are lost: leases, seizures on fresh evidence, releases taken back, advice."""
import json
import signal
import time

from harness import Refused, batch, check, event, read, refused, run, wait_until, write
from test_policy import context, quick, wait_connected

LEASE = 'isolation: fence\n    lease_ms: 2000'


def fenced(lab, *names, more=''):
    regions = quick(lab, *names, text=LEASE + more)
    for region in regions:
        wait_until(lambda region=region: context(region).lease_held, f'{region.name} to hold a lease')
    return regions


def stop_process(lab, *regions):
    for region in regions:
        region.process.send_signal(signal.SIGSTOP)
        lab.at_end(lambda process=region.process: process.send_signal(signal.SIGCONT) if process.poll() is None else None)


def failover(server, lost, *more):
    return run('tally', 'failover', 'bank', '--from', lost.name, '--server', server.address, '--reason', f'{lost.name} is lost', *more)


def test_a_home_that_is_cut_off_stops_within_its_lease_and_says_who_is_missing(lab):
    eu, us, ap = fenced(lab, 'eu', 'us', 'ap')
    eu.client().append(batch(write('s')))
    stop_process(lab, us, ap)
    begun = time.monotonic()

    def refusal():
        try:
            eu.client().append(batch(write('s')))
        except Refused as error:
            return error
        return None
    error = wait_until(refusal, 'the lease to end')
    assert error.code == 'UNAVAILABLE' and 'fenced' in error.message and '2 of 3 regions' in error.message, error
    assert ' us (' in error.message and ' ap (' in error.message, error
    assert time.monotonic() - begun < 15
    assert 'FENCED, NO LEASE' in check('tally', 'status', '--server', eu.address)
    wait_until(lambda: 'context bank is FENCED' in eu.said(), 'the alarm')
    us.process.send_signal(signal.SIGCONT)
    wait_until(lambda: refusal() is None, 'eu to accept again')
    wait_until(lambda: 'fenced, lease held, ' in check('tally', 'status', '--server', eu.address), 'eu to hold a lease for good')


def test_nobody_else_starts_before_a_stopped_home_has_no_lease_and_the_home_accepts_nothing_when_it_goes_on(lab):
    eu, us, ap = fenced(lab, 'eu', 'us', 'ap')
    eu.client().append(batch(write('s', event(b'{"n":1}'))))
    for region in (us, ap):
        region.wait_size(eu.origin, 1)
    stop_process(lab, eu)
    wait_connected(us, 1)
    wait_until(lambda: failover(us, eu).returncode == 0, 'the seizure')
    homes = check('tally', 'homes', 'bank', '--server', us.address)
    assert 'us' in homes, homes

    def accepted():
        try:
            return us.client().append(batch(write('s', event(b'{"n":2}'))))
        except Refused as error:
            assert error.code == 'UNAVAILABLE' and 'fenced' in error.message, error
            return None
    wait_until(accepted, 'us to hold a lease for what it has seized')
    eu.process.send_signal(signal.SIGCONT)
    for _ in range(50):
        try:
            eu.client().append(batch(write('s', event(b'{"n":3}'))))
            raise AssertionError('the old home accepted')
        except Refused as refusal:
            assert refusal.code in ('UNAVAILABLE', 'FAILED_PRECONDITION'), refusal
    wait_until(lambda: read(eu.client(), 's') == read(us.client(), 's') and len(read(us.client(), 's')) == 2, 'eu to follow')
    listed = check('tally', 'reconcile', 'list', '--context', 'bank', '--server', us.address)
    assert listed.startswith('0 late events'), listed


def test_a_forced_seizure_says_what_it_risks_and_needs_no_lease(lab):
    eu, us = fenced(lab, 'eu', 'us')
    eu.client().append(batch(write('s')))
    us.wait_size(eu.origin, 1)
    eu.kill()
    wait_connected(us, 0)
    done = failover(us, eu)
    assert done.returncode != 0 and ('may hold a lease' in done.stderr or 'are within reach' in done.stderr), done
    evidence = json.loads(failover(us, eu, '--dry-run', '--json').stdout)
    assert not next(c for c in evidence['checks'] if c['name'] == 'granters')['ok'], evidence
    wait_until(lambda: failover(us, eu, '--force').returncode == 0, 'the forced seizure')
    wait_until(lambda: us.indexed(us.origin) == us.size(), 'the index')
    us.client().append(batch(write('s')))
    assert len(read(us.client(), 's')) == 2


def test_assisted_regions_say_that_a_home_is_lost_and_the_command(lab):
    eu, us, ap = quick(lab, 'eu', 'us', 'ap', text='failover: assisted')
    eu.client().append(batch(write('s')))
    for region in (us, ap):
        region.wait_size(eu.origin, 1)
    eu.kill()
    command = f'tally failover bank --from eu --reason WHY --server {us.address}'
    wait_until(lambda: command in us.said(), 'the alarm')
    assert 'is lost; ready' in us.said()
    assert command in check('tally', 'status', '--server', us.address)
    assert context(us).failover_ready
    check(*command.replace('WHY', 'lost').split())
    wait_until(lambda: context(us).advice == '', 'the advice to go')


def test_what_was_let_go_to_a_region_that_died_is_taken_back_where_it_was(lab):
    eu, us = quick(lab, 'eu', 'us')
    eu.client().append(batch(write('s')))
    us.wait_size(eu.origin, 1)
    stop_process(lab, us)
    check('tally', 'handover', 'bank', '--to', 'us', '--partition', 'eu', '--server', eu.address, '--force', '--reason', 'a test')
    wait_connected(eu, 0)
    error = refused('FAILED_PRECONDITION', eu.client().append, batch(write('s')))
    assert 'does not answer here' in error.message and 'fails over from it' in error.message, error
    done = run('tally', 'failover', 'bank', '--from', 'us', '--partition', 'eu', '--reason', 'us died', '--server', eu.address)
    assert done.returncode == 0, done
    assert 'seized 1 partition' in done.stdout, done.stdout
    wait_until(lambda: eu.indexed(eu.origin) == eu.size(), 'the index')
    eu.client().append(batch(write('s')))
    us.process.send_signal(signal.SIGCONT)
    us.wait_size(eu.origin, eu.size())
    assert len(read(eu.client(), 's')) == 2
    wait_until(lambda: 'home eu, epoch 3' in check('tally', 'homes', 'bank', '--server', us.address), 'us to follow')
