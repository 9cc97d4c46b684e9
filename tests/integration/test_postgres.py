"""Projections in PostgreSQL, with a real server: the same contents as in SQLite, what becomes of them when it is lost, late events, rebuilds."""
import json
import signal
import subprocess

from harness import batch, check, event, run, wait_until, write
from postgres import Postgres

TABLE = {
    'sqlite': ("CREATE TABLE sums (stream TEXT PRIMARY KEY, total INTEGER NOT NULL, last TEXT);", "json_extract(:payload, '$.n')", 'total'),
    'postgresql': ("CREATE TABLE sums (stream text PRIMARY KEY, total bigint NOT NULL, last text);", "(:payload::jsonb ->> 'n')::bigint", 'sums.total'),
}


def sums_sql(lab, dialect, name):
    schema, number, total = TABLE[dialect]
    path = lab.folder / f'{name}.sql'
    path.write_text(f'''-- tally: projection {name}
-- tally: schema
{schema}
-- tally: on bank Happened
INSERT INTO sums VALUES (:stream, {number}, :type) ON CONFLICT (stream) DO UPDATE SET total = {total} + excluded.total;
''')
    return path


def with_database(lab, *regions):
    postgres = Postgres()
    lab.at_end(postgres.close)
    for region in regions:
        with open(region.config, 'a') as config:
            config.write(f'projection_databases:\n  - name: reporting\n    url: {postgres.url()}\n')
    return postgres


def append(region, stream, *numbers, partition='eu'):
    for n in numbers:
        region.client().append(batch(write(stream, event(json.dumps({'n': n}).encode()), partition=partition)))


def status(region, name):
    return json.loads(check('tally', 'projection', 'status', name, '--server', region.address, '--json'))


def digest(region, name):
    return json.loads(check('tally', 'projection', 'digest', name, '--wait', region.status().position, '--server', region.address, '--json'))


def create_sums(lab, region, name='sums-pg'):
    return check('tally', 'projection', 'create', sums_sql(lab, 'postgresql', name), '--database', 'reporting', '--server', region.address)


def test_postgresql_and_sqlite_have_one_digest(lab):
    eu = lab.init('eu')
    postgres = with_database(lab, eu)
    eu.start()
    for i in range(20):
        append(eu, f's-{i % 3}', i)
    said = create_sums(lab, eu)
    assert 'database reporting, schema sums-pg' in said, said
    check('tally', 'projection', 'create', sums_sql(lab, 'sqlite', 'sums'), '--server', eu.address)
    before = digest(eu, 'sums-pg')
    assert before['digest'] == digest(eu, 'sums')['digest'] and before['row_count'] == 3, before
    assert postgres.sql('SELECT stream, total FROM "sums-pg".sums ORDER BY stream') == ['s-0|63', 's-1|70', 's-2|57']

    check('tally', 'projection', 'rebuild', 'sums-pg', '--server', eu.address)
    wait_until(lambda: status(eu, 'sums-pg')['generation'] == 2, 'the next generation to be live')
    after = digest(eu, 'sums-pg')
    assert (after['digest'], after['generation']) == (before['digest'], 2), after
    assert 'equal in 3 interleavings' in check('tally', 'projection', 'check', 'sums-pg', '--seeds', 3, '--server', eu.address)
    assert postgres.sql("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'sums%'") == ['sums-pg']

    eu.stop()
    eu.start()
    append(eu, 's-0', 1000)
    assert digest(eu, 'sums-pg')['digest'] == digest(eu, 'sums')['digest']
    assert postgres.sql('SELECT total FROM "sums-pg".sums WHERE stream = \'s-0\'') == ['1063']


def test_loss_of_postgresql_stops_only_that_projection(lab):
    eu = lab.init('eu')
    postgres = with_database(lab, eu)
    eu.start()
    append(eu, 's', 1)
    create_sums(lab, eu)
    check('tally', 'projection', 'create', sums_sql(lab, 'sqlite', 'sums'), '--server', eu.address)
    assert digest(eu, 'sums-pg')['digest'] == digest(eu, 'sums')['digest']

    postgres.stop()
    append(eu, 's', 2, 3)
    found = wait_until(lambda: (s := status(eu, 'sums-pg'))['state'] == 'waiting' and s, 'the projection to wait for its database')
    assert 'reporting' in found['error'] and found['database'] == 'reporting', found
    assert digest(eu, 'sums')['row_count'] == 1
    done = run('tally', 'projection', 'digest', 'sums-pg', '--server', eu.address)
    assert done.returncode == 3 and 'waits for its database' in done.stderr, done
    eu.stop()  # neither a stop nor a start waits for a database that is not there
    eu.start()
    append(eu, 's', 4)
    assert status(eu, 'sums')['state'] == 'live'
    assert status(eu, 'sums-pg')['state'] == 'waiting'

    postgres.start()
    wait_until(lambda: status(eu, 'sums-pg')['state'] == 'live', 'the projection to follow again')
    assert digest(eu, 'sums-pg')['digest'] == digest(eu, 'sums')['digest']
    assert postgres.sql('SELECT total FROM "sums-pg".sums') == ['10']


def test_each_event_once_whatever_is_killed_meanwhile(lab):
    """Both processes are killed again and again while events come in and a rebuild runs: nothing is lost, nothing is applied twice."""
    eu = lab.init('eu')
    postgres = with_database(lab, eu)
    eu.start()
    create_sums(lab, eu)
    bench = ('tally', 'bench', 'append', '--context', 'bank', '--partition', 'eu', '--batch', 100)
    sql = lab.folder / 'count.sql'
    sql.write_text('-- tally: projection counted\n-- tally: schema\nCREATE TABLE counted(stream text PRIMARY KEY, events bigint);\n-- tally: on bank *\n'
                   'INSERT INTO counted VALUES(:stream, 1) ON CONFLICT(stream) DO UPDATE SET events = counted.events + 1;\n')
    check('tally', 'projection', 'create', sql, '--database', 'reporting', '--server', eu.address)
    for _ in range(2):
        check(*bench, '--events', 20000, '--server', eu.address)
        check('tally', 'projection', 'rebuild', 'counted', '--server', eu.address)
        postgres.stop()
        postgres.start()
        wait_until(lambda: status(eu, 'counted')['state'] != 'waiting', 'the projection to follow again')
        eu.kill()
        eu.start()
    position = eu.status().position
    wait_until(lambda: status(eu, 'counted')['position'] == position, 'the projection to catch up', 30)
    assert postgres.sql('SELECT sum(events) FROM counted.counted') == ['40000']


def test_mistakes_are_refused_with_their_place(lab):
    eu = lab.init('eu')
    postgres = with_database(lab, eu)
    eu.start()
    sql = lab.folder / 'bad.sql'
    sql.write_text('-- tally: projection bad\n-- tally: schema\nCREATE TABLE t (a int);\n-- tally: on bank X\nINSERT INTO nothing VALUES (1);\n')
    create = ('tally', 'projection', 'create', sql, '--server', eu.address)
    done = run(*create, '--database', 'reporting')
    assert done.returncode == 1 and 'section "on bank X", line 5' in done.stderr and 'nothing' in done.stderr, done
    done = run(*create, '--database', 'elsewhere')
    assert done.returncode == 1 and 'projection_databases' in done.stderr, done
    assert run('tally', 'projection', 'status', 'bad', '--server', eu.address).returncode == 1
    assert postgres.sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'bad'") == ['0']


def test_role_without_rights_and_password_in_a_file(lab):
    """The URL names a password file; neither status nor log ever shows what is in it."""
    eu = lab.init('eu')
    postgres = Postgres()
    lab.at_end(postgres.close)
    postgres.sql("SET password_encryption = 'scram-sha-256'; CREATE ROLE tally LOGIN PASSWORD 'hush'; GRANT CREATE ON DATABASE postgres TO tally")
    hba = postgres.data / 'pg_hba.conf'
    hba.write_text('host all postgres 127.0.0.1/32 trust\nhost all tally 127.0.0.1/32 scram-sha-256\n')
    postgres.run('pg_ctl', '-D', postgres.data, 'reload')
    passfile = lab.folder / 'pgpass'
    passfile.write_text('*:*:*:tally:wrong\n')
    passfile.chmod(0o600)
    with open(eu.config, 'a') as config:
        config.write(f'projection_databases:\n  - name: reporting\n    url: {postgres.url("tally")}?passfile={passfile}\n')
    eu.start()
    append(eu, 's', 1)
    create = ('tally', 'projection', 'create', sums_sql(lab, 'postgresql', 'sums-pg'), '--database', 'reporting', '--server', eu.address)
    done = run(*create)
    assert done.returncode == 3 and 'password' in done.stderr and 'hush' not in done.stderr, done
    passfile.write_text('*:*:*:tally:hush\n')
    check(*create)
    assert digest(eu, 'sums-pg')['row_count'] == 1
    assert 'hush' not in json.dumps(status(eu, 'sums-pg')) + eu.said()
    eu.stop()
    eu.edit_config('tally@127', 'tally:hush@127')
    said = eu.refuses_to_start('password file')
    assert 'hush' not in said, said


def fail_over(lost, to):
    check('tally', 'failover', 'bank', '--from', lost.name, '--server', to.address, '--force', '--reason', f'{lost.name} lost power')


def test_late_events_are_left_out_and_what_was_applied_is_rebuilt(lab):
    """eu's projection has applied a tail that turns out to be late: it is rebuilt by itself, and both databases agree."""
    eu, us = lab.cluster('eu', 'us')
    postgres = with_database(lab, eu)
    for region in (eu, us):
        region.start(accepting=False)
    for region in (eu, us):
        region.wait_accepting()
    create_sums(lab, eu)
    check('tally', 'projection', 'create', sums_sql(lab, 'sqlite', 'sums'), '--server', us.address)
    append(eu, 's', 1, 2)
    us.wait_size(eu.origin, eu.size())
    us.process.send_signal(signal.SIGSTOP)
    tail = 150
    for _ in range(tail):  # more than what sockets hold for a process that sleeps
        eu.client().append(batch(write('s', event(json.dumps({'n': 1000, 'pad': 'x' * 100000}).encode()))))
    check('tally', 'projection', 'digest', 'sums-pg', '--wait', eu.status().position, '--server', eu.address)
    assert postgres.sql('SELECT total FROM "sums-pg".sums') == [str(3 + 1000 * tail)]
    size = eu.size()
    eu.kill()
    us.process.send_signal(signal.SIGCONT)
    fail_over(eu, us)
    late = size - us.size(eu.origin)
    assert late > 0
    append(us, 's', 30)
    eu.start()
    us.wait_size(eu.origin, size)
    eu.wait_size(us.origin, us.size())
    assert digest(eu, 'sums-pg')['digest'] == digest(us, 'sums')['digest']
    assert postgres.sql('SELECT total FROM "sums-pg".sums') == [str(33 + 1000 * (tail - late))]
    assert 'projection sums-pg is rebuilt: entry' in eu.said()
    assert status(eu, 'sums-pg')['generation'] == 2
