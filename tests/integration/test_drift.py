"""Regions compare what they derived from the logs: contents that were changed by hand are found within seconds, on both sides, at rest and under load."""
import json
import re
import sqlite3
import threading

from harness import batch, check, event, wait_until, write

SUMS = '''-- tally: projection sums
-- tally: schema
CREATE TABLE sums (stream TEXT PRIMARY KEY, total INTEGER NOT NULL);
-- tally: on bank Happened
INSERT INTO sums VALUES (:stream, json_extract(:payload, '$.n')) ON CONFLICT (stream) DO UPDATE SET total = total + excluded.total;
'''


def append(region, partition, *numbers):
    for n in numbers:
        region.client().append(batch(write(f's-{partition}', event(json.dumps({'n': n}).encode()), partition=partition)))


def comparisons(region, subject, peer):
    found = re.search(rf'^tally_drift_comparisons_total{{subject="{subject}",region="{peer}"}} (\d+)$', region.http('/metrics').body.decode(), re.M)
    return int(found[1]) if found else 0


def wait_compared(region, subject, peer, more=2):
    """More comparisons than there were: the second one began after this call."""
    before = comparisons(region, subject, peer)
    wait_until(lambda: comparisons(region, subject, peer) >= before + more, f'{region.name} and {peer} to compare {subject}')


def pair(lab):
    eu, us = (region.serve_http() for region in lab.cluster('eu', 'us'))
    for region in (eu, us):
        region.start(accepting=False)
    for region in (eu, us):
        region.wait_accepting()
    sql = lab.folder / 'sums.sql'
    sql.write_text(SUMS)
    for region in (eu, us):
        check('tally', 'projection', 'create', sql, '--server', region.address)
    return eu, us


def change_by_hand(region):
    file = json.loads(check('tally', 'projection', 'status', 'sums', '--server', region.address, '--json'))['file']
    db = sqlite3.connect(file, timeout=10)
    with db:
        assert db.execute("UPDATE sums SET total = total + 1 WHERE stream = 's-eu'").rowcount == 1
    db.close()


def test_projection_changed_by_hand_is_reported_by_both_regions(lab):
    eu, us = pair(lab)
    append(eu, 'eu', 1, 2, 3)
    append(us, 'us', 10)
    wait_compared(eu, 'sums', 'us')
    for region, peer in ((eu, 'us'), (us, 'eu')):
        wait_until(lambda: comparisons(region, 'sums', peer) > 0 and comparisons(region, 'late events', peer) > 0, f'{region.name} to have compared')
        assert region.status().health == 'ok' and not region.status().drifts
        assert 'tally_drift{subject="sums",region="%s"} 0' % peer in region.http('/metrics').body.decode()
    change_by_hand(us)
    for region, peer in ((eu, 'us'), (us, 'eu')):
        drift = wait_until(lambda: region.status().drifts, f'{region.name} to report the drift')[0]
        status = region.status()
        digest = json.loads(check('tally', 'projection', 'digest', 'sums', '--server', region.address, '--json'))
        assert (drift.subject, drift.region, drift.position, drift.ours) == ('sums', peer, digest['position'], digest['digest']), (drift, digest)
        assert drift.theirs != drift.ours and status.health == 'degraded', status
        health = json.loads(region.http('/health').body)
        reason = next(r for r in health['reasons'] if r['reason'] == 'drift')
        assert reason['about'] == 'sums' and drift.theirs in reason['detail'] and health['healthy'], health
        assert 'tally_drift{subject="sums",region="%s"} 1' % peer in region.http('/metrics').body.decode()
        assert f'ALARM: drift: sums differs from region {peer} at {drift.position}: here {drift.ours}, there {drift.theirs}' in region.said(), region.said()
        assert f'DRIFT sums differs from region {peer}' in check('tally', 'status', '--server', region.address)
    check('tally', 'projection', 'rebuild', 'sums', '--server', us.address)
    for region in (eu, us):
        wait_until(lambda: region.status().health == 'ok', f'{region.name} to agree again')
        assert 'drift has ended: sums' in region.said()


def test_drift_is_found_while_both_regions_write(lab):
    """Under load regions never stand at one position by themselves: they meet. Projections of one name and other SQL are not compared."""
    eu, us = pair(lab)
    sql = lab.folder / 'other.sql'
    for region, number in ((eu, 1), (us, 2)):
        sql.write_text(f'-- tally: projection other\n-- tally: schema\nCREATE TABLE t(a);\n-- tally: on bank *\nINSERT INTO t VALUES({number});\n')
        check('tally', 'projection', 'create', sql, '--server', region.address)
    append(eu, 'eu', 1)
    stop = threading.Event()
    threads = [threading.Thread(target=lambda r=region: [append(r, r.name, 1) for _ in iter(stop.is_set, True)]) for region in (eu, us)]
    for thread in threads:
        thread.start()
    try:
        wait_compared(eu, 'sums', 'us')
        assert not eu.status().drifts and comparisons(eu, 'other', 'us') == 0, eu.status().drifts
        change_by_hand(eu)
        wait_until(lambda: eu.status().drifts and us.status().drifts, 'both regions to report the drift')
    finally:
        stop.set()
        for thread in threads:
            thread.join()
