"""Contexts that are created and changed while the regions run."""
import json
import shutil
import threading
import uuid

from harness import Refused, batch, check, event, read, read_log, refused, run, wait_until, write

from tally.v1 import control_pb2, operations_pb2


def quick(lab, *names, **options):
    """Regions that notice within a second who is away."""
    made = lab.cluster(*names, **options)
    for region in made:
        region.edit_config(r'^hello_interval_ms: .*', 'hello_interval_ms: 100')
        region.edit_config(r'^peer_timeout_ms: .*', 'peer_timeout_ms: 1000')
        region.start(accepting=False)
    for region in made:
        region.wait_accepting()
    for region in made:
        wait_until(lambda r=region: all(peer.connected for peer in r.status().peers), f'{region.name} to see its peers')
    return made


def context(action, *arguments, at):
    return check('tally', 'context', action, *arguments, '--server', at.address)


def denied(action, *arguments, at):
    """What is said when it is refused."""
    done = run('tally', 'context', action, *arguments, '--server', at.address)
    assert done.returncode == 1, f'exit {done.returncode}: {done.stdout}{done.stderr}'
    return done.stderr


def shown(name, at):
    done = run('tally', 'context', 'show', name, '--json', '--server', at.address)
    return json.loads(done.stdout) if done.returncode == 0 else None


def version(name, at):
    found = shown(name, at)
    return found['version'] if found else 0


def wait_version(name, number, *regions):
    for region in regions:
        wait_until(lambda r=region: version(name, r) == number, f'{region.name} to have version {number} of {name}')


class Writer(threading.Thread):
    """Appends one event after the other to a partition of context pay, at the home that it knows: a redirect moves it there, everything else is kept."""

    def __init__(self, regions, partition):
        super().__init__()
        self.regions = {region.name: region for region in regions}
        self.at = regions[0].name
        self.partition = partition
        self.acknowledged = []
        self.copies = set()
        self.refusals = []
        self.moves = 0
        self.over = threading.Event()

    def append(self, id):
        while not self.over.is_set():
            try:
                return self.regions[self.at].client().append(batch(write(f's-{self.partition}', event(id=id), context='pay', partition=self.partition)))
            except Refused as error:
                home = error.detail.home_region if error.detail else ''
                if not home:
                    self.refusals.append(str(error))
                elif home != self.at:
                    self.at = home
                    self.moves += 1
        return None

    def run(self):
        while not self.over.is_set():
            id = uuid.uuid4().bytes
            answer = self.append(id)
            if answer:
                self.acknowledged.append(id)
                self.copies.add(answer.copies)

    def wait_more(self, count=50):
        enough = len(self.acknowledged) + count
        wait_until(lambda: len(self.acknowledged) >= enough or not self.is_alive(), f'{self.partition} to go on')
        assert self.is_alive()

    def finish(self):
        self.over.set()
        self.join(timeout=30)
        assert not self.is_alive()


# --- The ladder ------------------------------------------------------------------------------------------------------

def test_a_context_moves_up_the_ladder_while_clients_append_and_nothing_is_refused(lab):
    eu, us = quick(lab, 'eu', 'us')
    said = context('create', 'pay', '--default-home', 'eu', '--topology', 'active-passive', '--reason', 'cold standby', at=eu)
    assert 'pay: version 1, at eu@1' in said and 'active-passive' in said
    stays, moves = Writer((eu, us), 'a'), Writer((eu, us), 'b')
    for writer in (stays, moves):
        writer.start()
    stays.wait_more()
    assert stays.copies == {0}, 'a cold standby promises no copies'

    said = context('set', 'pay', '--peers', 1, '--reason', 'warm standby', at=eu)
    assert 'pay: version 2' in said and '(none) -> 1' in said
    stays.copies.clear()
    stays.wait_more()
    assert 1 in stays.copies
    stays.copies.clear()
    stays.wait_more()
    assert stays.copies == {1}, 'a warm standby has what is answered'

    said = context('set', 'pay', '--topology', 'home-affinity', '--expected-version', 2, '--reason', 'us takes its own', at=eu)
    assert 'active-passive -> home-affinity' in said
    wait_version('pay', 3, us)
    stays.wait_more()
    check('tally', 'handover', 'pay', '--to', 'us', '--partition', 'b', '--server', eu.address)
    wait_until(lambda: moves.at == 'us', 'the writer of b to follow')
    for writer in (stays, moves):
        writer.wait_more()
        writer.finish()
    assert stays.refusals == [] and stays.moves == 0, stays.refusals[:3]
    assert all('on its way' in r or 'does not show that yet' in r for r in moves.refusals), moves.refusals[:3]
    eu.wait_size(us.origin, us.size())
    us.wait_size(eu.origin, eu.size())
    for region in (eu, us):
        for writer in (stays, moves):
            found = [e.entry.event_id for e in read(region.client(), f's-{writer.partition}', context='pay')]
            assert found == writer.acknowledged, f'{region.name} has {len(found)} of {len(writer.acknowledged)} of {writer.partition}'
    assert shown('pay', eu) == shown('pay', us)
    homes = {line['partition']: line['region'] for line in map(json.loads, check('tally', 'homes', 'pay', '--json', '--server', us.address).splitlines())}
    assert homes == {'*': 'eu', 'b': 'us'}


# --- Who decides, and what is refused --------------------------------------------------------------------------------

def test_another_region_than_the_systems_home_names_it(lab):
    eu, us = quick(lab, 'eu', 'us')
    said = denied('create', 'pay', '--default-home', 'us', at=us)
    assert 'region eu' in said and eu.address in said
    error = refused('FAILED_PRECONDITION', us.operations().define_context, operations_pb2.DefineContextRequest(
        policy=operations_pb2.ContextPolicy(name='pay', default_home='us')))
    assert (error.detail.code, error.detail.home_region, error.detail.home_address) == ('WRONG_HOME', 'eu', eu.address)


def test_two_operators_cannot_change_a_context_at_once(lab):
    eu = lab.solo()
    context('create', 'pay', '--default-home', 'eu', at=eu)
    assert 'version 2' in context('set', 'pay', '--failover', 'assisted', '--expected-version', 1, at=eu)
    said = denied('set', 'pay', '--type', 'Paid=accept', '--expected-version', 1, at=eu)
    assert 'version 2, not 1' in said and 'somebody has changed it' in said
    error = refused('ABORTED', eu.operations().define_context, operations_pb2.DefineContextRequest(
        policy=operations_pb2.ContextPolicy(name='pay', default_home='eu'), expected_version=1))
    assert (error.detail.code, error.detail.expected, error.detail.actual) == ('VERSION_CONFLICT', '1', '2')


def test_a_dry_run_shows_the_difference_and_writes_nothing(lab):
    eu = lab.solo()
    size = eu.size()
    assert 'would be version 1' in context('create', 'pay', '--default-home', 'eu', '--dry-run', at=eu)
    assert denied('show', 'pay', at=eu)
    said = context('set', 'bank', '--failover', 'assisted', '--type', 'Counted=accept,override', '--dry-run', at=eu)
    assert 'would be version 2; nothing was written' in said and 'manual -> assisted' in said and 'Counted=accept,override' in said
    told = json.loads(context('set', 'bank', '--failover', 'assisted', '--dry-run', '--json', at=eu))
    assert told['version'] == 2 and told['dry_run'] and told['changes'] == [{'what': 'failover', 'before': 'manual', 'after': 'assisted'}]
    assert eu.size() == size and version('bank', eu) == 1


def test_what_would_break_a_promise_is_refused_with_the_reason(lab):
    eu, us = quick(lab, 'eu', 'us')
    for arguments, words in ((['--payload-region', 'eu', '--payload-region', 'us', '--default-home', 'us'], 'tally handover bank'),
                             (['--payload-region', 'eu', '--home', 'us=us'], 'us is a home, so it must be one of payload_regions'),
                             (['--topology', 'active-passive'], 'no homes of partitions'),
                             (['--peers', 2], 'asks for 2 peers, the cluster has 1'),
                             (['--type', 'Counted=commutative'], 'not multi-home'),
                             (['--isolation', 'fence'], 'needs lease_ms'),
                             (['--topology', 'round'], 'none of home-affinity')):
        assert words in denied('set', 'bank', *arguments, at=eu)
    assert version('bank', eu) == 1
    assert 'kept for the system' in denied('create', '$mine', '--default-home', 'eu', at=eu)
    assert 'default_home mars' in denied('create', 'pay', '--default-home', 'mars', at=eu)
    context('create', 'pay', '--default-home', 'eu', at=eu)
    assert 'tally context set' in denied('create', 'pay', '--default-home', 'us', at=eu)
    assert 'us may hold payloads' in denied('set', 'pay', '--payload-region', 'eu', at=eu)
    context('create', 'card', '--default-home', 'eu', '--payload-region', 'eu', at=eu)
    assert 'us is none of payload_regions' in denied('set', 'card', '--payload-region', 'eu', '--payload-region', 'us', at=eu)
    check('tally', 'handover', 'pay', '--to', 'us', '--partition', 'p', '--server', eu.address)
    assert 'go their own way' in denied('set', 'pay', '--topology', 'active-passive', at=eu)


def test_an_unknown_context_says_how_to_make_it(lab):
    eu = lab.solo()
    error = refused('NOT_FOUND', eu.client().append, batch(write('s', context='pay')))
    assert 'tally context create' in error.message
    context('create', 'pay', '--default-home', 'eu', at=eu)
    assert eu.client().append(batch(write('s', context='pay'))).results[0].index == 1
    names = [line.split()[0] for line in context('list', at=eu).splitlines()]
    assert names == ['CONTEXT', 'bank', '$system', 'pay']


# --- Crashes, absences, other homes ----------------------------------------------------------------------------------

def test_definitions_are_there_again_after_a_crash(lab):
    eu, us = quick(lab, 'eu', 'us')
    context('create', 'pay', '--default-home', 'us', '--actor', 'ops', '--reason', 'new business', at=eu)
    context('set', 'bank', '--recovery-events', 1000, at=eu)
    before = shown('pay', eu), shown('bank', eu)
    assert before[0]['defined']['actor'] == 'ops' and before[0]['defined']['reason'] == 'new business'
    wait_version('pay', 1, us)
    us.client().append(batch(write('s', context='pay')))
    for region in (eu, us):
        region.kill()
    for region in (eu, us):
        region.start(accepting=False)
    for region in (eu, us):
        region.wait_accepting()
        assert (shown('pay', region), shown('bank', region)) == before
    assert us.client().append(batch(write('s', context='pay'))).results[0].stream_version == 1
    entry = next(e for e in read_log(us.client(), eu.origin) if e.entry.type == '$ContextDefined')
    assert (entry.entry.context, entry.entry.partition, entry.entry.epoch) == ('$system', 'pay', 1)
    said = control_pb2.ContextDefined.FromString(entry.payload)
    assert (said.version, said.default_home, said.actor) == (1, 'us', 'ops')


def test_the_index_made_anew_knows_the_same_contexts(lab):
    eu = lab.solo()
    context('create', 'pay', '--default-home', 'eu', at=eu)
    eu.client().append(batch(write('s', context='pay')))
    before = shown('pay', eu)
    eu.stop()
    shutil.rmtree(eu.folder / 'index')
    eu.start()
    assert shown('pay', eu) == before
    assert len(read(eu.client(), 's', context='pay')) == 1


def test_the_system_context_is_handed_over_like_any_other(lab):
    eu, us = quick(lab, 'eu', 'us')
    context('create', 'pay', '--default-home', 'eu', at=eu)
    check('tally', 'handover', '$system', '--to', 'us', '--server', eu.address)
    wait_until(lambda: 'home us, epoch 2' in check('tally', 'homes', '$system', '--server', us.address), 'us to take over')
    assert 'region us' in denied('set', 'pay', '--peers', 1, at=eu)
    context('set', 'pay', '--peers', 1, at=us)
    wait_version('pay', 2, eu, us)
    assert eu.client().append(batch(write('s', context='pay'))).copies == 1


def test_a_definition_that_only_a_lost_region_had_counts_for_nothing(lab):
    eu, us, ap = quick(lab, 'eu', 'us', 'ap')
    context('create', 'pay', '--default-home', 'us', at=ap)
    wait_version('pay', 1, eu, us)
    for region in (eu, us):
        region.kill()
    context('create', 'lost', '--default-home', 'ap', at=ap)
    context('set', 'pay', '--failover', 'assisted', at=ap)
    ap.client().append(batch(write('s', context='lost')))
    ap.kill()
    for region in (eu, us):
        region.start(accepting=False)
    for region in (eu, us):
        region.wait_accepting()
    check('tally', 'failover', '$system', '--from', 'ap', '--force', '--reason', 'a drill', '--server', eu.address)
    ap.start(accepting=False)
    ap.wait_accepting()
    for region in (eu, us):
        region.wait_size(ap.origin, ap.size())
        assert shown('lost', region) is None
    context('create', 'lost', '--default-home', 'us', at=eu)
    wait_version('lost', 1, eu, us)
    us.client().append(batch(write('s', context='lost')))
    for region in (eu, us, ap):
        for origin in (eu.origin, us.origin, ap.origin):
            region.wait_size(origin, max(r.size(origin) for r in (eu, us, ap)))
    told = [(shown('pay', r), shown('lost', r), check('tally', 'reconcile', 'list', '--context', 'lost', '--json', '--server', r.address)
             .replace('"payload_held": true', '')) for r in (eu, us, ap)]
    assert told[0] == told[1] == told[2], told
    pay, lost, late = told[0]
    assert pay['version'] == 1 and lost['policy']['default_home'] == 'us' and ap.origin in late
    assert [e.entry.log_id for e in read(ap.client(), 's', context='lost')] == [e.entry.log_id for e in read(us.client(), 's', context='lost')]
    assert len(read(ap.client(), 's', context='lost')) == 1
