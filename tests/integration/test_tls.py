"""TLS: who gets in, who does not, and certificates that are replaced while regions run."""
import json
import shutil
import socket
import ssl

from certificates import DAY_S, Authority, Files
from harness import Client, Refused, batch, check, ledger_pb2, refused, run, wait_until, write


def secured(lab, *names, **options):
    """Regions that speak TLS, not yet started, each with files of its own under its folder; and their CA."""
    authority = Authority(lab.folder)
    client = authority.issue('client')
    regions = lab.cluster(*names)
    for region in regions:
        region.files = own_files(region, authority.issue(region.name, **options))
        region.serve_tls(region.files, client)
    return authority, client, regions


def own_files(region, files):
    folder = region.folder / 'tls'
    folder.mkdir()
    mine = Files(folder / 'ca.pem', folder / 'region.pem', folder / 'region.key')
    mine.take(files)
    return mine


def start(*regions):
    for region in regions:
        region.start(accepting=False)
    for region in regions:
        region.wait_accepting()


def connected(region, name):
    return next(peer for peer in region.status().peers if peer.region == name).connected


def turned_away(region, tls):
    """Nobody gets an answer this way, not even to the health of the region."""
    client = Client(region.address, tls=tls)
    error = refused('UNAVAILABLE', client.status, ledger_pb2.StatusRequest())
    client.close()
    return error


def test_append_and_read_over_tls(lab):
    _, client, (eu,) = secured(lab, 'eu')
    eu.start()
    eu.client().append(batch(write('s')))
    check('tally', 'append', '--server', eu.address, '--context', 'bank', '--partition', 'eu', '--stream', 's', '--type', 'Happened', *client.options)
    assert len(check('tally', 'read', '--server', eu.address, '--stream', 'bank/s', *client.options).splitlines()) == 2
    check('tally', 'bench', 'append', '--server', eu.address, '--seconds', '1', '--context', 'bank', '--partition', 'eu', *client.options)
    status = json.loads(check('tally', 'status', '--server', eu.address, '--json', *client.options))
    assert status['certificate']['state'] == 'valid' and status['certificate']['subject'] == 'CN=eu'


def test_only_a_certificate_of_the_ca_gets_in(lab):
    authority, client, (eu,) = secured(lab, 'eu')
    stranger = Authority(lab.folder, 'other').issue('stranger')
    expired = authority.issue('expired', begins_s=-10 * DAY_S, days=1)
    tomorrow = authority.issue('tomorrow', begins_s=DAY_S)
    eu.start()
    turned_away(eu, None)
    turned_away(eu, Files(authority.ca, None, None))
    turned_away(eu, Files(authority.ca, stranger.cert, stranger.key))
    turned_away(eu, expired)
    turned_away(eu, tomorrow)
    eu.client().append(batch(write('s')))


def test_tally_says_what_is_wrong_with_a_connection(lab):
    authority, client, (eu, us) = secured(lab, 'eu', 'us')
    stranger = Authority(lab.folder, 'other').issue('stranger')
    start(eu, us)

    def said(*options, address=eu.address):
        done = run('tally', 'status', '--server', address, *options)
        assert done.returncode in (1, 3), done
        return done.stderr
    assert '--tls-ca' in said()
    assert 'none of the CAs given has signed it' in said(*stranger.options)
    assert 'subjectAltName' in said(*client.options, address=eu.address.replace('127.0.0.1', 'localhost'))
    assert 'the key is missing' in said('--tls-ca', client.ca, '--tls-cert', client.cert)
    assert 'does not belong to' in said('--tls-ca', client.ca, '--tls-cert', client.cert, '--tls-key', stranger.key)
    assert 'has expired' in said(*authority.issue('expired', begins_s=-10 * DAY_S, days=1).options)
    eu.stop()
    eu.config.write_text(eu.config.read_text().replace(eu.files.yaml, ''))
    eu.shown = None
    eu.start(accepting=False)
    assert 'does not speak TLS' in said(*client.options)


def test_a_start_names_the_file_that_is_wrong(lab):
    authority, _, (eu,) = secured(lab, 'eu')
    good = authority.issue('good')
    stranger = Authority(lab.folder, 'other').issue('stranger')
    files = eu.files
    for spoil, words in (
            (lambda: files.cert.unlink(), ('region.pem', 'No such file')),
            (lambda: files.key.write_text('nonsense'), ('region.key', 'PEM')),
            (lambda: files.key.chmod(0o644), ('region.key', 'chmod')),
            (lambda: files.ca.write_text(''), ('ca.pem', 'PEM')),
            (lambda: shutil.copy(stranger.key, files.key), ('region.key', 'does not belong')),
            (lambda: files.take(Files(good.ca, stranger.cert, stranger.key)), ('region.pem', 'does not lead to a CA')),
            (lambda: files.take(authority.issue('old', begins_s=-10 * DAY_S, days=1)), ('region.pem', 'has expired')),
            (lambda: files.take(authority.issue('new', begins_s=DAY_S)), ('region.pem', 'not valid yet')),
            (lambda: files.take(authority.issue('client-only', usage='clientAuth')), ('region.pem', 'serverAuth'))):
        files.take(good)
        spoil()
        eu.refuses_to_start(*words)
    files.take(good)
    eu.start().stop()


def test_peers_replicate_over_tls_and_pass_appends_on(lab):
    _, client, regions = secured(lab, 'eu', 'us')
    eu, us = regions
    start(eu, us)
    eu.client().append(batch(write('s')))
    us.wait_size(eu.origin, 1)
    us.client().append(ledger_pb2.AppendRequest(writes=[write('s')], at_wrong_home=ledger_pb2.AT_WRONG_HOME_FORWARD))
    us.wait_size(eu.origin, 2)
    wait_until(lambda: next(peer for peer in us.status().peers).certificate_end_s > 0, 'us to know when the certificate of eu ends')


def test_a_peer_with_a_certificate_of_another_ca_does_not_get_in(lab):
    authority, client, (eu, us) = secured(lab, 'eu', 'us')
    other = Authority(lab.folder, 'other')
    us.files.take(other.issue('us'))
    us.shown = other.issue('client')
    eu.start(accepting=False)
    us.start(accepting=False)
    wait_until(lambda: 'certificate verify failed' in eu.status().peers[0].error, 'eu to say why us is not a peer')
    wait_until(lambda: 'certificate verify failed' in us.status().peers[0].error, 'us to say why eu is not a peer')
    assert not eu.status().peers[0].connected and not us.status().peers[0].connected
    # With one of the right CA it gets in, and nobody is started again.
    us.files.take(authority.issue('us'))
    us.close_clients()
    us.shown = client
    wait_until(lambda: 'were replaced' in us.said(), 'us to take up the right certificate')
    wait_until(lambda: eu.status().peers[0].connected and us.status().peers[0].connected, 'both to be connected')


def test_files_that_are_replaced_are_taken_up_without_a_restart(lab):
    authority, client, (eu, us) = secured(lab, 'eu', 'us')
    eu.serve_http()
    start(eu, us)
    for region in eu, us:
        region.files.take(authority.issue(f'{region.name}-next', days=200))
    for region in eu, us:
        wait_until(lambda: region.status().certificate.subject == f'CN={region.name}-next', f'{region.name} to take up the new certificate')
    assert f'tally_certificate_expires_seconds {eu.status().certificate.end_s}\n' in eu.http('/metrics').body.decode()
    wait_until(lambda: us.status().peers[0].certificate_end_s == eu.status().certificate.end_s, 'us to hear how long the new one of eu is good for')
    assert 'CN=us-next' in us.said()
    # Files that are wrong are not taken up, and it is said; what was in use stays in use.
    eu.files.cert.write_text('nonsense')
    wait_until(lambda: 'not taken up' in eu.http('/health').body.decode(), 'eu to say that its files are wrong')
    assert eu.status().health == 'degraded' and eu.status().certificate.subject == 'CN=eu-next'
    Client(eu.address, tls=client).append(batch(write('s')))
    us.wait_size(eu.origin, 1)


def test_another_ca_is_taken_up_without_a_restart(lab):
    """As a CA is replaced: first both are believed everywhere, then the certificates are new, then the old CA goes."""
    authority, client, (eu, us) = secured(lab, 'eu', 'us')
    other = Authority(lab.folder, 'other')
    both = lab.folder / 'both.pem'
    both.write_bytes(authority.ca.read_bytes() + other.ca.read_bytes())
    start(eu, us)
    for step in ('believe both', 'show the new', 'believe the new'):
        for region in eu, us:
            new = other.issue(region.name) if step != 'believe both' else Files(None, region.files.cert, region.files.key)
            region.files.take(Files(other.ca if step == 'believe the new' else both, new.cert, new.key))
        if step == 'believe both':
            for region in eu, us:
                wait_until(lambda: 'were replaced' in region.said(), f'{region.name} to believe both')
    fresh = other.issue('client')
    fresh_client = Files(other.ca, fresh.cert, fresh.key)

    def only_the_new():
        one = Client(eu.address, tls=client)
        try:
            one.status(ledger_pb2.StatusRequest())
            return False
        except Refused:
            return True
        finally:
            one.close()
    wait_until(only_the_new, 'eu to believe the new CA alone')
    Client(eu.address, tls=fresh_client).append(batch(write('s')))
    us.wait_size(eu.origin, 1)


def test_who_never_finishes_a_handshake_holds_up_nobody(lab):
    _, client, (eu,) = secured(lab, 'eu')
    eu.start()
    host, port = eu.address.rsplit(':', 1)
    silent = [socket.create_connection((host, int(port))) for _ in range(200)]
    babbling = [socket.create_connection((host, int(port))) for _ in range(20)]
    for one in babbling:
        one.sendall(b'\x16\x03\x01\x02\x00garbage' + bytes(64))
    for i in range(20):
        one = Client(eu.address, tls=client)
        one.append(batch(write(f's{i}')), timeout=60)
        one.close()
    silent[0].settimeout(60)
    assert silent[0].recv(1) == b'', 'a connection without a handshake stays open'
    for one in silent + babbling:
        one.close()


def test_garbage_inside_of_tls_is_refused(lab):
    _, client, (eu,) = secured(lab, 'eu')
    eu.start()
    context = ssl.create_default_context(cafile=str(client.ca))
    context.load_cert_chain(str(client.cert), str(client.key))
    context.set_alpn_protocols(['h2'])
    host, port = eu.address.rsplit(':', 1)
    for garbage in (b'GET / HTTP/1.1\r\n\r\n', bytes(1000), b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' + b'\xff' * 4096):
        with context.wrap_socket(socket.create_connection((host, int(port))), server_hostname=host) as one:
            one.settimeout(60)
            try:
                one.sendall(garbage)
                while one.recv(4096):
                    pass
            except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
                pass  # closed, one way or another
    eu.client().append(batch(write('s')))


def test_plaintext_on_a_public_address_is_warned_about(lab):
    eu = lab.init('eu')
    eu.edit_config(r'^listen: .*', f'listen: 0.0.0.0:{eu.port}')
    eu.start()
    assert 'WARNING' in eu.said() and 'without TLS' in eu.said()
    us = lab.init('us').start()
    assert 'WARNING' not in us.said()


def test_a_failover_looks_at_certificates(lab):
    authority, client, (eu, us, uk) = secured(lab, 'eu', 'us', 'uk')
    uk.files.take(authority.issue_for('uk', 1800))
    start(eu, us, uk)
    wait_until(lambda: all(peer.certificate_end_s for peer in us.status().peers), 'us to know when certificates end')
    eu.kill()
    done = run('tally', 'failover', 'bank', '--from', 'eu', '--server', us.address, '--dry-run', *client.options)
    assert 'certificate' in done.stdout and 'of region uk ends' in done.stdout, done
    assert uk.status().certificate.state == 'ends soon' and 'ends at' in uk.said()
