"""tally bench: that it runs and what it prints. How fast anything is, is not tested: see bench/."""
import json
import os
import pty
import subprocess

from harness import BIN, USAGE, check, run, wait_until

LOAD = ('--context', 'bank', '--partition', 'eu', '--batch', 50, '--payload', 64, '--streams', 20)
HISTOGRAM = {'count', 'p50', 'p90', 'p99', 'p999', 'max'}


def bench(*arguments):
    return json.loads(check('tally', 'bench', *arguments, '--json'))


def ascending(histogram):
    values = [histogram[name] for name in ('p50', 'p90', 'p99', 'p999', 'max')]
    return values == sorted(values) and values[0] > 0


def test_bench_append_counts_what_the_log_holds(lab):
    eu = lab.solo()
    result = bench('append', '--server', eu.address, *LOAD, '--events', 500)
    assert result['bench'] == 'append' and result['events'] == 500 and result['batches'] == 10, result
    assert result['duplicates'] == 0 and result['refused'] == 0
    assert set(result['latency_us']) == HISTOGRAM and result['latency_us']['count'] == 10 and ascending(result['latency_us'])
    assert result['events_per_second'] > 0 and result['seconds'] > 0
    assert eu.size() == 500


def test_bench_append_one_event_a_call_from_several_callers(lab):
    eu = lab.solo()
    single = ('--context', 'bank', '--partition', 'eu', '--batch', 1, '--callers', 4, '--in-flight', 1, '--events', 40)
    assert bench('append', '--server', eu.address, *single)['events'] == 40
    assert bench('append', '--server', eu.address, *single, '--unary')['events'] == 40
    assert eu.size() == 80


def test_bench_append_keeps_to_a_rate_and_shows_a_histogram(lab):
    eu = lab.solo()
    out = check('tally', 'bench', 'append', '--server', eu.address, *LOAD, '--rate', 1000, '--seconds', 2)
    assert 'events/s' in out and 'from when each was due: p50' in out and 'up to' in out, out
    assert eu.size() <= 2100, 'an open loop sends no more than was due'


def test_bench_read_sees_every_entry(lab):
    eu = lab.solo()
    bench('append', '--server', eu.address, *LOAD, '--events', 1000)
    result = bench('read', '--server', eu.address)
    assert result['bench'] == 'read' and result['events'] == 1000 and result['bytes'] > 64000, result
    assert bench('read', '--server', eu.address, '--events', 100)['events'] == 100
    result = bench('read', '--server', eu.address, '--subscribe')
    assert result['bench'] == 'subscribe' and result['events'] == 1000, result
    assert set(result['wait_us']) == HISTOGRAM and result['wait_us']['count'] == result['messages'], result
    assert 'wait for a message: p50' in check('tally', 'bench', 'read', '--server', eu.address)


def test_bench_ping_appends_nothing(lab):
    eu = lab.solo()
    for option in ((), ('--unary',)):
        result = bench('ping', '--server', eu.address, '--events', 50, *option)
        assert result['bench'] == 'ping' and result['calls'] == 50 and ascending(result['latency_us']), result
    assert '50 empty calls' in check('tally', 'bench', 'ping', '--server', eu.address, '--events', 50)
    assert eu.size() == 0


def test_bench_shows_how_it_goes_on_a_terminal(lab):
    eu, us = lab.started('eu', 'us')
    terminal, theirs = pty.openpty()
    load = [*map(str, LOAD), '--rate', '1000', '--seconds', '2', '--server', eu.address, '--mirror', us.address]
    done = subprocess.run([BIN / 'tally', 'bench', 'replicate', *load], stdout=subprocess.PIPE, stderr=theirs, timeout=60, text=True)
    os.close(theirs)
    shown = os.read(terminal, 65536).decode()
    os.close(terminal)
    assert done.returncode == 0, shown
    for words in ('events/s now', 'in all', 'latency p50', 'p99.9', 'lag p50'):
        assert words in shown, f'{words!r} is not in {shown!r}'
    assert 'lag, from the acknowledgement until the mirror delivered: p50' in done.stdout


def test_bench_replicate_waits_for_the_mirror(lab):
    eu, us = lab.started('eu', 'us')
    result = bench('replicate', '--server', eu.address, '--mirror', us.address, *LOAD, '--rate', 2000, '--seconds', 2)
    assert result['bench'] == 'replicate' and result['events'] > 0, result
    assert result['replicated_per_second'] > 0 and result['replicated_seconds'] >= result['seconds']
    assert set(result['lag_us']) == HISTOGRAM and 0 < result['lag_us']['count'] <= result['probes_sent']
    wait_until(lambda: us.size(eu.origin) == eu.size(), 'the mirror to hold the last probe')


def test_bench_says_what_is_missing(lab):
    eu = lab.solo()
    for arguments, words in ((('sing',), 'no benchmark "sing"'), (('append',), '--context'), (('replicate', *LOAD), '--mirror'),
                             (('append', *LOAD, '--batch', 0), '--batch must be between')):
        done = run('tally', 'bench', *arguments, '--server', eu.address)
        assert done.returncode == USAGE and words in done.stderr, done.stderr
    done = run('tally', 'bench', 'append', '--server', eu.address, '--context', 'nowhere', '--partition', 'eu', '--json')
    assert done.returncode == 1, done.stdout
    assert eu.size() == 0
