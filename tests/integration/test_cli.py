"""The tools as their users call them: tally import, read, status, export; tally-verify and its exit codes."""
import base64
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
import uuid
from concurrent import futures

import grpc

from harness import (BIN, UNREADABLE, USAGE, VIOLATION, batch, check, event, free_port, ndjson, read, read_log, run, wait_until, write)


def numbers(done):
    """N, A, D of "imported N events: A new, D already there"."""
    match = re.search(r'imported ([\d,]+) events?: ([\d,]+) new, ([\d,]+) already there', done.stdout + done.stderr)
    assert match, done.stdout + done.stderr
    return tuple(int(n.replace(',', '')) for n in match.groups())


def import_lines(region, lines):
    return run('tally', 'import', '-', '--server', region.address, stdin=lines)


def test_import_counts_new_and_old(lab):
    eu = lab.solo()
    done = import_lines(eu, ndjson(2500))
    assert done.returncode == 0, done.stderr
    assert numbers(done) == (2500, 2500, 0)
    assert numbers(import_lines(eu, ndjson(3000))) == (3000, 500, 2500)
    assert eu.size() == 3000
    stored = read(eu.client(), 's-3')
    assert [json.loads(e.payload)['n'] for e in stored] == list(range(3, 3000, 7)), 'the order of a stream is that of the file'


def test_import_of_a_file(lab):
    eu = lab.solo()
    file = lab.folder / 'events.ndjson'
    file.write_text(ndjson(10))
    check('tally', 'import', file, '--server', eu.address)
    assert eu.size() == 10


def test_import_sends_each_event_to_its_home(lab):
    eu, us = lab.started('eu', 'us')
    lines = ''.join(ndjson(1, prefix=f'p{i}', partition=('eu', 'us')[i % 2]) for i in range(200))
    assert numbers(import_lines(eu, lines)) == (200, 200, 0)
    assert (eu.size(), us.size()) == (100, 100)


def test_import_names_the_malformed_line_and_loses_nothing_before_it(lab):
    eu = lab.solo()
    good = ndjson(20).splitlines(keepends=True)
    bad = {
        'not json': '{"id": nonsense\n',
        'no object': '[1,2]\n',
        'bad uuid': good[4].replace(json.loads(good[4])['id'], 'not-a-uuid'),
        'no stream': re.sub(r'"stream": "[^"]*", ', '', good[4]),
        'unknown member': good[4].replace('"type"', '"tpye"'),
        'cut off': good[4][:30],
    }
    for what, line in bad.items():
        done = import_lines(eu, ''.join(good[:4]) + line + ''.join(good[5:]))
        assert done.returncode == 1, (what, done.returncode, done.stderr)
        assert re.search(r'line 5\b', done.stderr), (what, done.stderr)
        assert eu.size() == 4, (what, eu.size())
    assert numbers(import_lines(eu, ''.join(good))) == (20, 16, 4)


def test_import_refuses_an_id_with_other_content_and_names_the_line(lab):
    eu = lab.solo()
    lines = ndjson(10)
    import_lines(eu, lines)
    done = import_lines(eu, lines.replace('"n": 5', '"n": 555'))
    assert done.returncode == 1
    assert re.search(r'line 6\b', done.stderr), done.stderr
    assert eu.size() == 10


def test_import_to_nobody_gives_up_with_its_own_exit_code(lab):
    eu = lab.init('eu')
    process = subprocess.Popen([str(BIN / 'tally'), 'import', '-', '--server', eu.address], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # shells start what runs in the background without it
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode != 0


def test_import_waits_for_a_region_that_is_killed_and_comes_back(lab):
    eu, us = lab.started('eu', 'us')
    lines = ''.join(ndjson(1, prefix=f'p{i}', partition=('eu', 'us')[i % 2]) for i in range(20000))
    file = lab.folder / 'events.ndjson'
    file.write_text(lines)
    process = subprocess.Popen(f"split --lines=250 --filter='cat; sleep 0.02' {file} | {BIN}/tally import - --server {eu.address}", shell=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: us.size() > 2000, 'a part of the import')
    us.kill()
    time.sleep(0.5)
    us.start(accepting=False)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert re.search(r'imported 20,?000 events', out + err), out + err
    us.wait_accepting()
    eu.wait_size('bank/eu/1', 10000)
    us.wait_size('bank/us/1', 10000)
    assert (eu.log('bank/eu/1').size, us.log('bank/us/1').size) == (10000, 10000)


def test_killed_import_started_again_appends_nothing_twice(lab):
    eu = lab.solo()
    file = lab.folder / 'events.ndjson'
    file.write_text(ndjson(20000))
    process = subprocess.Popen(f"split --lines=250 --filter='cat; sleep 0.02' {file} | exec {BIN}/tally import - --server {eu.address}", shell=True,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    wait_until(lambda: eu.size() > 5000, 'a part of the import')
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = eu.size()
    assert before < 20000
    assert numbers(run('tally', 'import', file, '--server', eu.address))[0] == 20000
    assert eu.log('bank/eu/1').size == 20000
    ids = [e.entry.event_id for e in read_log(eu.client())]
    assert len(set(ids)) == 20000


def test_status_as_json_and_of_nobody(lab):
    eu = lab.solo()
    eu.client().append(batch(write('s')))
    status = json.loads(check('tally', 'status', '--server', eu.address, '--json'))
    assert status['region'] == 'eu' and status['logs'][0]['size'] == 1
    eu.stop()
    done = run('tally', 'status', '--server', eu.address)
    assert done.returncode == 3
    assert eu.address in done.stderr


def test_projection_is_created_queried_and_rebuilt_to_the_same_digest(lab):
    eu, us = lab.started('eu', 'us')
    sql = lab.folder / 'counts.sql'
    sql.write_text('''-- tally: projection counts
-- tally: schema
CREATE TABLE counts (stream TEXT PRIMARY KEY, n INTEGER NOT NULL, total INTEGER NOT NULL);
-- tally: on bank *
INSERT INTO counts VALUES (:stream, 1, json_extract(:payload, '$.n'))
ON CONFLICT (stream) DO UPDATE SET n = n + 1, total = total + excluded.total;
''')
    lines = ''.join(ndjson(7, prefix=f'p{i}', partition=('eu', 'us')[i % 2]) for i in range(50))
    import_lines(eu, lines)
    for region in (eu, us):
        region.wait_size('bank/eu/1', 175)
        region.wait_size('bank/us/1', 175)
        check('tally', 'projection', 'create', sql, '--server', region.address)
    position = eu.status().position

    def digest(region):
        return json.loads(check('tally', 'projection', 'digest', 'counts', '--wait', position, '--server', region.address, '--json'))

    first = digest(eu)
    assert first['row_count'] == 350 and len(first['digest']) == 64
    assert digest(us)['digest'] == first['digest']
    check('tally', 'projection', 'rebuild', 'counts', '--server', eu.address)
    wait_until(lambda: digest(eu)['generation'] == 2, 'the second generation')
    assert digest(eu)['digest'] == first['digest']
    eu.client().append(batch(write('p0-0', event(b'{"n":1}'))))
    position = eu.status().position
    assert digest(eu)['digest'] != first['digest']
    us.kill()
    us.start()
    assert digest(us)['digest'] == digest(eu)['digest']


def test_projection_that_does_not_compile_is_refused_with_its_line(lab):
    eu = lab.solo()
    sql = lab.folder / 'bad.sql'
    sql.write_text('-- tally: projection bad\n-- tally: schema\nCREATE TABLE t (a);\n-- tally: on bank X\nINSERT INTO nothing VALUES (1);\n')
    done = run('tally', 'projection', 'create', sql, '--server', eu.address)
    assert done.returncode == 1 and 'nothing' in done.stderr and re.search(r'line \d', done.stderr), done.stderr
    status = run('tally', 'projection', 'status', 'bad', '--server', eu.address)
    assert status.returncode == 1


# --- Options ---------------------------------------------------------------------------------------------------------

def test_an_option_that_would_be_passed_over_is_refused(lab):
    """Nobody listens there: what is not refused as wrong usage exits with 3."""
    file = lab.folder / 'batch.json'
    file.write_text('[' + ndjson(1).strip() + ']')
    item = 'bank/eu/1@1'
    all_open = ('--all', '--expect-count', '3')
    vain = {
        ('append', '--batch', file): ['--expect 3', f'--id {uuid.uuid4()}', '--content-type text/plain', '--metadata m', '--stream s', '--payload x'],
        ('proof', uuid.uuid4(), '--out', lab.folder / 'receipt'): ['--key k'],
        ('context', 'list'): ['--topology multi-home', '--dry-run', '--reason r'],
        ('context', 'show', 'bank'): ['--peers 1', '--lease-ms 0', '--type T=accept', '--expected-version 1', '--actor a'],
        ('ticket', 'list'): ['--wait 5'],
        ('ticket', 'show', 'us@5'): ['--open'],
        ('reconcile', 'list'): ['--html f', '--from 2026-11-24T10:00:00Z', '--to 2026-11-24T10:00:00Z', '--epoch 2', '--all', '--expect-count 3', '--stream s',
                                '--payload {}', '--id x', '--actor a', '--reason r'],
        ('reconcile', 'show', item): ['--context bank', '--state open', '--type T', '--actor a', '--html f'],
        ('reconcile', 'report', '--context', 'bank'): ['--type T', '--state open', '--kind late', '--partition p', '--all', '--expect-count 3', '--stream s',
                                                       '--actor a', '--reason r'],
        ('reconcile', 'accept', item): ['--expect-count 1', '--context bank', '--partition p', '--kind late', '--state open', '--type T', '--stream s', '--epoch 2',
                                        '--html f'],
        ('reconcile', 'compensate', item): ['--type T', '--stream s', '--payload {}', '--expect-count 1'],
        ('reconcile', 'reject', *all_open): ['--state late', '--stream s', '--payload {}', '--id x', '--epoch 2', '--from 2026-11-24T10:00:00Z', '--html f'],
    }
    used = [('append', '--batch', file), ('context', 'show', 'bank'), ('ticket', 'list', '--open'), ('ticket', 'show', 'us@5', '--wait', '5'),
            ('reconcile', 'list', '--context', 'bank', '--partition', 'p', '--kind', 'late', '--state', 'open', '--type', 'T'), ('reconcile', 'show', item),
            ('reconcile', 'report', '--context', 'bank', '--epoch', '2', '--html', lab.folder / 'report.html'),
            ('reconcile', 'accept', item, '--actor', 'a', '--reason', 'r'), ('reconcile', 'compensate', item, '--stream', 's', '--type', 'T', '--payload', '{}'),
            ('reconcile', 'reject', *all_open, '--context', 'bank', '--partition', 'p', '--kind', 'late', '--type', 'T', '--actor', 'a', '--reason', 'r')]
    nobody = ('--server', f'127.0.0.1:{free_port()}')
    for command, options in vain.items():
        for option in options:
            done = run('tally', *command, *option.split(), *nobody)
            assert done.returncode == USAGE and f'Try: tally {command[0]} --help' in done.stderr, (command, option, done.returncode, done.stderr)
    for command in used:
        done = run('tally', *command, *nobody)
        assert done.returncode == UNREADABLE, (command, done.returncode, done.stderr)


class Mute(grpc.GenericRpcHandler):
    """Takes every call and says nothing until it is told to stop."""

    def __init__(self):
        self.stopped = threading.Event()

    def service(self, call):
        def say_nothing(requests, context):
            self.stopped.wait()
            return iter(())
        return grpc.stream_stream_rpc_method_handler(say_nothing)


def test_a_read_gives_up_on_a_region_that_says_nothing(lab):
    mute = Mute()
    server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[mute])
    address = f'127.0.0.1:{server.add_insecure_port("127.0.0.1:0")}'
    server.start()
    lab.at_end(lambda: server.stop(None).wait())
    lab.at_end(mute.stopped.set)  # endings run from the last one
    for arguments in (['--stream', 'bank/s'], ['--log', 'bank/eu/1'], ['--stream', 'bank/s', '--at-least', 'eu@5']):
        done = run('tally', 'read', *arguments, '--timeout-ms', '300', '--server', address)
        assert done.returncode == UNREADABLE and 'did not answer in time' in done.stderr, (arguments, done.returncode, done.stderr)


# --- tally export tlog -----------------------------------------------------------------------------------------------

def tile_path(number):
    text = f'{number % 1000:03d}'
    while number >= 1000:
        number //= 1000
        text = f'x{number % 1000:03d}/' + text
    return text


def node(left, right):
    return hashlib.sha256(b'\x01' + left + right).digest()


def root_of(leaves):
    """RFC 6962, section 2.1."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return node(root_of(leaves[:split]), root_of(leaves[split:]))


def test_exported_tlog_has_the_root_of_its_entries_in_its_checkpoint(lab):
    eu = lab.solo()
    for _ in range(3):
        eu.client().append(batch(write('s', *[event() for _ in range(200)])))
    wait_until(lambda: eu.log('bank/eu/1').checkpoint_size == 600, 'checkpoint')
    eu.stop()
    out = lab.folder / 'tlog'
    check('tally', 'export', 'tlog', '--data', eu.folder, '--origin', 'bank/eu/1', '--out', out)
    origin, size, root = (out / 'checkpoint').read_text().split('\n')[:3]
    assert (origin, size) == ('bank/eu/1', '600')
    leaves = []
    for number in range(3):
        width = min(256, 600 - 256 * number)
        suffix = '' if width == 256 else f'.p/{width}'
        bundle = (out / 'tile/entries' / (tile_path(number) + suffix)).read_bytes()
        at = 0
        while at < len(bundle):
            length = int.from_bytes(bundle[at:at + 2], 'big')
            leaves.append(hashlib.sha256(b'\x00' + bundle[at + 2:at + 2 + length]).digest())
            at += 2 + length
        tile = (out / 'tile/0' / (tile_path(number) + suffix)).read_bytes()
        assert tile == b''.join(leaves[256 * number:256 * number + width])
    assert len(leaves) == 600
    assert base64.b64decode(root) == root_of(leaves)
    assert (out / 'tile/1/000.p/2').read_bytes() == root_of(leaves[:256]) + root_of(leaves[256:512])
    assert 'bank/eu/1+' in (out / 'vkey').read_text()


# --- tally-verify ----------------------------------------------------------------------------------------------------

def two_copies(lab, count=300):
    eu, us = lab.started('eu', 'us')
    for _ in range(count // 100):
        eu.client().append(batch(write('s', *[event(b'{"amount":"900.00"}') for _ in range(100)])))
    us.wait_size('bank/eu/1', count)
    wait_until(lambda: us.log('bank/eu/1').checkpoint_size == count, 'checkpoint at the mirror')
    eu.stop()
    us.stop()
    return eu, us, eu.folder / 'keys/region.pub'


def test_verify_exit_codes(lab):
    eu, us, key = two_copies(lab)
    check('tally-verify', 'log', eu.log_folder('eu'), '--key', key)
    check('tally-verify', 'compare', eu.log_folder('eu'), us.log_folder('eu'))
    assert run('tally-verify').returncode == USAGE
    assert run('tally-verify', 'log').returncode == USAGE
    assert run('tally-verify', 'log', lab.folder / 'nothing').returncode == UNREADABLE
    assert run('tally-verify', 'log', eu.log_folder('eu'), '--key', lab.folder / 'nothing').returncode in (USAGE, UNREADABLE)
    assert run('tally-verify', 'log', eu.log_folder('eu'), '--key', us.folder / 'keys/region.pub').returncode in (VIOLATION, UNREADABLE)


def test_verify_names_the_index_of_a_changed_byte(lab):
    eu, us, key = two_copies(lab)
    forged = lab.folder / 'forged'
    for place in (0, 150, 299):
        shutil.rmtree(forged, ignore_errors=True)
        shutil.copytree(us.log_folder('eu'), forged)
        file = next(forged.glob('*.seg'))
        data = bytearray(file.read_bytes())
        at = -1
        for _ in range(place + 1):
            at = data.index(b'"900.00"', at + 1)
        data[at + 1] = ord('1')
        file.chmod(0o644)
        file.write_bytes(data)
        done = run('tally-verify', 'log', forged, '--key', key)
        assert done.returncode == VIOLATION, (place, done.returncode, done.stdout, done.stderr)
        assert re.search(rf'\b{place}\b', done.stdout + done.stderr), (place, done.stdout + done.stderr)
        assert 'verified' not in done.stdout.split('\n')[0].lower().replace('not verified', '')
        assert run('tally-verify', 'compare', us.log_folder('eu'), forged).returncode == VIOLATION


def test_verify_refuses_a_log_that_was_cut_short(lab):
    eu, us, key = two_copies(lab)
    file = next(us.log_folder('eu').glob('*.seg'))
    data = file.read_bytes()
    third = data.index(b'TBK1', data.index(b'TBK1', data.index(b'TBK1') + 1) + 1)
    file.chmod(0o644)
    file.write_bytes(data[:third])
    done = run('tally-verify', 'log', us.log_folder('eu'), '--key', key)
    assert done.returncode in (VIOLATION, UNREADABLE), done.stdout
    done = run('tally-verify', 'compare', eu.log_folder('eu'), us.log_folder('eu'))
    assert done.returncode in (0, VIOLATION, UNREADABLE)
