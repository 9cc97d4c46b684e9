"""What contexts promise: copies before an answer, recovery points, reads that demand a position, and the right answer at the wrong region."""
import json
import threading
import time
import uuid

from harness import Refused, batch, check, collect, event, events_of, ndjson, read, read_log, refused, run, wait_until, write

from tally.v1 import ledger_pb2


def promise(region, text):
    """Adds a setting to context bank. Before the start; the same in all regions."""
    region.edit_config(r'^  - name: bank$', '  - name: bank\n    ' + text)


def quick(lab, *names, text=None):
    """Regions that notice within a second who is away."""
    made = lab.cluster(*names)
    for region in made:
        if text:
            promise(region, text)
        region.edit_config(r'^hello_interval_ms: .*', 'hello_interval_ms: 100')
        region.edit_config(r'^peer_timeout_ms: .*', 'peer_timeout_ms: 1000')
        region.start(accepting=False)
    for region in made:
        region.wait_accepting()
    return made


def promised(lab, text, *names):
    return quick(lab, *names, text=text)


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
        region.edit_config(r'^hello_interval_ms: .*', 'hello_interval_ms: 100')
        region.edit_config(r'^peer_timeout_ms: .*', 'peer_timeout_ms: 1000')
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
    file = lab.folder / 'events.ndjson'
    file.write_text(ndjson(30))
    assert '30 new' in check('tally', 'import', file, '--batch-events', 2, '--server', eu.address)


# --- Reads -----------------------------------------------------------------------------------------------------------

def demanding(region, stream='s', **demand):
    """(what the first message says, events)"""
    request = ledger_pb2.ReadStreamRequest(context='bank', stream=stream, demand=ledger_pb2.ReadDemand(**demand))
    responses = collect(region.client().read_stream(request, timeout=20))
    assert not responses[0].events
    return responses[0], events_of(responses)


def test_a_read_elsewhere_sees_what_its_position_names_and_says_how_old_it_is(lab):
    eu, us = quick(lab, 'eu', 'us')
    for i in range(10):
        position = eu.client().append(batch(write('s'))).position
        said, events = demanding(us, at_least=position)
        assert len(events) == i + 1
    assert said.home == 'eu' and said.as_of.startswith('eu@10')
    wait_until(lambda: not demanding(us)[0].staleness_unknown, 'a hello')
    assert demanding(eu)[0].staleness_ms == 0
    error = refused('FAILED_PRECONDITION', demanding, us, home_only=True)
    assert error.detail.code == 'WRONG_HOME' and error.detail.home_region == 'eu' and error.detail.home_address == eu.address
    assert len(demanding(eu, home_only=True)[1]) == 10
    eu.kill()
    error = wait_until(lambda: too_old(us, 300), 'the copy to be too old')
    assert 'may be' in error.message
    said, events = demanding(us)
    assert said.staleness_ms >= 300 and len(events) == 10
    done = run('tally', 'read', '--stream', 'bank/s', '--at-least', position, '--server', us.address)
    assert done.returncode == 0 and 'behind region eu' in done.stderr and len(done.stdout.splitlines()) == 10, done
    done = run('tally', 'read', '--log', eu.origin, '--max-staleness', '300', '--server', us.address)
    assert done.returncode != 0 and 'may be' in done.stderr, done
    refused('DEADLINE_EXCEEDED', demanding, us, at_least='eu@11', timeout_ms=200)


def too_old(region, age_ms):
    try:
        demanding(region, max_staleness_ms=age_ms)
    except Refused as error:
        assert error.code == 'UNAVAILABLE', error
        return error
    return None


def test_a_position_that_names_late_entries_is_never_waited_for(lab):
    eu, us, ap = quick(lab, 'eu', 'us', 'ap')
    kept = eu.client().append(batch(write('s'))).position
    for region in (us, ap):
        region.wait_size(eu.origin, 1)
        region.stop()
    lost = eu.client().append(batch(write('s'))).position
    eu.kill()
    for region in (us, ap):
        region.start(accepting=False)
    us.wait_accepting()
    wait_connected(us, 1)
    check('tally', 'failover', 'bank', '--from', 'eu', '--server', us.address, '--force', '--reason', 'eu burns')
    assert len(demanding(us, at_least=kept)[1]) == 1
    error = refused('FAILED_PRECONDITION', demanding, us, at_least=lost, timeout_ms=20000)
    assert error.detail.code == 'MISMATCH' and 'entry 1 is late' in error.message, error
    eu.start(accepting=False)
    us.wait_size(eu.origin, 2)
    for region in (us, eu):
        error = wait_until(lambda: late_at(region, lost), f'{region.name} to know that it is late')
        assert 'entry 1 is late' in error.message, error


def late_at(region, position):
    try:
        demanding(region, at_least=position, timeout_ms=100)
    except Refused as error:
        return error if error.code == 'FAILED_PRECONDITION' else None
    return None


# --- The right answer at the wrong region ----------------------------------------------------------------------------

def forwarded(*writes, **fields):
    return ledger_pb2.AppendRequest(writes=writes, at_wrong_home=ledger_pb2.AT_WRONG_HOME_FORWARD, **fields)


def test_an_append_at_the_wrong_region_is_forwarded_if_the_caller_wants_it(lab):
    eu, us = quick(lab, 'eu', 'us')
    one = event()
    error = refused('FAILED_PRECONDITION', us.client().append, batch(write('s', one)))
    assert error.detail.home_region == 'eu'
    answer = us.client().append(forwarded(write('s', one), tag=7))
    assert answer.origin == eu.origin and answer.tag == 7 and not answer.results[0].duplicate
    assert eu.size() == 1 and us.size() == 0
    assert eu.client().append(batch(write('s', one))).results[0].duplicate, 'a repetition by the other way'
    error = refused('ABORTED', us.client().append, forwarded(write('s', version=5)))
    assert (error.detail.code, error.detail.expected, error.detail.actual, error.detail.stream) == ('VERSION_CONFLICT', '5', '0', 's')
    refused('FAILED_PRECONDITION', us.client().append, forwarded(write('s'), hops=2))
    refused('INVALID_ARGUMENT', us.client().append, ledger_pb2.AppendRequest(writes=[write('s')], at_wrong_home=9))
    append = ('tally', 'append', '--context', 'bank', '--partition', 'eu', '--stream', 's', '--type', 'x', '--server', us.address)
    assert 'home in region eu' in run(*append).stderr
    assert eu.origin in check(*append, '--forward')
    eu.kill()
    begun = time.monotonic()
    error = refused('UNAVAILABLE', us.client().append, forwarded(write('s')))
    assert 'region eu, the home' in error.message and time.monotonic() - begun < 15


def test_an_import_follows_a_partition_that_is_handed_over_meanwhile(lab):
    eu, us = quick(lab, 'eu', 'us')
    total = 6000
    file = lab.folder / 'events.ndjson'
    file.write_text(ndjson(total))
    imported = []
    thread = threading.Thread(target=lambda: imported.append(run('tally', 'import', file, '--batch-events', 10, '--lanes', 3, '--server', eu.address)))
    thread.start()
    wait_until(lambda: eu.size() > 100, 'the import to be under way')
    check('tally', 'handover', 'bank', '--to', 'us', '--server', eu.address)
    thread.join(timeout=60)
    assert imported and imported[0].returncode == 0 and f'{total} new' in imported[0].stdout, imported
    us.wait_size(eu.origin, eu.size())
    events = [e.entry for origin in (eu.origin, us.origin) for e in read_log(us.client(), origin) if not e.entry.flags]
    assert len(events) == total and len({e.event_id for e in events}) == total
    assert sum(e.epoch == 1 for e in events) > 0 and sum(e.epoch == 2 for e in events) > 0, 'it moved in the middle'
    order = {json.loads(line)['id']: number for number, line in enumerate(file.read_text().splitlines())}
    for stream in {e.stream for e in events}:
        found = [order[str(uuid.UUID(bytes=e.entry.event_id))] for e in read(us.client(), stream)]
        assert found == sorted(found) and len(found) == len([e for e in events if e.stream == stream]), f'{stream} is out of order'


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
