"""A region is lost with a tail that nobody has, another takes over, the lost one comes back: projections agree everywhere, on effective events only."""
import json
import signal
import sqlite3
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from harness import BIN, Client, batch, check, event, ndjson, read_log, refused, run, wait_until, write

from tally.v1 import control_pb2, operations_pb2

SUMS = '''-- tally: projection sums
-- tally: schema
CREATE TABLE sums (stream TEXT PRIMARY KEY, total INTEGER NOT NULL);
-- tally: on bank Happened
INSERT INTO sums VALUES (:stream, json_extract(:payload, '$.n')) ON CONFLICT (stream) DO UPDATE SET total = total + excluded.total;
'''


def append(region, stream, *numbers, partition='eu'):
    for n in numbers:
        region.client().append(batch(write(stream, event(json.dumps({'n': n}).encode()), partition=partition)))


def create(lab, *regions):
    sql = lab.folder / 'sums.sql'
    sql.write_text(SUMS)
    for region in regions:
        check('tally', 'projection', 'create', sql, '--server', region.address)


def digest(region, position):
    return json.loads(check('tally', 'projection', 'digest', 'sums', '--wait', position, '--server', region.address, '--json'))


def status(region):
    return json.loads(check('tally', 'projection', 'status', 'sums', '--server', region.address, '--json'))


def sums(region, position):
    """What a reader of the file sees once the projection is there."""
    digest(region, position)
    with sqlite3.connect(f'file:{status(region)["file"]}?mode=ro', uri=True) as db:
        return dict(db.execute('SELECT stream, total FROM sums'))


def fail_over(lost, to):
    check('tally', 'failover', 'bank', '--from', lost.name, '--server', to.address, '--force', '--reason', f'{lost.name} lost power')


def basis_of(region):
    """How much of eu's log the region had when it took over."""
    seizure = next(e for e in read_log(region.client()) if e.entry.type == '$AuthoritySeized')
    basis = control_pb2.AuthorityChange.FromString(seizure.payload).basis
    return int(dict(part.split('@') for part in basis.split(','))['eu'])


def same_everywhere(regions, expected):
    """All regions hold all logs, and their projections the same contents: these."""
    position = position_of(regions)
    found = [digest(region, position) for region in regions]
    assert {f['position'] for f in found} == {position}, found
    assert len({f['digest'] for f in found}) == 1, found
    for region in regions:
        assert sums(region, position) == expected, region.name


def position_of(regions):
    def one():
        positions = {region.status().position for region in regions}
        return positions.pop() if len(positions) == 1 else None
    return wait_until(one, 'all regions to hold the same')


def test_check_finds_statements_that_depend_on_the_interleaving(lab):
    eu, us = lab.started('eu', 'us')
    sql = lab.folder / 'first.sql'
    sql.write_text('''-- tally: projection first
-- tally: schema
CREATE TABLE first (key TEXT PRIMARY KEY, stream TEXT NOT NULL);
-- tally: on bank *
INSERT OR IGNORE INTO first VALUES ('any', :partition);
''')
    create(lab, eu)
    check('tally', 'projection', 'create', sql, '--server', eu.address)
    append(eu, 'a', 1, 2, 3)
    append(us, 'b', 4, 5, 6, partition='us')
    digest(eu, position_of((eu, us)))
    found = json.loads(check('tally', 'projection', 'check', 'sums', '--seeds', 20, '--server', eu.address, '--json'))
    assert found['seeds'] == 20 and not found['differs'] and found['event_count'] == 6, found
    done = run('tally', 'projection', 'check', 'first', '--seeds', 20, '--server', eu.address)
    assert done.returncode == 1 and 'table first differs' in done.stderr and 'seed' in done.stderr, done
    done = run('tally', 'projection', 'check', 'none', '--server', eu.address)
    assert done.returncode == 1 and 'no projection "none"' in done.stderr, done


def test_tail_of_a_lost_region_is_left_out_of_projections_everywhere(lab):
    eu, us, ap = lab.started('eu', 'us', 'ap')
    create(lab, eu, us, ap)
    append(eu, 'a', 1, 2, 4)
    append(us, 'b', 8, partition='us')
    for region in (us, ap):
        region.wait_size('bank/eu/1', 3)
    position_of((eu, us, ap))
    us.stop()
    ap.stop()
    append(eu, 'a', 100, 200)
    assert sums(eu, eu.status().position) == {'a': 307, 'b': 8}
    eu.kill()
    us.start(accepting=False)
    ap.start(accepting=False)
    us.wait_accepting()
    fail_over(eu, us)
    append(us, 'a', 16)
    append(us, 'c', 32)
    assert sums(us, us.status().position) == {'a': 23, 'b': 8, 'c': 32}
    assert status(us)['generation'] == 1
    eu.start()
    same_everywhere((eu, us, ap), {'a': 23, 'b': 8, 'c': 32})
    assert status(eu)['generation'] == 2
    assert 'projection sums is rebuilt: entry' in eu.said()
    append(us, 'c', 64)
    same_everywhere((eu, us, ap), {'a': 23, 'b': 8, 'c': 96})
    for region in (eu, us, ap):
        region.kill()
        region.start(accepting=False)
    same_everywhere((eu, us, ap), {'a': 23, 'b': 8, 'c': 96})


def test_two_regions_agree_after_one_was_lost_while_the_other_hung(lab):
    """How much of the tail reaches us before it hangs is the network's business: us says it."""
    eu, us = lab.started('eu', 'us')
    create(lab, eu, us)
    append(eu, 'a', 0, 1, 2)
    position_of((eu, us))
    us.process.send_signal(signal.SIGSTOP)
    for n in range(3, 33):
        payload = json.dumps({'n': n, 'padding': 'x' * 512 * 1024}).encode()
        eu.client().append(batch(write('a', event(payload))))
    assert sums(eu, eu.status().position) == {'a': sum(range(33))}
    eu.kill()
    us.process.send_signal(signal.SIGCONT)
    wait_until(lambda: not us.status().peers[0].connected, 'us to miss eu')
    wait_until(lambda: us.log('bank/eu/1').size == us.log('bank/eu/1').indexed_size, 'us to have indexed what it has')
    fail_over(eu, us)
    held = basis_of(us)
    assert 3 <= held < 33, held
    append(us, 'b', 1000)
    eu.start()
    same_everywhere((eu, us), {'a': sum(range(held)), 'b': 1000})
    assert status(eu)['generation'] == 2
    assert status(us)['generation'] == 1


def test_a_change_of_homes_waits_its_turn_and_says_so(lab):
    eu, us = lab.cluster('eu', 'us')
    for region in (eu, us):
        region.start(accepting=False)
    for region in (eu, us):
        region.wait_accepting()
    names = [f'p{i}' for i in range(400)]
    eu.client().append(batch(*[write(name, event(), partition=name) for name in [*names, 'other']]))
    us.wait_size(eu.origin, len(names) + 1)
    us.process.send_signal(signal.SIGSTOP)
    command = ('tally', 'handover', 'bank', '--to', 'us', '--partition', 'other', '--server', eu.address)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(Client(eu.address, operations_pb2.DESCRIPTOR, 'Operations').handover, operations_pb2.HandoverRequest(context='bank', partitions=names, to='us'), timeout=60)
        wait_until(lambda: eu.size() > len(names) + 1 or first.done(), 'the first group to be let go of')
        assert not first.done(), first.result()
        done = run(*command, '--timeout-ms', '700')
        assert done.returncode == 1 and done.stderr.count('waiting: another handover') == 1, done
        second = pool.submit(check, *command, '--timeout-ms', '60000')
        us.process.send_signal(signal.SIGCONT)
        assert first.result().changed == len(names)
        assert 'let go of' in second.result()


# --- Many partitions -------------------------------------------------------------------------------------------------

def home_counts(region):
    lines = check('tally', 'homes', 'bank', '--server', region.address, '--json').splitlines()
    return Counter((home['region'], home['released']) for home in map(json.loads, lines) if home['partition'].startswith('p-'))


def append_to(region, names):
    region.client().append(batch(*(write(f's-{name}', event(), partition=name) for name in names)))


def test_half_of_ten_thousand_partitions_fail_over_in_groups_and_come_back(lab):
    made = lab.cluster('eu', 'uk', 'us')
    for region in made:
        region.edit_config(r'^hello_interval_ms: .*', 'hello_interval_ms: 100')
        region.edit_config(r'^peer_timeout_ms: .*', 'peer_timeout_ms: 1000')
        region.start(accepting=False)
    eu, uk, us = made
    for region in made:
        region.wait_accepting()
    names = [f'p-{number}' for number in range(10000)]
    for at in range(0, len(names), 1000):
        append_to(eu, names[at:at + 1000])
    for region in (uk, us):
        wait_until(lambda region=region: region.log('bank/eu/1').indexed_size == 10000, f'{region.name} to hold everything', 60)
    eu.kill()
    for region in (uk, us):
        wait_until(lambda region=region: not next(p for p in region.status().peers if p.region == 'eu').connected, f'{region.name} to miss eu')
    half = names[::2]
    moving = lab.folder / 'moving.txt'
    moving.write_text('\n'.join(half + half[:3]) + '\n\n')
    command = ['failover', 'bank', '--from', 'eu', '--partitions-from', moving, '--reason', 'lost', '--server', us.address]
    assert '5000 partitions would be seized, 500 at a time' in check('tally', *command, '--dry-run')

    # The region that seizes goes down half-way; what is done stays done, and the same command goes on.
    seizing = subprocess.Popen([str(BIN / 'tally'), *map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    first = seizing.stderr.readline()
    us.kill()
    rest = seizing.stderr.read()
    assert seizing.wait(60) != 0 and first == 'seized 500 of 5000 partitions\n', first + rest
    assert 'partitions are left; what is done stays done: give the same command again' in rest, rest
    us.start(accepting=False)
    us.wait_accepting()
    wait_until(lambda: next(p for p in us.status().peers if p.region == 'uk').connected, 'us to meet uk')
    done = home_counts(us)[('us', False)]
    assert 500 <= done < 5000 and done % 500 == 0, done
    again = run('tally', *command)
    assert again.returncode == 0 and f'{done} of 5003 partitions have another home already: left out' in again.stderr, again.stderr + again.stdout
    assert f'seized {5000 - done} of {5000 - done} partitions\n' in again.stderr and f'seized {5000 - done} partitions, at ' in again.stdout
    assert home_counts(us) == {('us', False): 5000}
    append_to(us, half[:1000])
    assert 'eu' in refused('FAILED_PRECONDITION', append_to, us, names[1:2]).message
    done = run('tally', *command)
    assert done.returncode == 0 and 'of 5003 partitions have another home already' in done.stderr and 'nothing is left to be seized' in done.stdout, done.stdout + done.stderr

    # The way back, from standard input.
    eu.start(accepting=False)
    eu.wait_accepting()
    wait_until(lambda: eu.log('bank/us/1') and eu.log('bank/us/1').indexed_size == us.log('bank/us/1').size, 'eu to catch up', 60)
    wait_until(lambda: next(p for p in us.status().peers if p.region == 'eu').connected, 'us to meet eu')
    back = run('tally', 'handover', 'bank', '--to', 'eu', '--partitions-from', '-', '--server', us.address, stdin='\n'.join(half))
    assert back.returncode == 0 and 'let go of 5000 of 5000 partitions\n' in back.stderr and 'let go of 5000 partitions; eu takes over' in back.stdout, back.stderr + back.stdout
    wait_until(lambda: home_counts(us) == {('eu', False): 5000}, 'eu to take them', 60)
    append_to(eu, names[:1000])


def test_a_file_of_partitions_that_cannot_be_used_changes_nothing(lab):
    eu = lab.cluster('eu')[0].start()
    for content, said in ((b'', 'names no partition'), (b'a\n' + b'x' * 300 + b'\n', 'line 2'), (b'a\n\xff\n', 'line 2')):
        file = lab.folder / 'names.txt'
        file.write_bytes(content)
        done = run('tally', 'handover', 'bank', '--to', 'us', '--partitions-from', file, '--server', eu.address)
        assert done.returncode == 1 and said in done.stderr, done.stderr
    done = run('tally', 'handover', 'bank', '--to', 'us', '--partitions-from', lab.folder / 'none', '--partition', 'eu', '--server', eu.address)
    assert done.returncode == 2 and 'exclude each other' in done.stderr
    assert home_counts(eu) == {}


def test_a_projection_that_is_far_behind_and_a_drill_that_is_too_long_ago_fail_their_checks(lab):
    eu, us = lab.cluster('eu', 'us')
    us.edit_config(r'^drill_max_age_days: .*', 'drill_max_age_days: 30')
    for region in (eu, us):
        region.edit_config(r'^peer_timeout_ms: .*', 'peer_timeout_ms: 2000')
        region.start(accepting=False)
    for region in (eu, us):
        region.wait_accepting()
    slow = lab.folder / 'slow.sql'
    slow.write_text('-- tally: projection slow\n-- tally: schema\nCREATE TABLE t(n);\n-- tally: on bank *\n'
                    'INSERT INTO t WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 200000) SELECT count(*) FROM c;\n')
    check('tally', 'projection', 'create', slow, '--server', us.address)
    check('tally', 'import', '--server', eu.address, '-', stdin=ndjson(100500))
    wait_until(lambda: us.log('bank/eu/1').indexed_size == 100500, 'us to hold everything', 60)
    eu.kill()
    wait_until(lambda: not us.status().peers[0].connected, 'us to miss eu')
    shown = check('tally', 'failover', 'bank', '--from', 'eu', '--dry-run', '--server', us.address)
    assert 'FAIL projections: projection slow is 100' in shown and 'entries behind' in shown, shown
    assert 'FAIL drill: no home of the context was ever changed, by a drill or otherwise' in shown, shown
    check('tally', 'failover', 'bank', '--from', 'eu', '--force', '--reason', 'it was never drilled', '--server', us.address)
    shown = check('tally', 'failover', 'bank', '--from', 'eu', '--dry-run', '--server', us.address)
    assert 'ok   drill: a home of the context was last changed 0 days ago' in shown, shown
