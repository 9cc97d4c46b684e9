"""Replacing a region's keys: both sign in the overlap, peers and auditors go from one to the other, and nothing ever fails to verify."""
import json
import shutil
import stat

from harness import VERIFIED, VIOLATION, batch, check, event, read_log, run, wait_until, write


def append(region, count=5, partition='eu'):
    region.client().append(batch(write(f'keys-{partition}', *[event() for _ in range(count)], partition=partition)))


def note(folder, name='checkpoint.published'):
    """Size and signature lines of a note; 0 when there is none."""
    path = folder / name
    if not path.exists():
        return 0, []
    text, _, lines = path.read_text().partition('\n\n')
    return int(text.split('\n')[1]), lines.splitlines()


def signed_by(lines, name):
    return sum(line.startswith(f'— {name} ') for line in lines)


def wait_note(folder, size, name, count, file='checkpoint.published'):
    """Until a note of at least that size carries exactly `count` lines of that name; returns its text."""
    def there():
        got, lines = note(folder, file)
        return got >= size and signed_by(lines, name) == count
    wait_until(there, f'{folder / file} to have size {size} and {count} lines of {name}')
    return (folder / file).read_text()


def told(region, type):
    return [e for e in read_log(region.client()) if e.entry.type == type]


def tally_key(region, *arguments):
    return check('tally', 'key', *arguments, '--data', region.folder)


def private_texts(region):
    return [path.read_text().strip().split('+', 4)[4] for path in (region.folder / 'keys').glob('*.key')]


def give_keys(region, to):
    """What a person does: brings the public keys to a peer, which reads them when it starts."""
    to.stop()
    shutil.copy(region.folder / 'keys' / 'region.pub', to.folder / 'keys' / f'peer-{region.name}.pub')
    to.start()


def restart(region, *commands):
    region.stop()
    said = [tally_key(region, *command) for command in commands]
    for private in private_texts(region):
        assert private not in ''.join(said), 'a private key was printed'
    region.start()
    return said


def verified(folder, keys):
    return run('tally-verify', 'log', folder, '--key', keys).returncode


def test_a_rotation_of_the_keys_for_logs_and_cosignatures_verifies_from_end_to_end(lab):
    eu, us = lab.started('eu', 'us')
    old_keys = shutil.copy(eu.folder / 'keys/region.pub', lab.folder / 'old.pub')
    append(eu)
    append(us, partition='us')
    old_note = wait_note(eu.log_folder('eu'), 5, 'bank/eu/1', 1)
    wait_note(us.log_folder('us'), 5, 'bank/eu', 1)
    refused = run('tally', 'key', 'rotate', 'log', '--data', eu.folder)
    assert refused.returncode == 1 and 'stop it first' in refused.stderr, refused.stderr

    # The overlap: two keys sign. us, which knows the old ones only, sees no difference.
    restart(eu, ('rotate', 'log'), ('rotate', 'cosign'))
    for name in ('log-2.key', 'cosign-2.key'):
        assert stat.S_IMODE((eu.folder / 'keys' / name).stat().st_mode) == 0o600
    wait_until(lambda: len(told(eu, '$KeyRotated')) == 2, 'the log to tell both rotations')
    append(eu)
    append(us, partition='us')
    size = eu.size()
    wait_note(eu.log_folder('eu'), size, 'bank/eu/1', 2)
    wait_note(us.log_folder('us'), 10, 'bank/eu', 1)
    us.wait_size('bank/eu/1', size)
    new_keys = eu.folder / 'keys/region.pub'
    for keys in (old_keys, new_keys):
        assert verified(eu.log_folder('eu'), keys) == VERIFIED

    # Peers get the new keys; what they publish has both of eu's cosignatures then.
    give_keys(eu, us)
    append(us, partition='us')
    wait_note(us.log_folder('us'), 15, 'bank/eu', 2)

    # The old ones end. They are told about once, however often the region starts.
    said = restart(eu, ('retire', 'log'), ('retire', 'cosign'))
    assert 'destroyed' in said[0]
    keys = {path.name for path in (eu.folder / 'keys').iterdir()}
    assert {'log.key.pub', 'log-2.key', 'log-2.key.pub', 'cosign.key.pub', 'cosign-2.key'} <= keys and not {'log.key', 'cosign.key'} & keys
    wait_until(lambda: len(told(eu, '$KeyRetired')) == 2, 'the log to tell both ends')
    wait_note(us.log_folder('eu'), eu.size(), 'bank/eu/1', 1, 'checkpoint')  # else us would know no key of the checkpoint that it has stored
    give_keys(eu, us)
    restart(eu)
    append(eu)
    append(us, partition='us')
    assert len(told(eu, '$KeyRotated')) == 2 and len(told(eu, '$KeyRetired')) == 2
    size = eu.size()
    wait_note(eu.log_folder('eu'), size, 'bank/eu/1', 1)
    wait_note(us.log_folder('us'), 20, 'bank/eu', 1)
    wait_note(us.log_folder('eu'), size, 'bank/eu/1', 1, 'checkpoint')

    # Everything verifies: the log and its copy with the new key, what was signed before with the old one, and the way from one to the other.
    eu.stop()
    us.stop()
    for folder in (eu.log_folder('eu'), us.log_folder('eu')):
        assert verified(folder, new_keys) == VERIFIED
        assert verified(folder, old_keys) == VIOLATION, 'the old key has not signed this'
    (lab.folder / 'old.note').write_text(old_note)
    kept = eu.folder / 'keys/log.key.pub'
    check('tally-verify', 'checkpoint', lab.folder / 'old.note', '--key', kept)
    check('tally-verify', 'consistency', lab.folder / 'old.note', eu.log_folder('eu') / 'checkpoint', eu.log_folder('eu'), '--key', kept, '--key', new_keys)
    listed = json.loads(check('tally', 'key', 'list', '--data', eu.folder, '--json'))
    assert [(k['role'], k['file'], k['state']) for k in listed] == [
        ('log', 'log.key', 'retired'), ('log', 'log-2.key', 'signs'), ('cosign', 'cosign.key', 'retired'), ('cosign', 'cosign-2.key', 'signs'),
        ('witness', 'witness.key', 'signs')], listed


def test_operators_that_go_too_fast_are_stopped(lab):
    eu = lab.solo()
    append(eu)
    wait_note(eu.log_folder('eu'), 5, 'bank/eu/1', 1, 'checkpoint')
    eu.stop()

    def refused(*arguments):
        done = run('tally', 'key', *arguments, '--data', eu.folder)
        assert done.returncode == 1, done.stdout
        return done.stderr
    assert 'only one key of role log signs' in refused('retire', 'log')
    tally_key(eu, 'rotate', 'log')
    assert 'tally key retire log' in refused('rotate', 'log')
    assert 'has signed nothing yet' in refused('retire', 'log')
    (eu.folder / 'keys/log-2.key').rename(lab.folder / 'kept')
    eu.refuses_to_start('log-2.key', 'restore')
    assert 'LOST' in tally_key(eu, 'list')
    shutil.move(lab.folder / 'kept', eu.folder / 'keys/log-2.key')
    shutil.copy(eu.folder / 'keys/log-2.key.pub', eu.folder / 'keys/log.key.pub')
    eu.refuses_to_start('log.key', 'public half')


def test_a_rotation_that_was_interrupted_is_given_again(lab):
    eu = lab.init('eu')
    orphan = eu.folder / 'keys/log-2.key'
    orphan.write_text('PRIVATE+KEY+left by a crash\n')
    orphan.chmod(0o600)
    eu.start()
    eu.stop()
    tally_key(eu, 'rotate', 'log')
    public = (eu.folder / 'keys/log-2.key.pub').read_text()
    region = eu.folder / 'keys/region.pub'
    assert public in region.read_text()
    region.write_text((eu.folder / 'keys/log.key.pub').read_text() + (eu.folder / 'keys/cosign.key.pub').read_text())
    assert run('tally', 'key', 'rotate', 'log', '--data', eu.folder).returncode == 1
    assert public in region.read_text(), 'region.pub is made again from the keys that are there'


def test_a_retired_key_stays_known_when_it_alone_signed_an_earlier_incarnation(lab):
    eu = lab.solo()
    append(eu)
    wait_note(eu.log_folder('eu'), 5, 'bank/eu/1', 1, 'checkpoint')
    eu.stop()
    (eu.folder / 'RESTORED').touch()  # nobody can say what followed: the log ends, and another begins
    eu.start()
    restart(eu, ('rotate', 'log'))
    append(eu)
    later = next(path for path in sorted((eu.folder / 'logs').iterdir()) if path.name != 'eu-1')
    origin = f'bank/eu/{later.name[3:]}'
    wait_note(later, 6, origin, 2, 'checkpoint')
    restart(eu, ('retire', 'log'))
    append(eu)
    wait_note(later, 12, origin, 1, 'checkpoint')
    keys = eu.folder / 'keys/region.pub'
    assert (eu.folder / 'keys/log.key.pub').read_text() in keys.read_text() and '# retired' in keys.read_text()
    eu.stop()
    for folder in (later, eu.log_folder('eu')):
        assert verified(folder, keys) == VERIFIED


def test_the_witness_key_is_rotated_and_its_memory_stays(lab):
    eu, us = lab.cluster('eu', 'us')
    us.serve_http()
    eu.start(accepting=False)
    us.start(accepting=False)
    eu.wait_accepting()
    us.wait_accepting()
    append(eu)
    signed = wait_note(eu.log_folder('eu'), 5, 'bank/eu/1', 1, 'checkpoint')

    def submit(old):
        return us.http('/add-checkpoint', 'POST', f'old {old}\n\n{signed}'.encode())
    answer = submit(0)
    assert answer.status == 200 and answer.body.count(b'\n') == 1, answer.body
    restart(us, ('rotate', 'witness'))
    size = note(eu.log_folder('eu'), 'checkpoint')[0]
    answer = submit(5)
    assert answer.status == 200 and signed_by(answer.body.decode().splitlines(), 'bank/us/witness') == 2, (size, answer.body)
    restart(us, ('retire', 'witness'))
    answer = submit(5)
    assert answer.status == 200 and signed_by(answer.body.decode().splitlines(), 'bank/us/witness') == 1, answer.body
