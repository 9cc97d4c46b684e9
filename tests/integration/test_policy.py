"""What contexts promise: copies before an answer, recovery points, reads that demand a position, and the right answer at the wrong region."""
import json
import threading
import time

from harness import Refused, batch, check, event, refused, run, wait_until, write


def promise(region, text):
    """Adds a setting to context bank. Before the start; the same in all regions."""
    region.edit_config(r'^  - name: bank$', '  - name: bank\n    ' + text)


def promised(lab, text, *names):
    made = lab.cluster(*names)
    for region in made:
        promise(region, text)
        region.edit_config(r'^hello_interval_ms: .*', 'hello_interval_ms: 100')
        region.edit_config(r'^peer_timeout_ms: .*', 'peer_timeout_ms: 1000')
        region.start(accepting=False)
    for region in made:
        region.wait_accepting()
    return made


def wait_connected(region, count):
    wait_until(lambda: sum(peer.connected for peer in region.status().peers) == count, f'{region.name} to have {count} peers')


def context(region, name='bank'):
    return next(c for c in region.status().contexts if c.name == name)


# --- Copies ----------------------------------------------------------------------------------------------------------

def test_an_answer_means_that_a_peer_has_stored_it(lab):
    eu, us = promised(lab, 'durability: { peers: 1 }', 'eu', 'us')
    for i in range(20):
        answer = eu.client().append(batch(write(f's{i}')))
        assert answer.copies == 1 and not answer.degraded
        assert us.size(eu.origin) >= eu.size(), 'answered before the copy was made'
    eu.kill()
    assert us.size(eu.origin) == 20


def test_with_the_peer_away_appends_are_refused_and_later_accepted(lab):
    eu, us = promised(lab, 'durability: { peers: 1, when_away: refuse }', 'eu', 'us')
    us.kill()
    wait_connected(eu, 0)
    size = eu.size()
    error = refused('UNAVAILABLE', eu.client().append, batch(write('s')))
    assert '1 peers' in error.message and eu.size() == size
    assert context(eu).away
    assert 'PEERS ARE AWAY' in check('tally', 'status', '--server', eu.address)
    wait_until(lambda: 'ALARM: context bank needs 1 peers' in eu.said(), 'an alarm')
    us.start()
    wait_connected(eu, 1)
    assert eu.client().append(batch(write('s'))).copies == 1


def test_degraded_appends_say_so_everywhere(lab):
    eu, us = lab.cluster('eu', 'us')
    eu.serve_http()
    for region in (eu, us):
        promise(region, 'durability: { peers: 1, when_away: degrade }')
        region.start(accepting=False)
    eu.wait_accepting()
    us.kill()
    wait_connected(eu, 0)
    assert eu.client().append(batch(write('s'))).degraded
    done = check('tally', 'append', '--server', eu.address, '--context', 'bank', '--partition', 'eu', '--stream', 't', '--type', 'x', '--payload', '1')
    assert 'DEGRADED' in done
    assert context(eu).degraded_writes == 2
    assert b'tally_context_degraded_writes_total{context="bank"} 2' in eu.http('/metrics').body


def test_a_command_whose_peer_goes_away_waits_until_it_is_back(lab):
    eu, us = promised(lab, 'durability: { peers: 1 }', 'eu', 'us')
    us.process.send_signal(19)  # SIGSTOP: it is still up for eu, and stores nothing
    answers = []
    one = event()
    thread = threading.Thread(target=lambda: answers.append(eu.client().append(batch(write('s', one)), timeout=60)))
    try:
        refused('DEADLINE_EXCEEDED', eu.client().append, batch(write('t')), timeout=0.5)
        thread.start()
        wait_until(lambda: eu.size() >= 2, 'both to be durable at home')
        time.sleep(0.3)
        assert not answers, 'answered without a copy'
    finally:
        us.process.send_signal(18)
    thread.join(timeout=60)
    assert answers and answers[0].copies == 1
    assert eu.client().append(batch(write('s', one))).results[0].duplicate


def test_callers_that_are_gone_do_not_use_up_the_places_of_calls(lab):
    eu, us = promised(lab, 'durability: { peers: 1 }', 'eu', 'us')
    us.process.send_signal(19)
    try:
        for i in range(30):
            refused('DEADLINE_EXCEEDED', eu.client().append, batch(write(f's{i}')), timeout=0.02)
        eu.stop()  # would wait for ever for commands that nobody took back
    finally:
        us.process.send_signal(18)


def test_a_seizure_needs_the_copies_that_hold_every_acknowledged_append(lab):
    eu, us, ap = promised(lab, 'durability: { peers: 1 }', 'eu', 'us', 'ap')
    eu.client().append(batch(write('s')))
    eu.kill()
    ap.kill()
    wait_connected(us, 0)
    failover = ('tally', 'failover', 'bank', '--from', 'eu', '--dry-run', '--server', us.address)
    shown = json.loads(run(*failover, '--json').stdout)
    copies = next(c for c in shown['checks'] if c['name'] == 'copies')
    assert not copies['ok'] and '2 of their copies' in copies['detail'], copies
    ap.start()
    wait_connected(us, 1)
    shown = json.loads(run(*failover, '--json').stdout)
    assert next(c for c in shown['checks'] if c['name'] == 'copies')['ok']


# --- Recovery points -------------------------------------------------------------------------------------------------

def test_the_home_never_runs_further_ahead_than_its_recovery_point(lab):
    eu, us = promised(lab, 'recovery_point: { events: 5, then: refuse }', 'eu', 'us')
    us.kill()
    accepted = 0
    while accepted < 50:
        try:
            eu.client().append(batch(write('s')))
        except Refused as error:
            assert error.code == 'UNAVAILABLE' and 'recovery point' in error.message
            break
        accepted += 1
    assert accepted == 5
    assert context(eu).ahead_events == 5 and context(eu).past_bound
    status = json.loads(check('tally', 'status', '--server', eu.address, '--json'))
    assert status['contexts'][0]['recovery_point']['ahead_events'] == 5
    us.start()
    wait_until(lambda: context(eu).ahead_events == 0, 'the copy')
    eu.client().append(batch(write('s')))


def test_throttled_callers_are_told_to_pause_and_an_import_gets_through(lab):
    eu, us = promised(lab, 'recovery_point: { events: 3, then: throttle }', 'eu', 'us')
    us.process.send_signal(19)
    try:
        for _ in range(3):
            eu.client().append(batch(write('s')))
        error = refused('RESOURCE_EXHAUSTED', eu.client().append, batch(write('s')))
        assert error.detail.retry_after_ms > 0
    finally:
        us.process.send_signal(18)
    wait_until(lambda: context(eu).ahead_events == 0, 'the copy')
    eu.client().append(batch(write('s')))


# --- Settings --------------------------------------------------------------------------------------------------------

def test_promises_that_cannot_be_kept_stop_the_start(lab):
    for text, word in (('durability: { peers: 1 }', 'the cluster has 0'), ('durability: { peers: 1, when_away: maybe }', 'neither refuse nor degrade'),
                       ('durability: { peers: 99 }', 'limit is 16'), ('recovery_point: { events: 5, then: panic }', 'warn, throttle, refuse'),
                       ('recovery_point: { then: refuse }', 'no bound'), ('recovery_point: { events: 5, then: warn }', 'needs a peer')):
        eu = lab.init('eu')
        promise(eu, text)
        eu.refuses_to_start('tallyd.yaml', 'bank', word)
        eu.folder.rename(lab.folder / f'was-{len(lab.regions)}')


def test_regions_with_other_promises_do_not_connect(lab):
    eu, us = lab.cluster('eu', 'us')
    promise(eu, 'durability: { peers: 1 }')
    us.start(accepting=False)
    eu.start(accepting=False)
    wait_until(lambda: any('context' in peer.error for peer in eu.status().peers), 'the refusal')
    assert not any(peer.connected for peer in eu.status().peers)
