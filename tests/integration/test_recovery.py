"""What an operator recovers from: a lost disk, a lost tail, an old backup, damaged files. Nothing is continued that could fork, and nothing is lost silently."""
import json
import shutil

from harness import batch, check, event, read, read_log, wait_until, write


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
    assert own.origin == 'bank/eu/2' and own.size == 0, own
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
    assert answer.origin == 'bank/eu/2' and answer.results[0].stream_version == 100 and answer.results[0].index == 0
    us.wait_size('bank/eu/2', 1)
    wait_until(lambda: us.log('bank/eu/2').checkpoint_size == 1, 'the mirror\'s checkpoint')
    wait_until(lambda: eu.log('bank/eu/2').published_size == 1, 'publication')
    assert len(read(us.client(), 's-eu-0')) == 101
    # A restart goes on with the new log, and still knows what is lost.
    eu.kill()
    eu.start()
    assert own_log(eu).origin == 'bank/eu/2' and own_log(eu).size == 1
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
    us.wait_size('bank/eu/2', 30)
    eu.kill()
    lose_disk(eu)
    eu.start()
    own = own_log(eu)
    assert (own.origin, own.size) == ('bank/eu/2', 30), own
    eu.wait_size('bank/eu/1', 100)
    assert eu.log('bank/eu/1').state == 'retired'
    assert eu.client().append(batch(write('after'))).results[0].index == 30


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
    us.wait_size(own.origin, 1)
    us.wait_accepting()
    assert [e.entry.index for e in read_log(us.client(), own.origin)] == [0]


def test_a_region_of_one_that_lost_its_log_begins_a_new_one(lab):
    eu = lab.solo()
    fill(eu, 10)
    signed(eu, 10)
    eu.kill()
    shutil.rmtree(eu.folder / 'logs')
    eu.start()
    assert own_log(eu).origin == 'bank/eu/2'
    old = eu.log('bank/eu/1')
    assert eu.client().append(batch(write('s'))).results[0].index == 0
    assert 'entries 0 to 9' in eu.said()
    assert old is None or old.lost_to == 10
