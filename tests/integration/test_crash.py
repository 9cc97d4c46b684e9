"""kill -9, lost derived data, damage, a full disk: nothing acknowledged is lost, and what cannot be trusted is refused."""
import re
import resource
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import grpc
from harness import Client, Refused, batch, check, event, ledger_pb2, read, read_log, wait_until, write


def test_what_was_acknowledged_survives_kill_9(lab):
    eu = lab.solo()
    acknowledged = []
    client = Client(eu.address)

    def append():
        n = 0
        while True:
            sent = event(b'{"n":%d}' % n)
            try:
                answer = client.append(batch(write(f's-{n % 10}', sent)))
            except Exception:
                return
            acknowledged.append((answer.results[0].index, sent.id))
            n += 1

    for _ in range(3):
        writer = threading.Thread(target=append)
        writer.start()
        count = len(acknowledged)
        wait_until(lambda: len(acknowledged) > count + 200, 'appends')
        eu.kill()
        writer.join()
        client.close()
        eu.start()
        client = Client(eu.address)
        stored = {e.entry.index: e.entry.event_id for e in read_log(eu.client())}
        for index, id in acknowledged:
            assert stored[index] == id
    client.close()
    eu.stop()
    check('tally-verify', 'log', eu.log_folder('eu'), '--key', eu.folder / 'keys' / 'region.pub')


def test_ids_are_remembered_across_kill_9(lab):
    eu = lab.solo()
    sent = event()
    first = eu.client().append(batch(write('s', sent))).results[0]
    eu.kill()
    eu.start()
    again = eu.client().append(batch(write('s', sent))).results[0]
    assert again.duplicate and again.index == first.index


def test_a_deleted_index_is_rebuilt_from_the_log(lab):
    eu = lab.solo()
    old = event()
    eu.client().append(batch(write('old', old)))
    for i in range(20):
        eu.client().append(batch(write(f's-{i}', *[event() for _ in range(50)])))
    eu.stop()
    shutil.rmtree(eu.folder / 'index')
    eu.start()
    assert len(read(eu.client(), 's-3')) == 50
    assert eu.client().append(batch(write('old', old))).results[0].duplicate
    assert eu.client().append(batch(write('s-3', version=49))).results[0].stream_version == 50


def test_a_damaged_index_is_rebuilt_or_refused_with_what_to_do(lab):
    eu = lab.solo()
    eu.client().append(batch(write('s', *[event() for _ in range(100)])))
    eu.stop()
    for file in (eu.folder / 'index').rglob('*'):
        if file.is_file() and not file.name.startswith('LOCK'):
            file.write_bytes(b'rubbish')
    eu.start()
    assert len(read(eu.client(), 's')) == 100


def segment(region):
    return sorted(region.log_folder(region.name).glob('*.seg'))


def test_a_torn_last_block_is_cut(lab):
    eu = lab.solo()
    eu.client().append(batch(write('a', event(b'first'))))
    eu.client().append(batch(write('a', event(b'never acknowledged, as it were'))))
    wait_until(lambda: eu.log('bank/eu/1').checkpoint_size == 2, 'checkpoint')
    eu.kill()
    (eu.log_folder('eu') / 'checkpoint').unlink()
    (eu.log_folder('eu') / 'checkpoint.published').unlink(missing_ok=True)
    (eu.folder / 'signed' / 'eu-1').unlink()
    shutil.rmtree(eu.folder / 'index')
    file = segment(eu)[-1]
    data = bytearray(file.read_bytes())
    at = data.find(b'never acknowledged')
    data[at:at + 5] = bytes(5)
    file.write_bytes(data)
    eu.start()
    assert [e.payload for e in read(eu.client(), 'a')] == [b'first']
    assert eu.client().append(batch(write('a'))).results[0].index == 1


def test_damage_before_valid_blocks_is_refused_and_named(lab):
    eu = lab.solo()
    eu.client().append(batch(write('a', event(b'the damaged one'))))
    eu.client().append(batch(write('a', event(b'a good one'))))
    eu.stop()
    file = segment(eu)[-1]
    data = bytearray(file.read_bytes())
    data[data.find(b'the damaged one')] ^= 1
    file.write_bytes(data)
    said = eu.refuses_to_start(file.name)
    assert 'index 0' in said or 'entry 0' in said, said


def test_a_cut_log_that_a_checkpoint_covers_is_refused(lab):
    eu = lab.solo()
    eu.client().append(batch(write('a', event(b'one'))))
    eu.client().append(batch(write('a', event(b'two'))))
    wait_until(lambda: eu.log('bank/eu/1').checkpoint_size == 2, 'checkpoint')
    eu.kill()
    file = segment(eu)[-1]
    data = bytearray(file.read_bytes())
    at = data.find(b'two') // 4096 * 4096
    data[at:at + 4096] = bytes(4096)
    file.write_bytes(data)
    eu.refuses_to_start('checkpoint')


def test_a_file_that_is_not_a_segment_is_refused(lab):
    eu = lab.solo()
    eu.client().append(batch(write('a')))
    eu.stop()
    file = segment(eu)[-1]
    file.chmod(0o644)
    file.write_bytes(b'this is not a segment' * 1000)
    eu.refuses_to_start(file.name)


def test_a_segment_of_0_bytes_is_refused_or_a_crash_at_its_creation(lab):
    eu = lab.solo()
    eu.client().append(batch(write('a')))
    eu.stop()
    (eu.log_folder('eu') / f'{1:020d}.seg').write_bytes(b'')
    before = eu.said().count(' ready on ')
    eu.spawn()
    wait_until(lambda: eu.process.poll() is not None or eu.said().count(' ready on ') > before, 'a decision')
    if eu.process.poll() is None:
        eu.client()
        eu.wait_accepting()
        assert len(read(eu.client(), 'a')) == 1
        assert eu.client().append(batch(write('a'))).results[0].index == 1
    else:
        assert eu.process.returncode == 1 and '.seg' in eu.said(), eu.said()


def test_the_only_segment_emptied_is_refused(lab):
    eu = lab.solo()
    eu.client().append(batch(write('a')))
    wait_until(lambda: eu.log('bank/eu/1').checkpoint_size == 1, 'checkpoint')
    eu.stop()
    file = segment(eu)[0]
    file.chmod(0o644)
    file.write_bytes(b'')
    eu.refuses_to_start()


def test_segments_roll_and_are_read_across(lab):
    eu = lab.init('eu')
    eu.edit_config(r'^segment_size_bytes:.*', 'segment_size_bytes: 16777216')
    eu.start()
    for i in range(12):
        eu.client().append(batch(write('s', *[event(b'x' * 900000) for _ in range(4)])))
    assert len(segment(eu)) >= 3
    eu.kill()
    eu.start()
    assert [e.entry.stream_version for e in read(eu.client(), 's')] == list(range(48))
    eu.stop()
    check('tally-verify', 'log', eu.log_folder('eu'), '--key', eu.folder / 'keys' / 'region.pub')


def append_until_refused(region, tries=100):
    """Events of 900,000 bytes, until one batch is refused. Returns the ids that were acknowledged, and the refusal."""
    acknowledged = []
    for _ in range(tries):
        sent = [event(b'x' * 900000) for _ in range(4)]
        try:
            region.client().append(batch(write('s', *sent)), timeout=10)
        except Refused as error:
            return acknowledged, error
        acknowledged += [one.id for one in sent]
    raise AssertionError('nothing was ever refused')


def expect_exactly_once(region, acknowledged):
    stored = [e.entry.event_id for e in read_log(region.client())]
    assert len(stored) == len(set(stored)) and set(acknowledged) <= set(stored), f'{len(acknowledged)} acknowledged, {len(stored)} stored'


def test_a_full_disk_loses_nothing_acknowledged_and_says_so(lab):
    """A small file system where mounting is allowed, else a limit on the size of files: both refuse a write half-way."""
    small = lab.folder / 'small'
    small.mkdir()
    mounted = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=44m', 'tmpfs', str(small)], capture_output=True).returncode == 0
    if mounted:
        lab.at_end(lambda: subprocess.run(['umount', '-l', str(small)], check=True))
    eu = lab.init('eu')
    eu.edit_config(r'^segment_size_bytes:.*', 'segment_size_bytes: 16777216')
    shutil.move(eu.folder, small / 'eu')
    eu.folder = small / 'eu'
    eu.start()
    if not mounted:
        limit_files(eu, 9 * 1024 * 1024)
    acknowledged, refusal = append_until_refused(eu)
    assert refusal.code in ('RESOURCE_EXHAUSTED', 'INTERNAL', 'UNAVAILABLE', 'CANCELLED'), refusal
    said = eu.said()
    assert 'No space' in said or 'disk is full' in said or 'too large' in said or 'full' in refusal.message, said + refusal.message
    eu.kill()
    if mounted:
        subprocess.run(['mount', '-o', 'remount,size=200m', str(small)], check=True)
    eu.start()
    expect_exactly_once(eu, acknowledged)
    eu.client().append(batch(write('s')))
    eu.stop()
    check('tally-verify', 'log', eu.log_folder('eu'), '--key', eu.folder / 'keys' / 'region.pub')


def limit_files(region, size):
    resource.prlimit(region.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_a_write_that_fails_half_way_ends_the_server_loudly(lab):
    eu = lab.solo()
    limit_files(eu, 6 * 1024 * 1024)
    acknowledged, _ = append_until_refused(eu)
    assert eu.process.wait(timeout=20) == 1
    eu.process = None
    assert 'a write failed, stopping at once' in eu.said(), eu.said()
    eu.start()
    expect_exactly_once(eu, acknowledged)
    eu.client().append(batch(write('s')))


def memory_of(process):
    text = Path(f'/proc/{process.pid}/status').read_text()
    return int(re.search(r'VmSize:\s+(\d+)', text)[1]) * 1024


def test_out_of_memory_is_answered_or_ends_loudly_and_loses_nothing(lab):
    eu = lab.solo()
    eu.client().append(batch(write('warm')))
    resource.prlimit(eu.process.pid, resource.RLIMIT_AS, (memory_of(eu.process) + 12 * 1024 * 1024, resource.RLIM_INFINITY))
    acknowledged = []
    refusals = []

    def load(number):
        client = Client(eu.address)
        for _ in range(20):
            sent = [event(b'x' * 900000) for _ in range(4)]
            try:
                client.append(batch(write(f's-{number}', *sent)), timeout=10)
                acknowledged.extend(one.id for one in sent)
            except Refused as error:
                refusals.append(error)
        client.close()

    threads = [threading.Thread(target=load, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refusals, 'memory never ran out'
    died = eu.process.poll()
    if died is None:
        codes = {error.code for error in refusals}
        assert codes <= {'RESOURCE_EXHAUSTED', 'UNAVAILABLE', 'DEADLINE_EXCEEDED', 'CANCELLED'}, {str(error) for error in refusals}
        assert 'RESOURCE_EXHAUSTED' in codes, codes
    else:
        assert died in (1, -signal.SIGABRT), died
        assert 'memory' in eu.said() or died == -signal.SIGABRT, eu.said()
    eu.kill()
    eu.start()
    expect_exactly_once(eu, acknowledged)
    eu.client().append(batch(write('s')))


def test_sigterm_ends_open_subscriptions_and_exits_0(lab):
    eu = lab.solo()
    call = eu.client().subscribe(ledger_pb2.SubscribeRequest(), timeout=60)
    eu.client().append(batch(write('s')))
    next(iter(call))
    eu.process.terminate()
    assert eu.process.wait(timeout=15) == 0, eu.said()
    eu.process = None
    try:
        list(call)
    except grpc.RpcError as error:
        assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED), error
