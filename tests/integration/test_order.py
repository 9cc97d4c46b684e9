"""A projection that wants one order sees the entries of all regions by hybrid time, in every region the same, with regions that rest or are lost."""
import json
import sqlite3

from harness import batch, check, event, read_log, wait_until, write

HISTORY = '''-- tally: projection history
-- tally: order total
-- tally: schema
CREATE TABLE history (text TEXT NOT NULL);
INSERT INTO history VALUES ('');
-- tally: on bank Happened
UPDATE history SET text = text || :payload || ' ';
'''


def append(region, partition, *numbers):
    for n in numbers:
        region.client().append(batch(write(f's-{partition}', event(str(n).encode()), partition=partition)))


def digest(region, position):
    return json.loads(check('tally', 'projection', 'digest', 'history', '--wait', position, '--server', region.address, '--json'))


def history(region):
    file = json.loads(check('tally', 'projection', 'status', 'history', '--server', region.address, '--json'))['file']
    with sqlite3.connect(f'file:{file}?mode=ro', uri=True) as db:
        return db.execute('SELECT text FROM history').fetchone()[0].split()


def expected(region, origins=('bank/eu/1', 'bank/us/1')):
    """What a sort of the logs gives."""
    found = [(e.entry.time, origin, e.entry.index, e.payload.decode()) for origin in origins for e in read_log(region.client(), origin)
             if e.entry.type == 'Happened']
    return [payload for *_, payload in sorted(found)]


def test_total_order_is_one_order_in_every_region(lab):
    eu, us = lab.cluster('eu', 'us')
    for region in (eu, us):
        region.edit_config(r'^hello_interval_ms:.*', 'hello_interval_ms: 200')
        region.edit_config(r'^peer_timeout_ms:.*', 'peer_timeout_ms: 1500')
        region.start(accepting=False)
    sql = lab.folder / 'history.sql'
    sql.write_text(HISTORY)
    for region in (eu, us):
        region.wait_accepting()
        check('tally', 'projection', 'create', sql, '--server', region.address)
    for i in range(0, 40, 2):
        append(eu, 'eu', i)
        append(us, 'us', i + 1)
    append(eu, 'eu', 'alone')  # behind this, us rests: it says how far its clock is
    position = wait_until(lambda: eu.status().position == us.status().position and eu.status().position, 'both to hold the same')
    digests = {digest(region, position)['digest'] for region in (eu, us)}
    assert len(digests) == 1, digests
    assert history(eu) == history(us) == expected(eu), (history(eu), history(us), expected(eu))
    assert 'equal in 2 interleavings' in check('tally', 'projection', 'check', 'history', '--seeds', 2, '--server', eu.address)

    us.kill()
    append(eu, 'eu', 'lost')
    digest(eu, eu.status().position)  # a region that is silent is not waited for for ever
    us.start()
    append(us, 'us', 'back')
    append(eu, 'eu', 'last')
    position = wait_until(lambda: eu.status().position == us.status().position and eu.status().position, 'both to hold the same')
    digests = {digest(region, position)['digest'] for region in (eu, us)}
    assert len(digests) == 1 and history(eu) == expected(us), (history(eu), expected(us))
    for region in (eu, us):
        region.stop()  # while its projections follow


def test_a_region_alone_stops_while_a_total_order_is_followed(lab):
    eu = lab.solo()
    sql = lab.folder / 'history.sql'
    sql.write_text(HISTORY)
    check('tally', 'projection', 'create', sql, '--server', eu.address)
    append(eu, 'eu', *range(10))
    position = eu.status().position
    digest(eu, position)
    eu.stop()
    eu.start()
    digest(eu, position)
    assert history(eu) == expected(eu, [eu.origin])
    eu.stop()
