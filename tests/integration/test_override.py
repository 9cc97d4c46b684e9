"""An emergency is accepted at the wrong region at once: seen there, without effect anywhere until the home has decided, and settled once, in every region
alike."""
import json
import signal
import sqlite3
import threading
import uuid

from harness import (VERIFIED, VIOLATION, Client, Refused, at_one_position, batch, check, collect, event, events_of, ledger_pb2, operations_pb2, read_log, refused,
                     run, wait_until, write)

OVERRIDE = ledger_pb2.AT_WRONG_HOME_OVERRIDE
FROZEN = '''    event_types:
      - type: Frozen
        override: true
        settle: SETTLE
    homes:'''


def started(lab, *names, settle='manual', promises=''):
    regions = lab.cluster(*names)
    for region in regions:
        region.edit_config(r'^    homes:', promises + FROZEN.replace('SETTLE', settle))
        region.start(accepting=False)
    for region in regions:
        region.wait_accepting()
    return regions


def override(region, *writes, reason='the card was stolen'):
    return region.client().append(ledger_pb2.AppendRequest(writes=writes, at_wrong_home=OVERRIDE,
                                                           emergency=ledger_pb2.Override(actor='anna', reason=reason)))


def items(region, **filters):
    found = region.operations().list_late(operations_pb2.ListLateRequest(**filters)).items
    return [(item.kind, item.state, item.place.origin, item.place.index) for item in found]


def read(region, stream, loose=False):
    return events_of(collect(region.client().read_stream(ledger_pb2.ReadStreamRequest(context='bank', stream=stream, loose=loose), timeout=20)))


COUNTS = '''-- tally: projection counts
-- tally: schema
CREATE TABLE counts (stream TEXT PRIMARY KEY, count INTEGER NOT NULL);
-- tally: on bank *
INSERT INTO counts VALUES (:stream, 1) ON CONFLICT (stream) DO UPDATE SET count = count + 1;
'''


def counts(region):
    """What the projection has when it has seen everything that the region holds."""
    check('tally', 'projection', 'digest', 'counts', '--wait', region.status().position, '--server', region.address)
    status = json.loads(check('tally', 'projection', 'status', 'counts', '--server', region.address, '--json'))
    with sqlite3.connect(f'file:{status["file"]}?mode=ro', uri=True) as db:
        return dict(db.execute('SELECT stream, count FROM counts'))


def test_an_emergency_is_accepted_at_the_wrong_region_and_settled_by_the_home(lab):
    eu, us = started(lab, 'eu', 'us')
    sql = lab.folder / 'counts.sql'
    sql.write_text(COUNTS)
    check('tally', 'projection', 'create', sql, '--server', us.address)
    eu.client().append(batch(write('card-1', event(b'issued'))))
    us.wait_size(eu.origin, 1)
    eu.kill()
    frozen, other = event(b'frozen', 'Frozen'), event(b'again', 'Frozen')
    answer = override(us, write('card-1', frozen))
    assert answer.overridden and [r.index for r in answer.results] == [1] and not answer.results[0].duplicate, answer
    again = override(us, write('card-1', frozen))
    assert again.results[0].duplicate and again.results[0].index == 1, 'the same override again is where it is'
    us.wait_size(us.origin, 2)
    assert override(us, write('card-1', frozen)).results[0].duplicate, 'also when it is indexed'
    made = [(e.entry.type, e.entry.flags, e.entry.stream_version, e.entry.epoch) for e in read_log(us.client())]
    assert made == [('$OverrideMade', 1, 0, 1), ('Frozen', 2, 0, 1)], made
    override(us, write('card-2', other))
    assert [e.payload for e in read(us, 'card-1')] == [b'issued'], 'it has no effect on its stream'
    assert [(e.payload, e.entry.flags) for e in read(us, 'card-1', loose=True)] == [(b'issued', 0), (b'frozen', 2)]
    refused('NOT_FOUND', lambda: read(us, 'card-2'))
    assert [e.payload for e in read(us, 'card-2', loose=True)] == [b'again']
    assert items(us) == [('override', 'open', 'bank/us/1', 1), ('override', 'open', 'bank/us/1', 3)]
    assert counts(us) == {'card-1': 1}, 'projections leave it out'

    eu.start()
    eu.wait_size(us.origin, 4)
    assert items(eu) == items(us), 'an open item in every region'
    place = operations_pb2.LogPlace(origin='bank/us/1', index=1)
    refused('FAILED_PRECONDITION', us.operations().settle, operations_pb2.SettleRequest(places=[place], settlement='accept'))
    assert eu.operations().settle(operations_pb2.SettleRequest(places=[place], settlement='accept', actor='ben')).settled == 1
    second = operations_pb2.LogPlace(origin='bank/us/1', index=3)
    assert eu.operations().settle(operations_pb2.SettleRequest(places=[second], settlement='reject', actor='ben')).settled == 1
    at_one_position((eu, us))
    for region in (eu, us):
        assert [s for _, s, _, _ in items(region)] == ['accepted', 'rejected']
        accepted = read(region, 'card-1', loose=True)
        assert [(e.payload, e.entry.flags, e.entry.stream_version) for e in accepted] == [(b'issued', 0, 0), (b'frozen', 0, 1)]
        assert accepted[1].entry.event_id == frozen.id
        refused('NOT_FOUND', lambda: read(region, 'card-2', loose=True))  # it was rejected
    assert counts(us) == {'card-1': 2}, 'until the home has accepted it'
    report = eu.operations().report(operations_pb2.ReportRequest(context='bank'))
    assert {(row.origin, row.effective, row.late, row.overrides) for row in report.accepted} == {('bank/eu/1', 2, 0, 0), ('bank/us/1', 0, 0, 2)}

    for region in (eu, us):
        region.stop()
    contexts = lab.folder / 'contexts'
    contexts.write_text('context bank home eu\npartition bank/us home us\ntype bank/Frozen override\n')
    folders = sorted((us.folder / 'logs').iterdir())
    done = run('tally-verify', 'authority', '--contexts', contexts, *folders)
    assert done.returncode == VERIFIED, done.stdout + done.stderr
    contexts.write_text('context bank home eu\npartition bank/us home us\ntype bank/Other override\n')
    done = run('tally-verify', 'authority', '--contexts', contexts, *folders)
    assert done.returncode == VIOLATION and 'override' in done.stdout + done.stderr, done.stdout + done.stderr


def test_the_rule_of_a_type_settles_an_override_when_it_reaches_the_home(lab):
    eu, us, ap = regions = started(lab, 'eu', 'us', 'ap', settle='accept')
    eu.kill()
    frozen = event(b'frozen', 'Frozen')
    override(us, write('card-1', frozen))
    ap.wait_size(us.origin, 2)
    assert items(ap) == [('override', 'open', 'bank/us/1', 1)]
    repeated = override(ap, write('card-1', frozen))
    assert repeated.results[0].duplicate and repeated.results[0].origin == 'bank/us/1', 'one id, wherever it is sent again'
    eu.start()
    wait_until(lambda: [i[1] for i in items(eu)] == ['accepted'], 'the home to settle it')
    at_one_position(regions)
    for region in regions:
        assert [(e.payload, e.entry.stream_version) for e in read(region, 'card-1', loose=True)] == [(b'frozen', 0)]
    assert eu.client().append(batch(write('card-1', frozen))).results[0].duplicate


def test_an_event_that_the_home_took_itself_needs_no_decision_about_its_override(lab):
    eu, us = started(lab, 'eu', 'us')
    eu.kill()
    frozen = event(b'frozen', 'Frozen')
    override(us, write('card-1', frozen))
    eu.start()
    eu.wait_size(us.origin, 2)
    assert not eu.client().append(batch(write('card-1', frozen))).results[0].duplicate, 'the override had no effect: this one has'
    at_one_position((eu, us))
    assert items(us) == [('override', 'duplicate', 'bank/us/1', 1)]
    assert len(read(us, 'card-1', loose=True)) == 1


def test_what_is_no_emergency_is_refused(lab):
    eu, us = started(lab, 'eu', 'us')
    refused('PERMISSION_DENIED', override, us, write('a', event(type='Paid')))
    refused('INVALID_ARGUMENT', override, us, write('a', event(type='Frozen')), reason='')
    refused('INVALID_ARGUMENT', override, us, write('a', event(type='Frozen'), version=3))
    refused('INVALID_ARGUMENT', override, us, write('a', event(type='Frozen')), write('b', event(type='Frozen'), partition='other'))
    refused('NOT_FOUND', override, us, write('a', event(type='Frozen'), context='none'))
    assert us.size() == 0
    here = override(us, write('a', event(type='Paid'), partition='us'))
    assert not here.overridden and here.results[0].index == 0, 'at the home it is an append'


def test_an_operator_overrides_and_sees_it(lab):
    eu, us = started(lab, 'eu', 'us')
    eu.kill()
    made = ['append', '--context', 'bank', '--partition', 'eu', '--stream', 'card-1', '--type', 'Frozen', '--id', str(uuid.uuid4()), '--override']

    def tally(*arguments, code=0, server=us):
        done = run('tally', *arguments, '--server', server.address)
        assert done.returncode == code, f'{arguments}: exit {done.returncode}: {done.stdout}{done.stderr}'
        return done.stdout + done.stderr
    tally(*made, code=2)
    assert 'OVERRIDE' in tally(*made, '--reason', 'stolen')
    assert json.loads(tally(*made, '--reason', 'stolen', '--json'))['overridden'] is True
    assert 'override, not decided: bank/us/1 1 ' in tally('read', '--stream', 'bank/card-1')
    line = json.loads(tally('reconcile', 'list', '--kind', 'override', '--json'))
    assert (line['kind'], line['state']) == ('override', 'open')
    assert tally('reconcile', 'list', '--kind', 'late').startswith('1 late events, overrides')
    assert 'override, open' in tally('reconcile', 'show', 'bank/us/1@1')
    eu.start()
    eu.wait_size(us.origin, 2)
    assert 'accept: 1 decided' in tally('reconcile', 'accept', 'bank/us/1@1', server=eu)
    page = lab.folder / 'report.html'
    assert '1 overrides' in tally('reconcile', 'report', '--context', 'bank', '--html', page, server=eu)
    assert '<th>Overrides' in page.read_text()
    assert 'override' not in check('tally', 'read', '--stream', 'bank/card-1', '--server', eu.address)


def test_a_decision_waits_for_copies_only_as_long_as_its_caller_and_the_server(lab):
    eu, us = started(lab, 'eu', 'us', promises='    durability: { peers: 1 }\n')
    for stream in ('card-1', 'card-2'):
        override(us, write(stream, event(type='Frozen')))
    wait_until(lambda: len(items(eu, state='open')) == 2, 'both to reach their home')
    answers = []

    def accept(index, timeout):
        """On a connection that eu.stop() leaves alone."""
        request = operations_pb2.SettleRequest(places=[operations_pb2.LogPlace(origin=us.origin, index=index)], settlement='accept', reason='a test')
        client = Client(eu.address, operations_pb2.DESCRIPTOR, 'Operations')
        try:
            answers.append(client.settle(request, timeout=timeout))
        except Refused as error:
            answers.append(error.code)
        client.close()

    us.process.send_signal(signal.SIGSTOP)  # it is still up for eu, and stores nothing
    try:
        size = eu.size()
        accept(1, 0.5)
        assert answers == ['DEADLINE_EXCEEDED'] and eu.size() == size + 2, 'it is decided, and waited for a copy'
        thread = threading.Thread(target=accept, args=(3, 60))
        thread.start()
        wait_until(lambda: eu.size() == size + 4, 'the second decision to be durable at home')
        eu.stop()
        thread.join(timeout=60)
    finally:
        us.process.send_signal(signal.SIGCONT)
    assert answers[1] in ('DEADLINE_EXCEEDED', 'UNAVAILABLE', 'CANCELLED'), answers


def test_a_context_whose_copies_cannot_be_made_holds_up_no_other(lab):
    eu, us, ap = regions = lab.cluster('eu', 'us', 'ap')
    types = FROZEN.replace('SETTLE', 'manual').removesuffix('    homes:')
    for region in regions:
        region.edit_config(r'^  - name: bank$', f'  - name: other\n    default_home: eu\n{types}  - name: bank\n    durability: {{ peers: 2 }}\n{types.rstrip()}')
        region.start(accepting=False)
    for region in regions:
        region.wait_accepting()
    wait_until(lambda: all(peer.connected for region in regions for peer in region.status().peers), 'all to know each other')
    override(us, write('card-1', event(type='Frozen')))
    override(us, write('card-1', event(type='Frozen'), context='other'))
    for region in (eu, ap):
        region.wait_size(us.origin, 4)
    us.kill()  # bank's decisions need its copy
    for region in (eu, ap):
        region.stop()
        region.edit_config('settle: manual', 'settle: accept')
        region.start(accepting=False)
    eu.wait_accepting()
    wait_until(lambda: items(eu) == [('override', 'open', us.origin, 1), ('override', 'accepted', us.origin, 3)], 'the other context to be settled')
