"""Plants faults in the evidence of a drill that went well, and sees the verdict name each."""
import copy

from verdict import Book, Entry, Evidence, Place, judge


def paid(n, partition='eu-0', epoch=1, **fields):
    return Entry(id=f'id{n}', type='Paid', partition=partition, epoch=epoch, cents=n, **fields)


def good():
    """eu died with id3 unseen and us took over; id3 came back late and was accepted; id4 was repeated at us; id5 rejected."""
    logs = {
        'bank/eu/1': [paid(1), paid(2), paid(3), paid(4), paid(5)],
        'bank/us/1': [Entry('', '$AuthoritySeized', 'eu-0', 2, time=9, begins={'eu': 2}), paid(4, epoch=2), paid(3, epoch=2), paid(6, 'us-0')],
    }
    late = {Place('bank/eu/1', 2): 'accepted', Place('bank/eu/1', 3): 'duplicate', Place('bank/eu/1', 4): 'rejected'}
    effects = {f'id{n}': ('eu-0', n, 1) for n in (1, 2, 3, 4)} | {'id6': ('us-0', 6, 1)}
    book = Book({f'id{n}': ('eu-0', n) for n in range(1, 6)} | {'id6': ('us-0', 6)},
                {'id1': Place('bank/eu/1', 0), 'id3': Place('bank/eu/1', 2), 'id4': Place('bank/us/1', 1), 'id6': Place('bank/us/1', 3)})
    return copy.deepcopy(Evidence(book, {r: logs for r in ('eu', 'us')}, {r: late for r in ('eu', 'us')}, {r: effects for r in ('eu', 'us')},
                                  {'eu': 'd', 'us': 'd'}, {'eu-0': 'eu', 'us-0': 'us'}))


def in_both(evidence, change):
    for held in evidence.copies.values():
        change(held)
    return evidence


def planted():
    """What is planted -> (the word that the verdict must say, the evidence)."""
    def never_appended(e):
        e.book.sent['id7'] = ('eu-0', 7)
        e.book.acknowledged['id7'] = Place('bank/eu/1', 5)

    def other_amount(e):
        e.book.sent['id1'] = ('eu-0', 100)

    def counted_twice(e):
        for region in e.copies:
            e.copies[region]['bank/us/1'] = e.copies[region]['bank/us/1'] + [paid(1, epoch=2)]

    def copy_shorter(e):
        e.copies['us'] = {**e.copies['us'], 'bank/eu/1': e.copies['us']['bank/eu/1'][:-1]}

    def copy_changed(e):
        e.copies['us'] = {**e.copies['us'], 'bank/eu/1': [paid(1, raw=b'x'), *e.copies['us']['bank/eu/1'][1:]]}

    def late_not_listed(e):
        e.late['us'] = {place: state for place, state in e.late['us'].items() if place.index != 2}

    def listed_not_late(e):
        e.late['eu'] = {**e.late['eu'], Place('bank/eu/1', 0): 'rejected'}

    def still_open(e):
        e.late['eu'] = {**e.late['eu'], Place('bank/eu/1', 4): 'open'}

    def rejected_counts(e):
        e.late['eu'] = {**e.late['eu'], Place('bank/eu/1', 2): 'rejected'}

    def effect_missing(e):
        e.effects['us'] = {id: effect for id, effect in e.effects['us'].items() if id != 'id2'}

    def effect_twice(e):
        e.effects['us'] = {**e.effects['us'], 'id2': ('eu-0', 2, 2)}

    def effect_of_late(e):
        e.effects['us'] = {**e.effects['us'], 'id5': ('eu-0', 5, 1)}

    def digests_differ(e):
        e.digests['us'] = 'other'

    def foreign(e):
        del e.book.sent['id2']

    def idle(e):
        e.book.acknowledged.clear()
    words = {never_appended: 'LOST', other_amount: 'CHANGED', counted_twice: 'TWICE', copy_shorter: 'us has 4 entries', copy_changed: 'differs',
             late_not_listed: 'LATE', listed_not_late: 'LATE', still_open: 'OPEN', rejected_counts: 'SETTLED', effect_missing: 'EFFECT',
             effect_twice: 'EFFECT', effect_of_late: 'EFFECT', digests_differ: 'DIGEST', foreign: 'FOREIGN', idle: 'IDLE'}
    return words


def run_all():
    assert judge(good()).faults == [], judge(good()).faults
    assert judge(good()).effective == 5
    for plant, word in planted().items():
        evidence = good()
        plant(evidence)
        faults = judge(evidence).faults
        assert any(word in fault for fault in faults), f'{plant.__name__} was planted, and the verdict says {faults}'
    named = good()
    named.book.sent['id7'] = ('eu-0', 7)
    named.book.acknowledged['id7'] = Place('bank/eu/1', 5)
    named.lost['bank/eu/1'] = (5, 6)
    assert judge(named).faults == [] and judge(named).named_lost == 1
    print(f'the checker finds {len(planted())} planted faults')
