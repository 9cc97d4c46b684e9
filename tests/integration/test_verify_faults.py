"""Each class of fault, planted in a log that our C code did not make, and what tally-verify must say: exit code, first bad index, area."""
import base64
import http.server
import json
import os
import shutil
import subprocess
import threading

from harness import BIN, UNREADABLE, USAGE, VERIFIED, VIOLATION, run
from ledger_files import NOW, Copy, Key, golden, key_change_payload

POLICY = 4


# --- Ways to damage a copy -------------------------------------------------------------------------------------------

def flip(name, find, at=0, bit=1):
    """Changes one bit of a file, and repairs no checksum."""
    def change(folder):
        file = next(f for f in sorted(folder.glob(name)) if find in f.read_bytes())
        data = bytearray(file.read_bytes())
        data[data.index(find) + at] ^= bit
        file.write_bytes(data)
    return change


def overwrite(name, offset, data):
    def change(folder):
        file = sorted(folder.glob(name))[0]
        old = file.read_bytes()
        file.write_bytes(old[:offset] + data + old[offset + len(data):])
    return change


def raw(find_of, at=0):
    """A bit of an entry's element flipped in the file."""
    return lambda c: c.after.append(flip('*.seg', find_of(c), at))


def stored(index, key, at=0):
    """A bit flipped before the block was made: its checksum is right."""
    def plant(c):
        data = bytearray(c.items[index][key])
        data[at] ^= 1
        c.items[index][key] = bytes(data)
    return plant


def flip_prev(c):
    prev = golden.leaf(c.items[3]['encoded'])
    data = bytearray(c.items[4]['encoded'])
    data[data.index(prev)] ^= 1
    c.items[4]['encoded'] = bytes(data)


def reshape(change, rechain):
    """Drops, repeats, swaps or inserts entries; `rechain` makes every later entry anew."""
    def plant(c):
        change(c)
        if rechain:
            c.chain()
        count = len(c.items)
        c.layout = [[3, 4], [count - 7]]
    return plant


def drop(c):
    del c.items[5]


def repeat(c):
    c.items.insert(5, dict(c.items[4]))


def swap(c):
    c.items[4], c.items[5] = c.items[5], c.items[4]


def insert(c):
    c.items.insert(5, dict(c.items[5], payload=b'{"forged":1}'))


def cut_to(count):
    def plant(c):
        c.items = c.items[:count]
        c.layout = [[3, 4], [count - 7]] if count > 7 else [[3, 4]]
    return plant


def foreign_segment(c):
    other = Copy(origin='bank/us/1')
    data = golden.encode_segment_header(b'bank/us/1', 7, other.leaves()[6], golden.TIME + 6000, other.leaves(7))
    c.after.append(overwrite('00000000000000000007.seg', 0, data))


def note(name, make):
    def plant(c):
        c.notes[name] = make(c)
    return plant


def two_roots(c):
    forged = c.clone()
    forged.items[6]['payload'] = b'{"another":1}'
    forged.chain(6)
    c.notes['checkpoint.published'] = c.sign(10, NOW - 60, text=forged.text(10))


def bad_signature(c):
    text, line = c.sign(10).rsplit(' ', 1)
    blob = bytearray(base64.b64decode(line))
    blob[20] ^= 1
    return f'{text} {base64.b64encode(blob).decode()}\n'


def epoch_falls(c):
    for item in c.items[2:]:
        item['epoch'] = 3
    c.items[5]['epoch'] = 2
    c.chain()
    c.publish()


def partial_mirror(c):
    c.publish(8, 7)
    cut_to(8)(c)


def withhold(c):
    for index in (1, 4, 8):
        c.items[index]['held'] = False


def payload_gone_but_salt_there(c):
    c.items[4]['payload'] = b''


SEGMENTS = [f'{first:020d}.seg' for first in (0, 7)]


def after(change):
    return lambda c: c.after.append(change)


def cut_file(name, size):
    """To that size; a larger one makes a hole at the end."""
    return after(lambda folder: os.truncate(folder / name, size))


def rename(old, new):
    return after(lambda folder: (folder / old).rename(folder / new))


def instead(name, make):
    """Something else under the file's name."""
    return after(lambda folder: ((folder / name).unlink(), make(folder / name)))


def checkpoint_of(change):
    """A checkpoint that the log's key signed, with a text of another form."""
    def plant(c):
        text = change(c.text(10))
        c.notes['checkpoint'] = text + '\n' + c.log_key.line(text)
    return plant


def two_faults(*plants):
    def plant(c):
        for one in plants:
            one(c)
    return plant


def signed_twice(first, second):
    """Two lines by the log's key, over these texts."""
    def make(c):
        text = c.text(10)
        return text + '\n' + ''.join(c.log_key.line(text if right else 'another text\n') for right in (first, second))
    return note('checkpoint', make)


WITNESS = Key('bank/asia', b'\7' * 32, 4)
OTHER_KEY = Key('bank/eu/1', b'\11' * 32)

NEW_KEY = Key('bank/eu/1', b'\12' * 32)


def rotated(*signers, policy, size=10):
    """Entry 3 tells that NEW_KEY signs beside the old one, entry 6 that the old one ended; `signers` sign the checkpoint of that size."""
    def plant(c):
        old = c.log_key
        for index, type in ((3, b'$KeyRotated'), (6, b'$KeyRetired')):
            c.items[index].update(payload=key_change_payload(old, NEW_KEY), partition=b'*', said={
                'context': b'$system', 'stream': b'$control', 'type': type, 'flags': 1, 'content_type': b'application/x-protobuf'})
        c.chain()
        keys = [old if name == 'old' else NEW_KEY for name in signers]
        text = c.text(size)
        c.notes['checkpoint'] = text + '\n' + ''.join(key.line(text) for key in keys)
        c.notes['checkpoint.published'] = c.notes['checkpoint'] + c.witness.line(text, NOW - 60)
        c.log_key, *c.other_log_keys = [old if name == 'old' else NEW_KEY for name in policy]
    return plant


# Name, how it is planted, exit code, first bad index (None: none is named), words that the report must have, more arguments.
FAULTS = [
    ('nothing', lambda c: None, VERIFIED, None, 'VERIFIED', []),
    ('a bit of an entry', raw(lambda c: c.items[4]['encoded'], 70), VIOLATION, 4, '', []),
    ('a bit of an entry, checksum repaired', stored(4, 'encoded', 75), VIOLATION, 4, '', []),
    ('a bit of a payload', raw(lambda c: c.items[4]['payload'], 5), VIOLATION, 4, '', []),
    ('a bit of a payload, checksum repaired', stored(4, 'payload', 5), VIOLATION, 4, 'commitment', []),
    ('a bit of a salt', raw(lambda c: c.items[4]['salt']), VIOLATION, 4, '', []),
    ('a bit of a salt, checksum repaired', stored(4, 'salt'), VIOLATION, 4, 'commitment', []),
    ('a bit of prev', raw(lambda c: golden.leaf(c.items[3]['encoded'])), VIOLATION, 4, '', []),
    ('a bit of prev, checksum repaired', flip_prev, VIOLATION, 4, '', []),
    ('a bit of a segment header', lambda c: c.after.append(flip('*07.seg', b'bank/eu/1')), VIOLATION, 7, '', []),
    ('a bit of a block header', lambda c: c.after.append(flip('*00.seg', b'TBK1', 5)), VIOLATION, 0, '', []),
    ('a segment of another log', foreign_segment, VIOLATION, 7, '', []),
    ('an entry dropped', reshape(drop, False), VIOLATION, 5, '', []),
    ('an entry dropped, chained anew', reshape(drop, True), VIOLATION, 0, 'root', []),
    ('an entry repeated', reshape(repeat, False), VIOLATION, 5, '', []),
    ('an entry repeated, chained anew', reshape(repeat, True), VIOLATION, 0, 'root', []),
    ('two entries swapped', reshape(swap, False), VIOLATION, 4, '', []),
    ('two entries swapped, chained anew', reshape(swap, True), VIOLATION, 0, 'root', []),
    ('an entry inserted', reshape(insert, False), VIOLATION, 5, '', []),
    ('an entry inserted, chained anew', reshape(insert, True), VIOLATION, 0, 'root', []),
    ('a tail cut behind the checkpoint', cut_to(11), VERIFIED, None, '', []),
    ('a tail cut before the checkpoint', cut_to(8), UNREADABLE, 8, 'missing', []),
    ('a stale checkpoint', lambda c: c.publish(8, 7), VERIFIED, None, '4 after it, uncommitted', []),
    ('a mirror that is still behind', partial_mirror, VERIFIED, None, 'all 8 entries', []),
    ('a checkpoint without a signature by the log', note('checkpoint', lambda c: c.sign(10, key=Key('bank/xx/1', b'\5' * 32))), VIOLATION, None,
     'not signed', []),
    ('a checkpoint by another key of that name', note('checkpoint', lambda c: c.sign(10, key=OTHER_KEY)), VIOLATION, None, 'not signed', []),
    ('a checkpoint whose signature is wrong', note('checkpoint', bad_signature), VIOLATION, None, 'does not verify', []),
    ('a checkpoint of another root', note('checkpoint', lambda c: c.sign(10, text=Copy(note='z').text(10))), VIOLATION, 7, 'root', []),
    ('two roots of one size', two_roots, VIOLATION, None, 'two roots', []),
    ('no checkpoint', lambda c: c.notes.clear(), UNREADABLE, None, 'no checkpoint', []),
    ('a cosignature by an unknown key', note('checkpoint.published', lambda c: c.sign(7, NOW - 60, witness=WITNESS)), POLICY, None, 'quorum', []),
    ('no cosignature', note('checkpoint.published', lambda c: c.sign(7)), POLICY, None, 'quorum', []),
    ('an old cosignature', lambda c: None, POLICY, None, 'old', ['--max-age', '30']),
    ('a cosignature that is new enough', lambda c: None, VERIFIED, None, '', ['--max-age', '90']),
    ('a replaced key file beside the log', lambda c: c.after.append(lambda f: (f / 'vkey').write_text(OTHER_KEY.vkey + '\n')), VERIFIED, None, '', []),
    ('payloads withheld', withhold, VERIFIED, None, '3 withheld', []),
    ('payloads withheld, and asked for', withhold, POLICY, None, '3 payloads are missing', ['--require-payloads']),
    ('a payload gone whose salt is there', payload_gone_but_salt_there, VIOLATION, 4, '', []),
    ('a rotation, before: by the old key', rotated('old', policy=('old', 'new'), size=3), VERIFIED, None, 'VERIFIED', []),
    ('a rotation, overlap: by both, the auditor knows the old', rotated('old', 'new', policy=('old',), size=6), VERIFIED, None, 'VERIFIED', []),
    ('a rotation, overlap: by both, the auditor knows the new', rotated('old', 'new', policy=('new',), size=6), VERIFIED, None, 'VERIFIED', []),
    ('a rotation, overlap: by both, the auditor knows both', rotated('old', 'new', policy=('old', 'new'), size=6), VERIFIED, None, 'VERIFIED', []),
    ('a rotation, after: by the new key', rotated('new', policy=('new',)), VERIFIED, None, 'VERIFIED', []),
    ('a rotation, after: by the new key, the old one is still listed', rotated('new', policy=('old', 'new')), VERIFIED, None, 'VERIFIED', []),
    ('a rotation, after: the auditor has only the old key', rotated('new', policy=('old',)), VIOLATION, None, 'not signed', []),
    ('a retired key signs alone, and is not listed any more', rotated('old', policy=('new',)), VIOLATION, None, 'not signed', []),
    ('a retired key signs alone, and is still listed', rotated('old', policy=('old', 'new')), VIOLATION, 6, 'retired at entry 6', []),
    ('a retired key signs beside the new one', rotated('old', 'new', policy=('new', 'old')), VIOLATION, 6, 'retired at entry 6', []),
    ('an epoch that falls', epoch_falls, VIOLATION, 5, 'epoch 2 after epoch 3', []),
    # Files.
    ('a segment that was renamed', rename(SEGMENTS[1], f'{8:020d}.seg'), VIOLATION, 7, 'renamed', []),
    ('the first segment under another name', after(lambda f: (f / SEGMENTS[0]).rename(f / f'{1:020d}.seg')), VIOLATION, None, 'renamed', []),
    ('a sealed segment with a byte more', after(lambda f: (f / SEGMENTS[0]).write_bytes((f / SEGMENTS[0]).read_bytes() + b'x')), VIOLATION, 7, '', []),
    ('the first segment gone', after(lambda f: (f / SEGMENTS[0]).unlink()), VIOLATION, 0, 'entries are missing', []),
    ('the last segment gone', after(lambda f: (f / SEGMENTS[1]).unlink()), UNREADABLE, 7, 'missing', []),
    ('a hole between blocks', after(overwrite(SEGMENTS[0], 4096, bytes(4096))), VIOLATION, 0, 'a block is missing', []),
    ('bytes after the blocks of a segment that is not the last', after(overwrite(SEGMENTS[0], 12288, b'x' * 5000)), VIOLATION, 7, '', []),
    ('a segment cut inside its header', cut_file(SEGMENTS[1], 100), VIOLATION, 7, 'not a segment', []),
    ('a segment cut to nothing', cut_file(SEGMENTS[1], 0), VIOLATION, 7, 'empty', []),
    ('a segment of a terabyte of nothing', cut_file(SEGMENTS[1], 1 << 40), VIOLATION, 7, 'more than any segment', []),
    ('a file that is no segment', after(lambda f: (f / 'x.seg').write_bytes(b'a')), VIOLATION, 0, 'not a segment', []),
    ('a pipe for a segment', instead(SEGMENTS[1], os.mkfifo), UNREADABLE, None, 'not a regular file', []),
    ('a pipe for the checkpoint', instead('checkpoint', os.mkfifo), UNREADABLE, None, 'not a regular file', []),
    ('a device for a segment', instead(SEGMENTS[0], lambda p: p.symlink_to('/dev/zero')), UNREADABLE, None, 'not a regular file', []),
    ('a device for the checkpoint', instead('checkpoint', lambda p: p.symlink_to('/dev/zero')), UNREADABLE, None, 'not a regular file', []),
    ('a folder for a segment', instead(SEGMENTS[1], lambda p: p.mkdir()), UNREADABLE, 7, 'missing', []),
    ('a segment that leads to itself', instead(SEGMENTS[1], lambda p: p.symlink_to(p)), UNREADABLE, None, 'cannot open', []),
    ('a segment behind a link', after(lambda f: ((f / SEGMENTS[1]).rename(f / 'x'), (f / SEGMENTS[1]).symlink_to('x'))), VERIFIED, None, '', []),
    # Forms of a checkpoint that somebody might take for another.
    ('an extension line', checkpoint_of(lambda text: text + 'more\n'), VIOLATION, None, 'extension lines', []),
    ('ends of lines of another system', checkpoint_of(lambda text: text.replace('\n', '\r\n')), VIOLATION, None, 'control characters', []),
    ('a size with a zero before it', checkpoint_of(lambda text: text.replace('\n10\n', '\n010\n')), VIOLATION, None, 'leading zeros', []),
    ('a size with a sign', checkpoint_of(lambda text: text.replace('\n10\n', '\n+10\n')), VIOLATION, None, 'decimal number', []),
    ('a size of 2^63', checkpoint_of(lambda text: text.replace('\n10\n', f'\n{2 ** 63}\n')), UNREADABLE, 12, f'covers {2 ** 63} entries', []),
    ('a size of 2^64 - 1', checkpoint_of(lambda text: text.replace('\n10\n', f'\n{2 ** 64 - 1}\n')), UNREADABLE, 12, 'missing', []),
    ('a size of 2^64', checkpoint_of(lambda text: text.replace('\n10\n', f'\n{2 ** 64}\n')), VIOLATION, None, 'decimal number', []),
    ('no entries, with the root of some', checkpoint_of(lambda text: text.replace('\n10\n', '\n0\n')), VIOLATION, 0, 'that of no entries', []),
    ('a line repeated', signed_twice(True, True), VERIFIED, None, '', []),
    ('a line repeated, the second one wrong', signed_twice(True, False), VIOLATION, None, 'does not verify', []),
    ('a line repeated, the first one wrong', signed_twice(False, True), VIOLATION, None, 'does not verify', []),
    ('two notes in one file', note('checkpoint', lambda c: c.sign(10) + c.sign(7)), VIOLATION, None, 'not a signed checkpoint', []),
    ('a note of megabytes', note('checkpoint', lambda c: 'a' * 3000000), VIOLATION, None, 'limit', []),
    # Two at once: the worse one is told, and of two alike the first.
    ('two entries', two_faults(stored(8, 'payload', 5), stored(2, 'payload', 5)), VIOLATION, 2, 'commitment', []),
    ('no quorum, and a tail cut', two_faults(note('checkpoint.published', lambda c: c.sign(7)), cut_to(8)), UNREADABLE, 8, 'missing', []),
    ('a tail cut, and a forged checkpoint', two_faults(note('checkpoint', bad_signature), cut_to(8)), VIOLATION, None, 'does not verify', []),
    ('no quorum, and an entry', two_faults(note('checkpoint.published', lambda c: c.sign(7)), stored(4, 'encoded', 75)), VIOLATION, 4, '', []),
]


def verify(lab, c, folder, *more, command='log', policy=None):
    path = lab.folder / 'auditor.policy'
    path.write_text(policy or c.policy())
    return run('tally-verify', command, folder, '--policy', path, '--now', NOW, *more)


def test_every_fault_in_a_folder_gets_its_verdict(lab):
    sound = Copy().publish()
    for number, (name, plant, code, bad_index, words, more) in enumerate(FAULTS):
        c = sound.clone()
        plant(c)
        folder = c.write(lab.folder / str(number))
        done = verify(lab, c, folder, '--json', *more)
        report = json.loads(done.stdout)
        assert done.returncode == code, (name, done.returncode, done.stdout)
        assert report['exit_code'] == code, name
        found = report['first_bad'] or {}
        assert found.get('index') == bad_index or bad_index is None, (name, found, report['message'])
        text = verify(lab, c, folder, *more).stdout
        assert words in text, (name, words, text)
        assert ('VERIFIED' in text) == (code == VERIFIED), (name, text)


def test_a_fault_in_one_file_is_named_with_file_offset_and_hashes(lab):
    c = Copy().publish()
    stored(4, 'encoded', 75)(c)
    good = Copy().leaves()[4]
    found = json.loads(verify(lab, c, c.write(lab.folder / 'log'), '--json').stdout)['first_bad']
    assert found['file'] == f'{0:020d}.seg' and found['offset'] == 8192, found
    assert base64.b64decode(found['expected']) == good and base64.b64decode(found['found']) != good, found


def test_two_roots_of_one_size_are_shown_and_kept_as_evidence(lab):
    c = Copy().publish()
    two_roots(c)
    done = verify(lab, c, c.write(lab.folder / 'log'), '--json')
    assert json.loads(done.stdout)['evidence'] == [c.notes['checkpoint'], c.notes['checkpoint.published']], done.stdout


# --- What the auditor remembers --------------------------------------------------------------------------------------

def test_a_log_that_was_rolled_back_or_rewritten_as_a_whole_is_found_with_state(lab):
    state = lab.folder / 'state'
    older, newer, other = Copy(8, ((3, 4), (1,))).publish(8, 7), Copy().publish(), Copy(note='z').publish()
    paths = {name: c.write(lab.folder / name) for name, c in (('older', older), ('newer', newer), ('other', other))}
    for folder in (paths['older'], paths['newer'], paths['newer']):
        done = verify(lab, newer, folder, '--state', state)
        assert done.returncode == VERIFIED, done.stdout + done.stderr
    assert json.loads(state.read_text())['logs'][0]['size'] == 10
    before = state.read_text()
    done = verify(lab, newer, paths['older'], '--state', state)
    assert done.returncode == VIOLATION and 'rolled back' in done.stdout, done.stdout
    done = verify(lab, newer, paths['other'], '--state', state)
    assert done.returncode == VIOLATION and 'rewritten' in done.stdout, done.stdout
    assert newer.notes['checkpoint'] in done.stdout and other.notes['checkpoint'] in done.stdout, done.stdout
    assert other.notes['checkpoint'] in (lab.folder / 'state.evidence').read_text()
    assert state.read_text() == before, 'a violation is not remembered as if it were true'
    twice = json.loads(before)
    twice['logs'] *= 2
    for damaged in (before.replace('"size": 10', '"size": 11'), before.replace('"size": 10', f'"size": {2 ** 63 - 1}'), json.dumps(twice), '[' * 100000):
        state.write_text(damaged)
        assert verify(lab, newer, paths['newer'], '--state', state).returncode == UNREADABLE, damaged[:200]


def test_resuming_reads_only_what_is_new_and_still_compares_the_root(lab):
    state = lab.folder / 'state'
    first, grown = Copy(8, ((3, 4), (1,))).publish(8, 7), Copy(12, ((3, 4), (1, 4))).publish(12, 7)
    assert verify(lab, first, first.write(lab.folder / 'first'), '--state', state).returncode == VERIFIED
    grown.after.append(flip('*00.seg', b'TBK1', 40))
    done = verify(lab, grown, grown.write(lab.folder / 'grown'), '--state', state, '--resume', '--json')
    assert done.returncode == VERIFIED and json.loads(done.stdout)['resumed_at'] == 8, done.stdout
    assert verify(lab, grown, lab.folder / 'grown').returncode == VIOLATION, 'without --resume everything is read'
    forged = Copy(12, ((3, 4), (1, 4)), note='z').publish(12, 7)
    done = verify(lab, forged, forged.write(lab.folder / 'forged'), '--state', lab.folder / 'state', '--resume')
    assert done.returncode == VIOLATION and 'rewritten' in done.stdout, done.stdout


def test_resuming_where_a_segment_begins_checks_the_link_to_what_was_read_before(lab):
    """7 entries are remembered. Entry 7, the first of a segment, names another before it, and the segment's header says the same."""
    state = lab.folder / 'state'
    first = Copy(7, ((3, 4),)).publish(7, 7)
    assert verify(lab, first, first.write(lab.folder / 'first'), '--state', state).returncode == VERIFIED
    before = state.read_text()
    prev = bytearray(golden.leaf(first.items[6]['encoded']))
    sound, forged = Copy(), Copy()
    data = bytearray(forged.items[7]['encoded'])
    at = data.index(prev)
    data[at] ^= 1
    forged.items[7]['encoded'] = bytes(data)
    forged.chain(8)

    def header_says_the_same(folder):
        file = folder / SEGMENTS[1]
        page = bytearray(file.read_bytes())
        page[32:64] = data[at:at + 32]
        page[12:16] = golden.u32(golden.crc32c(bytes(page[:12] + page[16:4096])))
        file.write_bytes(page)
    forged.after.append(header_says_the_same)
    empty = Copy(7, ((3, 4), ()))
    for name, c, size, code in (('grown', sound, 12, VERIFIED), ('forged', forged, 12, VIOLATION), ('a segment that is new', empty, 7, VERIFIED)):
        c.publish(size, 7)
        state.write_text(before)
        done = verify(lab, c, c.write(lab.folder / name), '--state', state, '--resume', '--json')
        report = json.loads(done.stdout)
        assert done.returncode == code and report['resumed_at'] == 7, (name, done.stdout)
        assert code == VERIFIED or report['first_bad']['index'] == 7, (name, report)


def test_what_is_remembered_outlives_a_rotation(lab):
    state = lab.folder / 'state'
    before, overlap, after = Copy().publish(), Copy(), Copy()
    rotated('old', 'new', policy=('old', 'new'), size=6)(overlap)
    rotated('new', policy=('new',))(after)
    rolled_back = Copy(5, ((3,), (2,)))
    rolled_back.log_key = NEW_KEY
    rolled_back.publish(5, 5)
    folders = {name: c.write(lab.folder / name) for name, c in (('overlap', overlap), ('after', after), ('rolled back', rolled_back))}
    assert verify(lab, overlap, folders['overlap'], '--state', state).returncode == VERIFIED
    assert sorted(log['key'] for log in json.loads(state.read_text())['logs']) == sorted(key.vkey for key in (before.log_key, NEW_KEY))
    done = verify(lab, after, folders['after'], '--state', state)
    assert done.returncode == VERIFIED, done.stdout
    done = verify(lab, rolled_back, folders['rolled back'], '--state', state)
    assert done.returncode == VIOLATION and 'rolled back' in done.stdout, done.stdout


def test_a_log_that_began_anew_is_remembered_under_the_key_of_its_first_name(lab):
    state = lab.folder / 'state'
    first, later = Copy(), Copy(origin='bank/eu/2').publish()
    shorter = Copy(8, ((3, 4), (1,)), origin='bank/eu/2').publish(8, 7)
    for name, c, code in (('later', later, VERIFIED), ('shorter', shorter, VIOLATION)):
        done = verify(lab, c, c.write(lab.folder / name), '--state', state, policy=first.policy())
        assert done.returncode == code, (name, done.stdout)


def test_an_empty_log_is_not_remembered(lab):
    c = Copy(0, ((),))
    c.notes['checkpoint'] = c.sign(0)
    done = verify(lab, c, c.write(lab.folder / 'log'), '--state', lab.folder / 'state', policy=c.policy(quorum=False))
    assert done.returncode == VERIFIED, done.stdout
    assert not (lab.folder / 'state').exists()


# --- tlogs -----------------------------------------------------------------------------------------------------------

def swap_files(a, b):
    def change(folder):
        first, second = (folder / a).read_bytes(), (folder / b).read_bytes()
        (folder / a).write_bytes(second)
        (folder / b).write_bytes(first)
    return change


def append_to(name, data):
    return after(lambda folder: (folder / name).write_bytes((folder / name).read_bytes() + data))


def padded(name):
    """A partial tile that is as large as a full one: only its first hashes are those of entries."""
    return after(lambda folder: (folder / name).write_bytes((folder / name).read_bytes().ljust(8192, b'x')))


def served_full(partial, full):
    """What a log does that removes partial tiles once the full ones are there."""
    def change(folder):
        (folder / full).write_bytes((folder / partial).read_bytes().ljust(8192, b'x') if 'tile/0' in full else
                                    (folder / partial).read_bytes() + b'\0\1x' * 248)
        (folder / partial).unlink()
    return after(change)


def tlog_size(size):
    def plant(c):
        text = c.text(520).replace('\n520\n', f'\n{size}\n')
        c.notes['tlog'] = text + '\n' + c.log_key.line(text) + c.witness.line(text, NOW - 60)
    return plant


TLOG_FAULTS = [
    ('nothing', lambda c: None, VERIFIED, None, ''),
    ('a tile of level 0', lambda c: c.after.append(overwrite('tile/0/001', 32 * 9, bytes(32))), VIOLATION, 265, ''),
    ('a tile of level 1', lambda c: c.after.append(overwrite('tile/1/000.p/2', 40, bytes(8))), VIOLATION, 256, 'tile/1/000.p/2'),
    ('an entry bundle', lambda c: c.after.append(flip('tile/entries/001', c.items[300]['encoded'], 80)), VIOLATION, 300, ''),
    ('a partial bundle', lambda c: c.after.append(flip('tile/entries/002.p/8', c.items[515]['encoded'], 80)), VIOLATION, 515, ''),
    ('two bundles swapped', lambda c: c.after.append(swap_files('tile/entries/000', 'tile/entries/001')), VIOLATION, 0, ''),
    ('a tile that is not there', lambda c: c.after.append(lambda f: (f / 'tile/0/001').unlink()), UNREADABLE, None, ''),
    ('a bundle that is not there', lambda c: c.after.append(lambda f: (f / 'tile/entries/001').unlink()), UNREADABLE, None, ''),
    ('a forged checkpoint', lambda c: c.notes.update(tlog=c.sign(520, NOW, key=OTHER_KEY)), VIOLATION, None, 'not signed'),
    ('another root', lambda c: c.notes.update(tlog=c.sign(520, NOW, text=c.text(519).replace('519', '520'))), VIOLATION, None, 'root'),
    ('a replaced key file', lambda c: c.after.append(lambda f: (f / 'vkey').write_text(OTHER_KEY.vkey)), VERIFIED, None, ''),
    ('a full bundle with more behind it', append_to('tile/entries/001', b'x'), VIOLATION, 511, 'more after its last entry'),
    ('a partial bundle with more behind it', append_to('tile/entries/002.p/8', b'\0\1x'), VIOLATION, 519, 'more after its last entry'),
    ('a bundle cut short', after(lambda f: os.truncate(f / 'tile/entries/001', 40)), VIOLATION, None, 'ends inside'),
    ('a partial tile of level 0, padded', padded('tile/0/002.p/8'), VIOLATION, 512, 'wrong size'),
    ('a partial tile of level 1, padded', padded('tile/1/000.p/2'), VIOLATION, None, 'wrong size'),
    ('full ones in the place of partial ones', two_faults(served_full('tile/0/002.p/8', 'tile/0/002'), served_full('tile/entries/002.p/8', 'tile/entries/002')),
     VERIFIED, None, ''),
    ('a full tile that contradicts the partial one it replaces', two_faults(served_full('tile/0/002.p/8', 'tile/0/002'),
                                                                            after(overwrite('tile/0/002', 32, bytes(32)))), VIOLATION, 513, ''),
    ('a tile of no bytes', after(lambda f: os.truncate(f / 'tile/0/001', 0)), VIOLATION, 256, 'wrong size'),
    ('a pipe for a tile', instead('tile/0/001', os.mkfifo), UNREADABLE, 256, 'not a regular file'),
    ('a folder for a bundle', instead('tile/entries/001', lambda p: p.mkdir()), UNREADABLE, 256, 'not a regular file'),
    ('a size of one more', tlog_size(521), UNREADABLE, 512, '002.p/9'),
    ('a size of one less', tlog_size(519), UNREADABLE, 512, '002.p/7'),
    ('a size of 2^63', tlog_size(2 ** 63), UNREADABLE, 512, ''),
    ('a size of 2^64 - 1', tlog_size(2 ** 64 - 1), UNREADABLE, 512, ''),
    ('no entries, with the root of some', tlog_size(0), VIOLATION, 0, 'without entries'),
]


def big():
    return Copy(520, ((520,),))


def test_every_fault_in_a_tlog_gets_its_verdict(lab):
    sound = big()
    for number, (name, plant, code, bad_index, words) in enumerate(TLOG_FAULTS):
        c = sound.clone()
        plant(c)
        done = verify(lab, c, c.write_tlog(lab.folder / str(number)), '--json', command='tlog')
        report = json.loads(done.stdout)
        assert done.returncode == code, (name, done.returncode, done.stdout)
        assert bad_index is None or report['first_bad']['index'] == bad_index, (name, report['first_bad'], report['message'])
        assert words in done.stdout, (name, done.stdout)


def resume_size(size):
    """Where a run goes on that has verified so many entries."""
    return size - size % 256 if size % 256 else size & (size - 1)


def resumed(lab, c, tlog, state, *more):
    done = verify(lab, c, tlog, '--json', '--state', state, '--resume', *more, command='tlog')
    return done.returncode, json.loads(done.stdout)


def test_a_tlog_is_resumed_at_any_size_and_what_is_new_is_checked(lab):
    """`size` entries are remembered; then there are 520, and something is wrong with some of them."""
    sound = big()

    def broken_link(at):
        """Entry `at` names another entry before it; tiles, root and signature are made for that."""
        def plant(c):
            prev, data = golden.leaf(c.items[at - 1]['encoded']), bytearray(c.items[at]['encoded'])
            data[data.index(prev)] ^= 1
            c.items[at]['encoded'] = bytes(data)
            c.chain(at + 1)
        return plant

    def another_history(c):
        c.items[0]['payload'] = b'{"another":1}'
        c.chain()
    for size in (1, 256, 300, 512, 520):
        start = resume_size(size)
        first = lab.folder / f'first-{size}'
        state = lab.folder / f'state-{size}'
        assert verify(lab, sound, sound.clone().write_tlog(first, size), '--state', state, command='tlog').returncode == VERIFIED
        faults = [('grown', lambda c: None, VERIFIED, None),
                  ('rewritten', another_history, VIOLATION, None)]
        if size < 520:
            faults += [('broken link', broken_link(size), VIOLATION, size)]
        if size < 516:
            faults += [('new entry', lambda c: c.after.append(flip('tile/entries/002.p/8', c.items[516]['encoded'], 80)), VIOLATION, 516)]
        if start >= 256:
            faults += [('old entry', lambda c: c.after.append(flip('tile/entries/000', c.items[9]['encoded'], 80)), VERIFIED, None)]
        for name, plant, expected, index in faults:
            c = sound.clone()
            plant(c)
            before = state.read_text()
            code, report = resumed(lab, c, c.write_tlog(lab.folder / f'{size}-{name}'), state)
            assert code == expected, (size, name, code, report['message'])
            assert report['resumed_at'] == start, (size, name, report['resumed_at'])
            assert index is None or report['first_bad']['index'] == index, (size, name, report['first_bad'])
            assert json.loads(state.read_text())['logs'][0]['size'] == (520 if code == VERIFIED else size), (size, name)
            state.write_text(before)


def test_a_resumed_tlog_is_held_to_our_rules_whatever_is_shown_of_its_first_entry(lab):
    """300 entries are remembered; entry 400 breaks the chain. What was read before is not read again, but it tells whose rules hold."""
    sound = big()
    state = lab.folder / 'state'
    assert verify(lab, sound, sound.clone().write_tlog(lab.folder / 'first', 300), '--state', state, command='tlog').returncode == VERIFIED
    before = state.read_text()

    def broken(c):
        prev, data = golden.leaf(c.items[399]['encoded']), bytearray(c.items[400]['encoded'])
        data[data.index(prev)] ^= 1
        c.items[400]['encoded'] = bytes(data)
        c.chain(401)
    bundle = 'tile/entries/000'
    for name, plant, code, index in (
            ('it is shown', lambda f: None, VIOLATION, 400),
            ('it is gone', lambda f: (f / bundle).unlink(), UNREADABLE, 0),
            ('it is another', lambda f: (f / bundle).write_bytes(b'\0\1x' * 256), VIOLATION, 256),
            ('it is cut short', lambda f: os.truncate(f / bundle, 1), VIOLATION, 256)):
        c = sound.clone()
        broken(c)
        c.after.append(plant)
        found, report = resumed(lab, c, c.write_tlog(lab.folder / name), state)
        assert found == code and report['first_bad']['index'] == index and state.read_text() == before, (name, found, report)


def test_a_tlog_that_was_rolled_back_is_found_when_it_is_resumed(lab):
    c = big()
    state = lab.folder / 'state'
    assert verify(lab, c, c.clone().write_tlog(lab.folder / 'whole'), '--state', state, command='tlog').returncode == VERIFIED
    code, report = resumed(lab, c, c.clone().write_tlog(lab.folder / 'shorter', 300), state)
    assert code == VIOLATION and 'rolled back' in report['message'] and report['resumed_at'] == 0, report


def test_tiles_that_do_not_show_what_was_seen_before_are_no_success(lab):
    """300 entries are remembered. A server rewrote its log from entry 260 on, signs that, and does not show the tile in which it would be seen."""
    sound = big()
    state = lab.folder / 'state'
    assert verify(lab, sound, sound.clone().write_tlog(lab.folder / 'first', 300), '--state', state, command='tlog').returncode == VERIFIED
    before = state.read_text()
    sound_tile = b''.join(sound.leaves()[256:512])

    def rewritten(c):
        c.items[260]['payload'] = b'{"another":1}'
        c.chain(260)
    hidden, old = after(lambda f: (f / 'tile/0/001').unlink()), after(overwrite('tile/0/001', 0, sound_tile))
    for number, (name, plant, code, result, words) in enumerate([
            ('grown', lambda c: None, VERIFIED, 'ok', 'the 300 entries seen before are the first ones'),
            ('rewritten', rewritten, VIOLATION, 'violation', 'rewritten'),
            ('rewritten, the tile is gone', two_faults(rewritten, hidden), UNREADABLE, 'incomplete', 'size 300, which was verified before, cannot be made'),
            ('rewritten, the tile is the old one', two_faults(rewritten, old), VIOLATION, 'violation', 'size 300, which was verified before, cannot be made'),
            ('no tile of the end either', two_faults(rewritten, after(lambda f: shutil.rmtree(f / 'tile/0'))), UNREADABLE, 'incomplete', 'size 300')]):
        c = sound.clone()
        plant(c)
        url = serve(lab, c.write_tlog(lab.folder / str(number)))
        done = verify(lab, sound, url, url, '--state', state, '--json', command='compare')
        report = json.loads(done.stdout)
        check = report['copies'][0]['checks']['history']
        assert done.returncode == code and (check['result'], state.read_text()) == (result, before), (name, done.returncode, check)
        assert words in check['text'], (name, check)
        (lab.folder / 'old').write_text(c.sign(100, NOW))
        (lab.folder / 'new').write_text(c.sign(520, NOW))
        done = verify(lab, sound, lab.folder / 'old', lab.folder / 'new', url, '--state', state, command='consistency')
        assert done.returncode == code and words in done.stdout, (name, done.returncode, done.stdout)
    shorter = sound.clone().write_tlog(lab.folder / 'shorter', 200)
    shutil.rmtree(shorter / 'tile')
    (shorter / 'tile').mkdir()
    done = verify(lab, sound, shorter, shorter, '--state', state, command='compare')
    assert done.returncode == VIOLATION and 'rolled back' in done.stdout, done.stdout


def test_a_large_tlog_is_resumed_over_http_and_its_upper_tiles_are_compared(lab):
    """Other people's entries. 66,000 of them are remembered, of 70,000: tiles of level 2 begin at 65,536."""
    key = Key('example.com/log', b'\14' * 32)
    entries = [b'entry %d' % i for i in range(70000)]
    leaves = [golden.leaf(entry) for entry in entries]
    policy = f'log {key.vkey}\nquorum none\n'

    def write(folder, size):
        levels, hashes = [], leaves[:size]
        while hashes:
            levels.append(hashes)
            hashes = [golden.root(hashes[i:i + 256]) for i in range(0, len(hashes) - len(hashes) % 256, 256)]
        for number, hashes in [*enumerate(levels), ('entries', [len(e).to_bytes(2, 'big') + e for e in entries[:size]])]:
            for at in range(0, len(hashes), 256):
                Copy.tile(folder / 'tile' / str(number), at // 256, b''.join(hashes[at:at + 256]), len(hashes[at:at + 256]))
        text = f'example.com/log\n{size}\n{base64.b64encode(golden.root(leaves[:size])).decode()}\n'
        (folder / 'checkpoint').write_text(text + '\n' + key.line(text))
        return folder
    state = lab.folder / 'state'
    done = verify(lab, None, write(lab.folder / 'first', 66000), '--state', state, command='tlog', policy=policy)
    assert done.returncode == VERIFIED, done.stdout + done.stderr
    grown = write(lab.folder / 'grown', 70000)
    before = state.read_text()

    def check_resumed(code, words='', place=grown):
        done = verify(lab, None, place, '--state', state, '--resume', '--json', command='tlog', policy=policy)
        report = json.loads(done.stdout)
        assert done.returncode == code and words in report['message'] and report['resumed_at'] == 65792, done.stdout
        state.write_text(before)
    check_resumed(VERIFIED, place=f'{serve(lab, lab.folder)}/grown')
    tile = grown / 'tile' / '1' / '001.p' / '17'
    sound = tile.read_bytes()
    for hash_number, code in ((0, VERIFIED), (1, VIOLATION), (16, VIOLATION)):  # the first one covers what is not read again
        tile.write_bytes(sound[:32 * hash_number] + bytes(32) + sound[32 * hash_number + 32:])
        check_resumed(code, 'hash' if code == VIOLATION else '')


def test_a_fault_in_a_bundle_is_named_with_its_offset_and_hashes(lab):
    c = big()
    c.after.append(flip('tile/entries/001', c.items[300]['encoded'], 80))
    found = json.loads(verify(lab, c, c.write_tlog(lab.folder / 'log'), '--json', command='tlog').stdout)['first_bad']
    assert found['file'] == 'tile/entries/001' and found['offset'] == sum(2 + len(item['encoded']) for item in c.items[256:300]), found
    assert base64.b64decode(found['expected']) == c.leaves()[300] and base64.b64decode(found['found']) != c.leaves()[300], found


def test_a_hostile_server_gets_no_success_and_no_memory(lab):
    """Each answer is one way to keep a client busy, to fill it, or to make it look elsewhere."""
    c = big()
    tlog = c.write_tlog(lab.folder / 'tlog')

    def answer(request, data, size=None, status=200, **headers):
        request.send_response(status)
        request.send_header('Content-Length', str(len(data) if size is None else size))
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(data)
        request.close_connection = size is not None

    def file(request):
        return (tlog / request.path.lstrip('/')).read_bytes()

    def endless(request):
        request.send_response(200)
        request.end_headers()
        while True:
            request.wfile.write(b'x' * 65536)

    def endless_headers(request):
        request.wfile.write(b'HTTP/1.1 200 OK\r\n')
        while True:
            request.wfile.write(b'X-More: ' + b'y' * 1000 + b'\r\n')

    def some(part, else_):
        return lambda request: else_(request) if part in request.path else answer(request, file(request))
    honest = serve(lab, tlog)
    cases = [
        ('redirected to itself', lambda r: answer(r, b'', status=302, Location=r.path), UNREADABLE, 'redirects'),
        ('redirected to a file', lambda r: answer(r, b'', status=302, Location='file://' + str(tlog / 'checkpoint')), UNREADABLE, 'cannot get'),
        ('redirected to another place', lambda r: answer(r, b'', status=302, Location=honest + r.path), VERIFIED, ''),
        ('a checkpoint without end', endless, UNREADABLE, 'larger than'),
        ('a bundle without end', some('entries', endless), VIOLATION, 'larger than'),
        ('a tile without end', some('tile/0', endless), VIOLATION, 'larger than'),
        ('headers without end', endless_headers, UNREADABLE, 'cannot get'),
        ('a length that is too large', lambda r: answer(r, file(r), size=2 ** 63 - 1), UNREADABLE, 'cannot get'),
        ('a length that is too small', some('entries', lambda r: answer(r, file(r), size=len(file(r)) - 10)), VIOLATION, 'ends inside'),
        ('nothing', lambda r: answer(r, b'', status=204), UNREADABLE, '204'),
        ('another page', lambda r: answer(r, b'<html>Please sign in</html>'), VIOLATION, 'not a signed checkpoint'),
        ('an error', lambda r: answer(r, b'', status=500), UNREADABLE, '500'),
    ]
    for name, handle, code, words in cases:
        done = verify(lab, c, serve_by(lab, handle), command='tlog')
        assert done.returncode == code and words in done.stdout, (name, done.returncode, done.stdout)
        assert ('VERIFIED' in done.stdout) == (code == VERIFIED), (name, done.stdout)
    text = f'x\n{2 ** 63}\n{base64.b64encode(bytes(32)).decode()}\n'
    note_of_any_size = (text + '\n' + Key('x', b'\3' * 32).line(text)).encode()

    def invent(request):
        """A log of 2^63 entries, which takes one tile and one bundle to serve."""
        answer(request, note_of_any_size if request.path == '/checkpoint' else b'\0\1a' * 256 if 'entries' in request.path else golden.leaf(b'a') * 256)
    invented = serve_by(lab, invent)
    assert run('tally-verify', 'compare', invented, invented).returncode == VIOLATION
    assert run('tally-verify', 'tlog', invented).returncode == VIOLATION


def test_other_peoples_tlogs_are_verified_with_their_key(lab):
    vectors = golden.HERE.parent / 'vectors' / 'tessera15'
    policy = lab.folder / 'policy'
    policy.write_text('log example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx\nquorum none\n')
    done = run('tally-verify', 'tlog', vectors, '--policy', policy)
    assert done.returncode == VERIFIED and '15 entries' in done.stdout, done.stdout + done.stderr
    for older, newer, code in (('checkpoint.3', 'checkpoint.15', VERIFIED), ('checkpoint.7', 'checkpoint.7', VERIFIED),
                               ('checkpoint.15', 'checkpoint.3', UNREADABLE)):
        done = run('tally-verify', 'consistency', vectors / older, vectors / newer, vectors, '--policy', policy)
        assert done.returncode == code, (older, newer, done.stdout)


def serve_by(lab, handle):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'
        wbufsize = 64 * 1024  # headers and body leave together

        def do_GET(self):
            try:
                handle(self)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def log_message(self, *_):
            pass
    return serve_with(lab, Handler)


def serve(lab, folder):
    class Handler(http.server.SimpleHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'

        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *_):
            pass
    return serve_with(lab, Handler)


def serve_with(lab, Handler):
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    lab.at_end(lambda: (server.shutdown(), server.server_close()))
    return f'http://127.0.0.1:{server.server_address[1]}'


def test_copies_of_any_kind_are_compared_and_the_first_difference_is_named(lab):
    a = big()
    a.notes['checkpoint'] = a.sign(520, NOW)
    folder, tlog, shorter = a.write(lab.folder / 'folder'), a.write_tlog(lab.folder / 'tlog'), a.write_tlog(lab.folder / 'shorter', 300)
    url = serve(lab, tlog)
    done = verify(lab, a, folder, tlog, url, shorter, '--json', command='compare')
    report = json.loads(done.stdout)
    assert done.returncode == VERIFIED and len(report['comparisons']) == 3, done.stdout
    assert sorted(c['common_size'] for c in report['comparisons']) == [300, 520, 520]
    assert verify(lab, a, url, command='tlog').returncode == VERIFIED
    for place in (0, 255, 256, 419, 519):
        b = a.clone()
        b.items[place]['payload'] = b'{"another":1}'
        b.chain(place)
        b.notes['checkpoint'] = b.sign(520, NOW)
        others = [b.write(lab.folder / f'folder-{place}'), b.write_tlog(lab.folder / f'tlog-{place}')]
        for one in (folder, tlog, url):
            for other in others:
                done = verify(lab, a, one, other, '--json', command='compare')
                report = json.loads(done.stdout)
                assert done.returncode == VIOLATION and report['first_difference'] == place, (place, one, other, report['message'])
                where = {p['copy']: (p['file'], p['offset'], base64.b64decode(p['leaf'])) for p in report['comparisons'][0]['places']}
                tile = ('tile/0/002.p/8' if place >= 512 else f'tile/0/00{place // 256}', place % 256 * 32)
                assert where[str(one)] == ((f'{0:020d}.seg', 4096) if one == folder else tile) + (a.leaves()[place],), (place, one, where)
                assert where[str(other)] == ((f'{0:020d}.seg', 4096) if other == others[0] else tile) + (b.leaves()[place],), (place, other, where)
    assert verify(lab, a, folder, 'http://127.0.0.1:1', command='compare').returncode == UNREADABLE


# --- Receipts, notes, digests ----------------------------------------------------------------------------------------

def inclusion_path(leaves, index):
    if len(leaves) <= 1:
        return []
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    if index < split:
        return inclusion_path(leaves[:split], index) + [golden.root(leaves[split:])]
    return inclusion_path(leaves[split:], index - split) + [golden.root(leaves[:split])]


def test_a_receipt_proves_its_entry_and_nothing_else(lab):
    c = Copy()
    path = inclusion_path(c.leaves(10), 6)
    text = f'c2sp.org/tlog-proof@v1\nindex 6\n{"".join(base64.b64encode(h).decode() + chr(10) for h in path)}\n{c.sign(10, NOW - 60)}'
    receipt = lab.folder / 'a.tlog-proof'
    files = {}
    for index in (5, 6):
        item = c.items[index]
        frame = golden.bytes_field(1, item['encoded']) + golden.bytes_field(2, item['payload']) + golden.bytes_field(3, item['salt'])
        for name, data in (('entry', item['encoded']), ('event', frame)):
            files[name, index] = lab.folder / f'{name}-{index}'
            files[name, index].write_bytes(data)
    forged = lab.folder / 'forged'
    forged.write_bytes(files['event', 6].read_bytes().replace(b'900', b'100'))
    receipt.write_text(text)
    for kind, file, code, words in (('--entry', files['entry', 6], VERIFIED, 'NOT looked at'), ('--event', files['event', 6], VERIFIED, 'with this payload'),
                                    ('--entry', files['entry', 5], VIOLATION, 'index 6'), ('--event', files['event', 5], VIOLATION, 'index 6'),
                                    ('--event', forged, VIOLATION, 'commitment')):
        done = verify(lab, c, receipt, kind, file, command='proof')
        assert done.returncode == code and words in done.stdout, (kind, file, done.stdout)
    assert verify(lab, c, receipt, command='proof').returncode == UNREADABLE, 'without the entry there is nothing to prove'
    assert verify(lab, c, receipt, '--entry', files['entry', 6], '--event', files['event', 6], command='proof').returncode == USAGE
    for index, code in ((6, VERIFIED), (5, VIOLATION)):
        extra = base64.b64encode(c.items[index]['encoded']).decode()
        receipt.write_text(text.replace('index 6', f'extra {extra}\nindex 6'))
        assert verify(lab, c, receipt, command='proof').returncode == code, index
    receipt.write_text(text.replace('index 6', 'index 7'))
    assert verify(lab, c, receipt, '--entry', files['entry', 6], command='proof').returncode == VIOLATION
    for number in ('06', '10', '-1', str(2 ** 64 - 1), str(2 ** 64)):
        receipt.write_text(text.replace('index 6', f'index {number}'))
        assert verify(lab, c, receipt, '--entry', files['entry', 6], command='proof').returncode == VIOLATION, number
    receipt.write_text(text)
    done = verify(lab, c, receipt, '--entry', files['entry', 6], '--require-payloads', command='proof')
    assert done.returncode == POLICY and 'the payload was asked for' in done.stdout, done.stdout
    assert verify(lab, c, receipt, '--event', files['event', 6], '--require-payloads', command='proof').returncode == VERIFIED


def test_checkpoints_are_judged_by_the_policy_alone(lab):
    c = Copy()
    file = lab.folder / 'note'
    for note_text, more, code in ((c.sign(10, NOW - 60), [], VERIFIED), (c.sign(10), [], POLICY), (c.sign(10, NOW - 60), ['--max-age', '10'], POLICY),
                                  (c.sign(10, NOW, key=OTHER_KEY), [], VIOLATION), (c.sign(10, NOW, witness=WITNESS), [], POLICY),
                                  (bad_signature(c), [], VIOLATION), ('nonsense', [], VIOLATION)):
        file.write_text(note_text)
        done = verify(lab, c, file, *more, command='checkpoint')
        assert done.returncode == code, (note_text, done.stdout)
    file.write_text(c.sign(10, NOW - 60))
    assert run('tally-verify', 'checkpoint', file).returncode == UNREADABLE, 'without a policy nothing about a note can be checked'


def test_two_checkpoints_are_held_against_each_other_and_a_copy(lab):
    c = Copy().publish()
    other = Copy(note='z')
    folder = c.write(lab.folder / 'log')
    notes = {'4': c.sign(4, NOW), '10': c.sign(10, NOW), 'other4': other.sign(4, NOW), 'other10': other.sign(10, NOW)}
    for name, text in notes.items():
        (lab.folder / name).write_text(text)
    for older, newer, code in (('4', '10', VERIFIED), ('10', '10', VERIFIED), ('other4', '10', VIOLATION), ('4', 'other10', VIOLATION),
                               ('10', 'other10', VIOLATION), ('10', '4', UNREADABLE)):
        done = verify(lab, c, lab.folder / older, lab.folder / newer, folder, '--json', command='consistency')
        report = json.loads(done.stdout)
        assert done.returncode == code, (older, newer, done.stdout)
        assert report['evidence'] == ([notes[older], notes[newer]] if (older, newer) == ('10', 'other10') else []), (older, newer)


def test_what_is_missing_in_a_copy_counts_when_two_checkpoints_are_held_against_it(lab):
    sound = Copy().publish()
    (lab.folder / 'old').write_text(sound.sign(4, NOW))
    (lab.folder / 'new').write_text(sound.sign(10, NOW))

    def without_notes(c):
        c.notes.clear()
    for number, (name, plant, more, code, words) in enumerate([
            ('sound', lambda c: None, ['--require-payloads'], VERIFIED, 'CONSISTENT'),
            ('payloads that are missing', withhold, ['--require-payloads'], POLICY, '3 payloads are missing'),
            ('payloads that nobody asked for', withhold, [], VERIFIED, 'CONSISTENT'),
            ('its own note covers more than is here', two_faults(lambda c: c.notes.update(checkpoint=c.sign(12, NOW)), cut_to(10)), [], UNREADABLE, 'missing'),
            ('no notes of its own', without_notes, [], VERIFIED, 'CONSISTENT'),
            ('a note that is not signed', note('checkpoint', bad_signature), [], VIOLATION, 'does not verify'),
            ('a note that is not cosigned', lambda c: c.notes.pop('checkpoint.published'), [], VERIFIED, 'CONSISTENT')]):
        c = sound.clone()
        plant(c)
        folder = c.write(lab.folder / str(number))
        done = verify(lab, sound, lab.folder / 'old', lab.folder / 'new', folder, *more, command='consistency')
        assert done.returncode == code and words in done.stdout and ('CONSISTENT' in done.stdout) == (code == VERIFIED), (name, done.returncode, done.stdout)
        report = json.loads(verify(lab, sound, lab.folder / 'old', lab.folder / 'new', folder, '--json', *more, command='consistency').stdout)
        assert report['exit_code'] == code and (code == VERIFIED or words in report['message']), (name, report['message'])


def test_a_segment_is_verified_by_itself(lab):
    c = Copy()
    folder = c.write(lab.folder / 'log')
    done = run('tally-verify', 'segment', folder / f'{7:020d}.seg')
    assert done.returncode == VERIFIED and 'entries 7 to 11; the ones before were NOT read' in done.stdout, done.stdout
    stored(9, 'payload', 3)(c)
    done = run('tally-verify', 'segment', c.write(lab.folder / 'bad') / f'{7:020d}.seg', '--json')
    assert done.returncode == VIOLATION and json.loads(done.stdout)['first_bad']['index'] == 9, done.stdout


def test_a_segment_of_entries_that_no_log_can_have_is_refused(lab):
    """Entries that chain, with whole checksums, and lead past 2^63."""
    c = Copy(2)
    origin, elements, prev = c.origin.encode(), [], bytes(32)
    for at, item in enumerate(c.items):
        encoded = golden.encode_entry(dict(golden.said(), index=2 ** 63 - 1 + at, log_id=golden.log_id(origin), prev=prev, time=c.time(at), event_id=golden.event_id(at),
                                           payload_commitment=golden.commitment(item['salt'], item['payload']), payload_size=len(item['payload'])))
        elements.append(golden.encode_element(encoded, item['payload'], item['salt']))
        prev = golden.leaf(encoded)
    page = bytearray(golden.encode_segment_header(origin, 2 ** 63 - 1, bytes(32), 0, []))
    page[72:76] = golden.u32(63)
    page[12:16] = golden.u32(golden.crc32c(bytes(page[:12] + page[16:])))
    file = lab.folder / f'{2 ** 63 - 1:020d}.seg'
    file.write_bytes(bytes(page) + golden.encode_block(origin, 2 ** 63 - 1, elements))
    done = run('tally-verify', 'segment', file)
    assert done.returncode == UNREADABLE and 'not a segment' in done.stdout, (done.returncode, done.stdout, done.stderr)


def test_projection_digests_are_compared_at_equal_positions_only(lab):
    base = {'name': 'balances', 'position': 'eu@7,us@3', 'digest': 'aa'}
    files = [lab.folder / 'a', lab.folder / 'b']
    files[0].write_text(json.dumps(base))
    for change, code in (({}, VERIFIED), ({'digest': 'bb'}, VIOLATION), ({'position': 'eu@8,us@3', 'digest': 'bb'}, UNREADABLE),
                         ({'name': 'other'}, UNREADABLE), ({'digest': ''}, UNREADABLE)):
        files[1].write_text(json.dumps({**base, **change}))
        done = run('tally-verify', 'projection', *files)
        assert done.returncode == code, (change, done.stdout, done.stderr)


def test_trust_needs_a_policy_that_parses(lab):
    c = Copy().publish()
    folder = c.write(lab.folder / 'log')
    trust = f'log {c.log_key.vkey}\nwitness us {c.witness.vkey}\n'
    for policy in ('', 'quorum none\nquorum none\n', f'log {c.log_key.vkey}x\nquorum none\n', f'log {c.log_key.vkey}\nquorum us\n', 'nonsense\n',
                   trust, trust + 'group a any b\ngroup b any a\nquorum a\n', trust + 'group a any a\nquorum a\n', trust + 'group a any nobody\nquorum a\n',
                   trust + f'witness again {c.witness.vkey}\ngroup a 2 us again\nquorum a\n', trust + 'group a 2 us us\nquorum a\n',
                   trust + 'group a 0 us\nquorum a\n', trust + 'group a 2 us\nquorum a\n', trust + 'group none any us\nquorum none\n',
                   f'log {c.log_key.vkey}\nwitness us {c.log_key.vkey}\nquorum us\n', trust.replace('\n', '\r\n') + 'quorum us\r\n'):
        (lab.folder / 'policy').write_text(policy)
        assert run('tally-verify', 'log', folder, '--policy', lab.folder / 'policy').returncode == UNREADABLE, policy
    for path in (lab.folder, '/dev/zero'):
        assert run('tally-verify', 'log', folder, '--policy', path).returncode == UNREADABLE, path
    os.mkfifo(lab.folder / 'pipe')
    assert run('tally-verify', 'log', folder, '--policy', lab.folder / 'pipe').returncode == UNREADABLE
    assert run('tally-verify', 'log', folder, '--state', lab.folder / 'state').returncode == USAGE


def test_an_option_that_a_command_does_nothing_about_is_refused(lab):
    c = Copy().publish()
    folder, file = c.write(lab.folder / 'log'), lab.folder / 'note'
    file.write_text(c.sign(10, NOW - 60))
    segment = folder / SEGMENTS[0]
    key = lab.folder / 'key'
    key.write_text(c.log_key.vkey + '\n')
    trust = ['--key', key]
    for arguments in (['segment', segment, *trust], ['segment', segment, '--max-age', '9'], ['projection', file, file, *trust],
                      ['projection', file, file, '--require-payloads'], ['checkpoint', file, *trust, '--state', lab.folder / 'state'],
                      ['checkpoint', file, *trust, '--require-payloads'], ['proof', file, *trust, '--state', lab.folder / 'state'],
                      ['compare', folder, folder, *trust, '--state', lab.folder / 'state', '--resume'], ['log', folder, '--entry', file],
                      ['log', folder, '--contexts', file]):
        done = run('tally-verify', *arguments)
        assert done.returncode == USAGE and 'does nothing about' in done.stderr, (arguments, done.stderr)
    done = verify(lab, c, c.clone().write_tlog(lab.folder / 'tlog', 10), '--require-payloads', command='tlog')
    assert done.returncode == POLICY and 'a tlog holds entries only' in done.stdout, done.stdout


def test_what_strangers_wrote_does_not_reach_the_terminal_as_commands(lab):
    """Escapes, C1 controls and marks that turn the direction of writing, in the names that a log and its files have."""
    wild = 'x\x1b[2K\x7f\u009b31m\u202e'
    c = Copy()
    text = c.text(12).replace('bank/eu/1', wild.replace('\x1b', ''))
    c.notes['tlog'] = text + '\n' + c.log_key.line(text)
    places = [c.clone().write_tlog(lab.folder / 'tlog'), c.clone().write_tlog(lab.folder / wild)]
    bad_name = Copy().publish()
    bad_name.after.append(lambda folder: (folder / (wild + '.seg')).write_bytes(b''))
    for command, place in (('tlog', places[0]), ('tlog', places[1]), ('log', bad_name.write(lab.folder / 'log')), ('log', lab.folder / (wild + 'nowhere'))):
        for more in ([], ['--json']):
            done = run('tally-verify', command, place, *more)
            said = done.stdout + done.stderr
            assert '\x1b' not in said and '\x7f' not in said and '\u009b' not in said and '\u202e' not in said, (command, place, said)
            if more:
                assert json.loads(done.stdout)['exit_code'] == done.returncode, said
    done = run('tally-verify', 'log', lab.folder / os.fsdecode(b'\xff\xfe'), '--json')
    assert done.returncode == UNREADABLE and json.loads(done.stdout)['exit_code'] == UNREADABLE, done.stdout


def test_a_report_that_cannot_be_written_is_no_success(lab):
    c = Copy().publish()
    policy = lab.folder / 'policy'
    policy.write_text(c.policy())
    for more in ([], ['--json']):
        with open('/dev/full', 'w') as full:
            done = subprocess.run([BIN / 'tally-verify', 'log', c.clone().write(lab.folder / f'log{len(more)}'), '--policy', policy, '--now', str(NOW), *more],
                                  stdout=full, stderr=subprocess.DEVNULL, timeout=60)
        assert done.returncode == UNREADABLE, done.returncode
