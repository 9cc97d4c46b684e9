"""Makes the binary seeds of the fuzz corpora, one folder a target, below the folder given: from the golden vectors, which a second implementation wrote,
and from messages that protoc's Python classes encode."""
import json
import random
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'build/python'))
sys.path.insert(0, str(ROOT / 'tests/golden'))
import golden  # noqa: E402
from tally.v1 import control_pb2, ledger_pb2, replication_pb2  # noqa: E402

OUT = Path(sys.argv[1])
VECTORS = json.loads((ROOT / 'tests/golden/vectors.json').read_text())


def seed(target, name, contents):
    folder = OUT / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f'seed-{name}').write_bytes(contents)


def log():
    entries, elements, pages, blocks = VECTORS['entries'], [], VECTORS['segment_headers'], VECTORS['blocks']
    for number, entry in enumerate(entries):
        encoded = bytes.fromhex(entry['encoded'])
        seed('entry', number, encoded)
        elements.append(bytes.fromhex(entry['element']))
        seed('frame', number, elements[-1])
    seed('frame', 'all', b''.join(elements))
    seed('frame', 'field-twice', b'\x0a\x06\x0a\x01a\x0a\x01b')
    seed('frame', 'wrong-order', b'\x0a\x15\x1a\x10' + bytes(16) + b'\x0a\x01a')
    first = bytes.fromhex(entries[0]['encoded'])
    seed('entry', 'field-twice', first[:10] + first)
    seed('entry', 'cut', first[:-1])
    for number, block in enumerate(blocks):
        seed('block', number, b'\0' + bytes.fromhex(block['bytes']))
        seed('peer', f'block-{number}', b'\1' + replication_pb2.PullResponse(block=bytes.fromhex(block['bytes'])).SerializeToString())
    first = bytes.fromhex(pages[0]['page']).ljust(4096, b'\0')
    padded = [bytes.fromhex(block['bytes']) for block in blocks]
    padded = [block + bytes(-len(block) % 4096) for block in padded]
    seed('segment', 'empty', b'\0' + first)
    seed('segment', 'whole', b'\0' + first + b''.join(padded))
    seed('segment', 'zeros', b'\0' + first + padded[0] + bytes(8192))
    seed('segment', 'torn', b'\1' + first + padded[0] + padded[1][:100] + bytes(3996))
    seed('segment', 'past-all-indexes', b'\0' + first + bytes(4096) + past_all_indexes())
    seed('segment', 'wrong-index', b'\1' + first + padded[0] + padded[2])
    back = len(padded[1]) // 4096
    front = padded[2][:8] + (int.from_bytes(padded[2][8:12], 'little') | back << 17).to_bytes(4, 'little')
    size = 32 + int.from_bytes(padded[2][4:8], 'little')
    together = front + golden.u32(golden.crc32c(front + padded[2][16:size])) + padded[2][16:]
    seed('segment', 'torn-together', b'\1' + first + padded[0] + padded[1][:100] + bytes(len(padded[1]) - 100) + together)
    seed('segment', 'hole', b'\1' + first + padded[0] + bytes(4096) + padded[2])
    seed('response', 'events', b''.join(elements) + ledger_pb2.ReadResponse(origin='demo/eu/1', position='eu@7', caught_up=True).SerializeToString())
    seed('response', 'position', ledger_pb2.ReadResponse(position='eu@1024,us.2@998', caught_up=True).SerializeToString())


def past_all_indexes():
    """A whole block whose entries chain and lead past 2^63, as a client's payload may imitate one."""
    origin, elements, prev = b'demo/eu/1', [], bytes(32)
    for at, index in enumerate((2 ** 63 - 1, 2 ** 63)):
        encoded = golden.encode_entry(dict(golden.said(), index=index, log_id=golden.log_id(origin), prev=prev, time=golden.TIME + at,
                                           event_id=golden.event_id(at), payload_commitment=golden.commitment(bytes(16), b'{}'), payload_size=2))
        elements.append(golden.encode_element(encoded, b'{}', bytes(16)))
        prev = golden.leaf(encoded)
    return golden.encode_block(origin, 2 ** 63 - 1, elements)


def append():
    def event(number, **more):
        return ledger_pb2.NewEvent(id=bytes([number]) * 16, type='Deposited', payload=b'{"amount":5}', **more)

    def write(stream, count, **more):
        return ledger_pb2.StreamWrite(context='bank', partition='p', stream=stream, events=[event(n + 1) for n in range(count)], **more)

    requests = {
        'one': ledger_pb2.AppendRequest(writes=[write('a', 1)], tag=7),
        'three': ledger_pb2.AppendRequest(writes=[write('a', 3, no_stream=True)]),
        'version': ledger_pb2.AppendRequest(writes=[write('a', 1, version=4)]),
        'exists': ledger_pb2.AppendRequest(writes=[write('a', 1, stream_exists=True)]),
        'two-streams': ledger_pb2.AppendRequest(writes=[write('a', 1), ledger_pb2.StreamWrite(
            context='bank', partition='p', stream='b', any=True,
            events=[event(9, metadata=b'{}', content_type='application/json', causation_id=b'c' * 16, correlation_id=b'd' * 16)])]),
        'same-id': ledger_pb2.AppendRequest(writes=[write('a', 1), write('b', 1)]),
        'other-context': ledger_pb2.AppendRequest(writes=[ledger_pb2.StreamWrite(context='x', partition='p', stream='s', events=[event(1)])]),
        'empty': ledger_pb2.AppendRequest(),
    }
    for name, request in requests.items():
        seed('append', name, request.SerializeToString())
        seed('request', f'append-{name}', b'\0' + request.SerializeToString())


def requests():
    note = (ROOT / 'tests/vectors/tessera15/checkpoint').read_bytes()
    messages = [
        (1, ledger_pb2.ReadStreamRequest(context='bank', stream='a', from_version=1, limit=5)),
        (2, ledger_pb2.ReadLogRequest(origin='demo/eu/1', from_index=1)),
        (3, ledger_pb2.SubscribeRequest(position='eu@7,us@3', context='bank')),
        (5, ledger_pb2.CreateProjectionRequest(sql='-- tally: projection p\n')),
        (6, ledger_pb2.ProjectionRequest(name='p', at_least='eu@7')),
        (8, replication_pb2.HelloRequest(protocol=2, cluster='demo', region='us', contexts_digest=b'd' * 32)),
        (9, replication_pb2.PullRequest(protocol=2, cluster='demo', region='us', origin='demo/eu/1', from_index=3)),
        (9, replication_pb2.PullRequest(introduction=note.splitlines()[-1] + b'\n')),
        (9, replication_pb2.PullRequest(stored_size=9, cosigned_size=7, cosignature=note.splitlines()[-1])),
    ]
    for number, (kind, message) in enumerate(messages):
        seed('request', number, bytes([kind]) + message.SerializeToString())
    held = [replication_pb2.HeldLog(origin='demo/eu/1', size=7, checkpoint=note), replication_pb2.HeldLog(origin='demo/us/1', size=3)]
    hello = replication_pb2.HelloResponse(protocol=2, cluster='demo', region='us', contexts_digest=b'd' * 32, logs=held)
    seed('peer', 'hello', b'\0' + hello.SerializeToString())
    seed('peer', 'hello-many', b'\0' + hello.SerializeToString() + b'\x2a\x00' * 200)
    seed('peer', 'question', b'\2' + replication_pb2.PullResponse(question=b'q' * 32).SerializeToString())
    seed('peer', 'question-and-more', b'\2' + replication_pb2.PullResponse(question=b'q' * 32, checkpoint=note).SerializeToString())
    seed('peer', 'checkpoint', b'\1' + replication_pb2.PullResponse(checkpoint=note).SerializeToString())


def control():
    seized = control_pb2.AuthorityChange(basis='eu@1024,us@998', previous='eu', actor='operator', reason='gone', forced=True)
    settled = control_pb2.LateSettled(region='eu', incarnation=2, index=77, event_id=bytes(16), settlement=1, actor='operator')
    key = control_pb2.KeyChange(role='log', old_key=b'o' * 32, new_key=b'n' * 32)
    for kind, message in ((0, control_pb2.AuthorityChange(successor='us')), (2, seized), (3, settled), (4, key), (5, key)):
        seed('control', kind, bytes([kind]) + message.SerializeToString())
        seed('control', f'{kind}-more', bytes([kind]) + message.SerializeToString() + b'\x50\x01')
    seed('control', 'same-key', b'\x04' + control_pb2.KeyChange(role='log', old_key=b'o' * 32, new_key=b'o' * 32).SerializeToString())
    events = [control_pb2.QueuedEvent(id=bytes([n]) * 16, type='Paid', payload=b'{}', causation_id=b'c' * 16) for n in (1, 2)]
    queued = control_pb2.CommandQueued(writes=[control_pb2.QueuedWrite(stream='a', expectation=3, expected_version=4, events=events),
                                               control_pb2.QueuedWrite(stream='b', events=events[:1])])
    decided = control_pb2.CommandDecided(region='us', incarnation=1, index=9, event_id=b'e' * 16)
    refused = control_pb2.CommandDecided(region='us', incarnation=1, index=9, event_id=b'e' * 16, code=5, message='at 4')
    for kind, message in ((6, queued), (7, decided), (8, refused)):
        seed('control', kind, bytes([kind]) + message.SerializeToString())


def notes():
    for path in sorted((ROOT / 'tests/vectors/tessera15').glob('checkpoint*'))[:4]:
        seed('note', path.name, path.read_bytes())
        seed('checkpoint', path.name, path.read_bytes().split(b'\n\n')[0] + b'\n')
    for number, text in enumerate(VECTORS['checkpoints']):
        seed('checkpoint', number, text.encode())


def definitions():
    homes = [control_pb2.ContextHome(partition='JP', region='ap'), control_pb2.ContextHome(partition='US', region='us')]
    types = [control_pb2.ContextType(type='Counted', settle=2, commutative=1), control_pb2.ContextType(type='Paid', override=1)]
    made = {
        'create': control_pb2.ContextDefined(version=1, basis='eu@7,us.2@3', default_home='eu', homes=homes, topology=2, actor='operator', reason='why'),
        'change': control_pb2.ContextDefined(version=2, isolation=1, lease_ms=5000, failover=2, payload_regions=['ap', 'eu'], event_types=types,
                                             durability_peers=2, when_away=1, recovery_point_events=9, recovery_point_seconds=8, recovery_point_then=2),
        'small': control_pb2.ContextDefined(version=3),
        'unsorted': control_pb2.ContextDefined(version=1, default_home='eu', homes=homes[::-1]),
        'homes-again': control_pb2.ContextDefined(version=2, default_home='eu'),
    }
    for name, message in made.items():
        seed('definition', name, message.SerializeToString())


def takeovers():
    """Schedules for fuzz_takeover.c: long stretches in which all goes well, and what goes wrong between them."""
    restart, deaf, learn, refuse, unready, late, very_late, lost, unheard, slow, rare, well = range(12)

    def act(action, at, chance):
        return bytes([3 * (action + 16 * chance.randrange(5 if action < 6 else 4)) + at])

    for number in range(64):
        chance = random.Random(number)
        schedule = b''
        while len(schedule) < 8000:
            for _ in range(chance.randrange(1, 30)):
                schedule += b''.join(act(well, at, chance) for at in range(3))
            at = chance.randrange(3)
            what = chance.choice([restart, restart, restart, deaf, deaf, deaf, deaf, learn, refuse, unready, late, very_late, lost, unheard, slow, rare])
            schedule += act(what, at, chance) + (chance.randbytes(1) if what == slow else b'')
        seed('takeover', number, schedule)
    # eu is lost; us has the claim, seizes a part, and then its checks fail, while those of ap pass.
    eu, us, ap = range(3)
    rounds = bytes([3 * well + eu, 3 * well + us, 3 * well + ap]) * 100
    seed('takeover', 'part', rounds + bytes([3 * restart + eu, 3 * deaf + us, 3 * deaf + ap, 3 * unready + ap, 3 * rare + us]) + rounds
         + bytes([3 * refuse + us, 3 * unready + ap]) + rounds * 2)


log()
append()
requests()
control()
notes()
definitions()
takeovers()
