"""A region is lost with a tail that nobody has, another takes over, and the tail comes back: every event of it waits for one decision, with one effect,
in every region alike."""
import json
import sqlite3
import uuid

from harness import batch, check, event, operations_pb2, read, read_log, refused, run, wait_until, write

ALL = ('eu', 'us', 'ap')


def set_rules(region, **rules):
    lines = ''.join(f'      - type: {type}\n        settle: {settle}\n' for type, settle in rules.items())
    region.edit_config(r'^    homes:', f'    event_types:\n{lines}    homes:')


def lose_a_tail(lab, tail, **rules):
    """eu appended `tail` while nobody listened, and died; us seized what was eu's. eu is still down."""
    eu, us, ap = made = lab.cluster(*ALL)
    for region in made:
        if rules:
            set_rules(region, **rules)
        region.start(accepting=False)
    for region in made:
        region.wait_accepting()
    eu.client().append(batch(write('account-1', event(b'{"n":0}'))))
    for region in (us, ap):
        region.wait_size(eu.origin, 1)
    us.kill()
    ap.kill()
    eu.client().append(batch(*tail))
    eu.kill()
    for region in (us, ap):
        region.start(accepting=False)
    for region in (us, ap):
        region.wait_accepting()
    seize(us, 'eu')
    return eu, us, ap


def seize(home, lost):
    def seized():  # exit 3: a readiness check fails, as long as the survivors have not met
        done = run('tally', 'failover', 'bank', '--from', lost, '--reason', 'a test', '--server', home.address, '--json')
        assert done.returncode != 2, done.stderr
        return done.returncode == 0
    wait_until(seized, f'{home.name} to seize what {lost} had')


def bring_back(lost, others):
    lost.start()
    for region in others:
        region.wait_size(lost.origin, lost.size())


def settled_everywhere(regions):
    """Waits until all have applied the same, and returns what they agree on."""
    def same():
        digests = [region.operations().late_digest(operations_pb2.LateDigestRequest()) for region in regions]
        return digests[0] if len({digest.position for digest in digests}) == 1 else None
    first = wait_until(same, 'all regions to be at one position')
    digests = {region.operations().late_digest(operations_pb2.LateDigestRequest()).digest for region in regions}
    assert digests == {first.digest}, f'one position, but {digests}'
    return first


def late(region, **filters):
    page = region.operations().list_late(operations_pb2.ListLateRequest(**filters))
    assert not page.HasField('next')
    return list(page.items)


def states(region):
    return {item.place.index: item.state for item in late(region) if item.late}


def place(index, origin='bank/eu/1'):
    return operations_pb2.LogPlace(origin=origin, index=index)


def settle(region, settlement, *places, **fields):
    return region.operations().settle(operations_pb2.SettleRequest(places=places, settlement=settlement, reason='a test', **fields))


def ids(events):
    return [e.entry.event_id for e in events]


def test_a_tail_that_comes_back_is_settled_once_and_in_every_region(lab):
    tail = [event(b'{"n":%d}' % n) for n in range(1, 5)]
    eu, us, ap = regions = lose_a_tail(lab, [write('account-1', *tail)])
    retried = us.client().append(batch(write('account-1', tail[3])))
    assert not retried.results[0].duplicate and retried.results[0].stream_version == 1
    bring_back(eu, (us, ap))

    assert settled_everywhere(regions).item_count == 4
    listed = [late(region) for region in regions]
    assert listed[0] == listed[1] == listed[2]
    assert states(us) == {1: 'open', 2: 'open', 3: 'open', 4: 'duplicate'}
    assert ids(read(eu.client(), 'account-1')) == ids(read_log(eu.client(), limit=1)) + [tail[3].id]

    error = refused('FAILED_PRECONDITION', settle, eu, 'accept', place(1))
    assert error.detail.home_region == 'us' and error.detail.home_address == us.address
    accepted = settle(us, 'accept', place(1))
    assert (accepted.settled, accepted.already) == (1, 0)
    assert settle(us, 'accept', place(1)).already == 1
    refused('ALREADY_EXISTS', settle, us, 'reject', place(1))
    refused('ALREADY_EXISTS', settle, us, 'accept', place(4))
    refused('NOT_FOUND', settle, us, 'accept', place(0))
    assert settle(us, 'reject', place(2)).settled == 1
    assert settle(us, 'compensate', place(3)).settled == 1
    again = us.client().append(batch(write('account-1', tail[0])))
    assert again.results[0].duplicate

    settled_everywhere(regions)
    effective = ids(read(us.client(), 'account-1'))
    assert effective[1:] == [tail[3].id, tail[0].id]
    for region in regions:
        assert states(region) == {1: 'accepted', 2: 'rejected', 3: 'compensation owed', 4: 'duplicate'}
        assert ids(read(region.client(), 'account-1')) == effective
    compensation = operations_pb2.Compensation(stream='account-1', event=event(b'{}', 'Undone', causation_id=tail[2].id))
    assert settle(us, 'compensate', place(3), compensation=compensation).already == 0
    settled_everywhere(regions)
    assert states(ap)[3] == 'compensated'

    shown = ap.operations().show_late(operations_pb2.ShowLateRequest(place=place(2)))
    assert [e.state for e in shown.late] == ['accepted', 'rejected', 'compensated', 'duplicate']
    assert len(shown.effective) == 3, shown
    assert shown.item.decision.origin == 'bank/us/1'


def test_rules_settle_what_they_can_and_the_rest_waits(lab):
    tail = [event(type='Frozen'), event(type='Ping'), event(type='Paid'), event(type='Other')]
    eu, us, ap = regions = lose_a_tail(lab, [write('account-1', *tail)], Frozen='accept', Ping='drop-duplicate', Paid='compensate')
    bring_back(eu, (us, ap))
    wait_until(lambda: list(states(ap).values()) == ['accepted', 'dropped', 'compensation owed', 'open'], 'the rules to be carried out')
    settled_everywhere(regions)
    for region in regions:
        assert ids(read(region.client(), 'account-1'))[1:] == [tail[0].id]
    decisions = [e for e in read_log(us.client()) if e.entry.type == '$LateSettled']
    assert len(decisions) == 3
    for region in (eu, ap):
        assert not [e for e in read_log(region.client()) if e.entry.type == '$LateSettled'], 'only the home decides'


def test_an_operator_looks_decides_and_files_a_report(lab):
    tail = [event(b'{"n":1}', '<b>Odd</b>'), event(b'{"n":2}', 'Paid'), event(b'{"n":3}', 'Paid')]
    eu, us, ap = regions = lose_a_tail(lab, [write('account-1', *tail)])
    bring_back(eu, (us, ap))
    settled_everywhere(regions)

    def tally(*arguments, code=0):
        done = run('tally', 'reconcile', *arguments, '--server', us.address)
        assert done.returncode == code, f'{arguments}: exit {done.returncode}: {done.stdout}{done.stderr}'
        return done.stdout + done.stderr
    lines = [json.loads(line) for line in tally('list', '--state', 'open', '--json').splitlines()]
    assert [(item['origin'], item['index']) for item in lines] == [('bank/eu/1', 1), ('bank/eu/1', 2), ('bank/eu/1', 3)]
    assert 'counts, from where they part' in tally('show', 'bank/eu/1@1')
    assert 'not 5' in tally('accept', '--all', '--expect-count', '5', code=1)
    assert 'accept: 2 decided' in tally('accept', '--all', '--type', 'Paid', '--expect-count', '2', '--actor', 'anna')
    assert '2 had been decided so before' in tally('accept', 'bank/eu/1@2', 'bank/eu/1@3')
    assert 'compensate: 1 decided' in tally('compensate', 'bank/eu/1@1')
    assert 'the event was appended' not in tally('compensate', 'bank/eu/1@1')
    tally('accept', code=2)
    tally('show', 'bank/eu/1@0', code=1)

    page = lab.folder / 'report.html'
    wait_until(lambda: us.log('bank/us/1').published_size == us.size() and us.log('bank/eu/1').checkpoint_size == 4, 'all to be published')
    report = json.loads(tally('report', '--context', 'bank', '--epoch', '2', '--html', page, '--json'))
    rows = {(row['origin'], row['epoch']): (row['effective'], row['late']) for row in report['accepted']}
    assert rows == {('bank/eu/1', 1): (1, 3), ('bank/us/1', 2): (2, 0)}
    assert report['states']['accepted'] == 2 and report['states']['compensation owed'] == 1
    assert [item['index'] for item in report['owed']] == [1]
    assert {(home['partition'], home['region'], home['epoch']) for home in report['homes']} >= {('*', 'us', 2)}
    assert all(row['published'] == row['effective'] + row['late'] for row in report['accepted'])
    assert any(change['kind'] == 'seized' and change['region'] == 'us' for change in report['changes'])
    change = next(change for change in report['changes'] if change['kind'] == 'seized')
    assert change['actor'] and not change['forced'], change
    said = tally('report', '--context', 'bank', '--epoch', '2')
    assert 'Context bank, epoch 2 and the one before it, at ' in said and f', asked for by {change["actor"]}' in said and change['reason'] in said, said
    html = page.read_text()
    assert 'Asked for by' in html and change['actor'] in html
    assert '&lt;b&gt;Odd' in html and '<b>Odd' not in html and 'http' not in html and '<script' not in html
    assert json.loads(tally('report', '--context', 'bank', '--to', '2020-01-01T00:00:00Z', '--json'))['accepted'] == []
    assert 'Which compensations are owed' in tally('report', '--context', 'bank')

    stream = check('tally', 'read', '--stream', 'bank/account-1', '--late', '--server', us.address)
    assert stream.count('late, accepted: ') == 2 and stream.count('late, compensation owed: ') == 1
    assert 'late' not in check('tally', 'read', '--stream', 'bank/account-1', '--server', us.address)
    assert str(uuid.UUID(bytes=tail[0].id)) in tally('list', '--state', 'compensation owed', '--json')


BALANCES = """-- tally: projection balances
-- tally: schema
CREATE TABLE balance(account TEXT PRIMARY KEY, cents INTEGER NOT NULL CHECK(cents >= 0));
CREATE TABLE payment(account TEXT, version INTEGER, cents INTEGER);
-- tally: on bank Paid
INSERT INTO balance VALUES(:stream, json_extract(:payload, '$.cents')) ON CONFLICT(account) DO UPDATE SET cents = cents + excluded.cents;
INSERT INTO payment VALUES(:stream, :version, json_extract(:payload, '$.cents'));
-- tally: on bank Withdrawn
UPDATE balance SET cents = cents - json_extract(:payload, '$.cents') WHERE account = :stream;
"""
OTHER = """-- tally: projection other
-- tally: schema
CREATE TABLE t(a);
-- tally: on bank Opened
INSERT INTO t VALUES(:stream);
"""


def test_what_projections_say_without_and_with_a_late_event(lab):
    """A person decides about a late payment: the rows that accepting it would change are shown, and are what accepting it then gives."""
    tail = [event(b'{"cents":30}', 'Paid'), event(b'{"cents":900}', 'Withdrawn')]
    eu, us, ap = regions = lose_a_tail(lab, [write('account-1', *tail)])
    us.client().append(batch(write('account-1', event(b'{"cents":5}', 'Paid'))))
    for name, sql in (('balances', BALANCES), ('other', OTHER)):
        file = lab.folder / f'{name}.sql'
        file.write_text(sql)
        check('tally', 'projection', 'create', file, '--server', us.address)
    bring_back(eu, (us, ap))
    position = settled_everywhere(regions).position

    def projected(at):
        return json.loads(check('tally', 'projection', 'digest', 'balances', '--wait', at, '--server', us.address, '--json'))['digest']

    def show(index):
        lines = check('tally', 'reconcile', 'show', f'bank/eu/1@{index}', '--server', us.address, '--json').splitlines()
        return [line for line in map(json.loads, lines) if 'projection' in line]
    before = projected(position)
    shown, = show(1)
    assert shown['projection'] == 'balances' and shown['error'] == '' and shown['changed'] == 2, shown
    assert shown['rows'] == [
        {'table': 'balance', 'without': {'account': 'account-1', 'cents': 5}, 'with': {'account': 'account-1', 'cents': 35}},
        {'table': 'payment', 'without': None, 'with': {'account': 'account-1', 'version': 2, 'cents': 30}}], shown
    text = check('tally', 'reconcile', 'show', 'bank/eu/1@1', '--server', us.address)
    assert '> epoch 1, late, open: bank/eu/1 1 ' in text and '  epoch 1, late, open: bank/eu/1 2 ' in text, text
    assert 'without {"account":"account-1","cents":5}' in text and 'with    {"account":"account-1","cents":35}' in text, text
    shown, = show(2)
    assert shown['rows'] == [] and 'CHECK constraint failed' in shown['error'], shown
    assert projected(position) == before, 'looking changed the projection'

    accepted = settle(us, 'accept', place(1))
    assert projected(accepted.position) != before
    status = json.loads(check('tally', 'projection', 'status', 'balances', '--server', us.address, '--json'))
    with sqlite3.connect(f'file:{status["file"]}?mode=ro', uri=True) as database:
        assert database.execute('SELECT account, cents FROM balance').fetchall() == [('account-1', 35)]
        assert database.execute('SELECT version, cents FROM payment ORDER BY version').fetchall() == [(1, 5), (2, 30)]
    assert show(1) == [], 'it has its effect'
