"""The HTTP side of real regions: tiles, what is published when, health, metrics, the witness, receipts, and hostile input."""
import base64
import hashlib
import json
import re
import socket
import time

from harness import UNREADABLE, USAGE, VERIFIED, VIOLATION, batch, check, event, ledger_pb2, ndjson, run, wait_until, write

IMMUTABLE = 'public, max-age=31536000, immutable'


def append(region, count, prefix='h', first=0):
    check('tally', 'import', '-', '--server', region.address, stdin=ndjson(count, prefix=prefix, first=first))


def pair(lab):
    """Two regions with HTTP, started."""
    regions = [region.serve_http().start(accepting=False) for region in lab.cluster('eu', 'us')]
    for region in regions:
        region.wait_accepting()
    return regions


def alone(lab):
    return lab.init('eu').serve_http().start()


# --- Tiles -----------------------------------------------------------------------------------------------------------

def test_http_is_off_until_an_address_is_given(lab):
    eu = lab.solo()
    assert "http_listen: 'off'" in eu.config.read_text()
    assert 'HTTP on' not in eu.said()


def test_a_log_is_served_with_the_headers_that_caches_need(lab):
    eu = alone(lab)
    path = f'/{eu.origin}'
    wait_until(lambda: eu.http(f'{path}/checkpoint').status == 404, 'eu to say that nothing is published')
    append(eu, 300)
    note = eu.wait_shown(300)
    answer = eu.http(f'{path}/checkpoint')
    assert answer.headers['Content-Type'] == 'text/plain; charset=utf-8'
    assert answer.headers['Cache-Control'] == 'no-cache'
    again = eu.http(f'{path}/checkpoint', headers={'If-None-Match': answer.headers['ETag']})
    assert (again.status, again.body) == (304, b'')
    tile = eu.http(f'{path}/tile/0/000')
    assert (tile.status, len(tile.body)) == (200, 8192)
    assert tile.headers['Content-Type'] == 'application/octet-stream'
    assert tile.headers['Cache-Control'] == IMMUTABLE
    head = eu.http(f'{path}/tile/0/000', method='HEAD')
    assert (head.status, head.body, head.headers['Content-Length']) == (200, b'', '8192')
    for missing in ('tile/0/001', 'tile/0/001.p/45', 'tile/0/002.p/1', 'tile/1/000.p/2', 'tile/entries/001', 'nothing'):
        assert eu.http(f'{path}/{missing}').status == 404, missing
    for malformed in ('tile/0/1', 'tile/0/000.p/0', 'tile/0/000.p/256', 'tile/x/000', 'tile/entries/0000'):
        assert eu.http(f'{path}/{malformed}').status == 400, malformed
    answer = eu.http(f'{path}/checkpoint', method='POST', body=b'x')
    assert (answer.status, answer.headers['Allow']) == (405, 'GET, HEAD')
    assert note.startswith(f'{eu.origin}\n300\n'.encode())


def test_a_checkpoint_is_shown_once_a_peer_has_cosigned_it_and_no_tile_before_it(lab):
    eu, us = pair(lab)
    us.stop()
    append(eu, 100)
    wait_until(lambda: eu.log(eu.origin).checkpoint_size == 100, 'eu to sign 100 entries')
    wait_until(lambda: eu.http(f'/{eu.origin}/checkpoint').status == 404, 'eu to have looked at it')
    time.sleep(0.3)
    assert eu.http(f'/{eu.origin}/checkpoint').status == 404, 'signed, but nobody has cosigned it'
    us.start(accepting=False)
    note = eu.wait_shown(100)
    assert note.count('\u2014 '.encode()) == 2, 'signed by the log and cosigned by the peer'
    us.stop()
    append(eu, 100, first=100)
    wait_until(lambda: eu.log(eu.origin).checkpoint_size == 200, 'eu to sign 200 entries')
    assert eu.wait_shown(100) == note
    assert eu.http(f'/{eu.origin}/tile/0/000.p/100').status == 200
    assert eu.http(f'/{eu.origin}/tile/0/000.p/101').status == 404
    assert eu.http(f'/{eu.origin}/tile/entries/000.p/101').status == 404
    us.start(accepting=False)
    eu.wait_shown(200)
    assert eu.http(f'/{eu.origin}/tile/0/000.p/200').status == 200
    assert eu.http(f'/{eu.origin}/tile/0/000.p/100').status == 200, 'the partial tile of the size shown before stays'


def test_a_mirror_serves_the_same_tiles(lab):
    eu, us = pair(lab)
    append(eu, 600)
    eu.wait_shown(600)
    us.wait_shown(600, eu.origin)
    for name in ('tile/0/000', 'tile/0/002.p/88', 'tile/1/000.p/2', 'tile/entries/001', 'tile/entries/002.p/88'):
        own, mirror = (region.http(f'/{eu.origin}/{name}') for region in (eu, us))
        assert own.status == mirror.status == 200 and own.body == mirror.body, name


def tiles_of(region):
    names = ('tile/0/000', 'tile/0/003', 'tile/0/003.p/9', 'tile/1/000.p/4', 'tile/entries/002')
    return [region.http(f'/{region.origin}/{name}').body for name in names]


def test_tiles_survive_kill_9_and_are_made_again_when_deleted(lab):
    eu = alone(lab)
    append(eu, 1100)
    note = eu.wait_shown(1100)
    right = tiles_of(eu)
    eu.kill()
    eu.start()
    assert eu.wait_shown(1100) == note
    assert tiles_of(eu) == right
    eu.stop()
    assert (eu.folder / 'tiles' / 'eu-1' / 'state').read_text().startswith('1100 ')
    for file in (eu.folder / 'tiles' / 'eu-1').iterdir():
        file.unlink()
    eu.start()
    assert eu.wait_shown(1100) == note
    assert tiles_of(eu) == right


def flip_leaf(region, index):
    """In the tiles of the region's own log."""
    with open(region.folder / 'tiles' / f'{region.name}-1' / '0', 'r+b') as file:
        file.seek(32 * index)
        byte = file.read(1)[0]
        file.seek(32 * index)
        file.write(bytes([byte ^ 1]))


def test_a_damaged_tile_is_never_served_and_is_made_again_from_the_log(lab):
    eu = alone(lab)
    append(eu, 1100)
    eu.wait_shown(1100)
    path = f'/{eu.origin}/tile/0/002'
    right = eu.http(path).body
    flip_leaf(eu, 2 * 256 + 2)
    assert eu.http(path).status == 500
    health = eu.http('/health')
    assert health.status == 503 and 'damaged' in health.body.decode()

    def again():
        answer = eu.http(path)
        assert answer.status != 200 or answer.body == right, 'a damaged tile was served'
        return answer.status == 200
    wait_until(again, 'the tile to be made again')
    assert 'are damaged; they are made again' in eu.said()
    assert eu.http('/health').status == 200, 'it has healed'


def test_a_receipt_never_comes_from_a_damaged_tile(lab):
    eu = alone(lab)
    append(eu, 1100)
    eu.wait_shown(1100)
    flip_leaf(eu, 513)
    for index in (512, 600, 513):  # its sibling, one further up, itself
        receipt = lab.folder / f'{index}.tlog-proof'
        receipt.write_bytes(eu.client().prove(ledger_pb2.ProveRequest(origin=eu.origin, index=index)).receipt)
        done = run('tally-verify', 'proof', receipt, '--key', eu.folder / 'keys' / 'region.pub')
        assert done.returncode == VERIFIED, done
    assert 'are damaged; they are made again' in eu.said()
    eu.wait_shown(1100)


# --- What is watched -------------------------------------------------------------------------------------------------

def reasons(region):
    answer = region.http('/health')
    return answer.status, {(reason['reason'], reason['fatal']) for reason in json.loads(answer.body)['reasons']}


def test_health_tells_outages_from_troubles(lab):
    eu, us = lab.cluster('eu', 'us')
    eu.serve_http().start(accepting=False)
    us.serve_http()
    wait_until(lambda: reasons(eu) == (503, {('not accepting', True), ('peer down', False)}), 'eu to say that it waits for us')
    us.start(accepting=False)
    wait_until(lambda: reasons(eu) == (200, set()), 'eu to be well')
    us.kill()
    wait_until(lambda: reasons(eu) == (200, {('peer down', False)}), 'eu to say that us is down')


def test_metrics_and_status_have_the_numbers(lab):
    eu, us = pair(lab)
    append(eu, 50)
    eu.wait_shown(50)
    us.wait_size(eu.origin, 50)
    status = wait_until(lambda: (s := json.loads(eu.http('/status').body))['peers'][0]['mirrored_size'] == 50 and s, 'us to acknowledge')
    own = status['logs'][0]
    assert (own['origin'], own['own'], own['size'], own['published_size'], own['shown_size'], own['tiles_size']) == (eu.origin, True, 50, 50, 50, 50)
    text = eu.http('/metrics').body.decode()
    samples = dict(re.fullmatch(r'([a-z_]+(?:\{[^}]*\})?) (-?[0-9.]+)', line).groups() for line in text.splitlines() if not line.startswith('#'))
    assert samples['tally_log_published_entries{origin="bank/eu/1",own="true"}'] == '50'
    assert samples['tally_log_entries{origin="bank/us/1",own="false"}'] == '0'
    assert float(samples['tally_peer_up{region="us"}']) == 1
    assert samples['tally_accepting'] == '1'


def test_the_dashboard_needs_nothing_from_elsewhere(lab):
    eu = alone(lab)
    answer = eu.http('/')
    assert answer.status == 200 and answer.headers['Content-Type'] == 'text/html; charset=utf-8'
    assert "default-src 'none'" in answer.headers['Content-Security-Policy']
    page = answer.body.decode()
    assert '<title>Tallystick</title>' in page
    assert not re.search(r'https?:|src=|@import|url\(', page)


# --- The witness -----------------------------------------------------------------------------------------------------

def sha256(*parts):
    return hashlib.sha256(b''.join(parts)).digest()


def root(leaves):
    """RFC 6962 section 2.1."""
    if len(leaves) < 2:
        return leaves[0] if leaves else sha256(b'')
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b'\1', root(leaves[:split]), root(leaves[split:]))


def consistency(old, leaves, known=True):
    """RFC 6962 section 2.1.2."""
    if old == len(leaves):
        return [] if known else [root(leaves)]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if old <= split:
        return consistency(old, leaves[:split], known) + [root(leaves[split:])]
    return consistency(old - split, leaves[split:], False) + [root(leaves[:split])]


def submission(old, note, proof=()):
    return f'old {old}\n'.encode() + b''.join(base64.b64encode(hash) + b'\n' for hash in proof) + b'\n' + note


def submit(region, *arguments):
    return region.http('/add-checkpoint', method='POST', body=submission(*arguments))


def test_a_region_witnesses_its_peers_logs(lab):
    eu, us = pair(lab)
    append(eu, 70)
    small = eu.wait_shown(70)
    append(eu, 50, first=70)
    large = eu.wait_shown(120)
    tile = eu.http(f'/{eu.origin}/tile/0/000.p/120').body
    leaves = [tile[i:i + 32] for i in range(0, len(tile), 32)]
    latest = f'/{hashlib.sha256(eu.origin.encode()).hexdigest()}/checkpoint'
    name = 'bank/us/witness'

    assert us.http(latest).status == 404
    assert us.http('/add-checkpoint').status == 405
    assert us.http('/add-checkpoint', method='POST', body=b'nonsense').status == 400
    assert us.http('/add-checkpoint', method='POST', body=b'x' * 100_000).status == 413
    first = submit(us, 0, small)
    assert first.status == 200 and re.fullmatch(f'\u2014 {name} [A-Za-z0-9+/=]+\n', first.body.decode()), first.body
    conflict = submit(us, 0, large)
    assert (conflict.status, conflict.body, conflict.headers['Content-Type']) == (409, b'70\n', 'text/x.tlog.size')
    assert submit(us, 130, large).status == 400
    assert submit(us, 70, large).status == 422, 'without a proof'
    assert submit(us, 70, large, consistency(69, leaves)).status == 422
    assert submit(us, 70, large.replace(b'\n120\n', b'\n121\n'), consistency(70, leaves)).status == 403
    assert submit(eu, 0, small).status == 404, 'eu witnesses only us'
    us.kill()
    us.start()
    assert submit(us, 0, large).body == b'70\n', 'it remembers across kill -9'
    assert submit(us, 70, large, consistency(70, leaves)).status == 200
    answer = us.http(latest)
    assert answer.status == 200 and answer.body.startswith(large.split(b'\n\n')[0])
    assert f'\u2014 {name} ' in answer.body.decode() and f'\u2014 {eu.origin} ' in answer.body.decode()


def test_a_witness_with_damaged_state_does_not_start(lab):
    eu, us = pair(lab)
    append(eu, 10)
    assert submit(us, 0, eu.wait_shown(10)).status == 200
    us.stop()
    state = next((us.folder / 'witness').iterdir())
    state.write_bytes(state.read_bytes().replace(b'\n10\n', b'\n11\n'))
    us.refuses_to_start('the witness cannot know what it cosigned', state.name)


# --- tally-verify over HTTP --------------------------------------------------------------------------------------------

def test_running_servers_and_folders_are_verified_and_compared(lab):
    eu, us = pair(lab)
    append(eu, 600)
    eu.wait_shown(600)
    us.wait_shown(600, eu.origin)
    key = eu.folder / 'keys' / 'region.pub'
    urls = [f'http://127.0.0.1:{region.http_port}/{eu.origin}' for region in (eu, us)]
    for url in urls:
        done = run('tally-verify', 'tlog', url, '--key', key, '--state', lab.folder / 'state', '--json')
        report = json.loads(done.stdout)
        assert done.returncode == VERIFIED and report['verified_to'] == 600, done.stdout + done.stderr
        assert report['checks']['authority']['result'] == 'ok', report['checks']
    done = run('tally-verify', 'compare', *urls, eu.log_folder('eu'), us.log_folder('eu'), '--key', key, '--json')
    assert done.returncode == VERIFIED and len(json.loads(done.stdout)['comparisons']) == 3, done.stdout + done.stderr


# --- Receipts --------------------------------------------------------------------------------------------------------

def test_a_receipt_is_checked_with_a_key_and_nothing_else(lab):
    eu, us = pair(lab)
    append(eu, 300)
    receipt = lab.folder / 'paid.tlog-proof'
    id = '0192d3f4-0000-7000-8000-000000000001'
    check('tally', 'append', '--server', eu.address, '--context', 'bank', '--partition', 'eu', '--stream', 'a', '--type', 'Paid', '--id', id,
          '--receipt', receipt)
    keys = lab.folder / 'keys.pub'
    keys.write_text(''.join((region.folder / 'keys' / 'region.pub').read_text() for region in (eu, us)))
    us.wait_shown(301, eu.origin)
    again = {name: lab.folder / f'{name}.tlog-proof' for name in ('server', 'mirror', 'files', 'mirror-files')}
    check('tally', 'proof', id, '--server', eu.address, '--out', again['server'])
    check('tally', 'proof', id, '--server', us.address, '--out', again['mirror'])
    eu.stop()
    us.stop()
    check('tally', 'proof', id, '--data', eu.folder, '--origin', eu.origin, '--out', again['files'])
    check('tally', 'proof', id, '--data', us.folder, '--origin', eu.origin, '--out', again['mirror-files'])
    assert again['server'].read_bytes() == again['files'].read_bytes()
    assert again['mirror'].read_bytes() == again['mirror-files'].read_bytes()
    for file in (receipt, *again.values()):
        done = run('tally-verify', 'proof', file, '--key', keys, '--json')
        report = json.loads(done.stdout)
        assert done.returncode == VERIFIED and (report['event'], report['index'], report['type']) == (id, 300, 'Paid'), done.stdout
    assert 'bank/us' in run('tally-verify', 'proof', receipt, '--key', keys).stdout


def test_a_receipt_that_was_changed_is_a_violation(lab):
    eu = alone(lab)
    append(eu, 5)
    receipt = lab.folder / 'r.tlog-proof'
    key = eu.folder / 'keys' / 'region.pub'
    id = json.loads(ndjson(5, prefix='h').splitlines()[2])['id']
    check('tally', 'proof', id, '--server', eu.address, '--out', receipt)
    right = receipt.read_text()
    lines = right.split('\n')
    for number in range(len(lines) - 1):
        changed = list(lines)
        middle = len(changed[number]) // 2
        if not changed[number]:
            changed.pop(number)
        else:
            changed[number] = changed[number][:middle] + ('A' if changed[number][middle] != 'A' else 'B') + changed[number][middle + 1:]
        receipt.write_text('\n'.join(changed))
        done = run('tally-verify', 'proof', receipt, '--key', key)
        assert done.returncode in (VIOLATION, UNREADABLE), f'line {number}: {done.stdout}{done.stderr}'
        assert 'VERIFIED' not in done.stdout
    receipt.write_text(right)
    assert run('tally-verify', 'proof', receipt, '--key', key).returncode == VERIFIED
    assert run('tally-verify', 'proof', receipt).returncode == USAGE
    assert run('tally-verify', 'proof', lab.folder / 'none', '--key', key).returncode == UNREADABLE


def test_a_receipt_comes_only_with_a_published_checkpoint(lab):
    eu, us = pair(lab)
    us.stop()
    receipt = lab.folder / 'r.tlog-proof'
    done = run('tally', 'append', '--server', eu.address, '--context', 'bank', '--partition', 'eu', '--stream', 'a', '--type', 'Paid', '--receipt', receipt,
               '--timeout-ms', 1500)
    assert done.returncode == 3 and 'the event was appended, but not its receipt written' in done.stderr, done.stderr
    assert not receipt.exists() and eu.size() == 1
    us.start(accepting=False)
    id = re.search(r'tally proof ([0-9a-f-]+)', done.stderr).group(1)
    check('tally', 'proof', id, '--server', eu.address, '--out', receipt, '--timeout-ms', 20000)
    done = run('tally', 'proof', '0192d3f4-0000-7000-8000-00000000000f', '--server', eu.address, '--out', receipt)
    assert done.returncode == 1 and 'no event with that id' in done.stderr


# --- Hostile input ---------------------------------------------------------------------------------------------------

def test_nothing_that_is_sent_stops_the_server(lab):
    eu = alone(lab)
    inputs = [b'', b'\0' * 1000, b'GET / HTTP/1.1\r\n' + b'A: b\r\n' * 20_000, b'GET /' + b'a' * 100_000 + b' HTTP/1.1\r\n\r\n',
              b'POST /add-checkpoint HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999\r\n\r\n' + b'x' * 200_000,
              b'POST /add-checkpoint HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n' + b'x' * 1000,
              b'GET /%s HTTP/1.1\r\n\r\n' % b'%00%2f..%2f']
    for data in inputs:
        with socket.create_connection(('127.0.0.1', eu.http_port), timeout=0.5) as s:
            try:
                s.sendall(data)
                while s.recv(65536):
                    pass
            except OSError:
                pass
    held = [socket.create_connection(('127.0.0.1', eu.http_port), timeout=10) for _ in range(200)]
    eu.client().append(batch(write('s', event())))
    for s in held:
        s.close()
    wait_until(lambda: eu.http('/health').status == 200, 'eu to answer again')


def test_a_port_in_use_is_named(lab):
    eu = lab.init('eu').serve_http()
    with socket.create_server(('127.0.0.1', eu.http_port)):
        eu.refuses_to_start('http_listen', str(eu.http_port))
    eu.edit_config(r'^http_listen: .*', 'http_listen: nowhere')
    eu.refuses_to_start('http_listen', 'nowhere')
