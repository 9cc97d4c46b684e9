"""The figures that Tallystick promises, measured on this machine: `make bench` (RUNS=3, SCALE=1, ONLY=name; MINUTES=60 and
RATE=5000 for ONLY=soak).

Each figure is measured several times; the table shows the median, the least and the most, the aim, and whether the median reached it. What is
compared with something is measured alternately with it, so that a busy machine slows both, and the ratio of each pair counts. Servers are processes of
their own with folders of their own; loads come from `tally bench` through the real gRPC interface, on the same processors.

What was durable: every append counted here was acknowledged, and tallyd acknowledges only what its segment file holds by O_DIRECT|O_DSYNC.
What was checked: each answer has one result an event; the server checked ids for duplicates, and there were none; entries that were read have
consecutive indexes; a mirror counts when it holds all of the log; verified logs verify to their last entry.
"""
import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import threading
import time

import handover as moving
import slow_link
from lab import (ROOT, Figures, Lab, bench, db_bench, durable_write_us, folder_bytes, forget_pages, growth_percent, run, say, tally,
                 wait_until)

sys.path.append(str(ROOT / 'tests' / 'integration'))
from postgres import Postgres  # noqa: E402

MEGA = 1_000_000
SOAK_GROWTH_MAX_PERCENT = 5
FOLD = ROOT / 'build' / 'release' / 'bench' / 'fold'
BATCHES = ('--batch', 1000, '--payload', 256, '--streams', 10000, '--in-flight', 4)


def append_batches(figures, options):
    """batches of 1,000 × 256 B over 10,000 streams, and RocksDB with synced batches beside it"""
    events = 300 * 1000
    ours, indexed, theirs, processor = [], [], [], []
    for _ in range(options.runs):
        with Lab() as lab:
            region = lab.region()
            region.append(*BATCHES, '--events', 20000)
            used = region.processor_seconds()
            begun = time.monotonic()
            ours.append(region.append(*BATCHES, '--events', events)['events_per_second'])
            region.wait_indexed()
            indexed.append(events / (time.monotonic() - begun))
            processor.append((region.processor_seconds() - used) * 1e6 / events)
            region.stop()
            if shutil.which('db_bench'):
                theirs.append(db_bench(lab.folder, events))
    figures.add('append, 1,000 × 256 B', 'events/s', ours, at_least=MEGA, note='durable, ids checked for duplicates')
    figures.add('  until the index has all', 'events/s', indexed, note='what can be kept up: appends are refused when the index is a million behind')
    figures.add('  processor time of tallyd', 'µs/event', processor, note='index included')
    if theirs:
        figures.add('  RocksDB, fillseq, synced batches', 'entries/s', theirs, note='durable; no server, nothing checked')
        figures.add('  ratio', '× RocksDB', [a / b for a, b in zip(ours, theirs)], at_least=1.5)
    else:
        say('    db_bench is not installed (Debian: rocksdb-tools): no comparison with RocksDB')


def append_calls(figures, options):
    """one event at a time: many callers, and one"""
    many, many_p99, unary, one, one_unary, write, empty, empty_unary = ([] for _ in range(8))
    single = ('--batch', 1, '--in-flight', 1, '--seconds', 2)
    with Lab() as lab:
        region = lab.region()
        for _ in range(options.runs):
            result = region.append(*single, '--callers', 64)
            many.append(result['events_per_second'])
            many_p99.append(result['latency_us']['p99'] / 1000)
            unary.append(region.append(*single, '--callers', 64, '--unary')['events_per_second'])
            write.append(durable_write_us(lab.folder))
            one.append(region.append(*single)['latency_us']['p50'])
            one_unary.append(region.append(*single, '--unary')['latency_us']['p50'])
            empty.append(region.ping()['latency_us']['p50'])
            empty_unary.append(region.ping('--unary')['latency_us']['p50'])
    figures.add('append, 1 event, 64 callers', 'events/s', many, at_least=60000, note='durable; each caller waits for its answer, on a stream of its own')
    figures.add('  p99', 'ms', many_p99, at_most=5)
    figures.add('  with a gRPC call for each', 'events/s', unary)
    figures.add('durable write of 4 KiB', 'µs', write, note='O_DIRECT|O_DSYNC into a file written before')
    figures.add('append, 1 event, 1 caller', '× write', [a / b for a, b in zip(one, write)], at_most=2, note='median latency')
    figures.add('  in time', 'µs', one)
    figures.add('  an empty message on that stream', 'µs', empty, note='refused as soon as it is decoded: gRPC and the kernel\'s TCP alone')
    figures.add('  limit: a durable write and an empty message', 'µs', [a + b for a, b in zip(write, empty)])
    figures.add('  with a gRPC call for each', 'µs', one_unary)
    figures.add('  an empty call', 'µs', empty_unary)


def read(figures, options):
    """reading a log, cold and warm, and catching up"""
    cold, warm, subscribed = [], [], []
    with Lab() as lab:
        region = lab.region()
        region.append(*BATCHES, '--events', MEGA)
        region.wait_indexed()
        for _ in range(options.runs):
            region.stop()
            forget_pages(region.folder)
            region.start()
            cold.append(region.read()['events_per_second'])
            warm.append(region.read()['events_per_second'])
            subscribed.append(region.read('--subscribe')['events_per_second'])
    figures.add('read a log, cold', 'events/s', cold, at_least=3 * MEGA, note='after a restart, files not in the page cache')
    figures.add('read a log, warm', 'events/s', warm, at_least=3 * MEGA)
    figures.add('subscribe from the start', 'events/s', subscribed, at_least=3 * MEGA)


def replicate(figures, options):
    """appends with a mirror on the same machine: two servers and the load share the processors"""
    alone, mirrored, complete, lag = [], [], [], []
    events = 200 * 1000
    for _ in range(options.runs):
        with Lab() as lab:
            region = lab.region()
            region.append(*BATCHES, '--events', 20000)
            alone.append(region.append(*BATCHES, '--events', events)['events_per_second'])
        with Lab() as lab:
            home, mirror = lab.pair()
            both = ('--server', home.address, '--mirror', mirror.address, '--context', 'bench', '--partition', 'p', *BATCHES)
            result = bench('replicate', *both, '--events', events, '--probes', 0)
            mirrored.append(result['events_per_second'])
            complete.append(result['replicated_per_second'])
            half = int(result['replicated_per_second'] / 2)
            result = bench('replicate', *both, '--batch', 100, '--rate', half, '--seconds', 5)
            lag.append(result['lag_us']['p99'] / 1000)
    figures.add('append with one mirror', 'events/s', mirrored, note='durable here')
    figures.add('  ratio', '× without', [a / b for a, b in zip(mirrored, alone)], at_least=0.6)
    figures.add('  until the mirror holds all', 'events/s', complete, note='durable and checked there too')
    figures.add('lag at half of that rate, p99', 'ms', lag, at_most=50, note='from acknowledged here to delivered there')


def across_the_ocean(figures, options):
    """replication over a link with a round trip of 100 ms, and of 2 ms"""
    load = ('--batch', 1000, '--payload', 256, '--streams', 10000, '--in-flight', 4)
    near, far, near_complete, far_complete = [], [], [], []
    try:
        for number in range(min(options.runs, 2)):
            pair = ((1, near, near_complete), (50, far, far_complete))
            for delay_ms, appended, complete in pair if number % 2 == 0 else reversed(pair):
                result = slow_link.run_apart(delay_ms, *load, '--seconds', 6)
                appended.append(result['events_per_second'])
                complete.append(result['replicated_per_second'])
        untuned = slow_link.run_apart(50, slow_link.UNTUNED, *load, '--events', 200 * 1000)['replicated_per_second']
    except slow_link.NotPermitted as error:
        say(f'    not measured: {error}')
        return
    figures.add('100 ms to the mirror: append', 'events/s', far, note='durable here; batches of 1,000 × 256 B')
    figures.add('  ratio', '× with 2 ms', [a / b for a, b in zip(far, near)], at_least=0.95)
    figures.add('  until the mirror holds all', 'events/s', far_complete, note='of 6 s of appends at full rate')
    figures.add('  ratio', '× with 2 ms', [a / b for a, b in zip(far_complete, near_complete)], at_least=0.9,
                note='socket buffers of up to 64 MiB (tools/README.md); some round trips are needed to see the end')
    figures.add('  with this kernel\'s own socket buffers', 'events/s', [untuned],
                note=f'a sender has at most {slow_link.send_buffer_max_bytes() / 2**20:.0f} MiB under way')


CURVE = ('events from, M', 'to, M', 'events/s', 'p50 ms', 'p99 ms', 'p99.9 ms', 'most ms', 'refused', 'index behind', 'resident MiB')


def grow(figures, region, name, steps, load):
    """Appends up to each of `steps` in turn, at full rate and without a pause, and shows how it goes along the way."""
    points, before = [], 0
    for events in steps:
        result = region.append(*load, '--events', events - before, timeout=7200)
        own = region.own_log()
        latency = [result['latency_us'][name] / 1000 for name in ('p50', 'p99', 'p999', 'max')]
        points.append([before / MEGA, events / MEGA, result['events_per_second'], *latency, result['refused'], own['size'] - own['indexed_size'],
                       region.memory_bytes()[0] / 2**20])
        before = events
    figures.add_curve(name, 'rate, and latency of batches of 1,000 in a closed loop of 4, each row over its own stretch; the index compacts meanwhile',
                      CURVE, points)
    return points


def sizes(figures, options):
    """growth, memory, sizes, the index, and the start after SIGKILL, with SCALE million events in a million streams"""
    events = options.scale * MEGA
    starts, rebuilds = [], []
    with Lab() as lab:
        region = lab.region()
        steps = [events * share // 10 for share in (1, 2, 5, 10)]
        points = grow(figures, region, f'growth to {options.scale} M events', steps, (*BATCHES, '--streams', MEGA))
        figures.add(f'append, the last half of {options.scale} M events', '× first tenth', [points[-1][2] / points[0][2]],
                    note='256 B over 1 M streams')
        total = region.wait_indexed()
        now, most = region.memory_bytes()
        figures.add(f'memory, {options.scale} M events, 1 M streams', 'MiB', [now / 2**20], at_most=1024, note='resident after appending them')
        figures.add('  the most so far', 'MiB', [most / 2**20])
        frame_bytes = region.read()['bytes']
        region.stop()
        used = json.loads(run(*region.verifying(), '--json'))['bytes']
        figures.add('log on disk', '× frames', [used / frame_bytes], at_most=1.15, note='without the space reserved ahead')
        figures.add('  in bytes', 'B/event', [used / total])
        figures.add('index on disk', 'B/event', [folder_bytes(region.folder / 'index') / total], at_most=60, note='as RocksDB left it when stopped')
        region.start()
        for _ in range(options.runs):
            region.append(*BATCHES, '--events', 20000)
            region.kill()
            starts.append(region.start())
        figures.add(f'start after SIGKILL, {options.scale} M events', 's', starts, at_most=3, note='20,000 events just before')
        total = region.wait_indexed()
        for _ in range(min(options.runs, 2)):
            region.stop()
            shutil.rmtree(region.folder / 'index')
            rebuilds.append(region.start() * MEGA / total)
        figures.add('index from nothing', 'µs/event', rebuilds, note='one thread, at the start, from the log')


def large(figures, options):
    """100 million events of 64 B in a million streams: the curve, memory, the index, and the start after SIGKILL. A quarter of an hour, and 40 GB; by name only"""
    events = 100 * MEGA
    small = ('--batch', 1000, '--payload', 64, '--in-flight', 4, '--streams', MEGA)
    starts = []
    with Lab() as lab:
        region = lab.region()
        begun = time.monotonic()
        points = grow(figures, region, 'growth to 100 M events', [events * share // 100 for share in (1, 2, 5, 10, 20, 50, 100)], small)
        total = region.wait_indexed()
        rate = events / (time.monotonic() - begun)
        now, most = region.memory_bytes()
        figures.add('append 100 M events, index included', 'events/s', [rate], note='64 B each, 1 M streams')
        figures.add('  the last half', '× first million', [points[-1][2] / points[0][2]])
        figures.add('  memory after that', 'MiB', [now / 2**20], at_most=1024, note='resident')
        figures.add('  the most so far', 'MiB', [most / 2**20])
        for _ in range(options.runs):
            region.append(*small, '--events', 20000)
            region.kill()
            starts.append(region.start())
        region.stop()
        figures.add('  index on disk', 'B/event', [folder_bytes(region.folder / 'index') / total], at_most=60, note='as RocksDB left it when stopped')
        figures.add('start after SIGKILL, 100 M events', 's', starts, at_most=3, note='20,000 events just before')


SOAK_SAMPLE_S = 30
SOAK_WARM_UP = 5 * MEGA  # events, until caches and what is gathered in memory are full


def soak(figures, options):
    """MINUTES of appends at a steady RATE after five million at full rate, and the resident memory meanwhile. By name only"""
    seconds = options.minutes * 60
    load = ('--batch', 50, '--payload', 256, '--streams', MEGA, '--rate', options.rate, '--seconds', seconds)
    points, done = [], {}
    with Lab() as lab:
        region = lab.region()
        region.append(*BATCHES, '--streams', MEGA, '--events', SOAK_WARM_UP, timeout=1200)
        region.wait_indexed()
        loading = threading.Thread(target=lambda: done.update(region.append(*load, timeout=seconds + 300)), daemon=True)
        begun = time.monotonic()
        loading.start()
        while loading.is_alive():
            loading.join(SOAK_SAMPLE_S - (time.monotonic() - begun) % SOAK_SAMPLE_S)
            if loading.is_alive():
                points.append([(time.monotonic() - begun) / 60, region.own_log()['size'], region.memory_bytes()[0] / 2**20])
        if not done:
            raise RuntimeError('the load failed')
    figures.add_curve(f'{options.minutes} minutes at {options.rate} events/s', '256 B in batches of 50, over 1 M streams, an open loop',
                      ('minutes', 'events', 'resident MiB'), points)
    late = points[len(points) // 2:]
    percent = growth_percent([(at, mib) for at, _, mib in late])
    figures.add(f'appended in {options.minutes} minutes', 'events/s', [done['events_per_second']], note=f'{options.rate} were due')
    figures.add('  batches of 50, p99', 'ms', [done['latency_us']['p99'] / 1000], note='from when each was due')
    figures.add('  the slowest', 'ms', [done['latency_us']['max'] / 1000])
    figures.add('memory at the end', 'MiB', [points[-1][2]], at_most=1024, note='resident')
    figures.add('  growth over the last half', '%', [percent], at_most=SOAK_GROWTH_MAX_PERCENT,
                note='of the line through the samples by least squares')
    figures.add('  in bytes', 'B/event', [percent / 100 * late[0][2] * 2**20 / (late[-1][1] - late[0][1])], note='for each event of the last half')


def verify(figures, options):
    """tally-verify from the page cache, against what the machine can hash"""
    rates, shares, hashed = [], [], []
    with Lab() as lab:
        region = lab.region()
        region.append(*BATCHES, '--events', MEGA)
        region.wait_indexed()
        region.stop()
        report = json.loads(run(*region.verifying(), '--json'))
        events = report['verified_to']
        for _ in range(options.runs):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            begun = time.monotonic()
            subprocess.run(region.verifying(), check=True, stdout=subprocess.DEVNULL)
            took = time.monotonic() - begun
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            out = run('openssl', 'speed', '-seconds', 1, '-bytes', 256, '-evp', 'sha256')
            per_second = float(re.search(r'^sha256\s+([\d.]+)k', out, re.MULTILINE | re.IGNORECASE)[1]) * 1000
            # Each event is hashed as a leaf (1 byte more), a commitment (46 more) and a node of the tree (65).
            bound = per_second / (report['bytes'] / events + 1 + 46 + 65)
            rates.append(events / took)
            hashed.append(bound)
            shares.append(events / processor / bound)
    figures.add('verify a log', 'events/s', rates, at_least=2.5 * MEGA, note='every byte, chain, payload, root and checkpoint')
    figures.add('  hashing alone, one processor', 'events/s', hashed, note='openssl speed')
    figures.add('  share of that', '×', shares, at_least=0.8, note='by processor time')


PROJECTION = """-- tally: projection measured
-- tally: schema
{schema}
-- tally: on bench *
INSERT INTO seen(stream, events) VALUES(:stream, 1) ON CONFLICT(stream) DO UPDATE SET events = seen.events + 1;
"""
IN_SQLITE = 'CREATE TABLE seen(stream TEXT PRIMARY KEY, events INTEGER NOT NULL) WITHOUT ROWID;'
IN_POSTGRESQL = 'CREATE TABLE seen(stream text COLLATE "C" PRIMARY KEY, events bigint NOT NULL);'


def rebuilds(region, folder, schema, events, runs, *where):
    """Rates of rebuilding a projection again and again."""
    (folder / 'measured.sql').write_text(PROJECTION.format(schema=schema))
    server = ('--server', region.address, '--json')

    def status():
        return json.loads(tally('projection', 'status', 'measured', *server))

    rates = []
    tally('projection', 'create', folder / 'measured.sql', *where, *server)
    position = region.status()['position']
    wait_until(lambda: status()['position'] == position, timeout=600)
    for _ in range(runs):
        generation = status()['generation']
        begun = time.monotonic()
        tally('projection', 'rebuild', 'measured', *server)
        wait_until(lambda: status()['generation'] > generation and status()['position'] == position, timeout=600)
        rates.append(events / (time.monotonic() - begun))
    return rates


def native_fold(figures, options):
    """rebuilding by replay without SQL: fold.c over the log's files"""
    warm, cold = [], []
    with Lab() as lab:
        region = lab.region()
        region.append(*BATCHES, '--events', MEGA)
        region.stop()
        for _ in range(options.runs):
            forget_pages(region.log_folder())
            for samples in (cold, warm):
                folded = json.loads(run(FOLD, region.log_folder()))
                if (folded['events'], folded['streams']) != (MEGA, 10000):
                    raise RuntimeError(f'not what was appended: {folded}')
                samples.append(folded['events'] / folded['seconds'])
    figures.add('rebuild by a native fold', 'events/s', warm, at_least=2 * MEGA, note='a count, a version and a balance a stream, from the files; CRCs checked')
    figures.add('  files not in the page cache', 'events/s', cold)


def projection(figures, options):
    """rebuilding a projection by replay: one row a stream, one statement an event"""
    events = 500 * 1000
    with Lab() as lab:
        region = lab.region()
        region.append(*BATCHES, '--events', events)
        region.wait_indexed()
        rates = rebuilds(region, lab.folder, IN_SQLITE, events, options.runs)
    figures.add('rebuild a projection, SQLite', 'events/s', rates, at_least=300000, note='10,000 rows, the cursor in the same transaction')
    with Postgres() as postgres, Lab() as lab:
        region = lab.region(f'projection_databases:\n  - name: pg\n    url: {postgres.url()}\n')
        region.append(*BATCHES, '--events', events)
        region.wait_indexed()
        rates = rebuilds(region, lab.folder, IN_POSTGRESQL, events, options.runs, '--database', 'pg')
    figures.add('rebuild a projection, PostgreSQL', 'events/s', rates, at_least=100000, note='the same, over loopback, Debian\'s settings')


def handover(figures, options):
    """a planned move of 10,000 partitions at once between two regions, with appends at both"""
    took, p50, p99, most, seen = [], [], [], [], []

    def load(home, finished):
        while not finished.is_set():
            home.append('--batch', 10, '--payload', 256, '--streams', 1000, '--rate', 2000, '--seconds', 2)

    for _ in range(options.runs):
        with Lab() as lab:
            seconds, pauses, probed = moving.measure(lab, load)
        took.append(seconds)
        p50.append(moving.percentile(pauses, 0.5))
        p99.append(moving.percentile(pauses, 0.99))
        most.append(max(pauses))
        seen += probed
    figures.add('handover of 10,000 partitions', 's', took, note='until the other region has taken the last; 2,000 events/s meanwhile')
    figures.add('  pause of a partition, p50', 'ms', p50, note='from the entry that lets go of it to the one that takes it')
    figures.add('  p99', 'ms', p99, at_most=100)
    figures.add('  the longest', 'ms', most)
    figures.add('  as 8 callers saw it', 'ms', seen, at_most=100, note='from the last answer of the old home to the first of the new one')


MEASURES = (append_batches, append_calls, read, replicate, across_the_ocean, sizes, verify, native_fold, projection, handover)
BY_NAME = (large, soak)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--runs', type=int, default=3, help='how often each figure is measured (3)')
    parser.add_argument('--scale', type=int, default=1, help='million events for sizes, memory and start (1)')
    parser.add_argument('--minutes', type=int, default=60, help='of soak (60)')
    parser.add_argument('--rate', type=int, default=5000, help='events a second of soak (5000)')
    parser.add_argument('--only', default='', help='the measures whose name contains this: ' + ', '.join(m.__name__ for m in (*MEASURES, *BY_NAME)))
    options = parser.parse_args()
    figures = Figures()
    say(f'{figures.machine["processors"]} × {figures.machine["model"]}, load {os.getloadavg()[0]:.1f}')
    for measure in (*MEASURES, *BY_NAME):
        if options.only == measure.__name__ or (options.only in measure.__name__ and measure in MEASURES):
            say(f'{measure.__name__}: {measure.__doc__}')
            begun = time.monotonic()
            measure(figures, options)
            say(f'    ({time.monotonic() - begun:.0f} s)')
    figures.finish('results')


if __name__ == '__main__':
    main()
