"""A region that is not the home keeps commands for it, durably; the home decides each once, whoever that is by then, and every region says the same."""
import json
import signal
import uuid

from harness import VERIFIED, batch, check, event, ledger_pb2, read, read_log, refused, run, wait_until, write

QUEUE = ledger_pb2.AT_WRONG_HOME_QUEUE


def queue(region, *writes):
    answer = region.client().append(ledger_pb2.AppendRequest(writes=writes, at_wrong_home=QUEUE))
    assert answer.ticket and not answer.results, answer
    return answer.ticket


def ticket(region, name, wait_ms=0):
    return region.client().show_ticket(ledger_pb2.ShowTicketRequest(ticket=name, wait_ms=wait_ms))


def listed(region, **fields):
    return region.client().list_tickets(ledger_pb2.ListTicketsRequest(**fields)).tickets


def payloads(region, stream):
    return [e.payload for e in read(region.client(), stream)]


def same_queue(regions):
    """Waits until all regions have applied the same, and compares their queues."""
    def same():
        logs = [{log.origin: (log.size, log.indexed_size) for log in region.status().logs} for region in regions]
        return all(logs[0] == other and all(size == indexed for size, indexed in other.values()) for other in logs)
    wait_until(same, 'all regions to be at one position')
    queues = [[t.SerializeToString(deterministic=True) for t in listed(region)] for region in regions]
    assert all(q == queues[0] for q in queues), [listed(region) for region in regions]
    return listed(regions[0])


def verdicts(region):
    return [e.entry.type for e in read_log(region.client()) if e.entry.type in ('$CommandAccepted', '$CommandRefused')]


def restart_together(*regions):
    """A region that starts asks its peers first; so all start, and then all are waited for."""
    for region in regions:
        region.start(accepting=False)
    for region in regions:
        region.wait_accepting()


def test_a_command_waits_for_its_home_and_is_decided_once(lab):
    eu, us = lab.started('eu', 'us')
    eu.client().append(batch(write('a', event(b'0'))))
    us.wait_size(eu.origin, 1)
    eu.kill()
    first, again = event(b'1'), event(b'2')
    tickets = [queue(us, write('a', first, version=0), write('b', event(b'B'), no_stream=True)),
               queue(us, write('a', again, version=1)), queue(us, write('a', event(b'no'), version=1)), queue(us, write('c', first))]
    assert queue(us, write('a', again, version=1)) == tickets[1], 'the same command again is the same ticket'
    assert [t.state for t in listed(us, open_only=True)] == ['queued'] * 4
    assert us.log('bank/us/1').queued_open == 4 and '4 commands in it wait for the home' in check('tally', 'status', '--server', us.address)
    assert ticket(us, tickets[0]).home == 'eu' and not read(us.client(), 'a', from_version=1)
    us.kill()
    restart_together(us, eu)

    assert [ticket(us, name, wait_ms=20000).state for name in tickets] == ['accepted', 'accepted', 'refused', 'refused']
    same_queue((eu, us))
    assert us.log('bank/us/1').queued_open == 0
    for region in (eu, us):
        shown = [ticket(region, name) for name in tickets]
        assert [(r.origin, r.stream_version, r.duplicate) for r in shown[0].results] == [('bank/eu/1', 1, False), ('bank/eu/1', 0, False)]
        assert shown[2].code_name == 'VERSION_CONFLICT' and 'version' in shown[2].message, shown[2]
        assert shown[3].code_name == 'ID_REUSED', shown[3]
        assert payloads(region, 'a') == [b'0', b'1', b'2'] and payloads(region, 'b') == [b'B']
    assert verdicts(eu) == ['$CommandAccepted'] * 2 + ['$CommandRefused'] * 2 and not verdicts(us)
    causes = {e.entry.causation_id for e in read_log(eu.client()) if e.entry.type == '$CommandAccepted'}
    assert causes == {ticket(us, name).command_id for name in tickets[:2]}
    sent_again = eu.client().append(batch(write('a', first, version=0)))
    assert sent_again.results[0].duplicate, 'an event that was queued is the same event when it is sent to the home'
    there = us.client().append(ledger_pb2.AppendRequest(writes=[write('a', again, version=1)], at_wrong_home=QUEUE))
    assert not there.ticket and there.results[0].duplicate, 'what is decided is found where it is'


def test_whoever_is_the_home_by_then_decides(lab):
    eu, us, ap = regions = lab.started('eu', 'us', 'ap')
    eu.client().append(batch(write('a', event(b'0'))))
    for region in (us, ap):
        region.wait_size(eu.origin, 1)
    eu.kill()
    name = queue(ap, write('a', event(b'1'), version=0))
    own = queue(us, write('z', event(b'2'), no_stream=True))
    us.wait_size(ap.origin, 1)
    assert ticket(us, name).state == 'queued'
    wait_until(lambda: run('tally', 'failover', 'bank', '--from', 'eu', '--reason', 'a test', '--force', '--server', us.address).returncode == 0,
               'us to seize')
    for region in (us, ap):
        for one in (name, own):
            shown = ticket(region, one, wait_ms=20000)
            assert (shown.state, shown.decision_origin, shown.results[0].origin) == ('accepted', 'bank/us/1', 'bank/us/1'), shown
    eu.start()
    assert {t.state for t in same_queue(regions)} == {'accepted'}
    assert not verdicts(eu) and len(verdicts(us)) == 2
    for region in regions:
        assert payloads(region, 'a') == [b'0', b'1'] and payloads(region, 'z') == [b'2']
    contexts = lab.folder / 'contexts'
    contexts.write_text('context bank home eu\npartition bank/us home us\n')
    for region in regions:
        region.stop()
    done = run('tally-verify', 'authority', '--contexts', contexts, *sorted((ap.folder / 'logs').iterdir()))
    assert done.returncode == VERIFIED, done.stdout + done.stderr


def test_pipelined_commands_are_queued_and_others_go_on(lab):
    eu, us = lab.started('eu', 'us')
    eu.kill()
    requests = [ledger_pb2.AppendRequest(writes=[write('a', partition=partition)], tag=n, at_wrong_home=choice)
                for n, (partition, choice) in enumerate([('eu', QUEUE), ('us', QUEUE), ('eu', 0), ('eu', QUEUE)])]
    answers = list(us.client().append_stream(iter(requests), timeout=20))
    assert [a.ticket for a in answers] == ['us@1', '', '', 'us@3'], answers
    assert answers[1].results[0].index == 1 and answers[2].error.code == 'WRONG_HOME'


def test_commands_whose_copies_are_not_made_hold_up_no_other_context_and_no_stop(lab):
    eu, us = lab.cluster('eu', 'us')
    for region in (eu, us):
        region.edit_config(r'^  - name: bank$', '  - name: other\n    default_home: eu\n  - name: bank\n    durability: { peers: 1 }')
    restart_together(eu, us)
    count = 300
    writes = [write('a', partition='p') for _ in range(count)] + [write('b', context='other')]
    answers = list(us.client().append_stream(iter([ledger_pb2.AppendRequest(writes=[w], at_wrong_home=QUEUE) for w in writes]), timeout=60))
    assert all(answer.ticket for answer in answers)
    eu.wait_size(us.origin, count + 1)
    us.process.send_signal(signal.SIGSTOP)  # it is still up for eu, and stores nothing
    try:
        wait_until(lambda: any(e.entry.context == 'other' for e in read_log(eu.client())), 'the command of the other context to be decided', 40)
        assert len(verdicts(eu)) < count, 'all were decided before the peer stood still'
        eu.stop()
    finally:
        us.process.send_signal(signal.SIGCONT)


def test_what_cannot_be_queued_is_refused(lab):
    eu, us = lab.started('eu', 'us')
    client = us.client()

    def ask(*writes):
        return ledger_pb2.AppendRequest(writes=writes, at_wrong_home=QUEUE)
    assert 'one partition' in refused('INVALID_ARGUMENT', client.append, ask(write('a'), write('b', partition='other'))).message
    assert '1000 events' in refused('INVALID_ARGUMENT', client.append, ask(write('a', *[event() for _ in range(1001)]))).message
    assert 'bytes' in refused('INVALID_ARGUMENT', client.append, ask(write('a', event(b'x' * 600000)))).message
    assert client.append(ask(write('here', partition='us'))).results[0].index == 0, 'at the home it is an append'
    for name in ('', 'us@1,eu@1', 'us@x'):
        refused('INVALID_ARGUMENT', client.show_ticket, ledger_pb2.ShowTicketRequest(ticket=name))
    for name in ('us@1', 'us@99', 'xx@1'):
        refused('NOT_FOUND', client.show_ticket, ledger_pb2.ShowTicketRequest(ticket=name))
    eu.kill()
    refused('NOT_FOUND', us.client().append, ask(write('a', context='none')))


def test_an_operator_queues_and_follows_a_ticket(lab):
    eu, us = lab.started('eu', 'us')
    eu.kill()

    def tally(*arguments, code=0):
        done = run('tally', *arguments, '--server', us.address)
        assert done.returncode == code, f'{arguments}: exit {done.returncode}: {done.stdout}{done.stderr}'
        return done.stdout + done.stderr
    made = ['append', '--context', 'bank', '--partition', 'eu', '--stream', 'a', '--type', 'Paid', '--id', uuid.uuid4(), '--queue']
    assert 'queued for its home: ticket us@1' in tally(*made)
    assert json.loads(tally(*made, '--json'))['ticket'] == 'us@1'
    shown = tally('ticket', 'show', 'us@1')
    assert 'us@1 queued: 1 events' in shown and 'home eu' in shown, shown
    tally(*made, '--forward', code=2)
    tally('ticket', 'show', code=2)
    tally('ticket', 'show', 'us@7', code=1)
    assert len(tally('ticket', 'list', '--open').splitlines()) == 1
    eu.start()
    shown = tally('ticket', 'show', 'us@1', '--wait', 20000)
    assert 'accepted' in shown and 'event 0: bank/eu/1 index 0, version 0' in shown and 'decided by bank/eu/1@1' in shown, shown
    position = next(line.split()[1] for line in shown.splitlines() if line.startswith('position '))
    assert 'Paid' in check('tally', 'read', '--stream', 'bank/a', '--at-least', position, '--server', us.address)
    assert tally('ticket', 'list', '--open') == ''
    line = json.loads(tally('ticket', 'list', '--json'))
    assert (line['state'], line['decision']) == ('accepted', {'origin': 'bank/eu/1', 'index': 1}), line
