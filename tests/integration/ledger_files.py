"""Logs, notes and tlogs as files, made without any of our C code: from the format pages (through golden.py) and RFC 8032.

A Copy is a log in memory that can be damaged in any way before it is written.
"""
import base64
import copy
import hashlib
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'golden'))

import golden  # noqa: E402

# --- Ed25519 (RFC 8032, section 6, in extended coordinates) ----------------------------------------------------------

P = 2 ** 255 - 19
L = 2 ** 252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P


def point_add(a, b):
    A, B = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    C, E = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = B - A, E - C, E + C, B + A
    return e * f % P, g * h % P, f * g % P, e * h % P


def point_mul(n, point):
    total = (0, 1, 1, 0)
    while n:
        if n & 1:
            total = point_add(total, point)
        point = point_add(point, point)
        n >>= 1
    return total


BASE_Y = 4 * pow(5, P - 2, P) % P
BASE_X = 15112221349535400772501151409588531511454012693041857206046113283949847762202
BASE = (BASE_X, BASE_Y, 1, BASE_X * BASE_Y % P)


def point_bytes(point):
    inverse = pow(point[2], P - 2, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, 'little')


class Key:
    """A log's key (kind 1) or a cosigner's (kind 4)."""

    def __init__(self, name, seed, kind=1):
        digest = hashlib.sha512(seed).digest()
        self.name, self.kind = name, kind
        self.scalar = (int.from_bytes(digest[:32], 'little') & ((1 << 254) - 8)) | 1 << 254
        self.prefix = digest[32:]
        self.public = point_bytes(point_mul(self.scalar, BASE))
        self.id = hashlib.sha256(name.encode() + b'\n' + bytes([kind]) + self.public).digest()[:4]

    def sign_bytes(self, message):
        r = int.from_bytes(hashlib.sha512(self.prefix + message).digest(), 'little') % L
        R = point_bytes(point_mul(r, BASE))
        k = int.from_bytes(hashlib.sha512(R + self.public + message).digest(), 'little') % L
        return R + ((r + k * self.scalar) % L).to_bytes(32, 'little')

    @property
    def vkey(self):
        return f'{self.name}+{self.id.hex()}+{base64.b64encode(bytes([self.kind]) + self.public).decode()}'

    def line(self, text, time=0):
        signature = self.sign_bytes(text.encode()) if self.kind == 1 else (
            time.to_bytes(8, 'big') + self.sign_bytes(f'cosignature/v1\ntime {time}\n{text}'.encode()))
        return f'\u2014 {self.name} {base64.b64encode(self.id + signature).decode()}\n'


# --- A log -----------------------------------------------------------------------------------------------------------

ORIGIN = 'bank/eu/1'
NOW = 1800000000


class Copy:
    def __init__(self, count=12, layout=((3, 4), (5,)), origin=ORIGIN, note='n', first=0):
        self.origin = origin
        self.begin = golden.TIME
        self.layout = [list(blocks) for blocks in layout]
        self.log_key = Key(origin, b'\1' * 32)
        self.witness = Key('bank/us', b'\2' * 32, 4)
        self.other_log_keys = []  # that the auditor's policy has, too
        self.items = [{'payload': f'{{"{note}":{i},"amount":"900.00"}}'.encode(), 'salt': bytes([i % 255 + 1]) * 16, 'held': True, 'epoch': 1,
                       'partition': b'eu', 'subject': b''} for i in range(count)]
        self.after = []  # changes to the files' bytes once they are written
        self.notes = {}
        self.chain()

    def clone(self):
        return copy.deepcopy(self)

    def chain(self, first=0):
        """Makes the entries anew from `first`, each naming the one before."""
        origin = self.origin.encode()
        prev = golden.genesis(origin) if first == 0 else golden.leaf(self.items[first - 1]['encoded'])
        for index in range(first, len(self.items)):
            item = self.items[index]
            said = dict({'stream': b'account'}, **item.get('said', {}))
            item['encoded'] = golden.encode_entry(dict(
                golden.said(epoch=item['epoch'], partition=item['partition'], subject_key_id=item['subject'], **said), index=index,
                log_id=golden.log_id(origin), prev=prev, time=self.time(index), event_id=item.get('id') or golden.event_id(index % 256),
                payload_commitment=golden.commitment(item['salt'], item['payload']), payload_size=len(item['payload'])))
            prev = golden.leaf(item['encoded'])

    def time(self, index):
        return self.begin + 1000 * index

    def leaves(self, size=None):
        return [golden.leaf(item['encoded']) for item in self.items[:size]]

    def element(self, item):
        return golden.encode_element(item['encoded'], item['payload'] if item['held'] else None, item['salt'])

    def text(self, size, leaves=None):
        return golden.checkpoint_text(self.origin.encode(), (leaves or self.leaves())[:size])

    def sign(self, size, cosigned_at=None, text=None, key=None, witness=None):
        text = text or self.text(size)
        note = text + '\n' + (key or self.log_key).line(text)
        if cosigned_at is not None:
            note += (witness or self.witness).line(text, cosigned_at)
        return note

    def publish(self, size=10, published=7):
        self.notes['checkpoint'] = self.sign(size)
        self.notes['checkpoint.published'] = self.sign(published, NOW - 60)
        return self

    def policy(self, quorum=True, log_key=None):
        logs = ''.join(f'log {key.vkey}\n' for key in [log_key or self.log_key, *self.other_log_keys])
        return f'{logs}witness us {self.witness.vkey}\nquorum {"us" if quorum else "none"}\n'

    def write(self, folder):
        folder.mkdir(parents=True)
        index = 0
        origin = self.origin.encode()
        for blocks in self.layout:
            leaves = self.leaves(index)
            prev = leaves[-1] if index else golden.genesis(origin)
            time = self.time(index - 1) if index else 0
            data = golden.encode_segment_header(origin, index, prev, time, leaves)
            name = f'{index:020d}.seg'
            for count in blocks:
                items = self.items[index:index + count]
                block = golden.encode_block(origin, index, [self.element(item) for item in items])
                data += block + bytes(-len(block) % golden.PAGE)
                index += len(items)
            (folder / name).write_bytes(data)
        for name, note in self.notes.items():
            (folder / name).write_text(note)
        for change in self.after:
            change(folder)
        return folder

    def write_tlog(self, folder, size=None):
        """The layout of c2sp.org/tlog-tiles, for logs of at most 65,536 entries."""
        size = size or len(self.items)
        levels = [self.leaves(size)]
        levels.append([golden.root(levels[0][i:i + 256]) for i in range(0, size - size % 256, 256)])
        for level, hashes in enumerate(levels):
            for at in range(0, len(hashes), 256):
                self.tile(folder / 'tile' / str(level), at // 256, b''.join(hashes[at:at + 256]), len(hashes[at:at + 256]))
        for at in range(0, size, 256):
            entries = [item['encoded'] for item in self.items[at:min(at + 256, size)]]
            self.tile(folder / 'tile' / 'entries', at // 256, b''.join(len(e).to_bytes(2, 'big') + e for e in entries), len(entries))
        (folder / 'checkpoint').write_text(self.notes.get('tlog') or self.sign(size, NOW - 60))
        for change in self.after:
            change(folder)
        return folder

    @staticmethod
    def tile(folder, number, data, width):
        path = folder / f'{number:03d}' if width == 256 else folder / f'{number:03d}.p' / str(width)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


# --- Logs of a cluster, with changes of authority --------------------------------------------------------------------

def as_sent(segment):
    """A segment's header and blocks, without what is a matter of one file: which blocks were written together, and their checksums over it (src/log/FORMAT.md)."""
    parts, at = [segment[:4096]], 4096
    while segment[at:at + 4] == b'TBK1':
        size, shape = struct.unpack_from('<II', segment, at + 4)
        parts.append((size, shape & 0x1FFFF, segment[at + 16:at + 32 + size]))
        at += -(-(32 + size) // 4096) * 4096
    assert not segment[at:].strip(b'\0'), f'something that is no block stands at byte {at}'
    return parts


def texts(*fields):
    """Fields of a message in canonical form: (number, text or number), defaults left out."""
    out = b''
    for number, value in fields:
        if isinstance(value, int):
            out += golden.varint(number << 3 | golden.VARINT) + golden.varint(value) if value else b''
        elif value:
            out += golden.bytes_field(number, value if isinstance(value, bytes) else value.encode())
    return out


def change_payload(successor='', basis='', previous='', actor='operator', reason='', forced=False):
    """AuthorityChange of proto/tally/v1/control.proto."""
    return texts((1, successor), (2, basis), (3, previous), (4, actor), (5, reason), (6, int(forced)))


def settled_payload(region, index, event_id, settlement=3, incarnation=1, actor='operator', reason=''):
    """LateSettled of proto/tally/v1/control.proto."""
    return texts((1, region), (2, incarnation), (3, index), (4, event_id), (5, settlement), (6, actor), (7, reason))


def key_change_payload(old, new, role='log'):
    """KeyChange of proto/tally/v1/control.proto."""
    return texts((1, role), *((number, hashlib.sha256(key.vkey.encode()).digest()) for number, key in ((2, old), (3, new))))


class Ledger(Copy):
    """The log of one region, made entry by entry. Each method appends one and returns its index; `write` finishes it, in segments of `segment` entries.

    The entry at index i has time begin + 1000 i: `begin` decides who seized first."""

    def __init__(self, region, incarnation=1, begin=0, segment=4):
        super().__init__(0, (), origin=f'bank/{region}/{incarnation}')
        self.region, self.incarnation, self.segment = region, incarnation, segment
        self.begin = golden.TIME + begin

    def add(self, payload, epoch, partition, context='bank', id=None, **said):
        index = len(self.items)
        self.items.append({'payload': payload, 'salt': bytes([index % 255 + 1]) * 16, 'held': True, 'epoch': epoch, 'partition': partition.encode(),
                           'subject': b'', 'id': id or hashlib.sha256(f'{self.origin} {index}'.encode()).digest()[:16],
                           'said': dict({'context': context.encode(), 'stream': b's'}, **said)})
        return index

    def event(self, version, epoch=1, partition='p', stream='s', context='bank', id=None):
        return self.add(b'{}', epoch, partition, context, id, stream=stream.encode(), stream_version=version)

    def control(self, type, payload, epoch, partition='*', context='bank'):
        return self.add(payload, epoch, partition, context, type=type.encode(), flags=1, stream=b'$control')

    def release(self, epoch, successor, partition='*'):
        return self.control('$AuthorityReleased', change_payload(successor, previous=self.region), epoch, partition)

    def take(self, epoch, basis, partition='*'):
        return self.control('$AuthorityTaken', change_payload(basis=basis, actor='handover'), epoch, partition)

    def seize(self, epoch, basis, partition='*', context='bank'):
        return self.control('$AuthoritySeized', change_payload(basis=basis, reason='it lost power', forced=True), epoch, partition, context)

    def goes_on(self, basis, reason=''):
        """The first entry of a later log: what it continues of earlier ones."""
        return self.control('$LogContinued', change_payload(basis=basis, actor='', reason=reason), 1, '*', '$system')

    def settle(self, log, index, epoch, partition='p', settlement=3):
        payload = settled_payload(log.region, index, log.items[index]['id'], settlement, log.incarnation)
        return self.control('$LateSettled', payload, epoch, partition)

    def define(self, name, version, epoch=1, home='', basis='', regions=(), overrides=()):
        """ContextDefined of proto/tally/v1/control.proto: version 1 says homes and basis. regions: that may hold payloads; overrides: types."""
        types = [(10, texts((1, type), (3, 1))) for type in sorted(overrides)]
        payload = texts((1, version), (2, basis), (3, home), *((9, region) for region in sorted(regions)), *types, (16, 'operator'))
        return self.control('$ContextDefined', payload, epoch, name, '$system')

    def write(self, folder):
        count = len(self.items)
        self.layout = [[min(self.segment, count - at)] for at in range(0, count, self.segment)] or [[]]
        self.chain()
        self.notes['checkpoint'] = self.sign(count)
        return super().write(folder / self.origin.split('/', 1)[1].replace('/', '-'))
