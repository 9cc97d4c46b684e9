"""What an operator recovers from: a lost disk, a lost tail, an old backup, damaged files. Nothing is continued that could fork, and nothing is lost silently."""
import json
import shutil
import threading

from harness import Client, batch, check, event, operations_pb2, read, read_log, refused, run, wait_until, write
from ledger_files import Copy, as_sent


def fill(region, count, stream='s', partition=None):
    for first in range(0, count, 100):
        region.client().append(batch(write(f'{stream}-{region.name}-{first % 300}', *[event(b'{"n":%d}' % (first + i)) for i in range(min(100, count - first))],
                                           partition=partition or region.name)))


def signed(region, size, origin=None):
    wait_until(lambda: (region.log(origin or region.origin) or region.log(region.origin)).checkpoint_size >= size, f'a checkpoint of {size}')


def lose_disk(region):
    """All that is not put back by hand: configuration and keys stay."""
    for name in ('logs', 'index', 'signed', 'projections'):
        shutil.rmtree(region.folder / name, ignore_errors=True)


def own_log(region):
    return next(log for log in region.status().logs if log.own)


def late_of(region):
    return region.operations().list_late(operations_pb2.ListLateRequest()).items


# --- Incarnations ----------------------------------------------------------------------------------------------------

def test_an_empty_disk_is_filled_from_peers_and_the_log_goes_on(lab):
    eu, us = lab.started('eu', 'us')
    fill(eu, 300)
    fill(us, 200)
    signed(eu, 300)
    us.wait_size('bank/eu/1', 300)
    eu.wait_size('bank/us/1', 200)
    eu.kill()
    lose_disk(eu)
    eu.start()
    assert own_log(eu).origin == 'bank/eu/1' and own_log(eu).size == 300
    eu.wait_size('bank/us/1', 200)
    assert eu.client().append(batch(write('after'))).results[0].index == 300
    eu.stop()
    check('tally-verify', 'log', eu.log_folder('eu'), '--key', eu.folder / 'keys/region.pub')


def test_an_index_that_shows_a_mirror_whose_folder_is_gone_is_made_again(lab):
    """Else the mirror, pulled again, would never count as indexed, and a seizure of us would leave out all of it."""
    eu, us = lab.started('eu', 'us')
    fill(eu, 30)
    us.wait_size('bank/eu/1', 30)
    wait_until(lambda: us.log('bank/eu/1').indexed_size == 30, 'the index of us')
    us.stop()
    shutil.rmtree(us.log_folder('eu'))
    us.start()
    assert 'the index is made again from the logs: it is ahead of the logs' in us.said()
    us.wait_size('bank/eu/1', 30)
    wait_until(lambda: us.log('bank/eu/1').indexed_size == 30, 'the index of us, again')


def test_a_tail_that_was_signed_and_nobody_holds_ends_the_log(lab):
    """us was away when the tail was signed: the log may not be gone on with, a new one begins, the lost range is named."""
    eu, us = lab.started('eu', 'us')
    fill(eu, 200)
    us.wait_size('bank/eu/1', 200)
    us.stop()
    fill(eu, 50)
    signed(eu, 250)
    eu.kill()
    shutil.rmtree(eu.folder / 'logs')
    shutil.rmtree(eu.folder / 'index')
    us.start(accepting=False)
    eu.start()
    own = own_log(eu)
    assert own.origin == 'bank/eu/2' and own.size <= 1, own
    old = eu.log('bank/eu/1')
    wait_until(lambda: eu.log('bank/eu/1').lost_to == 250, 'the lost range')
    old = eu.log('bank/eu/1')
    assert (old.state, old.size, old.lost_from) == ('retired', 200, 200), old
    assert 'entries 200 to 249' in eu.said() and 'LOST' in eu.said()
    assert 'LOST' in old.detail
    told = json.loads(check('tally', 'status', '--server', eu.address, '--json'))
    assert next(log for log in told['logs'] if log['origin'] == 'bank/eu/1')['lost_to'] == 250
    # The new log works, is copied, signed and verified with the same key.
    answer = eu.client().append(batch(write('s-eu-0', version=99)))
    assert answer.origin == 'bank/eu/2' and answer.results[0].stream_version == 100 and answer.results[0].index == 1
    us.wait_size('bank/eu/2', 2)
    wait_until(lambda: us.log('bank/eu/2').checkpoint_size == 2, 'the mirror\'s checkpoint')
    wait_until(lambda: eu.log('bank/eu/2').published_size == 2, 'publication')
    assert len(read(us.client(), 's-eu-0')) == 101
    # Its first entry says what it continues.
    first = read_log(us.client(), 'bank/eu/2')[0]
    assert (first.entry.type, first.entry.context) == ('$LogContinued', '$system')
    assert b'eu@200' in first.payload and b'entries 200 to 249 of bank/eu/1 are lost' in first.payload, first.payload
    # A restart goes on with the new log, and still knows what is lost.
    eu.kill()
    eu.start()
    assert own_log(eu).origin == 'bank/eu/2' and own_log(eu).size == 2
    wait_until(lambda: eu.log('bank/eu/1').lost_to == 250, 'the lost range')
    for region in (eu, us):
        region.stop()
        for number in (1, 2):
            check('tally-verify', 'log', region.folder / 'logs' / f'eu-{number}', '--key', eu.folder / 'keys/region.pub')


def test_a_disk_lost_in_a_later_incarnation_comes_back_whole(lab):
    eu, us = lab.started('eu', 'us')
    fill(eu, 100)
    us.wait_size('bank/eu/1', 100)
    us.stop()
    fill(eu, 10)
    signed(eu, 110)
    eu.kill()
    shutil.rmtree(eu.folder / 'logs')
    us.start(accepting=False)
    eu.start()
    fill(eu, 30, 'new')
    us.wait_size('bank/eu/2', 31)
    eu.kill()
    lose_disk(eu)
    eu.start()
    own = own_log(eu)
    assert (own.origin, own.size) == ('bank/eu/2', 31), own
    eu.wait_size('bank/eu/1', 100)
    assert eu.log('bank/eu/1').state == 'retired'
    assert eu.client().append(batch(write('after'))).results[0].index == 31


def test_a_range_that_was_lost_comes_back_with_the_peer_that_has_it(lab):
    """ap holds the tail, but is away: eu waits for it rather than begin anew, and completes its log from it."""
    eu, us, ap = lab.started('eu', 'us', 'ap')
    fill(eu, 100)
    us.wait_size('bank/eu/1', 100)
    us.stop()
    fill(eu, 20)
    signed(eu, 120)
    ap.wait_size('bank/eu/1', 120)
    ap.stop()
    eu.kill()
    shutil.rmtree(eu.folder / 'logs')
    us.start(accepting=False)
    eu.start(accepting=False)
    wait_until(lambda: 'were signed and are not here' in own_log(eu).detail, 'eu to say what it waits for')
    assert not eu.status().accepting
    ap.start(accepting=False)
    eu.wait_accepting()
    assert (own_log(eu).origin, own_log(eu).size) == ('bank/eu/1', 120)


def test_with_no_peer_reachable_fence_waits_and_accept_begins_a_new_log(lab):
    eu, us = lab.started('eu', 'us')
    fill(eu, 100)
    us.wait_size('bank/eu/1', 100)
    us.stop()
    eu.stop()
    eu.start(accepting=False)
    wait_until(lambda: eu.status().peers[0].error, 'the peer to be missed')
    assert not eu.status().accepting and own_log(eu).state == 'waiting for peers'
    eu.stop()
    eu.edit_config('^when_isolated:.*', 'when_isolated: accept')
    eu.edit_config('^isolation_wait_ms:.*', 'isolation_wait_ms: 300')
    eu.start()
    own = own_log(eu)
    assert own.origin != 'bank/eu/1' and own.origin.startswith('bank/eu/'), own
    assert eu.log('bank/eu/1').size == 100 and eu.log('bank/eu/1').lost_to == 0
    assert eu.client().append(batch(write('s-eu-0', version=99))).results[0].stream_version == 100
    us.start(accepting=False)
    us.wait_size(own.origin, 2)
    us.wait_accepting()
    assert [e.entry.type for e in read_log(us.client(), own.origin)] == ['$LogContinued', 'Happened']


def test_a_region_of_one_that_lost_its_log_begins_a_new_one(lab):
    eu = lab.solo()
    fill(eu, 10)
    signed(eu, 10)
    eu.kill()
    shutil.rmtree(eu.folder / 'logs')
    eu.start()
    assert own_log(eu).origin == 'bank/eu/2'
    old = eu.log('bank/eu/1')
    assert eu.client().append(batch(write('s'))).results[0].index == 1
    assert 'entries 0 to 9' in eu.said()
    assert old is None or old.lost_to == 10


# --- Damage in sealed segments ---------------------------------------------------------------------------------------

def small_segments(region):
    region.edit_config(r'^segment_size_bytes:.*', 'segment_size_bytes: 16777216')
    region.edit_config(r'^scrub_mib_per_s:.*', 'scrub_mib_per_s: 0')


def big_fill(region, count=16, stream='big'):
    """Blocks of four events of 900,000 bytes: four blocks fill a segment."""
    for n in range(count):
        region.client().append(batch(write(stream, *[event(b'%07d' % (4 * n + i) + b'x' * 900000) for i in range(4)], partition=region.name)))


def damage(region, payload, log='eu-1', size=1):
    """Changes bytes in the middle of the payload that begins like this; returns the file and where its block begins."""
    for file in sorted((region.folder / 'logs' / log).glob('*.seg')):
        data = file.read_bytes()
        at = data.find(payload)
        if at >= 0:
            with open(file, 'r+b') as out:
                out.seek(at + 1000)
                out.write(bytes(size))
            return file, data.rfind(b'TBK1', 0, at)
    raise AssertionError(f'{payload} is in no segment')


def test_damage_in_a_sealed_segment_costs_its_entries_and_is_never_silent(lab):
    eu = lab.init('eu')
    small_segments(eu)
    eu.start()
    big_fill(eu)
    signed(eu, 64)
    eu.stop()
    file, offset = damage(eu, b'0000021x')
    eu.start()  # a start reads the last segment only
    assert eu.status().health == 'ok'
    entries = [e.entry.index for first in (0, 24) for e in read_log(eu.client(), from_index=first, limit=20)]
    assert entries == [*range(20), *range(24, 44)]
    error = refused('DATA_LOSS', lambda: read_log(eu.client(), from_index=21, limit=1))
    for word in (file.name, f'offset {offset}', 'entries 20 to 23', 'tally repair --data', '--origin bank/eu/1'):
        assert word in error.message, error.message
    refused('DATA_LOSS', lambda: read(eu.client(), 'big', from_version=22, limit=1))
    assert len(read(eu.client(), 'big', from_version=24)) == 40
    assert eu.client().append(batch(write('big', version=63))).results[0].index == 64
    wait_until(lambda: 'ALARM: log bank/eu/1 is damaged' in eu.said(), 'the alarm')
    status = eu.status()
    assert status.health == 'degraded' and status.accepting
    found = status.damages[0]
    assert (found.origin, found.offset, found.first_index, found.end_index) == ('bank/eu/1', offset, 20, 24) and found.file.endswith(file.name), found
    assert 'DAMAGED bank/eu/1, entries 20 to 23' in check('tally', 'status', '--server', eu.address)


def test_the_scrub_finds_damage_that_nobody_reads(lab):
    eu = lab.init('eu')
    small_segments(eu)
    eu.start()
    big_fill(eu)
    eu.stop()
    damage(eu, b'0000009x', size=200000)
    eu.edit_config(r'^scrub_mib_per_s:.*', 'scrub_mib_per_s: 1000')
    eu.start()
    wait_until(lambda: eu.status().damages, 'the scrub to find it')
    status = eu.status()
    assert (status.damages[0].first_index, status.damages[0].end_index) == (8, 12)
    wait_until(lambda: eu.status().scrub.passes == 1, 'the pass to end')
    assert eu.status().scrub.read_bytes > 30_000_000
    assert eu.said().count('ALARM') == 1


def test_on_damage_refuse_ends_the_server(lab):
    eu = lab.init('eu')
    small_segments(eu)
    eu.start()
    big_fill(eu, 8)
    eu.stop()
    damage(eu, b'0000000x')
    eu.edit_config(r'^scrub_mib_per_s:.*', 'scrub_mib_per_s: 1000')
    eu.edit_config(r'^on_damage:.*', 'on_damage: refuse')
    eu.spawn()
    assert eu.process.wait(timeout=20) == 1
    eu.process = None
    assert 'entries 0 to 3' in eu.said() and 'on_damage is refuse' in eu.said(), eu.said()


# --- scrub and repair ------------------------------------------------------------------------------------------------

def pair_of_big_logs(lab, count=16):
    eu, us = lab.cluster('eu', 'us')
    for region in (eu, us):
        small_segments(region)
        region.start(accepting=False)
    for region in (eu, us):
        region.wait_accepting()
    big_fill(eu, count)
    signed(eu, 4 * count)
    us.wait_size('bank/eu/1', 4 * count)
    wait_until(lambda: us.log('bank/eu/1').checkpoint_size == 4 * count, 'the checkpoint to arrive')
    return eu, us


def files_of(folder):
    return {file.name: as_sent(file.read_bytes()) for file in sorted(folder.glob('*.seg'))}


def test_damage_is_repaired_from_a_peer_byte_for_byte(lab):
    eu, us = pair_of_big_logs(lab)
    eu.stop()
    folder = eu.log_folder('eu')
    before = files_of(folder)
    damaged, _ = damage(eu, b'0000021x')
    damage(eu, b'0000030x')  # in the same segment: what lies between is not vouched for either
    damage(eu, b'0000002x', size=300000)
    broken = damaged.read_bytes()
    scrub = run('tally', 'scrub', eu.folder)
    assert scrub.returncode == 1 and scrub.stdout.count('DAMAGED entries') == 2, scrub.stdout + scrub.stderr
    dry = check('tally', 'repair', '--data', eu.folder, '--dry-run')
    assert 'entries 20 to 31' in dry and 'dry run' in dry and damaged.read_bytes() == broken
    said = check('tally', 'repair', '--data', eu.folder, '--from', us.address)
    assert 'repaired from' in said and 'signed for 64 entries' in said, said
    assert files_of(folder) == before
    kept = list((eu.folder / 'evidence').glob('*.damaged.*'))
    assert len(kept) == 2 and broken in [file.read_bytes() for file in kept], kept
    assert not list(folder.glob('*.mend'))
    assert 'intact' in check('tally', 'scrub', eu.folder)
    check('tally-verify', 'log', folder, '--key', eu.folder / 'keys/region.pub')
    eu.start()
    assert len(read(eu.client(), 'big')) == 64
    assert eu.status().health == 'ok'


def test_a_mirror_and_a_lost_header_are_repaired_too(lab):
    eu, us = pair_of_big_logs(lab)
    us.stop()
    folder = us.log_folder('eu')
    before = files_of(folder)
    second = sorted(folder.glob('*.seg'))[1]
    with open(second, 'r+b') as out:
        out.write(bytes(4096))
    check('tally', 'repair', '--data', us.folder, '--origin', 'bank/eu/1', '--from', eu.address)
    assert files_of(folder) == before
    us.start(accepting=False)


def test_a_missing_segment_is_fetched(lab):
    eu, us = pair_of_big_logs(lab)
    eu.stop()
    folder = eu.log_folder('eu')
    sorted(folder.glob('*.seg'))[1].unlink()
    check('tally', 'repair', '--data', eu.folder, '--from', us.address)
    check('tally-verify', 'log', folder, '--key', eu.folder / 'keys/region.pub')
    eu.start()
    assert len(read(eu.client(), 'big')) == 64


def test_a_damaged_end_that_refuses_to_start_is_repaired_and_starts(lab):
    eu, us = pair_of_big_logs(lab, 3)
    eu.kill()
    damage(eu, b'0000010x')
    eu.refuses_to_start('tally repair')
    check('tally', 'repair', '--data', eu.folder, '--from', us.address)
    eu.start()
    assert len(read(eu.client(), 'big')) == 12
    assert own_log(eu).origin == 'bank/eu/1'


def test_a_log_that_was_chained_anew_is_told_by_the_signed_root_alone(lab):
    c = Copy().publish()
    for name, forged in (('sound', False), ('forged', True)):
        if forged:
            c.items[4]['payload'] = c.items[4]['payload'].replace(b'900', b'100')
            c.chain(4)
        data = lab.folder / name
        folder = c.write(data / 'logs' / 'eu-1')
        (data / 'keys').mkdir()
        (data / 'keys' / 'region.pub').write_text(c.log_key.vkey + '\n')
        scrub, report = run('tally', 'scrub', data), run('tally', 'scrub', data, '--json')
        assert scrub.returncode == report.returncode == (1 if forged else 0), scrub.stdout + scrub.stderr
        assert 'intact' in scrub.stdout and ('ANOTHER' in scrub.stdout) == forged, scrub.stdout
        said = json.loads(report.stdout)
        assert (said['root_differs'], said['clean'], said['damaged']) == (forged, not forged, []), said
    eu = lab.init('eu')
    shutil.copytree(data / 'logs', eu.folder / 'logs', dirs_exist_ok=True)
    repair = run('tally', 'repair', '--data', eu.folder, '--key', data / 'keys' / 'region.pub', '--dry-run')
    assert repair.returncode == 1 and 'rewritten' in repair.stderr, repair.stdout + repair.stderr
    # Copying compares the latest root itself; that of the published note only a second look does.
    (folder / 'checkpoint').write_text(c.sign(12))
    shutil.copy(eu.folder / 'tallyd.yaml', data)
    backup = run('tally', 'backup', '--data', data, '--out', lab.folder / 'copy', '--verify')
    assert backup.returncode == 1 and 'signed for 7 entries' in backup.stderr, backup.stdout + backup.stderr
    assert not (lab.folder / 'copy' / 'BACKUP.json').exists()


def test_a_repair_needs_a_stopped_server_and_a_peer_that_has_the_truth(lab):
    eu, us = pair_of_big_logs(lab, 8)
    locked = run('tally', 'repair', '--data', eu.folder, '--from', us.address)
    assert locked.returncode == 1 and 'stop it first' in locked.stderr, locked.stderr
    eu.stop()
    damaged, _ = damage(eu, b'0000002x')
    broken = damaged.read_bytes()
    us.stop()
    gone = run('tally', 'repair', '--data', eu.folder, '--from', us.address)
    assert gone.returncode == 3, gone.stderr
    assert damaged.read_bytes() == broken


# --- backup and restore ----------------------------------------------------------------------------------------------

def test_a_backup_of_a_live_region_is_whole_and_verified(lab):
    eu = lab.init('eu')
    small_segments(eu)
    eu.edit_config('^checkpoint_interval_ms:.*', 'checkpoint_interval_ms: 50')
    eu.start()
    stop = threading.Event()

    def append():
        client = Client(eu.address)
        while not stop.is_set():
            client.append(batch(write('live', *[event(b'x' * 100000) for _ in range(4)])))
        client.close()

    writer = threading.Thread(target=append)
    writer.start()
    try:
        signed(eu, 250)
        out = lab.folder / 'backup'
        said = check('tally', 'backup', '--data', eu.folder, '--out', out, '--verify')
    finally:
        stop.set()
        writer.join()
    assert 'private keys are NOT in it' in said and not list((out / 'keys').glob('*.key')), said
    manifest = json.loads((out / 'BACKUP.json').read_text())
    size = manifest['logs'][0]['size']
    assert size >= 250 and manifest['logs'][0]['origin'] == 'bank/eu/1'
    assert f'{size} entries' in check('tally', 'scrub', out)
    check('tally-verify', 'log', out / 'logs' / 'eu-1', '--key', eu.folder / 'keys/region.pub')
    refusal = run('tally', 'backup', '--data', eu.folder, '--out', out)
    assert refusal.returncode == 1 and 'not empty' in refusal.stderr
    keys = lab.folder / 'with-keys'
    check('tally', 'backup', '--data', eu.folder, '--out', keys, '--with-keys')
    assert {file.stat().st_mode & 0o777 for file in (keys / 'keys').glob('*.key')} == {0o600}


def test_a_damaged_or_half_backup_is_not_restored(lab):
    eu = lab.solo()
    fill(eu, 100)
    signed(eu, 100)
    out = lab.folder / 'backup'
    check('tally', 'backup', '--data', eu.folder, '--out', out, '--with-keys')
    half = lab.folder / 'half'
    shutil.copytree(out, half)
    (half / 'BACKUP.json').unlink()
    refusal = run('tally', 'restore', '--from', half, '--data', lab.folder / 'r1')
    assert refusal.returncode == 1 and 'no whole backup' in refusal.stderr
    file = next((out / 'logs' / 'eu-1').glob('*.seg'))
    data = bytearray(file.read_bytes())
    data[data.find(b'{"n":50}') + 5] ^= 1
    file.write_bytes(data)
    refusal = run('tally', 'restore', '--from', out, '--data', lab.folder / 'r2')
    assert refusal.returncode == 1 and file.name in refusal.stderr, refusal.stderr
    assert not (lab.folder / 'r2' / 'tallyd.yaml').exists()


def replace_by_backup(region, backup):
    region.kill()
    shutil.move(region.folder, str(region.folder) + '.lost')
    check('tally', 'restore', '--from', backup, '--data', region.folder)


def test_an_old_backup_never_makes_two_histories(lab):
    eu, us = lab.started('eu', 'us')
    fill(eu, 100)
    signed(eu, 100)
    backup = lab.folder / 'backup'
    check('tally', 'backup', '--data', eu.folder, '--out', backup, '--with-keys')
    fill(eu, 150, 'later')
    signed(eu, 250)
    us.wait_size('bank/eu/1', 250)
    before = read_log(us.client(), 'bank/eu/1')
    # With the peer away, nothing is accepted or signed under the name of the log.
    us.stop()
    replace_by_backup(eu, backup)
    eu.start(accepting=False)
    wait_until(lambda: eu.status().peers[0].error, 'the peer to be missed')
    refused('UNAVAILABLE', eu.client().append, batch(write('s')))
    assert not eu.status().accepting
    assert (eu.log_folder('eu') / 'checkpoint').read_text().split('\n')[1] == '100'
    # With the peer back, the rest is pulled, and a new log begins: what else was signed, readers alone may have.
    us.start(accepting=False)
    eu.wait_accepting()
    own = own_log(eu).origin
    assert own != 'bank/eu/1' and eu.log('bank/eu/1').size == 250
    assert eu.client().append(batch(write('after'))).results[0].index == 1
    us.wait_size(own, 2)
    assert read_log(us.client(), 'bank/eu/1') == read_log(eu.client(), 'bank/eu/1') == before
    for region in (eu, us):
        region.stop()
    check('tally-verify', 'compare', eu.log_folder('eu'), us.log_folder('eu'), '--key', eu.folder / 'keys/region.pub')


def test_an_old_backup_in_isolation_begins_a_new_log_when_told_to_accept(lab):
    eu, us = lab.started('eu', 'us')
    fill(eu, 100)
    signed(eu, 100)
    backup = lab.folder / 'backup'
    check('tally', 'backup', '--data', eu.folder, '--out', backup, '--with-keys')
    fill(eu, 50, 'later')
    us.wait_size('bank/eu/1', 150)
    us.stop()
    replace_by_backup(eu, backup)
    eu.edit_config('^when_isolated:.*', 'when_isolated: accept')
    eu.edit_config('^isolation_wait_ms:.*', 'isolation_wait_ms: 200')
    eu.start()
    own = own_log(eu).origin
    assert own != 'bank/eu/1'
    fill(eu, 10, 'new')
    us.start(accepting=False)
    us.wait_size(own, 11)
    eu.wait_size('bank/eu/1', 150)  # what the backup did not have comes back, too late
    assert eu.log('bank/eu/1').state == 'retired' and us.status().health == eu.status().health == 'ok'
    for region in (eu, us):
        wait_until(lambda: len(late_of(region)) == 50, 'what the new log goes on without to be late')
        assert {(item.place.origin, item.state) for item in late_of(region)} == {('bank/eu/1', 'open')}


def test_a_region_of_one_restored_from_a_backup_begins_a_new_log(lab):
    eu = lab.solo()
    fill(eu, 100)
    signed(eu, 100)
    backup = lab.folder / 'backup'
    check('tally', 'backup', '--data', eu.folder, '--out', backup, '--with-keys')
    fill(eu, 50, 'later')
    replace_by_backup(eu, backup)
    eu.start()
    first = own_log(eu).origin
    assert first != 'bank/eu/1' and eu.log('bank/eu/1').size == 100
    fill(eu, 10, 'new')
    eu.kill()
    eu.start()
    assert (own_log(eu).origin, own_log(eu).size) == (first, 11)
    assert not (eu.folder / 'RESTORED').exists()
