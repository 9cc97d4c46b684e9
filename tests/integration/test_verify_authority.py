"""Who was allowed to accept what: each rule of ownership violated once, in logs that our C code did not make, and what tally-verify authority must say.

The cluster: eu is the home of bank, us the home of bank/q; ap takes part. Positions name entries, so each history says which index is which."""
import json

from harness import UNREADABLE, USAGE, VERIFIED, VIOLATION, check, run, wait_until
from ledger_files import Copy, Key, Ledger, key_change_payload
from test_failover import append, fail_over, position_of

HOMES = '''# As the contract says.
context bank home eu
partition bank/q home us

context cards home us
context $system home eu
'''
OVERRIDE = 2  # ENTRY_FLAG_OVERRIDE
TAIL = 6  # entries of eu's partition p, indexes 0 to 5


def cluster():
    """Logs of three regions: eu has written six events of p, us two of q, ap nothing of its own."""
    eu, us, ap = Ledger('eu'), Ledger('us', begin=100), Ledger('ap', begin=200)
    for version in range(TAIL):
        eu.event(version)
    for version in range(2):
        us.event(version, partition='q', stream='t')
    return eu, us, ap


def later(ledger, seconds):
    """The same log, appended to by so much later."""
    ledger.begin += seconds * 1000 << 16
    return ledger


# --- Histories that obey the rules -----------------------------------------------------------------------------------

def nothing_happens(eu, us, ap):
    return TAIL + 2, 0


def keys_are_replaced(eu, us, ap):
    """No context of the auditor's, and no home that would have to allow it."""
    for ledger in (eu, us):
        for type in ('$KeyRotated', '$KeyRetired'):
            ledger.control(type, key_change_payload(Key('bank/x', b'\13' * 32, 4), Key('bank/x', b'\12' * 32, 4), 'cosign'), 1, context='$system')
    return TAIL + 2, 0


def handover(eu, us, ap):
    eu.release(1, 'us')                       # 6
    us.take(2, 'eu@7,us@2')                   # 2
    us.event(TAIL, 2)
    return TAIL + 3, 0


def handover_of_one_partition(eu, us, ap):
    eu.release(1, 'us', 'p')
    us.take(2, 'eu@7,us@2', 'p')
    us.event(TAIL, 2)
    eu.event(0, 1, 'r', 'r')
    return TAIL + 4, 0


def failover_with_a_late_tail(eu, us, ap):
    us.seize(2, 'eu@4,us@2')                  # what eu has from 4 on is late
    us.event(4, 2)
    return 4 + 3, 2


def split_brain(eu, us, ap):
    """us and ap seize epoch 2 without seeing each other; us was first."""
    us.seize(2, 'eu@4,us@2')                  # 2
    us.event(4, 2)
    later(ap, 60)
    ap.seize(2, 'eu@5,us@2')                  # 0: it loses
    ap.event(5, 2)
    ap.event(6, 2)
    return 4 + 3, 2 + 2


def return_and_handback(eu, us, ap):
    us.seize(2, 'eu@4,us@2')                  # 2
    us.event(4, 2)                            # 3
    us.release(2, 'eu')                       # 4
    eu.take(3, 'eu@6,us@5')                   # 6
    eu.event(5, 3)
    return 4 + 3 + 1, 2


def settlement(eu, us, ap):
    """Two late events: one is appended again by the home, one is rejected."""
    us.seize(2, 'eu@4,us@2')
    us.event(4, 2, id=eu_id(eu, 4))
    us.settle(eu, 4, 2, settlement=1)
    us.settle(eu, 5, 2, settlement=3)
    return 4 + 3, 2


def a_new_incarnation_at_home(eu, us, ap):
    """eu lost its tail and goes on as eu/2, still the home."""
    again = Ledger('eu', 2, begin=300)
    again.event(TAIL)
    return TAIL + 3, 0, again


def a_new_log_that_leaves_a_tail_behind(eu, us, ap):
    """ap had the last two entries of eu/1, and was away when eu went on without them."""
    again = Ledger('eu', 2, begin=300)
    again.goes_on('eu@4')
    again.event(4)
    return 4 + 3, 2, again


def a_release_that_was_left_behind(eu, us, ap):
    eu.release(1, 'us')                       # 6
    again = Ledger('eu', 2, begin=300)
    again.goes_on('eu@6', 'entries 6 to 6 of bank/eu/1 are lost')
    again.event(TAIL)
    return TAIL + 3, 0, again


def a_seizure_that_knows_nothing_of_the_new_log(eu, us, ap):
    again = Ledger('eu', 2, begin=300)
    again.goes_on('eu@3')
    again.event(3)                            # late: the seizure does not name eu/2
    us.seize(2, 'eu@5,us@2')                  # what eu/2 left behind counts as far as this says
    us.event(5, 2)
    return 5 + 3, 1 + 1, again


def a_log_that_continues_what_is_lost_is_left_behind(eu, us, ap):
    lost, again = Ledger('eu', 2, begin=300), Ledger('eu', 3, begin=600)
    lost.goes_on('eu@9')
    lost.event(9)
    again.goes_on('eu@6')
    again.event(TAIL)
    return TAIL + 3, 1, lost, again


def one_id_at_two_homes(eu, us, ap):
    """Each home accepted it before it knew of the other: an item for reconciliation, not a violation."""
    us.event(2, 1, 'q', 't', id=eu_id(eu, 0))
    return TAIL + 3, 0


def split_brain_in_which_the_loser_is_succeeded(eu, us, ap):
    """ap, which lost, hands over to eu before they hear of us. Which of the two chains counts is the fold's to say; no rule was broken either way."""
    split_brain(eu, us, ap)
    ap.release(2, 'eu')                       # 3
    later(eu, 120)
    eu.take(3, 'ap@4,eu@6,us@2')              # 6
    eu.event(9, 3)


def a_context_that_is_created(eu, us, ap):
    eu.define('shop', 1, home='ap', basis='eu@6')
    for version in range(2):
        ap.event(version, partition='r', context='shop')
    eu.define('shop', 2)
    us.seize(2, 'ap@1,eu@8,us@2', context='shop')
    us.event(1, 2, 'r', context='shop')
    return TAIL + 2 + 1 + 1, 1


def payloads_stay_in_two_regions(eu, us, ap):
    """ap holds none at first, and takes over once it may."""
    eu.define('shop', 1, home='eu', regions=('eu', 'us'))     # 6
    eu.event(0, partition='r', context='shop')                # 7
    us.seize(2, 'eu@8,us@2', context='shop')                  # 2
    us.event(1, 2, 'r', context='shop')                       # 3
    eu.define('shop', 2, regions=('ap', 'eu', 'us'))          # 8
    ap.seize(3, 'eu@9,us@4', context='shop')
    ap.event(2, 3, 'r', context='shop')
    return TAIL + 2 + 3, 0


def overrides_that_the_logs_allow(eu, us, ap):
    """A type that may be overridden in version 2, and not in version 3: what was accepted meanwhile broke no rule."""
    eu.define('shop', 1, home='eu')
    eu.define('shop', 2, overrides=('Frozen',))
    us.add(b'{}', 1, 'r', 'shop', type=b'Frozen', flags=OVERRIDE)
    eu.define('shop', 3)
    return TAIL + 2, 0


def eu_id(eu, index):
    return eu.items[index]['id']


HONEST = [nothing_happens, handover, handover_of_one_partition, failover_with_a_late_tail, split_brain, return_and_handback, settlement,
          a_new_incarnation_at_home, a_new_log_that_leaves_a_tail_behind, a_release_that_was_left_behind, a_seizure_that_knows_nothing_of_the_new_log,
          a_log_that_continues_what_is_lost_is_left_behind, one_id_at_two_homes, keys_are_replaced, a_context_that_is_created, payloads_stay_in_two_regions,
          overrides_that_the_logs_allow]


# --- Histories that do not -------------------------------------------------------------------------------------------

def seized(eu, us, ap):
    us.seize(2, 'eu@4,us@2')
    us.event(4, 2)


def an_epoch_that_nobody_began(eu, us, ap):
    us.event(0, 7, stream='x')


def an_epoch_that_another_began(eu, us, ap):
    seized(eu, us, ap)
    ap.event(5, 2)


def an_epoch_that_its_region_began_later(eu, us, ap):
    us.event(4, 2)
    us.seize(2, 'eu@4,us@2')


def not_the_home_of_epoch_1(eu, us, ap):
    us.event(0, 1, stream='x')


def not_the_home_of_a_partition(eu, us, ap):
    eu.event(0, 1, 'q', 'x')


def a_skipped_epoch(eu, us, ap):
    us.seize(3, 'eu@4,us@2')


def a_taking_without_release(eu, us, ap):
    us.take(2, 'eu@6,us@2')


def a_taking_by_another(eu, us, ap):
    eu.release(1, 'us')
    ap.take(2, 'eu@7,us@2')


def a_taking_that_does_not_rest_on_the_release(eu, us, ap):
    eu.release(1, 'us')
    us.take(2, 'eu@6,us@2')


def a_taking_of_another_partition(eu, us, ap):
    eu.release(1, 'us', 'p')
    us.take(2, 'eu@7,us@2', 'r')


def a_taking_after_a_release_by_nobody(eu, us, ap):
    ap.release(1, 'us')
    us.take(2, 'ap@1,eu@6,us@2')


def a_basis_of_entries_that_are_not_there(eu, us, ap):
    us.seize(2, 'eu@7,us@2')


def a_basis_of_its_own_future(eu, us, ap):
    us.seize(2, 'eu@6,us@4')
    us.event(6, 2)
    us.event(7, 2)


def a_release_by_another(eu, us, ap):
    us.release(1, 'us')


def a_release_of_a_later_epoch(eu, us, ap):
    eu.release(2, 'us')


def a_decision_by_another(eu, us, ap):
    seized(eu, us, ap)
    ap.settle(eu, 4, 2)


def a_malformed_change(eu, us, ap):
    us.control('$AuthoritySeized', b'\x12\x04eu@6\x12\x04us@2', 2)


def a_malformed_change_of_keys(eu, us, ap):
    us.control('$KeyRotated', b'\x0a\x03log', 1, context='$system')


def a_malformed_decision(eu, us, ap):
    eu.control('$LateSettled', b'\x08\x01', 1, 'p')


def a_change_to_epoch_1(eu, us, ap):
    us.seize(1, 'eu@6,us@2')


def one_version_twice(eu, us, ap):
    eu.event(3)


def one_version_twice_in_two_logs(eu, us, ap):
    """us holds all six of eu and gives version 5 away again."""
    us.seize(2, 'eu@6,us@2')
    us.event(5, 2)


def one_id_twice(eu, us, ap):
    eu.event(TAIL, id=eu_id(eu, 2))


def one_id_twice_in_two_logs(eu, us, ap):
    us.seize(2, 'eu@6,us@2')
    us.event(6, 2, id=eu_id(eu, 2))


def a_definition_by_another(eu, us, ap):
    ap.define('shop', 1, home='ap')


def a_definition_after_the_system_moved(eu, us, ap):
    us.seize(2, 'eu@6,us@2', context='$system')
    ap.define('shop', 1, 2, home='ap')


def a_malformed_definition(eu, us, ap):
    eu.define('shop', 1, home='')


def a_version_left_out(eu, us, ap):
    eu.define('shop', 1, home='ap')
    eu.define('shop', 3)


def a_version_given_twice(eu, us, ap):
    eu.define('shop', 1, home='ap')
    eu.define('shop', 2)
    eu.define('shop', 2)


def a_region_that_is_to_forget_payloads(eu, us, ap):
    eu.define('shop', 1, home='eu', regions=('ap', 'eu'))
    eu.define('shop', 2, regions=('eu',))


def a_first_list_that_leaves_a_region_out(eu, us, ap):
    """Without a list all regions may hold them."""
    eu.define('shop', 1, home='eu')
    eu.define('shop', 2, regions=('eu', 'us'))
    ap.control('$KeyRotated', key_change_payload(ap.log_key, Key('bank/ap/1', b'\13' * 32)), 1, context='$system')


def a_home_without_payloads(eu, us, ap):
    eu.define('shop', 1, home='eu', regions=('eu',))
    us.seize(2, 'eu@7,us@2', context='shop')


def an_event_where_its_payload_may_not_be(eu, us, ap):
    eu.define('shop', 1, home='us', regions=('eu',))
    us.event(0, partition='r', context='shop')


def an_override_where_its_payload_may_not_be(eu, us, ap):
    eu.define('shop', 1, home='eu', regions=('eu',), overrides=('Frozen',))
    us.add(b'{}', 1, 'r', 'shop', type=b'Frozen', flags=OVERRIDE)


def an_override_that_no_version_allows(eu, us, ap):
    eu.define('shop', 1, home='eu', overrides=('Frozen',))
    us.add(b'{}', 1, 'r', 'shop', type=b'Paid', flags=OVERRIDE)


def not_the_home_that_the_creation_says(eu, us, ap):
    eu.define('shop', 1, home='ap')
    us.event(0, partition='r', context='shop')


def a_continuation_in_the_middle(eu, us, ap):
    us.goes_on('')


def a_continuation_of_another_log_than_its_region_s(eu, us, ap):
    again = Ledger('eu', 2, begin=300)
    again.goes_on('us@1')
    return again,


def a_continuation_of_more_than_there_is(eu, us, ap):
    again = Ledger('eu', 2, begin=300)
    again.goes_on('eu@7')
    return again,


# How, the rule, the log and index of the first violation, words of the message.
FAULTS = [
    (an_epoch_that_nobody_began, 'epoch', 'bank/us/1', 2, 'epoch 7 of bank/p, which nobody began'),
    (an_epoch_that_another_began, 'home', 'bank/ap/1', 0, 'region ap was never the home'),
    (an_epoch_that_its_region_began_later, 'home', 'bank/us/1', 2, 'region us began only with entry 3'),
    (not_the_home_of_epoch_1, 'home', 'bank/us/1', 2, 'whose home is eu by the contexts, not us'),
    (not_the_home_of_a_partition, 'home', 'bank/eu/1', 6, 'bank/q, whose home is us'),
    (a_skipped_epoch, 'epoch', 'bank/us/1', 2, 'nobody began epoch 2'),
    (a_taking_without_release, 'taking', 'bank/us/1', 2, 'released it to that region'),
    (a_taking_by_another, 'taking', 'bank/ap/1', 0, 'region ap takes epoch 2'),
    (a_taking_that_does_not_rest_on_the_release, 'taking', 'bank/us/1', 2, 'below the basis'),
    (a_taking_of_another_partition, 'taking', 'bank/us/1', 2, 'bank/r'),
    (a_taking_after_a_release_by_nobody, 'release', 'bank/ap/1', 0, 'of which it was not the home'),
    (a_basis_of_entries_that_are_not_there, 'basis', 'bank/us/1', 2, '7 entries of bank/eu/1, which has 6'),
    (a_basis_of_its_own_future, 'basis', 'bank/us/1', 2, '4 entries of bank/us/1, which has 2'),
    (a_release_by_another, 'release', 'bank/us/1', 2, 'region us releases epoch 1 of bank/*'),
    (a_release_of_a_later_epoch, 'release', 'bank/eu/1', 6, 'releases epoch 2'),
    (a_decision_by_another, 'settlement', 'bank/ap/1', 0, 'region ap decides'),
    (a_malformed_change, 'payload', 'bank/us/1', 2, '$AuthoritySeized is malformed'),
    (a_malformed_change_of_keys, 'payload', 'bank/us/1', 2, '$KeyRotated is malformed'),
    (a_malformed_decision, 'payload', 'bank/eu/1', 6, '$LateSettled is malformed'),
    (a_continuation_in_the_middle, 'payload', 'bank/us/1', 2, '$LogContinued is malformed'),
    (a_continuation_of_another_log_than_its_region_s, 'payload', 'bank/eu/2', 0, '$LogContinued is malformed'),
    (a_continuation_of_more_than_there_is, 'basis', 'bank/eu/2', 0, '7 entries of bank/eu/1, which has 6'),
    (a_change_to_epoch_1, 'payload', 'bank/us/1', 2, 'epoch 1, which cannot be'),
    (one_version_twice, 'version', 'bank/eu/1', 6, 'as entry 3 of bank/eu/1'),
    (one_version_twice_in_two_logs, 'version', 'bank/us/1', 3, 'as entry 5 of bank/eu/1'),
    (one_id_twice, 'id', 'bank/eu/1', 6, 'as entry 2 of bank/eu/1'),
    (one_id_twice_in_two_logs, 'id', 'bank/us/1', 3, 'as entry 2 of bank/eu/1'),
    (a_definition_by_another, 'definition', 'bank/ap/1', 0, 'region ap defines context shop under epoch 1'),
    (a_definition_after_the_system_moved, 'definition', 'bank/ap/1', 0, 'under epoch 2 of $system'),
    (a_malformed_definition, 'payload', 'bank/eu/1', 6, '$ContextDefined is malformed'),
    (a_version_left_out, 'definition', 'bank/eu/1', 7, 'version 3 of context shop, and no definition that counts is version 2'),
    (a_version_given_twice, 'definition', 'bank/eu/1', 8, 'version 2 of context shop, as entry 7 of bank/eu/1 does'),
    (a_region_that_is_to_forget_payloads, 'definition', 'bank/eu/1', 7, 'region ap may hold payloads of it'),
    (a_first_list_that_leaves_a_region_out, 'definition', 'bank/eu/1', 7, 'region ap may hold payloads of it'),
    (a_home_without_payloads, 'residency', 'bank/us/1', 2, 'region us becomes the home of a partition of context shop'),
    (an_event_where_its_payload_may_not_be, 'residency', 'bank/us/1', 2, 'region us accepted an event of context shop'),
    (an_override_where_its_payload_may_not_be, 'residency', 'bank/us/1', 2, 'region us accepted an override in context shop'),
    (an_override_that_no_version_allows, 'override', 'bank/us/1', 2, 'do not let type Paid'),
    (not_the_home_that_the_creation_says, 'home', 'bank/us/1', 2, 'whose home is ap by the contexts, not us'),
]


# --- Running ---------------------------------------------------------------------------------------------------------

def write_all(ledgers, folder):
    for ledger in ledgers:
        ledger.write(folder / 'logs')
    return folder


def trust(lab, *ledgers, homes=HOMES):
    (lab.folder / 'policy').write_text(''.join(f'log {ledger.log_key.vkey}\n' for ledger in ledgers) + 'quorum none\n')
    (lab.folder / 'homes').write_text(homes)
    return '--policy', lab.folder / 'policy', '--contexts', lab.folder / 'homes'


def authority(lab, *arguments):
    done = run('tally-verify', 'authority', '--json', *arguments)
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


def test_every_honest_history_is_verified_and_its_late_entries_are_counted(lab):
    for history in HONEST:
        ledgers = list(cluster())
        effective, late, *more = history(*ledgers)
        ledgers += more
        folder = write_all(ledgers, lab.folder / history.__name__)
        code, report = authority(lab, folder, *trust(lab, *ledgers))
        assert code == VERIFIED and report['first_violation'] is None, (history.__name__, report['message'])
        found = report['entries']['effective'], report['entries']['late']
        assert found == (effective, late), (history.__name__, found)
        assert sum(c['late_entries'] for c in report['changes']) == late, (history.__name__, report['changes'])
        assert sum(p['effective'] for p in report['partitions']) == effective, (history.__name__, report['partitions'])


def test_what_a_creation_that_came_too_late_allowed_is_late_and_breaks_no_rule(lab):
    eu, us, ap = ledgers = cluster()
    us.seize(2, 'eu@6,us@2', context='$system')
    later(eu, 100).define('shop', 1, home='ap', basis='eu@6')
    ap.event(0, partition='r', context='shop')
    code, report = authority(lab, write_all(ledgers, lab.folder / 'data'), *trust(lab, *ledgers))
    assert code == VERIFIED and report['first_violation'] is None, report['message']
    assert [report['entries'][sort] for sort in ('effective', 'late', 'definitions', 'late_definitions')] == [TAIL + 2, 1, 0, 1], report['entries']
    us.define('shop', 1, 2, home='ap', basis='us@3')
    code, report = authority(lab, write_all(ledgers, lab.folder / 'again'), *trust(lab, *ledgers))
    assert code == VERIFIED and report['entries']['effective'] == TAIL + 2 + 1 and report['entries']['definitions'] == 1, report['entries']
    said = run('tally-verify', 'authority', lab.folder / 'again', *trust(lab, *ledgers)).stdout
    assert '$ContextDefined    shop version 1 by entry 3 of log 1 of region us (operator)' in said and '1 definitions effective, 1 late' in said, said


def test_a_context_that_nothing_creates_cannot_be_judged(lab):
    eu, us, ap = ledgers = cluster()
    us.event(0, partition='r', context='shop')
    code, report = authority(lab, write_all(ledgers, lab.folder / 'data'), *trust(lab, *ledgers))
    assert code == UNREADABLE and 'nothing in the logs creates it' in report['message'], report


def test_a_split_brain_in_which_the_loser_was_succeeded_breaks_no_rule(lab):
    ledgers = cluster()
    split_brain_in_which_the_loser_is_succeeded(*ledgers)
    code, report = authority(lab, write_all(ledgers, lab.folder / 'data'), *trust(lab, *ledgers))
    assert code == VERIFIED and report['first_violation'] is None, report['message']
    assert report['entries']['effective'] + report['entries']['late'] == TAIL + 2 + 1 + 2 + 1, report['entries']
    assert {p['partition']: (p['home'], p['epoch']) for p in report['partitions']}['p'] == ('eu', 3), report['partitions']


def test_every_violation_is_named_with_log_index_file_and_rule(lab):
    for plant, rule, log, index, words in FAULTS:
        ledgers = cluster()
        ledgers += tuple(plant(*ledgers) or ())
        folder = write_all(ledgers, lab.folder / plant.__name__)
        code, report = authority(lab, folder, *trust(lab, *ledgers))
        first = report['first_violation']
        assert code == VIOLATION and first, (plant.__name__, code, report['message'])
        found = first['rule'], first['log'], first['index']
        assert found == (rule, log, index), (plant.__name__, found, first['message'])
        assert first['file'] == f'{index - index % 4:020d}.seg' and first['offset'] == 4096, (plant.__name__, first)
        assert first['copy'] == str(folder / 'logs' / log.split('/', 1)[1].replace('/', '-')), (plant.__name__, first['copy'])
        assert words in first['message'] and words in report['message'], (plant.__name__, report['message'])
        assert report['violations'][rule] >= 1, plant.__name__


def test_a_payload_where_it_may_not_be_is_named_with_its_copy(lab):
    """ap may not hold payloads of bank. Its mirror of eu has one all the same, in its second segment; the copies of eu itself are as they should be."""
    eu, us, ap = ledgers = cluster()
    homes = HOMES + 'payloads bank in eu\npayloads bank in us\n'
    at_eu = write_all(ledgers, lab.folder / 'eu')

    def mirror_at_ap(name, *held):
        mirror = eu.clone()
        for index, item in enumerate(mirror.items):
            item['held'] = index in held
        bank_of_us = us.clone()
        for item in bank_of_us.items:
            item['held'] = False
        return write_all([mirror, bank_of_us, ap], lab.folder / name)
    sound, bad = mirror_at_ap('sound'), mirror_at_ap('bad', 5)
    trusted = trust(lab, *ledgers, homes=homes)
    code, report = authority(lab, f'eu={at_eu}', f'ap={sound}', *trusted)
    assert code == VERIFIED and report['residency'] == {'asked': True, 'copies_read': 3, 'copies_of_nobody': 0}, report
    code, report = authority(lab, f'eu={at_eu}', f'ap={bad}', *trusted)
    first = report['first_violation']
    assert code == VIOLATION and (first['rule'], first['log'], first['index'], first['offset']) == ('residency', 'bank/eu/1', 5, 4096), report['message']
    assert first['copy'] == str(bad / 'logs' / 'eu-1') and first['file'] == f'{4:020d}.seg' and 'region ap holds its payload in' in first['message'], first
    code, report = authority(lab, at_eu, bad, *trusted)
    assert code == VERIFIED and report['residency']['copies_of_nobody'] == 6, report
    said = run('tally-verify', 'authority', at_eu, f'ap={sound}', *trusted).stdout
    assert 'whose 3 copies are was not said (REGION=DIR): NOT checked' in said, said
    assert authority(lab, f'={at_eu}', *trusted)[0] == UNREADABLE


def test_a_change_of_a_context_that_nothing_creates_cannot_be_judged(lab):
    eu, us, ap = ledgers = cluster()
    eu.define('shop', 2)
    folder = write_all(ledgers, lab.folder / 'data')
    code, report = authority(lab, folder, *trust(lab, *ledgers))
    assert code == UNREADABLE and 'context shop home REGION' in report['message'], report['message']
    assert authority(lab, folder, *trust(lab, *ledgers, homes=HOMES + 'context shop home us\n'))[0] == VERIFIED


def test_the_report_shows_homes_changes_and_what_lost(lab):
    ledgers = cluster()
    split_brain(*ledgers)
    folder = write_all(ledgers, lab.folder / 'data')
    code, report = authority(lab, folder, *trust(lab, *ledgers))
    rows = {f'{p["context"]}/{p["partition"]}': (p['home'], p['epoch'], p['changes'], p['effective'], p['late']) for p in report['partitions']}
    assert rows == {'bank/*': ('us', 2, 2, 0, 0), 'cards/*': ('us', 1, 0, 0, 0), '$system/*': ('eu', 1, 0, 0, 0), 'bank/p': ('us', 2, 0, 5, 4), 'bank/q': ('us', 1, 0, 2, 0)}, rows
    changes = [(c['type'], c['log'], c['index'], c['basis'], c['counts'], c['late_entries'], c['reason'], c['forced']) for c in report['changes']]
    assert changes == [('$AuthoritySeized', 'bank/ap/1', 0, 'eu@5,us@2', False, 0, 'it lost power', True),
                       ('$AuthoritySeized', 'bank/us/1', 2, 'eu@4,us@2', True, 4, 'it lost power', True)], changes
    text = check('tally-verify', 'authority', folder, *trust(lab, *ledgers))
    assert 'does NOT count' in text and 'VERIFIED' in text and 'bank/p' in text, text


def test_what_was_not_checked_is_never_called_verified(lab):
    ledgers = eu, us, ap = cluster()
    seized(*ledgers)
    folder = write_all(ledgers, lab.folder / 'data')
    good = trust(lab, *ledgers)
    logs = [folder / 'logs' / name for name in ('eu-1', 'us-1', 'ap-1')]
    assert authority(lab, *logs, *good)[0] == VERIFIED, 'single folders do as well'
    code, report = authority(lab, logs[1], *good)
    assert code == UNREADABLE and 'region eu, which is not here' in report['message'], report['message']
    code, report = authority(lab, folder, *trust(lab, *ledgers, homes='context cards home us\n'))
    assert code == UNREADABLE and 'context "bank"' in report['message'], report['message']
    code, report = authority(lab, folder, *trust(lab, eu, us))
    assert code == UNREADABLE and 'no key named bank/ap/1' in report['message'], report['message']
    done = run('tally-verify', 'authority', folder, '--contexts', lab.folder / 'homes')
    assert done.returncode == VERIFIED and 'signatures NOT checked' in done.stdout, done.stdout
    (lab.folder / 'one.pub').write_text(eu.log_key.vkey + '\n')
    (lab.folder / 'two.pub').write_text(f'{us.log_key.vkey}\n{ap.log_key.vkey}\n')
    done = run('tally-verify', 'authority', folder, '--contexts', lab.folder / 'homes', '--key', lab.folder / 'one.pub', '--key', lab.folder / 'two.pub')
    assert done.returncode == VERIFIED and 'NOT checked' not in done.stdout, done.stdout
    withheld = eu.clone()
    withheld.items[withheld.release(1, 'us')]['held'] = False
    code, report = authority(lab, withheld.write(lab.folder / 'withheld'), logs[1], logs[2], *trust(lab, *ledgers))
    assert code == UNREADABLE and 'payload of control entry 6' in report['message'], report['message']


def test_a_damaged_log_is_reported_and_nothing_is_judged(lab):
    ledgers = eu, us, ap = cluster()
    folder = write_all(ledgers, lab.folder / 'data')
    segment = folder / 'logs' / 'eu-1' / f'{0:020d}.seg'
    segment.write_bytes(segment.read_bytes().replace(b'$control', b'$Control').replace(b'Deposited', b'deposited'))
    code, report = authority(lab, folder, *trust(lab, *ledgers))
    assert code == VIOLATION and not report['judged'] and 'eu-1' in report['message'], report['message']
    assert 'NOT judged' in run('tally-verify', 'authority', folder, *trust(lab, *ledgers)).stdout


def test_a_log_without_entries_and_notes_may_be_new_but_not_emptied(lab):
    ledgers = eu, us, ap = cluster()
    ap.event(0, partition='r', context='cards')
    state = lab.folder / 'state'
    trusted = trust(lab, *ledgers)
    folder = write_all(ledgers, lab.folder / 'data')
    check('tally-verify', 'log', folder / 'logs' / 'ap-1', *trusted[:2], '--state', state)
    emptied = Copy(0, ((),), origin='bank/ap/1').write(lab.folder / 'ap-1')
    logs = [folder / 'logs' / name for name in ('eu-1', 'us-1')]
    assert authority(lab, *logs, emptied, *trusted)[0] == VERIFIED, 'it may be new'
    code, report = authority(lab, *logs, emptied, *trusted, '--state', state)
    assert code == VIOLATION and 'rolled back' in report['message'], report['message']
    (folder / 'logs' / 'ap-1' / 'checkpoint').unlink()
    segment = folder / 'logs' / 'ap-1' / f'{0:020d}.seg'
    segment.write_bytes(segment.read_bytes().replace(b'Deposited', b'deposited'))
    code, report = authority(lab, folder, *trusted)
    assert code == VIOLATION and 'the last block is damaged' in report['message'], report['message']


def test_copies_of_one_log_are_held_against_each_other_and_the_longest_counts(lab):
    ledgers = eu, us, ap = cluster()
    shorter = eu.clone()
    del shorter.items[3:]
    us.seize(2, 'eu@5,us@2')
    folder = write_all(ledgers, lab.folder / 'data')
    mirror = shorter.write(lab.folder / 'mirror')
    for order in ((folder, mirror), (mirror, folder)):
        code, report = authority(lab, *order, *trust(lab, *ledgers))
        assert code == VERIFIED and report['entries']['late'] == 1, report['message']
    forged = eu.clone()
    forged.items[2]['payload'] = b'{"forged":1}'
    code, report = authority(lab, folder, forged.write(lab.folder / 'forged'), *trust(lab, *ledgers))
    assert code == VIOLATION and 'two copies of log bank/eu/1 differ' in report['message'], report['message']


def test_contexts_are_the_auditors_and_must_be_well_formed(lab):
    ledgers = cluster()
    folder = write_all(ledgers, lab.folder / 'data')
    for text, words in (('context bank home', 'line 1'), ('context bank home eu\nnonsense\n', 'line 2'), ('partition bank/p home eu\n', 'declared before'),
                        ('context bank home eu\ncontext bank home us\n', 'twice'),
                        ('context bank home eu\npayloads cards in eu\n', 'line 2'), ('context bank home eu\npayloads bank in us\n', 'must be one of payload_regions'),
                        ('context bank home eu\npayloads bank in eu\npayloads bank in eu\n', 'twice')):
        code, message = authority(lab, folder, *trust(lab, *ledgers, homes=text))
        assert code == UNREADABLE and words in message, (text, message)
    assert run('tally-verify', 'authority', folder).returncode == USAGE
    assert run('tally-verify', 'log', folder / 'logs' / 'eu-1', '--contexts', lab.folder / 'homes').returncode == USAGE


# --- Logs of real regions --------------------------------------------------------------------------------------------

def test_logs_of_real_regions_after_a_failover_are_verified(lab):
    """eu is lost with a tail that nobody has, us takes over, eu comes back: its tail is late, and every rule was obeyed."""
    regions = eu, us, ap = lab.started('eu', 'us', 'ap')
    append(eu, 'a', 1, 2)
    append(us, 'b', 8, partition='us')
    position_of(regions)
    us.stop()
    ap.stop()
    append(eu, 'a', 3, 4, 5)
    eu.kill()
    us.start(accepting=False)
    ap.start(accepting=False)
    us.wait_accepting()
    fail_over(eu, us)
    append(us, 'a', 6)
    eu.start()
    position_of(regions)
    for region in regions:
        wait_until(lambda: all(log.checkpoint_size == log.size for log in region.status().logs), f'{region.name} to hold checkpoints of all')
    size = sum(log.size for log in us.status().logs)
    homes = lab.folder / 'homes'
    homes.write_text('context bank home eu\npartition bank/us home us\n')
    keys = [argument for region in regions for argument in ('--key', region.folder / 'keys' / 'region.pub')]
    for region in regions:
        region.stop()
    for data in ([eu.folder], [us.folder], [eu.folder, us.folder, ap.folder]):
        code, report = authority(lab, *data, '--contexts', homes, *keys)
        assert code == VERIFIED, report['message']
        assert report['entries']['late'] == 3 and report['entries']['effective'] == 4, report['entries']
        assert sum(log['size'] for log in report['logs']) == size * len(data), report['logs']
        assert {c['type'] for c in report['changes']} == {'$AuthoritySeized'}, report['changes']
    homes.write_text('context bank home us\n')
    code, report = authority(lab, eu.folder, '--contexts', homes, *keys)
    assert code == VIOLATION and report['first_violation']['rule'] == 'home', report['message']
