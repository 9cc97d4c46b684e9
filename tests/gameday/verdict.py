"""What a drill must not have done to anybody's money: the verdict, from the logs and from the clients' book.

The book says what clients sent and what was acknowledged, where. The logs say what there is. Which entries are late is computed here a second time, by the rule
in src/domain/authority.h, and must be what the regions list. From that follow the effective events, and every region's projection must have exactly these.
Pure functions over plain data: test_verdict.py plants faults and sees each found.
"""
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

PAYMENT = 'Paid'
BEGINS_EPOCH = ('$AuthorityTaken', '$AuthoritySeized')


class Entry(NamedTuple):
    """One entry of a log. `begins` is the basis, {log: size}, when it begins an epoch. `raw` is what must be equal in all copies."""
    id: str
    type: str
    partition: str
    epoch: int
    time: int = 0
    cents: int = 0
    begins: dict = None
    raw: bytes = b''


class Place(NamedTuple):
    origin: str
    index: int

    def __str__(self):
        return f'{self.origin}@{self.index}'


@dataclass
class Book:
    """What the clients know."""
    sent: dict = field(default_factory=dict)          # id -> (partition, cents)
    acknowledged: dict = field(default_factory=dict)  # id -> Place


@dataclass
class Evidence:
    """What the regions say when all is settled. `first_home` is who had a partition under epoch 1; `lost` the ranges that a region named as lost."""
    book: Book
    copies: dict       # region -> origin -> [Entry]
    late: dict         # region -> Place -> state, of entries that came too late
    effects: dict      # region -> id -> (partition, cents, times), from its projection
    digests: dict      # region -> digest of its projection
    first_home: dict   # partition -> region
    lost: dict = field(default_factory=dict)  # origin -> (from, to)


@dataclass
class Verdict:
    faults: list
    acknowledged: int
    named_lost: int
    effective: int
    cents: int
    late: Counter      # state -> how many


def region_of(origin):
    return origin.split('/')[1]


def log_name(origin):
    """As a position spells it: bank/eu/1 is eu, bank/eu/2 is eu.2."""
    _, region, incarnation = origin.split('/')
    return region if incarnation == '1' else f'{region}.{incarnation}'


def epochs_of(logs, partition, first_home):
    """epoch -> (time, region, basis) of its winner. With no change of "*" in a drill, a partition is governed by its own changes."""
    winners = {1: (0, first_home, None)}
    for origin, entries in logs.items():
        for entry in entries:
            if entry.begins is not None and entry.partition == partition:
                claim = (entry.time, region_of(origin), entry.begins)
                winners[entry.epoch] = min(winners.get(entry.epoch, claim), claim, key=lambda won: won[:2])
    return winners


def late_places(logs, first_home):
    late = set()
    for partition in first_home:
        winners = epochs_of(logs, partition, first_home[partition])
        for origin, entries in logs.items():
            for index, entry in enumerate(entries):
                if entry.partition != partition or entry.type.startswith('$'):
                    continue
                overtaken = any(epoch > entry.epoch and basis.get(log_name(origin), 0) <= index
                                for epoch, (_, _, basis) in winners.items() if basis is not None)
                if overtaken or winners[entry.epoch][1] != region_of(origin):
                    late.add(Place(origin, index))
    return late


def longest(copies):
    """The logs, each from the region that has most of it."""
    logs = {}
    for held in copies.values():
        for origin, entries in held.items():
            if len(entries) > len(logs.get(origin, ())):
                logs[origin] = entries
    return logs


def copies_that_differ(evidence, logs):
    for region, held in evidence.copies.items():
        for origin, entries in logs.items():
            mine = held.get(origin, [])
            if mine != entries:
                at = next((i for i, (a, b) in enumerate(zip(mine, entries)) if a != b), len(mine))
                yield f'{region} has {len(mine)} entries of {origin}, which has {len(entries)}; the first that differs or is missing is {at}'


def promises_broken(evidence, logs, late):
    """About each acknowledged event: it is where the answer said."""
    named = 0
    faults = []
    for id, place in evidence.book.acknowledged.items():
        entries = logs.get(place.origin, [])
        lost_from, lost_to = evidence.lost.get(place.origin, (0, 0))
        if lost_from <= place.index < lost_to:
            named += 1
        elif place.index >= len(entries) or entries[place.index].id != id:
            faults.append(f'LOST: {id} was acknowledged at {place}, and is not there')
        elif entries[place.index][2:6:3] != evidence.book.sent[id]:
            faults.append(f'CHANGED: {id} was {evidence.book.sent[id]}, and is {entries[place.index]}')
    return faults, named


def entries_that_are_too_many(evidence, logs, late):
    counting = Counter()
    in_log = Counter()
    for origin, entries in logs.items():
        for index, entry in enumerate(entries):
            if entry.type != PAYMENT:
                continue
            if entry.id not in evidence.book.sent:
                yield f'FOREIGN: {entry.id} at {Place(origin, index)} was never sent'
            is_late = Place(origin, index) in late
            counting[entry.id] += not is_late
            in_log[entry.id, origin, is_late] += 1
    for id, times in counting.items():
        if times > 1:
            yield f'TWICE: {id} counts {times} times'
    for (id, origin, _), times in in_log.items():
        if times > 1:
            yield f'TWICE: {id} is {times} times in {origin}'


def decisions_that_do_not_fit(evidence, logs, late, effective):
    for region, listed in evidence.late.items():
        for place in late ^ set(listed):
            yield f'LATE: {place} is {"late, and" if place in late else "not late, but"} {region} {"does not list it" if place in late else "lists it"}'
        for place in late & set(listed):
            state, id = listed[place], logs[place.origin][place.index].id
            if state == 'open':
                yield f'OPEN: {place} was never settled in {region}'
            elif (state in ('accepted', 'duplicate')) != (id in effective):
                yield f'SETTLED: {place} is {state} in {region}, and its event {"counts" if id in effective else "does not count"}'


def effects_that_differ(evidence, effective):
    for region, effects in evidence.effects.items():
        for id in effective.keys() | effects.keys():
            wanted = (*effective[id], 1) if id in effective else None
            if effects.get(id) != wanted:
                yield f'EFFECT: {id} should have the effect {wanted}, and has {effects.get(id)} in {region}'
    if len(set(evidence.digests.values())) > 1:
        yield f'DIGEST: {evidence.digests}'


def judge(evidence):
    logs = longest(evidence.copies)
    late = late_places(logs, evidence.first_home)
    effective = {entry.id: (entry.partition, entry.cents) for origin, entries in logs.items() for index, entry in enumerate(entries)
                 if entry.type == PAYMENT and Place(origin, index) not in late}
    faults, named_lost = promises_broken(evidence, logs, late)
    faults += copies_that_differ(evidence, logs)
    faults += entries_that_are_too_many(evidence, logs, late)
    faults += decisions_that_do_not_fit(evidence, logs, late, effective)
    faults += effects_that_differ(evidence, effective)
    if not evidence.book.acknowledged:
        faults.append('IDLE: nothing was acknowledged, so nothing was tried')
    states = next(iter(evidence.late.values()))
    return Verdict(faults, len(evidence.book.acknowledged), named_lost, len(effective), sum(cents for _, cents in effective.values()),
                   Counter(states.values()))
