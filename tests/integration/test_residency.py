"""Residency: a region outside a context's payload regions holds its entries, verifies and cosigns them, and never holds a payload."""
import json
import shutil
import sqlite3

from harness import VERIFIED, batch, check, event, read, read_log, refused, run, wait_until, write
from ledger_files import Key, as_sent
from test_replication import HostilePeer, cosign_key, pull_as

SECRET = b'the-secret-of-frankfurt'


def confined(lab, *names, regions='[eu, uk]', **options):
    """Context bank lives in eu and its payloads in these regions; context shop lives in us and is held everywhere."""
    made = lab.cluster(*names, **options)
    for region in made:
        region.edit_config(r'^  - name: bank\n    default_home: eu\n(    homes:\n(      .*\n)*)?',
                           f'  - name: bank\n    default_home: eu\n    payload_regions: {regions}\n  - name: shop\n    default_home: us\n')
        region.edit_config(r'^hello_interval_ms: .*', 'hello_interval_ms: 100')
        region.edit_config(r'^peer_timeout_ms: .*', 'peer_timeout_ms: 1000')
    return made


def running(regions):
    for region in regions:
        region.start(accepting=False)
    for region in regions:
        region.wait_accepting()
    return regions


def secrets(region, count, context='bank', stream='s'):
    for i in range(count):
        region.client().append(batch(write(f'{stream}-{i % 3}', event(b'{"note":"%s","n":%d}' % (SECRET, i)), context=context)))


def files_with(folder, part):
    return [path for path in sorted(folder.rglob('*')) if path.is_file() and part in path.read_bytes()]


def audit(region, *options, clean=True):
    done = run('tally', 'residency', 'audit', region.folder, '--json', *options)
    assert done.returncode == (0 if clean else 1), f'exit {done.returncode}: {done.stdout}{done.stderr}'
    report = json.loads(done.stdout)
    assert report['clean'] == clean and (report['violation_count'] == 0) == clean
    return report


def files_elsewhere(region):
    """Neither a segment in its place nor of the index or a projection: what the audit searches for blocks."""
    parts = [path.relative_to(region.folder).parts for path in region.folder.rglob('*') if path.is_file()]
    return [p for p in parts if p[0] not in ('index', 'projections') and not (len(p) == 3 and p[0] == 'logs' and p[2].endswith('.seg'))]


def count(report, origin, context):
    log = next(log for log in report['logs'] if log['origin'] == origin)
    return next(c for c in log['contexts'] if c['context'] == context)


def verify(region, origin, *options):
    return run('tally-verify', 'log', region.log_folder(origin.split('/')[1]), '--key', region.folder / 'keys' / f'peer-{origin.split("/")[1]}.pub', *options)


def test_a_region_outside_verifies_and_cosigns_and_holds_no_payload(lab):
    eu, uk, us = running(confined(lab, 'eu', 'uk', 'us'))
    for region in (uk, us):
        check('tally', 'projection', 'create', sql(lab, 'streams', 'SELECT :stream', 'INSERT INTO seen VALUES(:stream, :version)'), '--server', region.address)
    secrets(eu, 20)
    secrets(us, 5, context='shop', stream='cart')
    for region in (uk, us):
        region.wait_size('bank/eu/1', 20)
    for region in (eu, uk):
        region.wait_size('bank/us/1', 5)
    wait_until(lambda: eu.log('bank/eu/1').published_size == 20 and '— bank/us ' in (eu.log_folder('eu') / 'checkpoint.published').read_text(),
               'us to cosign what it can verify')

    held, withheld = read(uk.client(), 's-0'), read(us.client(), 's-0')
    assert [e.entry for e in held] == [e.entry for e in withheld] and len(held) == 7
    assert all(SECRET in e.payload and len(e.salt) == 16 for e in held)
    assert all(e.payload == b'' and e.salt == b'' for e in withheld)
    line = json.loads(check('tally', 'read', '--stream', 'bank/s-0', '--server', us.address, '--json').splitlines()[0])
    assert line['payload_held'] is False and 'payload' not in line
    assert 'is not held here' in check('tally', 'read', '--stream', 'bank/s-0', '--server', us.address)
    assert SECRET in read(us.client(), 'cart-0', context='shop')[0].payload, 'what belongs there is there'

    for region in (eu, uk, us):
        region.stop()
    found = files_with(us.folder, SECRET)
    assert found == [] or all('us-1' in str(path) for path in found), found
    assert files_with(us.folder / 'logs' / 'eu-1', SECRET) == [] and files_with(us.folder / 'index', SECRET) == [] and files_with(us.folder / 'projections', SECRET) == []
    assert files_with(uk.folder / 'logs' / 'eu-1', SECRET), 'the search finds what is there'

    report = audit(us)
    assert report['index_looked_into'] and report['projections'] == ['streams']
    assert count(report, 'bank/eu/1', 'bank') == {'context': 'bank', 'may_hold': False, 'entries': 20, 'held': 0, 'withheld': 20, 'missing': 0}
    assert count(report, 'bank/us/1', 'shop')['held'] == 5
    assert next(log for log in report['logs'] if log['origin'] == 'bank/eu/1')['looked_up'] == 20
    assert count(audit(uk), 'bank/eu/1', 'bank')['held'] == 20

    assert verify(us, 'bank/eu/1').returncode == VERIFIED and '20 withheld' in verify(us, 'bank/eu/1').stdout
    assert verify(us, 'bank/eu/1', '--require-payloads').returncode == 4
    check('tally-verify', 'compare', us.log_folder('eu'), uk.log_folder('eu'))


def sql(lab, name, select, statement, context='bank'):
    path = lab.folder / f'{name}.sql'
    path.write_text(f'-- tally: projection {name}\n-- tally: schema\nCREATE TABLE seen(stream TEXT, what);\n-- tally: on {context} *\n{select};\n{statement};\n')
    return path


def test_a_projection_that_takes_payloads_is_refused_where_they_may_not_be(lab):
    eu, uk, us = running(confined(lab, 'eu', 'uk', 'us'))
    takes = sql(lab, 'takes', 'SELECT 1', 'INSERT INTO seen VALUES(:stream, :payload)')
    done = run('tally', 'projection', 'create', takes, '--server', us.address)
    assert done.returncode == 1 and 'context bank' in done.stderr and ':payload' in done.stderr, done.stderr
    assert not (us.folder / 'projections' / 'takes').exists()
    check('tally', 'projection', 'create', takes, '--server', uk.address)
    check('tally', 'projection', 'create', sql(lab, 'carts', 'SELECT 1', 'INSERT INTO seen VALUES(:stream, :payload)', context='shop'), '--server', us.address)
    us.stop()
    (us.folder / 'projections' / 'takes').mkdir()
    (us.folder / 'projections' / 'takes' / 'projection.sql').write_bytes(takes.read_bytes())
    violation = audit(us, clean=False)['violations'][0]
    assert violation['where'] == 'projection' and violation['context'] == 'bank' and violation['path'].endswith('takes/projection.sql')


def test_a_projection_stops_when_its_context_moves_away(lab):
    eu, uk, us = running(confined(lab, 'eu', 'uk', 'us', regions='[eu, uk, us]'))
    check('tally', 'projection', 'create', sql(lab, 'takes', 'SELECT 1', 'INSERT INTO seen VALUES(:stream, :payload)'), '--server', us.address)
    for region in (eu, uk, us):
        region.stop()
        region.edit_config(r'payload_regions: .*', 'payload_regions: [eu, uk]')
    running((eu, uk, us))

    wait_until(lambda: 'projection takes stopped: projection takes takes :payload of context bank' in us.said(), 'the projection to stop')


def test_a_payload_that_comes_all_the_same_is_not_stored(lab):
    """The source is the region us in name, and sends what the true one would not."""
    eu, uk, us = running(confined(lab, 'eu', 'uk', 'us'))
    secrets(eu, 3)
    wait_until(lambda: uk.indexed('bank/eu/1') == 3 and us.indexed('bank/eu/1') == 3, 'copies')
    pull = pull_as(eu, uk, 'bank/eu/1')
    whole = next(r for r in pull if r.block)
    pull.cancel()
    assert SECRET in whole.block
    pull = pull_as(eu, us, 'bank/eu/1')
    bare = next(r for r in pull if r.block)
    pull.cancel()
    assert SECRET not in bare.block and b'bank' in bare.block
    for region in (eu, uk, us):
        region.kill()
    for folder in ('logs', 'index'):
        (us.folder / folder).rename(lab.folder / f'us-{folder}')

    class Liar(HostilePeer):
        def hello(self, request, context):
            answer = super().hello(request, context)
            answer.region = 'eu'
            answer.logs[0].origin = 'bank/eu/1'
            return answer

        def pull(self, requests, context):
            assert next(requests).origin == 'bank/eu/1'
            self.pulls += 1
            yield type(whole)(question=bytes(32))
            next(requests)
            yield whole
            for _ in requests:
                pass

    peer = Liar(eu.port, 3, [])
    lab.at_end(peer.stop)
    us.start(accepting=False)
    wait_until(lambda: 'may not hold payloads of context "bank"' in us.said(), 'the alarm')
    assert us.size('bank/eu/1') == 0
    us.kill()
    assert files_with(us.folder / 'logs', SECRET) == []


def test_a_planted_payload_is_found_with_file_offset_and_entry(lab):
    eu, uk, us = running(confined(lab, 'eu', 'uk', 'us'))
    secrets(eu, 4)
    for region in (uk, us):
        region.wait_size('bank/eu/1', 4)
    for region in (eu, uk, us):
        region.stop()
    audit(us)
    full = uk.log_folder('eu') / f'{0:020}.seg'
    bare = (us.log_folder('eu') / full.name).read_bytes()
    (us.log_folder('eu') / full.name).write_bytes(full.read_bytes())
    report = audit(us, '--without-index', clean=False)
    first = report['violations'][0]
    assert (first['where'], first['origin'], first['index'], first['context']) == ('segment', 'bank/eu/1', 0, 'bank')
    assert first['path'] == str(us.log_folder('eu') / full.name) and first['offset'] == 4096
    assert report['violation_count'] == 4 and not report['index_looked_into']
    shutil.rmtree(us.folder / 'index')
    us.start(accepting=False)  # makes the index again from the planted copy, fingerprints and all
    us.wait_size('bank/eu/1', 4)
    us.stop()
    (us.log_folder('eu') / full.name).write_bytes(bare)
    report = audit(us, clean=False)
    assert {v['where'] for v in report['violations']} == {'index'} and report['violation_count'] == 4, report
    shutil.rmtree(us.folder / 'index')
    us.start(accepting=False)
    us.wait_size('bank/eu/1', 4)
    us.stop()
    audit(us)


def places(report):
    return {(v['where'], v['path'].rsplit('/', 1)[-1]) for v in report['violations']}


def test_a_planted_text_is_found_wherever_it_is(lab):
    eu, uk, us = running(confined(lab, 'eu', 'uk', 'us'))
    text = SECRET.decode()
    check('tally', 'projection', 'create', sql(lab, 'streams', 'SELECT :stream', 'INSERT INTO seen VALUES(:stream, :version)'), '--server', us.address)
    secrets(eu, 4)
    secrets(us, 1, context='shop', stream='cart-of-us-alone')
    us.wait_size('bank/eu/1', 4)
    wait_until(lambda: us.log('bank/us/1').indexed_size == 1 and us.log('bank/eu/1').checkpoint_size == 4, 'us to index and sign')
    found = audit(us, '--without-index', '--search', text, clean=False)
    assert places(found) == {('file', f'{0:020}.seg')}, 'what shop says belongs there, and is in the log of us alone'
    assert 'us-1' in found['violations'][0]['path'] and not found['index_looked_into']
    audit(us, '--without-index', '--search', 'another-secret-of-frankfurt')  # of a region that runs
    us.stop()
    database = next(us.folder.glob('projections/streams/gen-*.sqlite'))
    with sqlite3.connect(database) as rows:
        rows.execute('CREATE TABLE planted(x)')
        rows.execute('INSERT INTO planted VALUES(?)', ('.' * 4000 + 'another-secret-of-frankfurt' * 4000,))
    rows.close()
    (us.folder / 'somewhere').mkdir()
    (us.folder / 'somewhere' / 'planted.txt').write_bytes(b'.' * (1024 * 1024 - 5) + b'planted-in-the-middle')
    (us.folder / 'keys' / 'planted.spool').write_bytes(b'planted-in-the-middle')
    report = audit(us, '--search', 'another-secret-of-frankfurt', '--search', 'planted-in-the-middle', '--search', 'cart-of-us-alone', clean=False)
    assert places(report) >= {('file', 'planted.txt'), ('file', 'planted.spool'), ('row', database.name), ('record', 'index')}, report['violations']
    assert [v['offset'] for v in report['violations'] if v['path'].endswith('planted.txt')] == [1024 * 1024 - 5]
    assert report['searched']['records'] > 0 and report['searched']['values'] > 0
    assert 'VIOLATION' in run('tally', 'residency', 'audit', us.folder, '--search', 'planted-in-the-middle').stdout
    (us.folder / 'projections' / 'streams' / 'database').write_text('reporting')
    assert '1 of them in PostgreSQL: their rows are NOT looked into' in run('tally', 'residency', 'audit', us.folder, '--without-index').stdout
    done = run('tally', 'residency', 'audit', us.folder, '--search', 'short')
    assert done.returncode == 2 and '8 to 4096 bytes' in done.stderr, done.stderr


def test_a_planted_block_is_found_behind_a_segment_s_end_and_in_any_file(lab):
    eu, uk, us = running(confined(lab, 'eu', 'uk', 'us'))
    secrets(eu, 4)
    for region in (uk, us):
        region.wait_size('bank/eu/1', 4)
    wait_until(lambda: us.log('bank/eu/1').checkpoint_size == 4, 'us to have a signature')
    check('tally', 'backup', '--data', us.folder, '--out', lab.folder / 'copy')
    for region in (eu, uk, us):
        region.stop()
    full = (uk.log_folder('eu') / f'{0:020}.seg').read_bytes()
    bare = us.log_folder('eu') / f'{0:020}.seg'
    whole = bare.read_bytes()
    at = 1024 * 1024
    assert not any(whole[at:at + 4096]), 'nothing of the log is there'
    bare.write_bytes(whole[:at] + full[4096:8192] + whole[at + 4096:])
    (us.folder / 'logs' / 'old').mkdir()
    (us.folder / 'logs' / 'old' / 'next-segment.tmp').write_bytes(full)
    found = audit(us, '--without-index', clean=False)['violations']
    assert {(v['where'], v['path'].rsplit('/', 1)[-1]) for v in found} == {('loose file', bare.name), ('loose file', 'next-segment.tmp')}, found
    assert next(v['offset'] for v in found if v['path'] == str(bare)) == at
    copy = lab.folder / 'copy'
    assert 'clean: ' in check('tally', 'residency', 'audit', copy), 'the copy was made before'
    (copy / 'logs' / 'eu-1' / bare.name).write_bytes(full)
    done = run('tally', 'residency', 'audit', copy)
    assert done.returncode == 1 and f'{copy}/logs/eu-1/{bare.name}, offset 4096, entry 0 of bank/eu/1: a payload' in done.stdout, done.stdout


def test_a_command_that_was_queued_before_its_context_was_confined_is_found(lab):
    eu, uk, us = running(confined(lab, 'eu', 'uk', 'us', regions='[eu, uk, us]'))
    eu.kill()
    check('tally', 'append', '--context', 'bank', '--partition', 'eu', '--stream', 's', '--type', 'Said', '--payload', json.dumps({'note': SECRET.decode()}), '--queue', '--server', us.address)
    us.stop()
    assert next(log for log in audit(us, '--without-index')['logs'] if log['origin'] == 'bank/us/1')['queued_commands'] == 1
    us.edit_config(r'payload_regions: .*', 'payload_regions: [eu, uk]')
    found = audit(us, '--without-index', clean=False)['violations']
    assert [(v['where'], v['origin'], v['index'], v['context']) for v in found] == [('queued command', 'bank/us/1', 0, 'bank')], found


def test_who_may_not_hold_payloads_does_not_become_the_home(lab):
    eu, uk, us = running(confined(lab, 'eu', 'uk', 'us'))
    secrets(eu, 6)
    for region in (uk, us):
        region.wait_size('bank/eu/1', 6)
    done = run('tally', 'handover', 'bank', '--to', 'us', '--server', eu.address)
    assert done.returncode == 1 and 'payload_regions' in done.stderr, done.stderr
    eu.kill()
    wait_until(lambda: not any(p.connected for p in us.status().peers if p.region == 'eu'), 'us to miss eu')
    wait_until(lambda: not any(p.connected for p in uk.status().peers if p.region == 'eu'), 'uk to miss eu')
    shown = run('tally', 'failover', 'bank', '--from', 'eu', '--dry-run', '--server', us.address)
    assert 'FAIL residency' in shown.stdout, shown.stdout + shown.stderr
    for options in ((), ('--force', '--reason', 'it is urgent')):
        done = run('tally', 'failover', 'bank', '--from', 'eu', '--server', us.address, *options)
        assert done.returncode == 1 and 'cannot be forced' in done.stderr, done.stdout + done.stderr
    check('tally', 'failover', 'bank', '--from', 'eu', '--server', uk.address)
    wait_until(lambda: try_append(uk), 'uk to accept')
    us.wait_size('bank/uk/1', uk.size('bank/uk/1'))
    for region in (uk, us):
        region.stop()
    assert files_with(us.folder, SECRET) == []
    audit(us)
    audit(uk)
    check('tally-verify', 'compare', us.log_folder('uk'), uk.log_folder('uk'))


def try_append(region):
    try:
        secrets(region, 1, stream='after')
        return True
    except Exception as error:
        assert error.code == 'UNAVAILABLE', error
        return False


def test_a_payload_region_waits_for_a_source_that_has_payloads(lab):
    eu, uk, us = confined(lab, 'eu', 'uk', 'us')
    eu.start(accepting=False)
    us.start(accepting=False)
    us.wait_accepting()
    eu.wait_accepting()
    secrets(eu, 8)
    us.wait_size('bank/eu/1', 8)
    eu.kill()
    uk.start(accepting=False)
    wait_until(lambda: 'not the payloads of context bank' in (uk.log('bank/eu/1').detail if uk.log('bank/eu/1') else ''), 'uk to say why it waits')
    assert 'waits for a region that has them' in check('tally', 'status', '--server', uk.address)
    assert uk.size('bank/eu/1') == 0, 'us has them all, but bare'
    us.kill()
    eu.start(accepting=False)
    uk.wait_size('bank/eu/1', 8)
    assert all(SECRET in e.payload for e in read_log(uk.client(), 'bank/eu/1'))
    us.start(accepting=False)
    for region in (eu, uk, us):
        region.wait_accepting()
        region.stop()
    audit(us)
    assert count(audit(uk), 'bank/eu/1', 'bank')['missing'] == 0


def test_entries_whose_payloads_are_gone_for_good_can_be_kept(lab):
    """As in the runbook: the copy without payloads, in place of what there is."""
    eu, uk, us = confined(lab, 'eu', 'uk', 'us')
    for region in (eu, us):
        region.start(accepting=False)
    eu.wait_accepting()
    secrets(eu, 8)
    us.wait_size('bank/eu/1', 8)
    eu.kill()
    us.stop()
    shutil.copytree(us.log_folder('eu'), uk.log_folder('eu'))
    us.start(accepting=False)
    uk.start(accepting=False)
    uk.wait_size('bank/eu/1', 8)
    assert all(not e.salt for e in read_log(uk.client(), 'bank/eu/1'))
    uk.stop()
    assert count(audit(uk), 'bank/eu/1', 'bank')['missing'] == 8
    assert 'MISSING' in check('tally', 'residency', 'audit', uk.folder)


def test_payload_regions_change_and_mirrors_are_pulled_again(lab):
    eu, uk, us = running(confined(lab, 'eu', 'uk', 'us'))
    secrets(eu, 3)
    for allowed, held in (('[eu, uk, us]', 3), ('[eu, uk]', 0)):
        us.wait_size('bank/eu/1', 3)
        for region in (eu, uk, us):
            region.stop()
            region.edit_config(r'payload_regions: .*', f'payload_regions: {allowed}')
        if not held:
            assert len(audit(us, '--without-index', clean=False)['violations']) == 3, 'a new list does not erase anything'
        shutil.rmtree(us.log_folder('eu'))
        shutil.rmtree(us.folder / 'index')
        running((eu, uk, us))
        us.wait_size('bank/eu/1', 3)
        assert sum(SECRET in e.payload for e in read_log(us.client(), 'bank/eu/1')) == held
    us.stop()
    audit(us)
    assert files_with(us.folder, SECRET) == []


def test_a_copy_without_payloads_does_not_keep_a_promise(lab):
    made = confined(lab, 'eu', 'uk', 'us')
    for region in made:
        region.edit_config(r'^    payload_regions: .*', '    payload_regions: [eu, uk]\n    durability: { peers: 1, when_away: refuse }')
    eu, uk, us = running(made)
    wait_until(lambda: all(p.connected for p in eu.status().peers), 'eu to hear of its peers')
    secrets(eu, 2)
    assert uk.size('bank/eu/1') == 2
    uk.kill()
    wait_until(lambda: not next(p for p in eu.status().peers if p.region == 'uk').connected, 'eu to miss uk')
    assert 'may hold its payloads' in refused('UNAVAILABLE', eu.client().append, batch(write('s'))).message
    eu.stop()
    eu.edit_config('peers: 1, when_away', 'peers: 2, when_away')
    eu.refuses_to_start('the cluster has 1 that may hold its payloads')


def test_who_pulls_must_show_who_it_is(lab):
    eu, uk, us = running(confined(lab, 'eu', 'uk', 'us'))
    secrets(eu, 1)
    stranger = Key('bank/uk', bytes(32), kind=4)
    for key in (stranger, cosign_key(us)):
        pull = pull_as(eu, uk, 'bank/eu/1', key=key)
        try:
            next(pull)
            raise AssertionError('a stranger was served')
        except Exception as error:
            assert error.code().name == 'PERMISSION_DENIED' and 'calls itself region uk' in error.details(), error


def test_a_repair_brings_no_payload_where_it_may_not_be(lab):
    made = confined(lab, 'eu', 'uk', 'us')
    for region in made:
        region.edit_config(r'^segment_size_bytes: .*', 'segment_size_bytes: 16777216')
    eu, uk, us = running(made)
    secrets(eu, 5)
    us.wait_size('bank/eu/1', 5)
    wait_until(lambda: us.log('bank/eu/1').checkpoint_size == 5, 'a signature')
    us.stop()
    segment = us.log_folder('eu') / f'{0:020}.seg'
    content = bytearray(segment.read_bytes())
    content[4096 + 40] ^= 1
    segment.write_bytes(content)
    before = len(files_elsewhere(us))
    check('tally', 'repair', '--data', us.folder, '--from', eu.address)
    assert audit(us)['loose_files'] == before + 1
    assert files_with(us.folder, SECRET) == []
    us.start(accepting=False)
    us.wait_size('bank/eu/1', 5)
    uk.stop()
    segment = uk.log_folder('eu') / segment.name
    content = bytearray(segment.read_bytes())
    whole = bytes(content)
    content[4096 + 40] ^= 1
    segment.write_bytes(content)
    done = run('tally', 'repair', '--data', uk.folder, '--from', us.address)
    assert done.returncode == 1 and 'without its payload, and region uk is to hold it' in done.stderr, done.stderr
    assert segment.read_bytes() == bytes(content)
    check('tally', 'repair', '--data', uk.folder, '--from', eu.address)
    assert as_sent(segment.read_bytes()) == as_sent(whole)
    us.stop()
    (us.folder / 'evidence' / 'eu-1.damaged.9').write_bytes(whole)
    found = audit(us, clean=False)['violations']
    assert {v['where'] for v in found} == {'loose file'} and found[0]['offset'] == 4096 and found[0]['index'] == 0
