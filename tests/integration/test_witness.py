"""A region submits its checkpoints to witnesses that are no peers: another tallyd's endpoint, one that is away, and ones that lie."""
import http.server
import json
import re
import shutil
import threading

from harness import batch, check, event, free_port, run, wait_until, write

WAIT_S = 60


def foreign_witness(lab, log):
    """A region of which the log's region knows nothing, and that knows its keys: it witnesses the log, as anybody could. It never accepts anything itself."""
    witness = lab.init('wit', [log.name], addresses={log.name: log.address}).serve_http()
    shutil.copy(log.folder / 'keys' / 'region.pub', witness.folder / 'keys' / f'peer-{log.name}.pub')
    return witness.start(accepting=False)


def key_of(witness):
    return (witness.folder / 'keys' / 'witness.key.pub').read_text().strip()


def submits_to(region, **witnesses):
    """name=(key, url). Before the start."""
    lines = ''.join(f"  - name: {name}\n    key: '{key}'\n    url: {url}\n" for name, (key, url) in witnesses.items())
    region.edit_config('\\Z', f'witnesses:\n{lines}')
    region.edit_config(r'^checkpoint_interval_ms: .*', 'checkpoint_interval_ms: 100')
    return region


def append(region, count):
    for _ in range(count):
        region.client().append(batch(write('s')))


def wait_cosigned(region, size, name):
    """Until what is shown has that size and a line by that name; returns it."""
    def shown():
        answer = region.http(f'/{region.origin}/checkpoint')
        note = answer.body.decode()
        return note if answer.status == 200 and int(note.split('\n')[1]) >= size and f'\u2014 {name} ' in note else None
    return wait_until(shown, f'{region.name} to show a checkpoint of {size} by {name}', WAIT_S)


def metric(region, name):
    return re.search(rf'^{re.escape(name)} (\S+)$', region.http('/metrics').body.decode(), re.M).group(1)


def verified(lab, region, note, key):
    """By the auditor's tool, under a policy that wants the witness's cosignature."""
    path, policy = lab.folder / 'note', lab.folder / 'policy'
    log_key = next(line for line in (region.folder / 'keys' / 'region.pub').read_text().splitlines() if line.startswith(f'{region.origin}+'))
    policy.write_text(f'log {log_key}\nwitness w {key}\nquorum w\n')
    path.write_text(note)
    return run('tally-verify', 'checkpoint', path, '--policy', policy)


def test_another_tallyds_endpoint_cosigns_and_what_is_published_has_its_line(lab):
    eu, us = lab.cluster('eu', 'us')
    eu.serve_http()
    witness = foreign_witness(lab, eu)
    url = f'http://127.0.0.1:{witness.http_port}'
    submits_to(eu, wit=(key_of(witness), url))
    for region in (eu, us):
        region.start(accepting=False)
    eu.wait_accepting()
    append(eu, 3)
    note = wait_cosigned(eu, 3, 'bank/wit/witness')
    done = verified(lab, eu, note, key_of(witness))
    assert done.returncode == 0, done
    assert verified(lab, eu, re.sub('\u2014 bank/wit/witness .*\n', '', note), key_of(witness)).returncode == 4, 'the policy wants it'
    # It is away: appends go on, and what they make is published without it. It comes back, and cosigns what it missed, by a proof from where it was.
    witness.kill()
    append(eu, 60)
    eu.wait_shown(eu.size())
    wait_until(lambda: 'witness wit: ' in eu.said(), 'a word about it', WAIT_S)
    assert 'wit' in eu.http('/health').body.decode() and metric(eu, 'tally_witness_up{witness="wit"}') == '0'
    witness.start(accepting=False)
    wait_cosigned(eu, 63, 'bank/wit/witness')
    wait_until(lambda: metric(eu, 'tally_witness_cosigned_entries{witness="wit"}') == str(eu.size()), 'it to have all', WAIT_S)
    # After a restart, eu learns from it what it knows.
    eu.kill()
    eu.start()
    append(eu, 1)
    wait_cosigned(eu, 64, 'bank/wit/witness')
    assert 'ALARM' not in '\n'.join(line for line in eu.said().splitlines() if 'witness' in line), eu.said()
    assert 'witness wit cosigns again' in eu.said()


def test_a_witness_is_never_sent_a_proof_from_damaged_tiles(lab):
    eu = lab.init('eu').serve_http()
    witness = foreign_witness(lab, eu)
    submits_to(eu, wit=(key_of(witness), f'http://127.0.0.1:{witness.http_port}'))
    eu.start()
    eu.client().append(batch(write('s', *[event() for _ in range(300)])))
    wait_cosigned(eu, 300, 'bank/wit/witness')
    witness.kill()
    for _ in range(2):
        eu.client().append(batch(write('s', *[event() for _ in range(400)])))
    wait_until(lambda: json.loads(eu.http('/status').body)['logs'][0]['tiles_size'] == 1100, 'the tiles to have all', WAIT_S)
    with open(eu.folder / 'tiles' / 'eu-1' / '0', 'r+b') as file:  # of a leaf that the proof from 300 needs
        file.seek(32 * 301)
        file.write(bytes(32))
    witness.start(accepting=False)
    wait_cosigned(eu, 1100, 'bank/wit/witness')
    assert 'are damaged; they are made again' in eu.said()
    assert 'ALARM' not in eu.said(), eu.said()


class Hostile:
    """Answers every submission with what `answer` is at the time."""

    def __init__(self, lab):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                outer.requests.append(self.rfile.read(int(self.headers['Content-Length'])))
                outer.answer(self)

            def log_message(self, *_):
                pass
        self.requests = []
        self.answer = self.says(500, b'')
        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', free_port()), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f'http://127.0.0.1:{self.server.server_port}'
        lab.at_end(self.server.shutdown)

    @staticmethod
    def says(status, body, content_type='text/plain'):
        def answer(handler):
            handler.send_response(status)
            handler.send_header('Content-Type', content_type)
            handler.send_header('Content-Length', str(len(body)))
            handler.end_headers()
            try:
                handler.wfile.write(body)
            except OSError:
                pass  # it was broken off
        return answer


def test_witnesses_that_lie_publish_nothing_and_stop_nothing(lab):
    names = ('forger', 'flood', 'knows_more', 'other_history')
    hostile = {name: Hostile(lab) for name in names}
    eu = lab.init('eu').serve_http()
    witness = foreign_witness(lab, eu)
    key = key_of(witness)
    keys = {'forger': key}
    for number, name in enumerate(names[1:]):
        folder = lab.folder / f'key-{number}'
        check('tally', 'init', folder, '--cluster', 'w', '--region', f'w{number}', '--listen', eu.address)
        keys[name] = (folder / 'keys' / 'witness.key.pub').read_text().strip()
    forged = f'\u2014 {key.split("+")[0]} '.encode() + b'A' * 103 + b'=\n'
    hostile['forger'].answer = Hostile.says(200, forged)
    hostile['flood'].answer = Hostile.says(200, b'\xe2\x80\x94 x AAAAAAAA\n' * 100000)
    hostile['knows_more'].answer = Hostile.says(409, b'1000000\n', 'text/x.tlog.size')
    hostile['other_history'].answer = Hostile.says(422, b'no')
    submits_to(eu, **{name: (keys[name], hostile[name].url) for name in names})
    eu.start()
    append(eu, 5)
    eu.wait_shown(5)
    for words in ('ALARM: witness forger: ', 'witness flood: ', 'ALARM: witness knows_more: it knows 1000000 entries', 'ALARM: witness other_history: it holds another history'):
        wait_until(lambda words=words: words in eu.said(), words, WAIT_S)
    append(eu, 5)
    note = eu.wait_shown(10).decode()
    assert note.count('\n\u2014 ') == 1 and f'\u2014 {eu.origin} ' in note, note
    assert all(request.startswith(b'old 0\n\n') for request in hostile['forger'].requests)
    eu.stop()
