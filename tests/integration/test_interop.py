"""Other people's tools accept our logs: Go's note and tlog libraries (tests/interop/tlogcheck.go) read what the server serves and what tally exports."""
import functools
import http.server
import shutil
import subprocess
import threading
from pathlib import Path

from harness import ROOT, check, ndjson, wait_until

TLOGCHECK = ROOT / 'build' / 'interop' / 'tlogcheck'
TESSERA = ROOT / 'tests' / 'vectors' / 'tessera15'
TESSERA_KEY = 'example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx'
SIZES = [1, 255, 256, 257, 65_535, 65_536, 70_000]


def tlogcheck(log, *arguments):
    return subprocess.run([str(TLOGCHECK), '-log', str(log), *map(str, arguments)], capture_output=True, text=True, timeout=60)


def accepted(log, *arguments):
    done = tlogcheck(log, *arguments)
    assert done.returncode == 0, f'tlogcheck {log} {arguments}: {done.stdout}{done.stderr}'
    return done.stdout


def refused(log, *arguments):
    done = tlogcheck(log, *arguments)
    assert done.returncode == 1 and not done.stdout, f'tlogcheck accepted {log}: {done.stdout}{done.stderr}'
    return done.stderr


def keys_of(region):
    log, cosign = (region.folder / 'keys' / 'region.pub').read_text().split()
    return log, cosign


def at(sizes):
    return [word for size in sizes for word in ('-at', size)]


def grow(region, first, size):
    if size > first:
        check('tally', 'import', '-', '--server', region.address, stdin=ndjson(size - first, prefix='g', first=first))


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*') if path.is_file() and path.name != 'vkey')


def expect_served(region, origin, export):
    """Every file of the export is what HTTP serves, byte for byte."""
    for name in files(export):
        answer = region.http(f'/{origin}/{name}')
        assert answer.status == 200 and answer.body == (export / name).read_bytes(), f'{name} is served with {answer.status} and other bytes'


class Served:
    """A folder over HTTP, by Python."""

    def __init__(self, folder):
        class Handler(http.server.SimpleHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'
            disable_nagle_algorithm = True

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Handler, directory=str(folder)))
        self.url = f'http://127.0.0.1:{self.server.server_address[1]}'
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def test_go_accepts_the_vectors_of_another_implementation():
    for size in range(16):
        accepted(TESSERA, '-checkpoint', f'checkpoint.{size}', '-key', TESSERA_KEY, '-size', size, *at(range(1, size)), '-published')


def expect_changes_refused(log, export, names, key):
    """One byte changed in a checkpoint, tile or bundle, full or partial, and Go refuses the log, which is read from the export or served from it."""
    accepted(log, '-key', key)
    for name in names:
        path = export / name
        right = path.read_bytes()
        wrong = bytearray(right)
        wrong[len(right) // 3] ^= 1
        path.write_bytes(wrong)
        refused(log, '-key', key)
        path.write_bytes(right)
    accepted(log, '-key', key)


def test_go_accepts_what_is_served_and_exported_at_every_size_and_nothing_that_was_changed(lab):
    eu = lab.init('eu').serve_http()
    eu.edit_config(r'^checkpoint_interval_ms: .*', 'checkpoint_interval_ms: 10')
    eu.start()
    key, _ = keys_of(eu)
    url = f'http://127.0.0.1:{eu.http_port}/{eu.origin}'
    wait_until(lambda: eu.http(f'/{eu.origin}/checkpoint').status == 404, 'eu to say that an empty log has no checkpoint')
    before = 0
    for size in SIZES:
        grow(eu, before, size)
        eu.wait_shown(size)
        accepted(url, '-key', key, '-size', size, '-published', *at(s for s in SIZES if s < size))
        export = lab.folder / f'export-{size}'
        check('tally', 'export', 'tlog', '--data', eu.folder, '--origin', eu.origin, '--out', export)
        accepted(export, '-key', key, '-size', size, *at(s for s in SIZES if s < size))
        before = size
    expect_served(eu, eu.origin, export)
    expect_changes_refused(export, export, ('checkpoint', 'tile/0/000', 'tile/0/123', 'tile/0/273.p/112', 'tile/1/000', 'tile/1/001.p/17',
                                            'tile/2/000.p/1', 'tile/entries/000', 'tile/entries/200', 'tile/entries/273.p/112'), key)
    small = lab.folder / 'export-257'
    served = Served(small)
    lab.at_end(served.close)
    expect_changes_refused(served.url, small, files(small), key)


def test_go_accepts_cosignatures_mirrors_and_receipts(lab):
    eu, us = lab.cluster('eu', 'us')
    for region in (eu, us):
        region.serve_http().start(accepting=False)
    eu.wait_accepting()
    grow(eu, 0, 300)
    eu.wait_shown(300)
    us.wait_shown(300, eu.origin)
    key, _ = keys_of(eu)
    _, cosigner = keys_of(us)
    accepted(f'http://127.0.0.1:{eu.http_port}/{eu.origin}', '-key', key, '-cosigner', cosigner, '-size', 300)
    accepted(f'http://127.0.0.1:{us.http_port}/{eu.origin}', '-key', key, '-size', 300)
    _, stranger = keys_of(eu)
    assert 'not signed by' in refused(f'http://127.0.0.1:{eu.http_port}/{eu.origin}', '-key', key, '-cosigner', stranger)
    for region in (eu, us):
        export = lab.folder / f'export-{region.name}'
        check('tally', 'export', 'tlog', '--data', region.folder, '--origin', eu.origin, '--out', export)
        expect_served(region, eu.origin, export)

    receipt = lab.folder / 'payment.tlog-proof'
    check('tally', 'append', '--server', eu.address, '--context', 'bank', '--partition', 'eu', '--stream', 'a', '--type', 'Paid', '--receipt', receipt)
    accepted('', '-receipt', receipt, '-key', key, '-cosigner', cosigner)
    text = receipt.read_text()
    for part in ('extra ', 'index ', '\n\n'):
        place = text.index(part) + len(part) + 1
        receipt.write_text(text[:place] + ('A' if text[place] != 'A' else 'B') + text[place + 1:])
        refused('', '-receipt', receipt, '-key', key)


def test_go_accepts_a_log_whose_key_is_being_replaced_by_either_key(lab):
    eu = lab.solo()
    old, _ = keys_of(eu)
    grow(eu, 0, 300)
    eu.stop()
    check('tally', 'key', 'rotate', 'log', '--data', eu.folder)
    new = (eu.folder / 'keys' / 'log-2.key.pub').read_text().strip()
    eu.start()
    wait_until(lambda: eu.size() == 301 and (eu.log_folder('eu') / 'checkpoint').read_text().split('\n')[1] == '301', 'both keys to sign')
    eu.stop()
    out = lab.folder / 'export'
    check('tally', 'export', 'tlog', '--data', eu.folder, '--origin', eu.origin, '--out', out)
    for key in (old, new):
        accepted(out, '-key', key, '-size', 301)
    assert (out / 'vkey').read_text().split() == [old, new]
    check('tally', 'key', 'retire', 'log', '--data', eu.folder)
    eu.start()
    wait_until(lambda: (eu.log_folder('eu') / 'checkpoint').read_text().split('\n')[1] == '302', 'the new key to sign alone')
    eu.stop()
    check('tally', 'export', 'tlog', '--data', eu.folder, '--origin', eu.origin, '--out', out)
    accepted(out, '-key', new, '-size', 302)
    refused(out, '-key', old, '-size', 302)
