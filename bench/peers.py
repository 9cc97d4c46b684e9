"""The append work of `make bench` on other stores: 1,000 × 256 B a batch, 16-byte ids, 10,000 streams. `make bench-peers` (RUNS=3, ONLY=name).

Each store runs as a process of its own in a temporary folder, alternating with tallyd, and is set so that what it acknowledges is on stable storage; the
table says how. None of them does all of what tallyd does with an event, so the table also says what was checked. The clients are the stores' own
(db_bench, redis-benchmark, psql, pgbench); only NATS is driven by a small Python program that prepares its messages before the clock starts. What is not
installed is named and left out.
"""
import argparse
import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Callable, NamedTuple

from lab import Figures, Lab, db_bench, free_ports, run, say, wait_until

BATCH, PAYLOAD, STREAMS = 1000, 256, 10000
IN_FLIGHT = 4
CLIENTS = 16  # of those who send one event at a time
PAYLOAD_BYTES = bytes(range(256))


def find(*programs):
    """Where a program is: on the path, or where Debian keeps PostgreSQL's."""
    for program in programs:
        places = [shutil.which(program), *sorted(map(str, Path('/usr/lib/postgresql').glob(f'*/bin/{program}')), reverse=True),
                  *filter(os.path.exists, [f'/usr/sbin/{program}'])]
        found = next(filter(None, places), None)
        if found:
            return found
    return None


def events(count):
    """(id, stream) of fresh events."""
    return [(uuid.uuid4().bytes, f'bench-{i % STREAMS:010d}') for i in range(count)]


class Process:
    """A server that is stopped at the end of the block."""

    def __init__(self, *command, **options):
        self.process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def connect(port):
    connection = socket.socket()
    while connection.connect_ex(('127.0.0.1', port)) != 0:
        connection.close()
        connection = socket.socket()
        time.sleep(0.05)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def ours(folder, count):
    with Lab() as lab:
        region = lab.region()
        return region.append('--batch', BATCH, '--payload', PAYLOAD, '--streams', STREAMS, '--in-flight', IN_FLIGHT,
                             '--events', count)['events_per_second']


def ours_single(folder, count):
    with Lab() as lab:
        region = lab.region()
        return region.append('--batch', 1, '--payload', PAYLOAD, '--streams', STREAMS, '--in-flight', 1, '--callers', CLIENTS,
                             '--events', count)['events_per_second']


def rocksdb(folder, count):
    return db_bench(folder, count)


# --- Redis: 50 clients with 100 XADD under way each, as redis-benchmark sends them; appendfsync always ------------------

REDIS_CLIENTS, REDIS_PIPELINE = 50, 100  # one client's pipeline is read, and synced, 16 KiB at a time


def redis(folder, count):
    port, = free_ports(1)
    where = ('-h', '127.0.0.1', '-p', port)
    server = Process(find('redis-server'), '--port', port, '--bind', '127.0.0.1', '--dir', folder, '--appendonly', 'yes', '--appendfsync', 'always',
                     '--save', '')
    with server:
        connect(port).close()
        out = run(find('redis-benchmark'), *where, '--csv', '-c', REDIS_CLIENTS, '-P', REDIS_PIPELINE, '-n', count, '-r', STREAMS,
                  'XADD', 'bench-__rand_int__', '*', 'id', 'tick__rand_int__', 'p', 'x' * PAYLOAD)
        done = re.search(r'cmdstat_xadd:calls=(\d+),.*failed_calls=(\d+)', run(find('redis-cli'), *where, 'INFO', 'commandstats'))
        if done is None or int(done[1]) < count or int(done[2]) > 0:
            raise RuntimeError(f'Redis did not take all: {done and done[0]}')
        return float(out.splitlines()[-1].split(',')[1].strip('"'))


# --- PostgreSQL: rows of 1,000, the same columns and unique indexes --------------------------------------------------

SCHEMA = """CREATE TABLE event(position bigserial PRIMARY KEY, id uuid NOT NULL UNIQUE, stream text NOT NULL, version bigint NOT NULL,
  type text NOT NULL, payload bytea NOT NULL, UNIQUE(stream, version));"""


def rows(count):
    hexadecimal = PAYLOAD_BYTES.hex()
    fresh = events(count)
    for first in range(0, count, BATCH):
        values = (f"('{id.hex()}','{stream}',{(first + i) // STREAMS},'Measured','\\x{hexadecimal}')"
                  for i, (id, stream) in enumerate(fresh[first:first + BATCH]))
        yield f'INSERT INTO event(id, stream, version, type, payload) VALUES {",".join(values)};\n'


class Postgres:
    """A cluster with Debian's settings but for larger buffers, and the table."""

    def __init__(self, folder):
        port, = free_ports(1)
        data = folder / 'pg'
        user = {'user': 'postgres'} if os.geteuid() == 0 else {}
        data.mkdir()
        if user:
            folder.chmod(0o755)
            shutil.chown(data, 'postgres')
        run(find('initdb'), '-D', data, '-A', 'trust', '-U', 'postgres', '--no-locale', '-E', 'UTF8', cwd=data, **user)
        self.where = ['-h', '127.0.0.1', '-p', str(port), '-U', 'postgres']
        self.server = Process(find('postgres'), '-D', data, '-h', '127.0.0.1', '-p', port, '-k', '', '-c', 'shared_buffers=512MB', '-c', 'max_wal_size=4GB',
                              cwd=data, **user)

    def __enter__(self):
        wait_until(lambda: subprocess.run([*self.psql(), '-c', 'SELECT 1'], capture_output=True).returncode == 0)
        run(*self.psql(), '-c', SCHEMA)
        return self

    def __exit__(self, *exception):
        self.server.__exit__(*exception)

    def psql(self):
        return [find('psql'), '-q', *self.where, '-v', 'ON_ERROR_STOP=1', 'postgres']

    def check_count(self, count):
        if int(run(*self.psql(), '-At', '-c', 'SELECT count(*) FROM event')) != count:
            raise RuntimeError('PostgreSQL does not hold all rows')


def postgresql(folder, count):
    script = folder / 'rows.sql'
    script.write_text(''.join(rows(count)))
    with Postgres(folder) as postgres:
        begun = time.monotonic()
        run(*postgres.psql(), '-f', script)
        took = time.monotonic() - begun
        postgres.check_count(count)
        return count / took


# Versions come from the table's sequence of positions, so each is unique in its stream without a look-up that a client would have to make.
SINGLE = f"""\\set stream random(0, {STREAMS // CLIENTS - 1})
INSERT INTO event(id, stream, version, type, payload)
VALUES(gen_random_uuid(), 'bench-' || :client_id || '-' || :stream, nextval('event_position_seq'), 'Measured', '\\x{PAYLOAD_BYTES.hex()}');
"""


def postgresql_single(folder, count):
    script = folder / 'single.sql'
    script.write_text(SINGLE)
    with Postgres(folder) as postgres:
        begun = time.monotonic()
        run(find('pgbench'), *postgres.where, '-n', '-M', 'prepared', '-c', CLIENTS, '-j', 1, '-t', count // CLIENTS, '-f', script, 'postgres')
        took = time.monotonic() - begun
        postgres.check_count(count // CLIENTS * CLIENTS)
        return count / took


# --- NATS JetStream: messages published ahead, an acknowledgement each -----------------------------------------------

def nats(folder, count):
    port, = free_ports(1)
    config = folder / 'nats.conf'
    config.write_text(f'listen: "127.0.0.1:{port}"\njetstream {{ store_dir: "{folder}/nats" }}\n')
    with Process(find('nats-server'), '-c', config), connect(port) as connection:
        answers = connection.makefile('rb')
        answers.readline()  # INFO
        connection.sendall(b'CONNECT {"verbose":false,"headers":true}\r\nSUB answer 1\r\n')
        request = b'{"name":"bench","subjects":["bench.>"],"storage":"file","duplicate_window":120000000000}'
        connection.sendall(b'PUB $JS.API.STREAM.CREATE.bench answer %d\r\n%s\r\n' % (len(request), request))
        if b'"error"' in nats_message(answers):
            raise RuntimeError('NATS made no stream')
        batches = [b''.join(nats_publish(id, stream) for id, stream in events(BATCH)) for _ in range(count // BATCH)]
        begun = time.monotonic()
        sent = 0
        for answered in range(len(batches)):
            while sent < len(batches) and sent - answered < IN_FLIGHT:
                connection.sendall(batches[sent])
                sent += 1
            for _ in range(BATCH):
                if b'"error"' in nats_message(answers):
                    raise RuntimeError('NATS refused a message')
        return count / (time.monotonic() - begun)


def nats_publish(id, stream):
    header = b'NATS/1.0\r\nNats-Msg-Id: %s\r\n\r\n' % hashlib.md5(id).hexdigest().encode()
    return b'HPUB bench.%s answer %d %d\r\n%s%s\r\n' % (stream.encode(), len(header), len(header) + PAYLOAD, header, PAYLOAD_BYTES)


def nats_message(answers):
    line = answers.readline()
    while not line.startswith(b'MSG'):
        if line == b'' or line.startswith(b'-ERR'):
            raise RuntimeError(f'NATS said {line!r}')
        line = answers.readline()
    return answers.read(int(line.split()[-1]) + 2)


# --- All ---------------------------------------------------------------------------------------------------------------

class Peer(NamedTuple):
    measure: Callable  # (folder, count) -> events a second
    ours: Callable     # the same work of ours
    programs: tuple    # that it needs
    package: str       # Debian's
    thousands: int     # of events
    note: str          # what was durable, and what was checked


PEERS = (
    Peer(rocksdb, ours, ('db_bench',), 'rocksdb-tools', 200, 'durable: WAL synced each batch; nothing checked, no server'),
    Peer(redis, ours, ('redis-server', 'redis-benchmark', 'redis-cli'), 'redis-server', 200, 'durable: AOF fsynced before answers (appendfsync always); ids not checked'),
    Peer(postgresql, ours, ('postgres', 'initdb', 'psql'), 'postgresql', 30, 'durable: WAL synced each 1,000-row insert; ids and versions unique'),
    Peer(postgresql_single, ours_single, ('postgres', 'initdb', 'psql', 'pgbench'), 'postgresql', 30,
         f'durable: WAL synced each row or group of rows; ids and versions unique; {CLIENTS} clients, a row each'),
    Peer(nats, ours, ('nats-server',), 'nats-server', 50,
         'NOT durable at the acknowledgement: the file is synced every 2 minutes; ids checked for 2 minutes'),
)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--runs', type=int, default=3, help='how often each store is measured (3)')
    parser.add_argument('--only', default='', help='the stores whose name contains this: ' + ', '.join(peer.measure.__name__ for peer in PEERS))
    options = parser.parse_args()
    figures = Figures()
    for peer in PEERS:
        name = peer.measure.__name__
        if options.only not in name:
            continue
        missing = [program for program in peer.programs if find(program) is None]
        if missing:
            print(f'{name}: not measured, {", ".join(missing)} not installed (Debian: {peer.package})')
            continue
        say(name)
        mine, theirs = [], []
        for _ in range(options.runs):
            for function, samples in ((peer.ours, mine), (peer.measure, theirs)):
                with Lab() as lab:
                    samples.append(function(lab.folder, peer.thousands * 1000))
        figures.add(name, 'events/s', theirs, note=peer.note)
        figures.add('  Tallystick meanwhile', 'events/s', mine, note='durable: segments O_DIRECT|O_DSYNC; ids unique for ever, versions, hash chain')
        figures.add('  ratio', f'× {name}', [a / b for a, b in zip(mine, theirs)])
    if figures.rows:
        figures.finish('peers')
    return 0


if __name__ == '__main__':
    sys.exit(main())
