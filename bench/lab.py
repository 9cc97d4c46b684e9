"""What the benchmarks share: regions in temporary folders, figures with their spread, and what the machine did meanwhile."""
import json
import mmap
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = ROOT / 'build' / 'bin'
RESULTS = ROOT / 'build' / 'bench'
CONTEXT = ('--context', 'bench', '--partition', 'p')


def say(text):
    print(text, file=sys.stderr, flush=True)


def run(*command, timeout=600, **options):
    """Runs to the end and returns standard output; a failure ends the benchmark with what was said."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=timeout, **options)
    if done.returncode != 0:
        raise RuntimeError(f'{" ".join(map(str, command))}: exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}')
    return done.stdout


def tally(*arguments, timeout=600):
    return run(BIN / 'tally', *arguments, timeout=timeout)


def bench(kind, *arguments, timeout=600):
    """One `tally bench`, as its JSON."""
    return json.loads(tally('bench', kind, '--json', *arguments, timeout=timeout))


def free_ports(count):
    sockets = [socket.create_server(('127.0.0.1', 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def wait_until(condition, timeout=60):
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f'waited {timeout} s in vain')
        time.sleep(0.02)


class Region:
    """One tallyd with a data folder."""

    def __init__(self, folder, name, address, peers=(), home=None, inside=()):
        self.folder, self.name, self.address, self.inside = folder / name, name, address, inside
        options = [option for peer, where in peers for option in ('--peer', f'{peer}={where}')]
        tally('init', self.folder, '--cluster', 'bench', '--region', name, '--listen', address, '--context', f'bench={home or name}', *options)
        self.process = None

    def start(self):
        """Returns how many seconds it took until it was ready."""
        begun = time.monotonic()
        with open(self.folder.parent / f'{self.name}.err', 'ab') as err:
            self.process = subprocess.Popen([*self.inside, BIN / 'tallyd', '--data', self.folder], stdout=subprocess.PIPE, stderr=err, text=True)
        for line in self.process.stdout:
            if 'ready' in line:
                return time.monotonic() - begun
        raise RuntimeError('tallyd did not start: ' + (self.folder.parent / f'{self.name}.err').read_text()[-2000:])

    def end(self, signal_number):
        self.process.send_signal(signal_number)
        self.process.wait(timeout=120)
        self.process.stdout.close()
        self.process = None

    def stop(self):
        self.end(signal.SIGTERM)

    def kill(self):
        self.end(signal.SIGKILL)

    def append(self, *arguments, timeout=600):
        result = bench('append', '--server', self.address, *CONTEXT, *arguments, timeout=timeout)
        if result['duplicates'] != 0:
            raise RuntimeError(f'{result["duplicates"]} fresh events were answered as duplicates')
        return result

    def read(self, *arguments):
        return bench('read', '--server', self.address, *arguments)

    def ping(self, *arguments):
        return bench('ping', '--server', self.address, '--seconds', 1, *arguments)

    def status(self):
        return json.loads(tally('status', '--server', self.address, '--json'))

    def wait_indexed(self):
        """Until the index reflects the whole log; returns its size."""
        def behind():
            own = self.own_log()
            return own['size'] - own['indexed_size']
        wait_until(lambda: behind() == 0, timeout=600)
        return self.own_log()['size']

    def own_log(self):
        return next(log for log in self.status()['logs'] if log['own'])

    def log_folder(self):
        return self.folder / 'logs' / f'{self.name}-1'

    def verifying(self):
        return [str(BIN / 'tally-verify'), 'log', str(self.log_folder()), '--key', str(self.folder / 'keys' / 'region.pub')]

    def memory_bytes(self):
        """Resident now, and at most so far."""
        status = open(f'/proc/{self.process.pid}/status').read()
        return tuple(int(re.search(rf'{field}:\s+(\d+) kB', status)[1]) * 1024 for field in ('VmRSS', 'VmHWM'))

    def processor_seconds(self):
        fields = open(f'/proc/{self.process.pid}/stat').read().rsplit(')', 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


class Lab:
    """A temporary folder and the processes in it; nothing stays behind."""

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix='tally-bench-'))
        self.regions = []
        return self

    def __exit__(self, *_):
        for region in self.regions:
            if region.process is not None:
                region.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def region(self, settings=''):
        region = Region(self.folder, 'solo', f'127.0.0.1:{free_ports(1)[0]}')
        with open(region.folder / 'tallyd.yaml', 'a') as config:
            config.write(settings)
        self.regions.append(region)
        region.start()
        return region

    def pair(self, addresses=None, insides=((), ())):
        """Two regions; the first is the home, the second mirrors it. `insides`: commands before theirs, that place them elsewhere."""
        a, b = addresses or (f'127.0.0.1:{port}' for port in free_ports(2))
        first = Region(self.folder, 'a', a, [('b', b)], home='a', inside=insides[0])
        second = Region(self.folder, 'b', b, [('a', a)], home='a', inside=insides[1])
        shutil.copy(first.folder / 'keys' / 'region.pub', second.folder / 'keys' / 'peer-a.pub')
        shutil.copy(second.folder / 'keys' / 'region.pub', first.folder / 'keys' / 'peer-b.pub')
        self.regions += [first, second]
        first.start()
        second.start()
        wait_until(lambda: first.status()['accepting'])
        first.append('--batch', 100, '--events', 1000)
        wait_until(lambda: any(not log['own'] and log['size'] >= 1000 for log in second.status()['logs']))
        return first, second


def folder_bytes(folder):
    return sum(path.stat().st_size for path in folder.rglob('*') if path.is_file())


def forget_pages(folder):
    """Takes the files out of the page cache."""
    os.sync()
    for path in folder.rglob('*'):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def durable_write_us(folder, count=400, size=4096):
    """The median time of one durable write into a file that was written before, as a segment is."""
    path = folder / 'durable'
    path.write_bytes(bytes(count * size))
    os.sync()
    buffer = mmap.mmap(-1, size)
    descriptor = os.open(path, os.O_WRONLY | os.O_DIRECT | os.O_DSYNC)
    times = []
    try:
        for i in range(count):
            begun = time.perf_counter()
            os.pwrite(descriptor, buffer, i * size)
            times.append((time.perf_counter() - begun) * 1e6)
    finally:
        os.close(descriptor)
        path.unlink()
    return statistics.median(times)


def db_bench(folder, events):
    """Entries a second of RocksDB's own benchmark: batches of 1,000 × 256 B, each synced, in key order (its best case)."""
    path = folder / 'rocksdb'
    out = run('db_bench', '--benchmarks=fillseq', f'--num={events}', '--batch_size=1000', '--value_size=256', '--key_size=16', '--sync=1',
              '--compression_type=none', f'--db={path}')
    shutil.rmtree(path)
    return float(re.search(r'fillseq\s*:.*?(\d+) ops/sec', out)[1])


def growth_percent(points):
    """How much the line through points (x, y), by least squares, rises from the first x to the last, in per cent of where it begins."""
    slope, intercept = statistics.linear_regression(*zip(*points))
    first, last = points[0][0], points[-1][0]
    return 100 * slope * (last - first) / (intercept + slope * first)


# --- Figures ---------------------------------------------------------------------------------------------------------

def matched(path, pattern):
    found = re.search(pattern, Path(path).read_text())
    return found[1] if found else '?'


def machine():
    folder = tempfile.gettempdir()
    file_system = run('findmnt', '-no', 'FSTYPE', '-T', folder).strip()
    return {'processors': os.cpu_count(), 'model': matched('/proc/cpuinfo', r'model name\s*:\s*(.*)'),
            'memory_bytes': os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES'), 'kernel': os.uname().release,
            'file_system': file_system, 'folder': folder, 'system': matched('/etc/os-release', r'PRETTY_NAME="(.*)"'),
            'load': os.getloadavg(), 'begun': time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}


def commit():
    return subprocess.run(['git', 'describe', '--always', '--dirty'], cwd=ROOT, capture_output=True, text=True).stdout.strip()


def number(value):
    if abs(value) >= 1e6:
        return f'{value / 1e6:.2f} M'
    if abs(value) >= 1e4:
        return f'{value / 1e3:.1f} k'
    return f'{value:.3g}' if abs(value) < 100 else f'{value:.0f}'


class Figures:
    """What was measured: named samples, each with its aim."""

    def __init__(self):
        self.rows = []
        self.curves = {}
        self.machine = machine()

    def add(self, name, unit, samples, at_least=None, at_most=None, note=''):
        median = statistics.median(samples)
        aim, reached = '', None
        if at_least is not None:
            aim, reached = f'≥ {number(at_least)}', median >= at_least
        elif at_most is not None:
            aim, reached = f'≤ {number(at_most)}', median <= at_most
        self.rows.append({'name': name.strip(), 'unit': unit, 'aim': aim, 'reached': reached, 'median': median, 'min': min(samples),
                          'max': max(samples), 'samples': samples, 'load': os.getloadavg()[0], 'note': note, 'shown': name})
        say(f'    {name.strip()}: {number(median)} {unit} ({number(min(samples))} – {number(max(samples))})')

    def add_curve(self, name, note, columns, points):
        """What changes along something: `points` are rows of `columns`, whose names say the unit."""
        self.curves[name] = {'note': note, 'columns': columns, 'points': points}
        say(plain_table([columns, *([number(value) for value in point] for point in points)]))

    def lines(self):
        lines = [('figure', 'median', 'least – most', 'aim', '', 'what')]
        for row in self.rows:
            verdict = {True: 'reached', False: 'NOT reached', None: ''}[row['reached']]
            lines.append((row['shown'], f'{number(row["median"])} {row["unit"]}', f'{number(row["min"])} – {number(row["max"])}', row['aim'], verdict,
                          row['note']))
        return lines

    def machine_line(self):
        loads = [row['load'] for row in self.rows] or [self.machine['load'][0]]
        of = self.machine
        return (f'{of["processors"]} × {of["model"]}, {of["memory_bytes"] / 2**30:.0f} GiB, {of["system"]}, Linux {of["kernel"]}, {of["file_system"]}; '
                f'commit {commit()}, {of["begun"]}; load of the machine meanwhile {statistics.median(loads):.1f} ({min(loads):.1f} – {max(loads):.1f})')

    def markdown(self):
        parts = [self.machine_line(), markdown_table(self.lines(), '-rr-')]
        for name, curve in self.curves.items():
            parts.append(f'**{name}**: {curve["note"]}')
            parts.append(markdown_table([curve['columns'], *([number(value) for value in point] for point in curve['points'])], 'r'))
        return '\n\n'.join(parts) + '\n'

    def finish(self, stem):
        """Prints the table and writes build/bench/<stem>.json and, to be pasted, <stem>.md."""
        RESULTS.mkdir(parents=True, exist_ok=True)
        path = RESULTS / f'{stem}.json'
        content = {'commit': commit(), 'machine': self.machine, 'figures': self.rows, 'curves': self.curves}
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + '\n')
        path.with_suffix('.md').write_text(self.markdown())
        print(plain_table(self.lines()))
        print(f'\n{self.machine_line()}\nall samples: {path}; the table in Markdown: {path.with_suffix(".md")}')


def plain_table(lines):
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return '\n'.join('  '.join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)


def markdown_table(lines, alignment):
    """The letters of `alignment` say how columns are aligned, the last one for all that follow: r right, - left."""
    rules = ['---:' if alignment[min(i, len(alignment) - 1)] == 'r' else '---' for i in range(len(lines[0]))]
    rows = ['| ' + ' | '.join(cell.replace('|', '\\|') for cell in line) + ' |' for line in lines]
    return '\n'.join([rows[0], '|' + '|'.join(rules) + '|', *rows[1:]])
