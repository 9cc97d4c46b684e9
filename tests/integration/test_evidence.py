"""Two histories of one log, signed with its real key: noticed, kept, red over restarts, until an operator acts."""
import base64
import json

from harness import check, replication_pb2, run, wait_until
from ledger_files import Key
from test_replication import HostilePeer, fill


class Forger(HostilePeer):
    """The region us, that shows a note of its log."""

    def __init__(self, port, size, note):
        self.note = note
        super().__init__(port, size, [])

    def hello(self, request, context):
        return replication_pb2.HelloResponse(protocol=2, cluster='bank', region='us', contexts_digest=request.contexts_digest,
                                             logs=[replication_pb2.HeldLog(origin='bank/us/1', size=self.size, checkpoint=self.note)])


def log_key(region):
    name, _, blob = (region.folder / 'keys/log.key').read_text().strip().removeprefix('PRIVATE+KEY+').split('+', 2)
    return Key(name, base64.b64decode(blob)[1:])


def red(region):
    """Both ways to ask agree that the region is red for the fork."""
    assert region.status().health == 'degraded'
    answer = region.http('/health')
    reasons = json.loads(answer.body)['reasons']
    assert answer.status == 503 and any(r['reason'] == 'forked' and r['about'] == 'bank/us/1' for r in reasons), answer.body


def items(region, *options):
    return [json.loads(line) for line in check('tally', 'evidence', 'list', '--data', region.folder, '--json', *options).splitlines()]


def test_a_fork_stays_red_over_restarts_until_it_is_resolved(lab):
    eu, us = lab.cluster('eu', 'us')
    eu.serve_http()
    eu.start(accepting=False)
    us.start()
    eu.wait_accepting()
    fill(us, 10)
    stored = eu.log_folder('us') / 'checkpoint'
    wait_until(lambda: stored.exists() and stored.read_text().startswith('bank/us/1\n10\n'), 'the checkpoint of us at eu')
    assert eu.http('/health').status == 200 and items(eu) == []
    us.stop()

    text = f'bank/us/1\n10\n{base64.b64encode(bytes(32)).decode()}\n'
    forged = text + '\n' + log_key(us).line(text)
    forger = Forger(us.port, 10, forged.encode())
    wait_until(lambda: eu.status().health == 'degraded', 'eu to notice the fork')
    red(eu)
    item, = wait_until(lambda: items(eu), 'the evidence')
    forger.stop()
    assert item['kind'] == 'fork' and item['log'] == 'bank/us/1' and item['size'] == 10 and item['root'] == '00' * 32, item
    assert item['note'] == forged and [s['name'] for s in item['signers']] == ['bank/us/1'] and item['kept_at_ms'] > 0, item
    assert 'another root for size 10' in item['reason'], item
    shown = check('tally', 'evidence', 'show', item['name'][:12], '--data', eu.folder)
    assert forged in shown and 'FORK of log bank/us/1' in shown, shown
    asked = check('tally', 'evidence', 'list', '--server', eu.address, '--json')
    assert [json.loads(line) for line in asked.splitlines()] == [item], 'the region says what its files say'
    assert check('tally', 'evidence', 'show', item['name'][:12], '--server', eu.address) == shown
    assert check('tally', 'evidence', 'list', '--server', eu.address, '--resolved') == '0 kept and resolved\n'
    refused = run('tally', 'evidence', 'resolve', item['name'], '--reason', 'a test', '--server', eu.address)
    assert refused.returncode == 2 and '--data DIR' in refused.stderr, refused.stderr

    running = run('tally', 'evidence', 'resolve', item['name'], '--reason', 'a test', '--data', eu.folder)
    assert running.returncode == 1 and 'stop it first' in running.stderr, running.stderr
    eu.stop()
    eu.start(accepting=False)
    red(eu)
    assert 'another root for size 10' in eu.log('bank/us/1').detail

    eu.stop()
    check('tally', 'evidence', 'resolve', item['name'], '--reason', 'a test made it', '--data', eu.folder)
    assert items(eu) == []
    resolved, = items(eu, '--resolved')
    assert resolved['name'] == item['name'] and resolved['resolution'] == 'a test made it' and resolved['resolved_at_ms'] > 0, resolved
    us.start(accepting=False)
    eu.start()
    assert eu.status().health == 'ok' and eu.http('/health').status == 200
    us.wait_accepting()
    fill(us, 5)
    eu.wait_size('bank/us/1', 15)
    for region in (eu, us):
        region.stop()
    check('tally-verify', 'log', eu.log_folder('us'), '--key', us.folder / 'keys/region.pub')


def test_the_command_says_what_is_wrong_with_it(lab):
    eu = lab.init('eu')
    assert run('tally', 'evidence', 'list', '--data', eu.folder, '--server', eu.address).returncode == 2
    assert run('tally', 'evidence', 'list', '--server', eu.address).returncode == 3, 'nobody is there to ask'
    assert run('tally', 'evidence', 'resolve', 'x', '--reason', 'none').returncode == 2
    assert run('tally', 'evidence', 'resolve', 'x', '--data', eu.folder).returncode == 2
    missing = run('tally', 'evidence', 'resolve', '0' * 64, '--reason', 'none', '--data', eu.folder)
    assert missing.returncode == 1 and missing.stderr, missing
    missing = run('tally', 'evidence', 'show', '00', '--data', eu.folder)
    assert missing.returncode == 1 and 'there is no evidence 00' in missing.stderr, missing.stderr
    assert check('tally', 'evidence', 'list', '--data', eu.folder) == '0 kept, not resolved\n'
