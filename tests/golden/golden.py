#!/usr/bin/python3
"""Golden vectors of the byte formats: a second implementation, written from src/entry/FORMAT.md and src/log/FORMAT.md.

It shares no code with the C sources, so that a mistake in them and a mistake here would have to be the same one. The C tests compare
what the real encoders write with vectors.json.

    golden.py            writes vectors.json beside this script
    golden.py --check    exit 1 unless vectors.json, and the worked example in src/entry/FORMAT.md, are what this script makes
    golden.py --explain  prints the worked example
"""
import base64
import hashlib
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
VECTORS = HERE / "vectors.json"
ENTRY_FORMAT = HERE.parent.parent / "src" / "entry" / "FORMAT.md"

VARINT, FIXED64, BYTES = 0, 1, 2
PAGE = 4096


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def crc32c(data):
    """Castagnoli, bit by bit: polynomial 0x1EDC6F41, reflected."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def u32(value):
    return value.to_bytes(4, "little")


def u64(value):
    return value.to_bytes(8, "little")


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def bytes_field(number, value):
    return varint(number << 3 | BYTES) + varint(len(value)) + value


# --- Entries (src/entry/FORMAT.md) ------------------------------------------------------------------------------------

# Number, name, kind. "number" and "optional" are left out when 0 or empty.
FIELDS = [
    (1, "index", "number"),
    (2, "log_id", "bytes"),
    (3, "prev", "bytes"),
    (4, "time", "fixed64"),
    (5, "event_id", "bytes"),
    (6, "context", "bytes"),
    (7, "partition", "bytes"),
    (8, "stream", "bytes"),
    (9, "stream_version", "number"),
    (10, "type", "bytes"),
    (11, "epoch", "number"),
    (12, "flags", "number"),
    (13, "causation_id", "optional"),
    (14, "correlation_id", "optional"),
    (15, "content_type", "optional"),
    (16, "metadata", "optional"),
    (17, "payload_commitment", "bytes"),
    (18, "payload_size", "number"),
    (19, "subject_key_id", "optional"),
]


def encode_fields(entry):
    """Pairs of field name and its bytes, in order."""
    for number, name, kind in FIELDS:
        value = entry[name]
        if kind == "fixed64":
            yield name, varint(number << 3 | FIXED64) + u64(value)
        elif kind == "number" and value != 0:
            yield name, varint(number << 3 | VARINT) + varint(value)
        elif kind == "bytes" or (kind == "optional" and value):
            yield name, bytes_field(number, value)


def encode_entry(entry):
    return b"".join(field for _, field in encode_fields(entry))


def log_id(origin):
    return sha256(origin)[:8]


def genesis(origin):
    return sha256(b"tallystick-genesis\n", origin)


def commitment(salt, payload):
    return sha256(b"tallystick-payload-v1\0", salt, u64(len(payload)), payload)


def fingerprint(entry, payload):
    said = [entry[name] for name in ("context", "partition", "stream", "type", "content_type", "metadata", "causation_id",
                                     "correlation_id")] + [payload]
    first = sha256(b"tallystick-content-v1\0", *(u64(len(value)) + value for value in said))[:8]
    return int.from_bytes(first, "big") or 1


def encode_element(entry_bytes, payload, salt):
    """payload None: withheld."""
    frame = bytes_field(1, entry_bytes)
    if payload:
        frame += bytes_field(2, payload)
    if payload is not None:
        frame += bytes_field(3, salt)
    return bytes_field(1, frame)


# --- Tree (RFC 6962, section 2.1) -------------------------------------------------------------------------------------

def leaf(entry_bytes):
    return sha256(b"\0", entry_bytes)


def root(leaves):
    if not leaves:
        return sha256()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\1", root(leaves[:split]), root(leaves[split:]))


def subtree_roots(leaves):
    """Roots of the perfect subtrees that make up the tree, the largest first."""
    out = []
    at = 0
    for bit in reversed(range(len(leaves).bit_length())):
        size = 1 << bit
        if len(leaves) & size:
            out.append(root(leaves[at:at + size]))
            at += size
    return out


# --- Blocks and segments (src/log/FORMAT.md) --------------------------------------------------------------------------

def encode_block(origin, first_index, elements):
    body = b"".join(elements)
    front = b"TBK1" + u32(len(body)) + u32(len(elements))
    back = u64(first_index) + log_id(origin)
    return front + u32(crc32c(front + back + body)) + back + body


def encode_segment_header(origin, first_index, prev, last_time, leaves):
    hashes = subtree_roots(leaves)
    page = bytearray(PAGE)
    page[0:8] = b"TALLYSEG"
    page[8:12] = u32(1)
    page[16:24] = u64(first_index)
    page[24:28] = u32(PAGE)
    page[28:32] = u32(len(origin))
    page[32:64] = prev
    page[64:72] = u64(last_time)
    page[72:76] = u32(len(hashes))
    page[80:80 + len(origin)] = origin
    for i, value in enumerate(hashes):
        page[336 + 32 * i:368 + 32 * i] = value
    page[12:16] = u32(crc32c(bytes(page[0:12] + page[16:])))
    return bytes(page)


def checkpoint_text(origin, leaves):
    return origin.decode() + "\n" + str(len(leaves)) + "\n" + base64.b64encode(root(leaves)).decode() + "\n"


# --- The vectors ------------------------------------------------------------------------------------------------------

ORIGIN = b"demo/eu/1"
TIME = 1700000000000 << 16  # 2023-11-14T22:13:20Z


def event_id(number):
    """A UUIDv7 of that time."""
    return (1700000000000 + number).to_bytes(6, "big") + b"\x70\x00\x80\x00\x00\x00\x00\x00\x00" + bytes([number])


def said(**changes):
    entry = {
        "context": b"payments", "partition": b"DE", "stream": b"account-7", "stream_version": 0, "type": b"Deposited",
        "epoch": 1, "flags": 0, "causation_id": b"", "correlation_id": b"", "content_type": b"", "metadata": b"",
        "subject_key_id": b"",
    }
    entry.update(changes)
    return entry


# What the client said, the payload, and whether the region holds it.
EVENTS = [
    (said(content_type=b"application/json"), b'{"cents":1250}', True),
    (said(stream_version=1, type=b"Withdrawn", causation_id=event_id(0), correlation_id=event_id(0)), b"", True),
    (said(stream_version=2, metadata=b"\x0a\x03abc", subject_key_id=b"key-2023-11"), bytes(range(256)), True),
    (said(stream="konto-Köln".encode(), partition=b"x", epoch=300), b"withheld from here", False),
    (said(context=b"system", stream=b"authority", type=b"AuthorityTaken", flags=1, epoch=2), b"\x08\x02", True),
    (said(stream=b"s" * 512, stream_version=2 ** 64 - 1, epoch=2 ** 64 - 1), b"p" * 1000, True),
    (said(context=b"c" * 255, partition=b"p" * 255, type=b"t" * 255, content_type=b"/" * 255, metadata=b"m" * 4096,
          subject_key_id=b"k" * 64), b"", False),
    (said(type=b"Counted", flags=4), b'{"cents":1}', True),
]
BLOCKS = [2, 3, 3]  # entries in each block


def build_log():
    entries, elements, leaves = [], [], []
    prev = genesis(ORIGIN)
    time = 0
    for index, (words, payload, held) in enumerate(EVENTS):
        salt = bytes([index + 1]) * 16
        time = TIME + 1000 * index
        entry = dict(words, index=index, log_id=log_id(ORIGIN), prev=prev, time=time, event_id=event_id(index),
                     payload_commitment=commitment(salt, payload), payload_size=len(payload))
        encoded = encode_entry(entry)
        element = encode_element(encoded, payload if held else None, salt)
        elements.append(element)
        leaves.append(leaf(encoded))
        prev = leaves[-1]
        vector = {name: str(value) if isinstance(value, int) else value.hex() for name, value in entry.items()}
        vector.update(payload=payload.hex(), held=held, salt=salt.hex(), fingerprint="%016x" % fingerprint(entry, payload),
                      encoded=encoded.hex(), leaf=leaves[-1].hex(), element=element.hex(), root=root(leaves).hex())
        entries.append(vector)
    return entries, elements, leaves


def build():
    entries, elements, leaves = build_log()
    blocks, headers = [], []
    first = 0
    for count in BLOCKS + [0]:
        prev = leaves[first - 1] if first else genesis(ORIGIN)
        last_time = TIME + 1000 * (first - 1) if first else 0
        header = encode_segment_header(ORIGIN, first, prev, last_time, leaves[:first])
        headers.append({"first_index": first, "last_time": str(last_time), "page": header.rstrip(b"\0").hex()})
        if count:
            blocks.append({"first_index": first, "entry_count": count,
                           "bytes": encode_block(ORIGIN, first, elements[first:first + count]).hex()})
        first += count
    return {
        "origin": ORIGIN.decode(),
        "log_id": log_id(ORIGIN).hex(),
        "genesis": genesis(ORIGIN).hex(),
        "empty_root": root([]).hex(),
        "entries": entries,
        "blocks": blocks,
        "segment_headers": headers,
        "checkpoints": [checkpoint_text(ORIGIN, leaves[:size]) for size in range(len(leaves) + 1)],
    }


def explain():
    """The worked example: the first element of the vectors, byte for byte."""
    vector = build()["entries"][0]
    words, payload, _ = EVENTS[0]
    entry = dict(words, index=0, log_id=log_id(ORIGIN), prev=genesis(ORIGIN), time=TIME, event_id=event_id(0),
                 payload_commitment=commitment(b"\1" * 16, payload), payload_size=len(payload))
    lines = []

    def show(what, data):
        for at in range(0, len(data), 20):
            lines.append(("%-60s %s" % (data[at:at + 20].hex(" "), what if at == 0 else "")).rstrip())

    encoded = encode_entry(entry)
    frame = bytes_field(1, encoded) + bytes_field(2, payload) + bytes_field(3, b"\1" * 16)
    show("element: field 1, %d bytes of frame" % len(frame), varint(1 << 3 | BYTES) + varint(len(frame)))
    show("frame field 1: %d bytes of entry" % len(encoded), varint(1 << 3 | BYTES) + varint(len(encoded)))
    numbers = {name: number for number, name, _ in FIELDS}
    for name, data in encode_fields(entry):
        show("entry field %d: %s" % (numbers[name], name), data)
    show("frame field 2: payload", bytes_field(2, payload))
    show("frame field 3: salt", bytes_field(3, b"\1" * 16))
    lines.append("")
    for name in ("log_id", "prev", "payload_commitment", "leaf", "fingerprint"):
        lines.append("%-20s %s" % (name, vector[name]))
    return "\n".join(lines) + "\n"


def main():
    if sys.argv[1:] == ["--explain"]:
        sys.stdout.write(explain())
        return 0
    text = json.dumps(build(), indent=1, ensure_ascii=True) + "\n"
    if sys.argv[1:] == []:
        VECTORS.write_text(text)
        return 0
    if sys.argv[1:] != ["--check"]:
        sys.stderr.write(__doc__)
        return 2
    failures = 0
    if not VECTORS.is_file() or VECTORS.read_text() != text:
        sys.stderr.write("%s is not what this script makes\n" % VECTORS)
        failures += 1
    if not ENTRY_FORMAT.is_file() or explain() not in ENTRY_FORMAT.read_text():
        sys.stderr.write("the worked example in %s is not what --explain prints\n" % ENTRY_FORMAT)
        failures += 1
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
