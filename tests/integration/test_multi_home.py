"""Commutative events of a multi-home context: accepted by every region at once, also while regions cannot reach each other; each counts once, in every region
alike."""
import json
import sqlite3
import time
import uuid

from harness import VERIFIED, VIOLATION, Refused, at_one_position, batch, check, collect, event, events_of, ledger_pb2, operations_pb2, refused, run, wait_until, write

COUNTED = '''    topology: multi-home
    event_types:
      - type: Counted
        commutative: true
    homes:'''

TOTALS = '''-- tally: projection totals
-- tally: schema
CREATE TABLE totals (stream TEXT PRIMARY KEY, count INTEGER NOT NULL, sum INTEGER NOT NULL);
-- tally: on bank *
INSERT INTO totals VALUES (:stream, 1, json_extract(:payload, '$.n'))
  ON CONFLICT (stream) DO UPDATE SET count = count + 1, sum = sum + excluded.sum;
'''

FIRSTS = '''-- tally: projection firsts
-- tally: schema
CREATE TABLE firsts (id TEXT PRIMARY KEY, place TEXT NOT NULL);
-- tally: on bank Counted
INSERT INTO firsts VALUES (:event_id, :origin || '@' || :position);
'''


def started(lab):
    """eu and us reach each other only by ap: without it they are cut off from each other, and go on."""
    regions = lab.cluster('eu', 'us', 'ap', broken=[('eu', 'us')])
    for region in regions:
        region.edit_config(r'^    homes:', COUNTED)
        region.start(accepting=False)
    for region in regions:
        region.wait_accepting()
    return regions


def projected(lab, regions, **files):
    for name, sql in files.items():
        path = lab.folder / f'{name}.sql'
        path.write_text(sql)
        for region in regions:
            check('tally', 'projection', 'create', path, '--server', region.address)


def rows(region, name, query):
    """What the projection has when it has seen everything that the region holds."""
    check('tally', 'projection', 'digest', name, '--wait', region.status().position, '--server', region.address)
    status = json.loads(check('tally', 'projection', 'status', name, '--server', region.address, '--json'))
    with sqlite3.connect(f'file:{status["file"]}?mode=ro', uri=True) as db:
        return db.execute(query).fetchall()


def counted(n, **fields):
    return event(json.dumps({'n': n}).encode(), 'Counted', **fields)


def loose(region, stream):
    return events_of(collect(region.client().read_stream(ledger_pb2.ReadStreamRequest(context='bank', stream=stream, loose=True), timeout=20)))


def accepted(region, made):
    try:
        return region.client().append(batch(write('clicks', made)))
    except Refused as refusal:
        assert refusal.code == 'FAILED_PRECONDITION', refusal
        return None


def test_multi_home_both_sides_accept_while_they_are_cut_off_and_each_event_counts_once(lab):
    regions = eu, us, ap = started(lab)
    projected(lab, regions, totals=TOTALS, firsts=FIRSTS)
    before = counted(1)
    us.client().append(batch(write('clicks', before)))
    eu.wait_size(us.origin, 1)
    again = eu.client().append(batch(write('clicks', before))).results[0]
    assert again.duplicate and again.commutative and (again.origin, again.index) == (us.origin, 0), 'it had arrived here'

    ap.kill()
    both, at_eu, at_us = counted(10), counted(100), counted(1000)
    first = us.client().append(batch(write('clicks', both, at_us))).results
    time.sleep(0.01)  # the times of entries are milliseconds and a count, and of equal ones eu's would be the earlier
    second = eu.client().append(batch(write('clicks', both, at_eu))).results
    assert all(r.commutative and not r.duplicate and r.stream_version == 0 for r in (*first, *second)), 'nobody can know of the other'
    ordinary = event(b'{"n":10000}')
    error = refused('FAILED_PRECONDITION', us.client().append, batch(write('clicks', ordinary)))
    assert error.detail.home_region == 'eu', 'other types have one home'
    mixed = batch(write('clicks', counted(1)), write('others', ordinary))
    refused('FAILED_PRECONDITION', us.client().append, mixed)
    eu.client().append(batch(write('clicks', ordinary)))
    for region, n in ((eu, 4), (us, 3)):
        assert rows(region, 'totals', 'SELECT count FROM totals') == [(n,)], 'each side has its own so far'

    ap.start()
    at_one_position(regions)
    for region in regions:
        assert rows(region, 'totals', 'SELECT * FROM totals') == [('clicks', 5, 11111)]
        assert len(rows(region, 'firsts', 'SELECT * FROM firsts')) == 4
        place, = rows(region, 'firsts', f"SELECT place FROM firsts WHERE id = '{uuid.UUID(bytes=both.id)}'")
        assert place == ('bank/us/1@1',), f'{region.name}: the earlier one stands'
        found = [(i.kind, i.state, i.place.origin, i.place.index) for i in region.operations().list_late(operations_pb2.ListLateRequest()).items]
        assert found == [('duplicate', 'duplicate', eu.origin, 0)], found
        shown = [(e.entry.flags, e.entry.epoch, json.loads(e.payload)['n']) for e in loose(region, 'clicks')]
        assert shown == [(0, 1, 10000), (4, 1, 1), (4, 1, 10), (4, 1, 1000), (4, 1, 100)], shown
    said = check('tally', 'read', '--stream', 'bank/clicks', '--server', ap.address)
    assert 'bank/clicks@0 Happened' in said and 'bank/clicks Counted' in said, said
    check('tally', 'projection', 'check', 'firsts', '--seeds', '5', '--server', ap.address)
    report = eu.operations().report(operations_pb2.ReportRequest(context='bank'))
    assert {(row.origin, row.epoch, row.effective, row.late) for row in report.accepted} == {('bank/us/1', 0, 3, 0), ('bank/eu/1', 0, 2, 0), ('bank/eu/1', 1, 1, 0)}

    for region in regions:
        region.stop()
    contexts = lab.folder / 'contexts'
    folders = sorted((us.folder / 'logs').iterdir())
    homes = 'context bank home eu\npartition bank/us home us\n'
    contexts.write_text(homes + 'type bank/Counted commutative\n')
    done = run('tally-verify', 'authority', '--contexts', contexts, *folders)
    assert done.returncode == VERIFIED and '5 of the entries, which any region may accept' in done.stdout, done.stdout + done.stderr
    contexts.write_text(homes + 'type bank/Other commutative\n')
    done = run('tally-verify', 'authority', '--contexts', contexts, *folders)
    assert done.returncode == VIOLATION and 'accepted as commutative' in done.stdout + done.stderr, done.stdout + done.stderr


def test_one_id_that_two_regions_took_as_two_types_has_one_effect(lab):
    """A type with a home and a commutative one: both are accepted while eu and us are cut off, and the earlier of the two counts."""
    regions = eu, us, ap = started(lab)
    projected(lab, regions, totals=TOTALS)
    ap.kill()
    ids = [uuid.uuid4().bytes for _ in range(4)]
    for id in ids[:2]:
        us.client().append(batch(write('clicks', counted(1, id=id))))
    time.sleep(0.01)
    for id in ids:
        eu.client().append(batch(write('orders', event(b'{"n":100}', id=id))))
    time.sleep(0.01)
    for id in ids[2:]:
        us.client().append(batch(write('clicks', counted(1, id=id))))
    assert rows(eu, 'totals', 'SELECT * FROM totals') == [('orders', 4, 400)] and rows(us, 'totals', 'SELECT * FROM totals') == [('clicks', 4, 4)]
    ap.start()
    at_one_position(regions)
    for region in regions:
        assert rows(region, 'totals', 'SELECT * FROM totals ORDER BY 1') == [('clicks', 2, 2), ('orders', 2, 200)], region.name
        items = region.operations().list_late(operations_pb2.ListLateRequest()).items
        assert [(i.kind, i.state, i.place.origin, i.place.index) for i in items] == [
            ('duplicate', 'duplicate', eu.origin, 0), ('duplicate', 'duplicate', eu.origin, 1), ('duplicate', 'duplicate', us.origin, 2), ('duplicate', 'duplicate', us.origin, 3)]
    check('tally', 'projection', 'check', 'totals', '--seeds', '5', '--server', ap.address)


def test_a_context_becomes_multi_home_while_it_runs(lab):
    eu, us = lab.started('eu', 'us')
    projected(lab, (eu, us), totals=TOTALS)
    old = counted(1)
    eu.client().append(batch(write('clicks', old)))
    refused('FAILED_PRECONDITION', us.client().append, batch(write('clicks', counted(2))))
    check('tally', 'context', 'set', 'bank', '--topology', 'multi-home', '--type', 'Counted=commutative', '--server', eu.address)
    made = counted(10)
    answer = wait_until(lambda: accepted(us, made), 'us to hear of it')
    assert answer.results[0].commutative
    us.wait_size(eu.origin, eu.size(eu.origin))
    assert us.client().append(batch(write('clicks', old))).results[0].duplicate, 'what the home accepted before is known'
    denied = run('tally', 'context', 'set', 'bank', '--topology', 'home-affinity', '--server', eu.address)
    assert denied.returncode == 1 and 'multi-home' in denied.stderr, denied.stderr
    at_one_position((eu, us))
    for region in (eu, us):
        assert rows(region, 'totals', 'SELECT * FROM totals') == [('clicks', 2, 11)]
    answer = check('tally', 'append', '--context', 'bank', '--partition', 'eu', '--stream', 'clicks', '--type', 'Counted', '--server', us.address, stdin='{"n":100}')
    assert ', commutative' in answer, answer
    for region in (eu, us):
        region.stop()
    contexts = lab.folder / 'contexts'
    contexts.write_text('context bank home eu\npartition bank/us home us\ncontext $system home eu\n')
    done = run('tally-verify', 'authority', '--contexts', contexts, *sorted((us.folder / 'logs').iterdir()))
    assert done.returncode == VERIFIED, done.stdout + done.stderr
