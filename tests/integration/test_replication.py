"""Copies: byte for byte the same, verified before they are seen, complete after crashes, relayed around a missing link."""
import base64
import queue
import shutil
import struct
import threading
from concurrent import futures

import grpc
from harness import Client, Refused, batch, check, event, read_log, refused, replication_pb2, wait_until, write
from ledger_files import Key


def fill(region, count, partition=None):
    for first in range(0, count, 100):
        region.client().append(batch(write(f's-{region.name}-{first % 700}', *[event(b'{"n":%d}' % (first + i)) for i in range(min(100, count - first))],
                                           partition=partition or region.name)))


def verify_all(regions, origins):
    for region in regions:
        region.stop()
    for origin in origins:
        for region in regions:
            check('tally-verify', 'log', region.log_folder(origin), '--key', next(r for r in regions if r.name == origin).folder / 'keys/region.pub')
            check('tally-verify', 'compare', regions[0].log_folder(origin), region.log_folder(origin))


def test_both_regions_end_with_both_logs(lab):
    eu, us = lab.started('eu', 'us')
    fill(eu, 500)
    fill(us, 300)
    us.wait_size('bank/eu/1', 500)
    eu.wait_size('bank/us/1', 300)
    for origin in ('bank/eu/1', 'bank/us/1'):
        assert [e.SerializeToString() for e in read_log(eu.client(), origin)] == [e.SerializeToString() for e in read_log(us.client(), origin)]
    verify_all([eu, us], ['eu', 'us'])


def test_an_id_that_another_region_took_is_a_duplicate_everywhere(lab):
    eu, us = lab.started('eu', 'us')
    sent = event()
    eu.client().append(batch(write('s', sent)))
    us.wait_size('bank/eu/1', 1)
    error = refused('ALREADY_EXISTS', us.client().append, batch(write('t', sent, partition='us')))
    assert error.detail.code == 'ID_REUSED'


def test_a_region_that_was_down_catches_up(lab):
    eu, us = lab.started('eu', 'us')
    fill(eu, 200)
    us.wait_size('bank/eu/1', 200)
    us.kill()
    fill(eu, 1000)
    wait_until(lambda: not eu.status().peers[0].connected, 'eu to notice', 20)
    us.start()
    us.wait_size('bank/eu/1', 1200)
    verify_all([eu, us], ['eu'])


def test_kill_9_of_a_mirror_again_and_again(lab):
    eu, us = lab.started('eu', 'us')
    stop = threading.Event()
    client = Client(eu.address)

    def append():
        while not stop.is_set():
            client.append(batch(write('s', *[event() for _ in range(20)])))

    writer = threading.Thread(target=append)
    writer.start()
    try:
        for _ in range(4):
            size = us.size('bank/eu/1')
            us.wait_size('bank/eu/1', size + 200)
            us.kill()
            us.start(accepting=False)
    finally:
        stop.set()
        writer.join()
        client.close()
    us.wait_size('bank/eu/1', eu.size())
    us.wait_accepting()
    verify_all([eu, us], ['eu'])


def test_a_peer_that_is_down_does_not_stop_appends(lab):
    eu, us = lab.started('eu', 'us')
    us.kill()
    fill(eu, 100)
    assert eu.log('bank/eu/1').size == 100


def test_three_regions_complete_each_other_around_a_missing_link(lab):
    regions = eu, us, ap = lab.started('eu', 'us', 'ap', broken={('eu', 'ap')})
    fill(eu, 300)
    fill(us, 200)
    for region in regions:
        region.wait_size('bank/eu/1', 300)
        region.wait_size('bank/us/1', 200)
    assert not next(p for p in ap.status().peers if p.region == 'eu').connected, 'the link was to be missing'
    verify_all(list(regions), ['eu', 'us'])


def test_relayed_entries_survive_the_loss_of_their_origin(lab):
    eu, us, ap = lab.started('eu', 'us', 'ap')
    ap.kill()
    fill(eu, 250)
    us.wait_size('bank/eu/1', 250)
    eu.kill()
    ap.start(accepting=False)
    ap.wait_size('bank/eu/1', 250)


def test_a_checkpoint_is_published_once_a_peer_cosigned(lab):
    eu, us = lab.started('eu', 'us')
    fill(eu, 10)
    wait_until(lambda: eu.log('bank/eu/1').published_size == 10, 'publication')
    note = (eu.log_folder('eu') / 'checkpoint.published').read_text()
    assert note.startswith('bank/eu/1\n10\n')
    signers = [line.split()[1] for line in note.split('\n') if line.startswith('— ')]
    assert signers[0] == 'bank/eu/1' and 'bank/us' in signers, signers


def test_a_region_alone_needs_nobody(lab):
    eu = lab.solo()
    assert eu.client().append(batch(write('s'))).results[0].index == 0


def test_a_region_with_peers_waits_for_one_at_its_start(lab):
    eu, us = lab.cluster('eu', 'us')
    eu.start(accepting=False)
    assert not eu.status().accepting
    error = refused('UNAVAILABLE', eu.client().append, batch(write('s')))
    assert 'peer' in error.message, error.message
    us.start()
    eu.wait_accepting()
    eu.client().append(batch(write('s')))


def test_a_region_that_lost_its_disk_pulls_its_own_log_back(lab):
    eu, us = lab.started('eu', 'us')
    fill(eu, 150)
    us.wait_size('bank/eu/1', 150)
    eu.kill()
    shutil.rmtree(eu.folder / 'logs')
    shutil.rmtree(eu.folder / 'index')
    eu.start()
    assert eu.size() == 150
    assert eu.client().append(batch(write('s'))).results[0].index == 150
    us.wait_size('bank/eu/1', 151)
    verify_all([eu, us], ['eu'])


def test_other_contexts_at_a_peer_are_refused_and_shown(lab):
    eu, us = lab.cluster('eu', 'us')
    us.edit_config('default_home: eu', 'default_home: us')
    eu.start(accepting=False)
    us.start(accepting=False)
    wait_until(lambda: 'context' in eu.status().peers[0].error, 'the difference to show')
    assert not eu.status().accepting


def test_key_mismatch_is_refused_and_shown(lab):
    eu, us = lab.started('eu', 'us')
    fill(eu, 10)
    us.wait_size('bank/eu/1', 10)
    us.stop()
    check('tally', 'init', lab.folder / 'twin', '--cluster', 'bank', '--region', 'eu', '--listen', '127.0.0.1:1', '--context', 'bank=eu')
    shutil.copy(lab.folder / 'twin/keys/region.pub', us.folder / 'keys/peer-eu.pub')
    us.spawn()

    def noticed():
        if us.process.poll() is not None:
            return us.process.returncode == 1 and 'bank/eu/1' in us.said()
        try:
            log = us.log('bank/eu/1')
        except Refused:
            return False  # it may have ended since the line above, or not begun to serve
        return log is not None and log.detail
    wait_until(noticed, 'us to refuse a log that is signed by another key')


# --- A hostile peer --------------------------------------------------------------------------------------------------

def crc32c(data):
    table = crc32c.__dict__.setdefault('table', [])
    if not table:
        for n in range(256):
            for _ in range(8):
                n = n >> 1 ^ 0x82F63B78 if n & 1 else n >> 1
            table.append(n)
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


def with_crc(block):
    return block[:12] + struct.pack('<I', crc32c(block[:12] + block[16:])) + block[16:]


class HostilePeer:
    """Answers Hello as the region us, and every Pull of bank/us/1 with the messages it was given."""

    def __init__(self, port, size, messages, protocol=2):
        self.size, self.messages, self.protocol = size, messages, protocol
        self.pulls = 0
        handlers = {
            'Hello': grpc.unary_unary_rpc_method_handler(self.hello, request_deserializer=replication_pb2.HelloRequest.FromString,
                                                         response_serializer=lambda m: m if isinstance(m, bytes) else m.SerializeToString()),
            'Pull': grpc.stream_stream_rpc_method_handler(self.pull, request_deserializer=replication_pb2.PullRequest.FromString,
                                                          response_serializer=lambda m: m if isinstance(m, bytes) else m.SerializeToString()),
        }
        self.server = grpc.server(futures.ThreadPoolExecutor(8))
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler('tally.v1.Replication', handlers),))
        assert self.server.add_insecure_port(f'127.0.0.1:{port}') == port
        self.server.start()

    def hello(self, request, context):
        return replication_pb2.HelloResponse(protocol=self.protocol, cluster='bank', region='us', contexts_digest=request.contexts_digest,
                                             logs=[replication_pb2.HeldLog(origin='bank/us/1', size=self.size)])

    def pull(self, requests, context):
        first = next(requests)
        if first.origin != 'bank/us/1' or first.from_index != 0:
            context.abort(grpc.StatusCode.NOT_FOUND, 'nothing here')
        self.pulls += 1
        yield replication_pb2.PullResponse(question=bytes(32))
        next(requests)
        yield from self.messages
        for _ in requests:
            pass

    def stop(self):
        self.server.stop(0).wait()


def pull_as(source, region, origin, from_index=0, key=None):
    """What `source` sends on a pull by `region`, whose key answers the question who pulls."""
    asked = queue.Queue()

    def requests():
        yield replication_pb2.PullRequest(protocol=2, cluster='bank', region=region.name, origin=origin, from_index=from_index)
        lines = ['tallystick-pull/v1', 'bank', region.name, source.name, origin, str(from_index), base64.b64encode(asked.get()).decode()]
        yield replication_pb2.PullRequest(introduction=(key or cosign_key(region)).line('\n'.join(lines) + '\n').encode())
        asked.get()

    pull = source.replication().pull(requests(), timeout=20)
    pull.add_callback(lambda: asked.put(None))
    asked.put(next(pull).question)
    return pull


def cosign_key(region):
    name, _, blob = (region.folder / 'keys/cosign.key').read_text().strip().removeprefix('PRIVATE+KEY+').split('+', 2)
    return Key(name, base64.b64decode(blob)[1:], kind=4)


def genuine_block(lab):
    """The block of three entries that the true us made, as it travels; us is gone afterwards, its keys are those eu knows."""
    eu, us = lab.cluster('eu', 'us')
    eu.start(accepting=False)
    us.start()
    us.client().append(batch(write('s', event(b'payload-one'), event(b'payload-two'), event(b'payload-three'), partition='us')))
    us.wait_size('bank/us/1', 3)
    pull = pull_as(us, eu, 'bank/us/1')
    block = next(r.block for r in pull if r.block)
    pull.cancel()
    assert with_crc(block) == block and b'payload-two' in block
    us.kill()
    eu.kill()
    for folder in ('logs', 'index'):
        shutil.rmtree(eu.folder / folder)
    return eu, us, block


def nothing_to_read(region, origin):
    try:
        assert read_log(region.client(), origin) == []
    except Refused as error:
        assert error.code == 'NOT_FOUND', error


def try_messages(lab, messages, expect_size=0):
    eu, us, block = genuine_block(lab)
    peer = HostilePeer(us.port, 3, [m(block) for m in messages])
    lab.at_end(peer.stop)
    eu.start(accepting=False)
    wait_until(lambda: peer.pulls > 0, 'a pull')
    if expect_size:
        eu.wait_size('bank/us/1', expect_size)
    else:
        def shown():
            log, link = eu.log('bank/us/1'), eu.status().peers[0]
            return (log and log.detail) or link.error
        wait_until(shown, 'the refusal to show in the status')
    assert eu.size('bank/us/1') == expect_size
    if expect_size:
        assert len(read_log(eu.client(), 'bank/us/1')) == expect_size
    else:
        nothing_to_read(eu, 'bank/us/1')
    eu.stop()


def as_block(block):
    return replication_pb2.PullResponse(block=block)


def test_hostile_peer_with_the_genuine_block_is_believed(lab):
    try_messages(lab, [as_block], expect_size=3)


def test_hostile_peer_that_changed_a_payload(lab):
    try_messages(lab, [lambda b: as_block(with_crc(b.replace(b'payload-two', b'payload-TWO')))])


def test_hostile_peer_that_changed_an_entry(lab):
    try_messages(lab, [lambda b: as_block(with_crc(b.replace(b'Happened', b'happened', 1)))])


def test_hostile_peer_with_a_wrong_crc(lab):
    try_messages(lab, [lambda b: as_block(b[:20] + bytes([b[20] ^ 1]) + b[21:])])


def test_hostile_peer_with_a_truncated_block(lab):
    try_messages(lab, [lambda b: as_block(b[:-5])])


def test_hostile_peer_with_a_block_of_another_place(lab):
    try_messages(lab, [lambda b: as_block(with_crc(b[:16] + struct.pack('<Q', 7) + b[24:]))])


def test_hostile_peer_with_a_forged_checkpoint(lab):
    note = b'bank/us/1\n3\n' + b'A' * 43 + b'=\n\n\xe2\x80\x94 bank/us/1 ' + b'A' * 96 + b'\n'
    try_messages(lab, [lambda b: replication_pb2.PullResponse(checkpoint=note)])


def test_hostile_peer_with_bytes_that_are_no_message(lab):
    try_messages(lab, [lambda b: b'\xff' * 40])


def test_hostile_peer_with_an_empty_message(lab):
    try_messages(lab, [lambda b: replication_pb2.PullResponse()])


def test_peer_of_another_protocol_is_not_connected_and_shown(lab):
    eu, us = lab.cluster('eu', 'us')
    peer = HostilePeer(us.port, 3, [], protocol=1)
    lab.at_end(peer.stop)
    eu.start(accepting=False)
    wait_until(lambda: 'protocol' in eu.status().peers[0].error, 'the protocol to be named')
    assert not eu.status().accepting
