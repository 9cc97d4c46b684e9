"""tally init and what tallyd refuses to start with."""
import json
import os
import re
import shutil
import socket

from harness import ROOT, batch, check, free_port, run, write


def test_init_makes_a_directory_that_starts_and_explains_itself(lab):
    eu = lab.init('eu')
    text = eu.config.read_text()
    for key in ('cluster', 'region', 'listen', 'advertise', 'peers', 'contexts', 'checkpoint_interval_ms', 'hello_interval_ms', 'peer_timeout_ms',
                'segment_size_bytes'):
        assert f'{key}:' in text, f'{key} is not written'
    assert text.count('#') >= 8, 'the defaults are not explained'
    for key in ('log.key', 'cosign.key'):
        assert (eu.folder / 'keys' / key).stat().st_mode & 0o077 == 0, f'{key} can be read by others'
    eu.start().stop()


def uncommented(text, keep=()):
    """Settings that tally init wrote as comments, as settings; those below a top-level one of `keep` stay comments."""
    lines, inside = [], ''
    for line in text.splitlines():
        setting = re.fullmatch(r'( *)# ( *(?:- )?(?:[a-z_]+:|- ).*|[a-z_]+:.*| +- .*)', line)
        if setting and not line.startswith('#  '):
            inside = setting[2].split(':')[0] if not setting[1] else ''
        lines.append(setting[1] + setting[2] if setting and inside not in keep else line)
    return '\n'.join(lines) + '\n'


def test_init_writes_every_setting(lab):
    sources = [file.read_text() for file in sorted((ROOT / 'src' / 'server').glob('config*.c'))]
    keys = {key for text in sources for key in re.findall(r'(?:TEXT|NUMBER|CYAML_FIELD_\w+)\(\s*"([a-z_]+)"', text)}
    assert {'cluster', 'lease_ms', 'override', 'prefix', 'events', 'ca_file', 'url'} <= keys, keys
    text = lab.cluster('eu', 'us')[0].config.read_text()
    assert not [key for key in sorted(keys) if not re.search(rf'(^|[-{{,# ]) *{key}:', text, re.M)]


def test_what_init_shows_as_a_comment_can_be_uncommented(lab):
    eu, us = regions = lab.cluster('eu', 'us')
    for region in regions:
        region.config.write_text(uncommented(region.config.read_text(), keep=('tls', )))
        region.start(accepting=False)
    for region in regions:
        region.wait_accepting()
    policy = json.loads(check('tally', 'context', 'show', 'bank', '--server', eu.address, '--json'))['policy']
    assert policy == {'name': 'bank', 'default_home': 'eu', 'homes': 'us=us', 'topology': 'multi-home', 'isolation': 'fence', 'lease_ms': '10000',
                      'failover': 'assisted', 'payload_regions': 'eu us', 'event_types': 'CardFrozen=accept,override', 'durability.peers': '1',
                      'durability.when_away': 'refuse', 'recovery_point.events': '1000', 'recovery_point.seconds': '10', 'recovery_point.then': 'warn'}
    eu.stop()
    eu.config.write_text(uncommented(eu.config.read_text()))
    eu.refuses_to_start('tls/ca.pem')


def test_init_refuses_a_directory_that_is_in_use(lab):
    eu = lab.init('eu')
    before = eu.config.read_text()
    done = run('tally', 'init', eu.folder, '--cluster', 'other', '--region', 'eu', '--listen', '127.0.0.1:1')
    assert done.returncode != 0 and done.stderr
    assert eu.config.read_text() == before


def test_init_refuses_bad_names(lab):
    for region in ('EU', 'e u', '-eu', '', 'eu/us', 'x' * 64):
        done = run('tally', 'init', lab.folder / 'bad', '--cluster', 'bank', '--region', region, '--listen', '127.0.0.1:1', '--context', 'bank=eu')
        assert done.returncode != 0 and done.stderr, region
        assert not (lab.folder / 'bad').exists(), f'"{region}" left a folder behind'


def test_no_data_directory(lab):
    done = run('tallyd', '--data', lab.folder / 'nothing')
    assert done.returncode == 1
    assert 'tally init' in done.stderr


def test_usage_errors(lab):
    assert run('tallyd').returncode == 2
    assert run('tallyd', '--no-such-option').returncode == 2
    assert run('tally', 'no-such-command').returncode == 2
    assert run('tally', '--help').returncode == 0
    assert run('tallyd', '--help').returncode == 0


def test_unknown_key_names_file_and_line(lab):
    eu = lab.init('eu')
    eu.config.write_text(eu.config.read_text() + '\nchekpoint_interval: 5\n')
    line = eu.config.read_text().count('\n')
    said = eu.refuses_to_start('tallyd.yaml', 'chekpoint_interval')
    assert f'line: {line}' in said or f'line {line}' in said, said


def test_yaml_that_is_no_yaml(lab):
    eu = lab.init('eu')
    eu.config.write_text('cluster: [bank\n  region: }')
    eu.refuses_to_start('tallyd.yaml')


def test_values_out_of_range(lab):
    for line in ('checkpoint_interval_ms: 0', 'segment_size_bytes: 100', 'hello_interval_ms: -5', 'peer_timeout_ms: lots'):
        eu = lab.init('eu')
        key = line.split(':')[0]
        eu.edit_config(rf'^{key}:.*', line)
        eu.refuses_to_start(key)
        shutil.rmtree(eu.folder)


def test_wrong_region_name(lab):
    eu = lab.init('eu')
    eu.edit_config('^region: eu', 'region: "E U"')
    eu.refuses_to_start('region')


def test_peer_listed_twice(lab):
    eu, us = lab.cluster('eu', 'us')
    text = eu.config.read_text().replace("'", '')
    start = text.index('  - region: us')
    end = text.index('keys:', start)
    end = text.index('\n', end) + 1
    eu.config.write_text(text[:end] + text[start:end] + text[end:])
    eu.refuses_to_start('us', 'twice')


def test_region_that_is_its_own_peer(lab):
    eu, us = lab.cluster('eu', 'us')
    eu.edit_config('- region: us', '- region: eu')
    eu.refuses_to_start('itself')


def test_home_that_is_no_region(lab):
    eu = lab.init('eu')
    eu.edit_config('default_home: eu', 'default_home: mars')
    eu.refuses_to_start('mars')


def test_private_key_that_others_can_read(lab):
    eu = lab.init('eu')
    (eu.folder / 'keys' / 'log.key').chmod(0o644)
    eu.refuses_to_start('log.key', 'chmod')


def test_missing_and_malformed_private_key(lab):
    eu = lab.init('eu')
    key = eu.folder / 'keys' / 'log.key'
    text = key.read_text()
    key.unlink()
    eu.refuses_to_start('log.key')
    key.write_text(text[:-10])
    key.chmod(0o600)
    eu.refuses_to_start('log.key')


def test_key_of_another_region(lab):
    eu, us = lab.cluster('eu', 'us')
    shutil.copy(us.folder / 'keys' / 'log.key', eu.folder / 'keys' / 'log.key')
    eu.refuses_to_start('log.key', 'bank/us/1')


def test_missing_peer_key(lab):
    eu, us = lab.cluster('eu', 'us')
    (eu.folder / 'keys' / 'peer-us.pub').unlink()
    eu.refuses_to_start('peer-us.pub', 'region.pub')


def test_port_in_use(lab):
    eu = lab.init('eu')
    with socket.create_server(('127.0.0.1', eu.port)):
        eu.refuses_to_start(str(eu.port))


def test_data_directory_that_another_process_holds(lab):
    eu = lab.solo()
    eu.client().append(batch(write('s')))
    done = run('tallyd', '--data', eu.folder)
    assert done.returncode == 1
    assert 'lock' in done.stderr.lower() or 'another' in done.stderr.lower(), done.stderr
    eu.client().append(batch(write('s')))


def test_data_directory_of_another_cluster(lab):
    eu = lab.solo()
    eu.client().append(batch(write('s')))
    eu.stop()
    other = lab.init('other', cluster='shop')
    shutil.copy(other.config, lab.folder / 'shop.yaml')
    eu.edit_config('^cluster: bank', 'cluster: shop')
    eu.refuses_to_start()


def test_logs_of_another_cluster(lab):
    eu = lab.solo()
    eu.client().append(batch(write('s')))
    eu.stop()
    other = lab.init('other', cluster='shop')
    eu.edit_config('^cluster: bank', 'cluster: shop')
    eu.edit_config('^region: eu', 'region: other')
    eu.edit_config('default_home: eu', 'default_home: other')
    eu.edit_config('^system_home: eu', 'system_home: other')
    shutil.rmtree(eu.folder / 'keys')
    shutil.copytree(other.folder / 'keys', eu.folder / 'keys')
    eu.spawn()
    code = eu.process.wait(timeout=20)
    eu.process = None
    assert code == 1 and 'bank' in eu.said(), eu.said()


def test_data_directory_that_cannot_be_written(lab):
    if os.geteuid() == 0:
        eu = lab.init('eu')
        (eu.folder / 'logs').exists() and shutil.rmtree(eu.folder / 'logs')
        (eu.folder / 'logs').write_text('a file where a folder should be')
        eu.refuses_to_start('logs')


def test_address_that_is_not_ours(lab):
    eu = lab.init('eu')
    eu.edit_config('^listen:.*', f'listen: 192.0.2.1:{free_port()}')
    eu.refuses_to_start('192.0.2.1')
