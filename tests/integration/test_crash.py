"""kill -9, lost derived data, damage, a full disk: nothing acknowledged is lost, and what cannot be trusted is refused."""
import shutil
import subprocess
import threading

import grpc
from harness import Client, batch, check, event, ledger_pb2, read, read_log, wait_until, write


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


def test_a_full_disk_loses_nothing_acknowledged_and_says_so(lab):
    small = lab.folder / 'small'
    small.mkdir()
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=44m', 'tmpfs', str(small)], capture_output=True).returncode != 0:
        print('         (not allowed to mount a small disk here: the full disk was not tried)')
        return
    lab.at_end(lambda: subprocess.run(['umount', '-l', str(small)], check=True))
    eu = lab.init('eu')
    eu.edit_config(r'^segment_size_bytes:.*', 'segment_size_bytes: 16777216')
    shutil.move(eu.folder, small / 'eu')
    eu.folder = small / 'eu'
    eu.start()
    acknowledged = 0
    refusal = None
    for _ in range(100):
        try:
            eu.client().append(batch(write('s', *[event(b'x' * 900000) for _ in range(4)])), timeout=10)
            acknowledged += 4
        except Exception as error:
            refusal = error
            break
    assert refusal is not None, 'the disk never filled'
    assert refusal.code in ('RESOURCE_EXHAUSTED', 'INTERNAL', 'UNAVAILABLE', 'CANCELLED'), refusal
    said = eu.said()
    assert 'No space' in said or 'disk is full' in said or 'full' in refusal.message, said + refusal.message
    eu.kill()
    subprocess.run(['mount', '-o', 'remount,size=200m', str(small)], check=True)
    eu.start()
    assert len(read(eu.client(), 's')) >= acknowledged
    eu.client().append(batch(write('s')))
    eu.stop()
    check('tally-verify', 'log', eu.log_folder('eu'), '--key', eu.folder / 'keys' / 'region.pub')


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
