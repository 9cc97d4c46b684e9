"""Requests that must be refused: each with the right code and a message, none half applied, none the end of the server."""
import threading
import time

import grpc
from harness import Client, Refused, batch, check, collect, event, ledger_pb2, read, read_log, refused, replication_pb2, wait_until, write


def refused_whole(client, code, request, *, detail=None, timeout=60):
    """The request must be refused with the code, and the log must not have grown."""
    size = client.status(ledger_pb2.StatusRequest()).logs[0].size
    error = refused(code, client.append, request, timeout=timeout)
    assert client.status(ledger_pb2.StatusRequest()).logs[0].size == size, 'something was appended'
    if detail:
        assert error.detail and error.detail.code == detail, f'{error}: {error.detail}'
    return error


def test_empty_batch(solo):
    refused_whole(solo, 'INVALID_ARGUMENT', batch(), detail='INVALID')


def test_write_without_events(solo):
    refused_whole(solo, 'INVALID_ARGUMENT', batch(write('fine'), ledger_pb2.StreamWrite(context='bank', partition='eu', stream='s')), detail='INVALID')


def test_event_id_that_is_not_16_bytes(solo):
    for id in (b'', b'x' * 15, b'x' * 17):
        request = batch(write('ids', ledger_pb2.NewEvent(id=id, type='T')))
        refused_whole(solo, 'INVALID_ARGUMENT', request, detail='INVALID')


def test_causation_and_correlation_ids_that_are_not_16_bytes(solo):
    refused_whole(solo, 'INVALID_ARGUMENT', batch(write('ids', event(causation_id=b'x' * 5))), detail='INVALID')
    refused_whole(solo, 'INVALID_ARGUMENT', batch(write('ids', event(correlation_id=b'x' * 17))), detail='INVALID')


def test_names_that_are_empty(solo):
    for request in (batch(write('')), batch(write('s', context='')), batch(write('s', partition='')), batch(write('s', event(type='')))):
        refused_whole(solo, 'INVALID_ARGUMENT', request, detail='INVALID')


def test_unknown_context_says_what_to_do(solo):
    error = refused('NOT_FOUND', solo.append, batch(write('s', context='nowhere')))
    assert 'nowhere' in error.message


def test_names_that_are_not_utf8(solo):
    for field in ('stream', 'context', 'partition', 'type'):
        values = {'stream': 'abcXXabc', 'context': 'bank', 'partition': 'eu'}
        good = batch(ledger_pb2.StreamWrite(**{**values, **({field: 'abcXXabc'} if field != 'type' else {})},
                                            events=[event(type='abcXXabc' if field == 'type' else 'T')]))
        if field != 'stream':
            good.writes[0].stream = 'plain'
        raw = good.SerializeToString()
        assert raw.count(b'XX') == 1
        for bad in (b'\xff\xfe', b'\xc0\x80', b'\xed\xa0'):
            refused_whole(solo, 'INVALID_ARGUMENT', raw.replace(b'XX', bad))


def test_names_with_control_characters(solo):
    for name in ('a\nb', 'a\x00b', 'a\x7fb'):
        refused_whole(solo, 'INVALID_ARGUMENT', batch(write(name)), detail='INVALID')


def test_names_of_64_kib(solo):
    long = 'n' * 65536
    for request in (batch(write(long)), batch(write('s', context=long)), batch(write('s', partition=long)), batch(write('s', event(type=long)))):
        refused_whole(solo, 'INVALID_ARGUMENT', request)


def test_names_one_byte_over_their_limit_and_at_it(solo):
    solo.append(batch(write('n' * 512, event(type='t' * 255))))
    refused_whole(solo, 'INVALID_ARGUMENT', batch(write('n' * 513)), detail='TOO_LARGE')
    refused_whole(solo, 'INVALID_ARGUMENT', batch(write('s', event(type='t' * 256))), detail='TOO_LARGE')


def test_oversized_payload_and_metadata(solo):
    refused_whole(solo, 'INVALID_ARGUMENT', batch(write('s', event(b'x' * (1024 * 1024 + 1)))), detail='TOO_LARGE')
    refused_whole(solo, 'INVALID_ARGUMENT', batch(write('s', event(metadata=b'x' * 4097))), detail='TOO_LARGE')


def test_100000_events_in_a_request(solo):
    request = batch(write('s', *[ledger_pb2.NewEvent(id=i.to_bytes(16, 'big'), type='T') for i in range(1, 100001)]))
    refused_whole(solo, 'INVALID_ARGUMENT', request, detail='TOO_LARGE')


def test_10001_events_in_a_request(solo):
    request = batch(write('s', *[ledger_pb2.NewEvent(id=i.to_bytes(16, 'big'), type='T') for i in range(1, 10002)]))
    refused_whole(solo, 'INVALID_ARGUMENT', request, detail='TOO_LARGE')


def test_request_over_4_mib(solo):
    refused_whole(solo, 'INVALID_ARGUMENT', batch(write('s', *[event(b'x' * 1000000) for _ in range(5)])), detail='TOO_LARGE')


def test_message_larger_than_the_server_takes(solo):
    refused('RESOURCE_EXHAUSTED', solo.append, batch(write('s', *[event(b'x' * 1000000) for _ in range(12)])))


def test_a_thousand_bytes_that_ask_for_much_memory(solo):
    # 2 bytes on the wire for each empty StreamWrite or NewEvent.
    refused_whole(solo, 'INVALID_ARGUMENT', b'\x0a\x00' * 1000000)
    inner = b'\x42\x00' * 1000000
    size = len(inner)
    varint = bytes([size & 127 | 128, size >> 7 & 127 | 128, size >> 14 & 127 | 128, size >> 21])
    refused_whole(solo, 'INVALID_ARGUMENT', b'\x0a' + varint + inner)


def test_bytes_that_are_no_message(solo):
    for garbage in (b'\xff' * 50, b'\x0a\xff', b'\x0a\x05ab', b'hello, world'):
        refused_whole(solo, 'INVALID_ARGUMENT', garbage)


def test_bytes_that_are_no_message_on_a_stream(solo):
    answers = None
    try:
        answers = list(solo.append_stream(iter([b'\xff' * 50]), timeout=10))
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
    assert answers is None or answers[0].error.code == 'INVALID'


def test_truncations_of_a_good_request_never_crash(solo):
    raw = batch(write('cut', event(b'{"n":1}', metadata=b'm'), no_stream=True)).SerializeToString()
    for length in range(1, len(raw)):
        refused('INVALID_ARGUMENT', solo.append, raw[:length])
    refused('NOT_FOUND', read, solo, 'cut')


def test_unknown_methods_are_unimplemented(solo):
    for path in ('/tally.v1.Ledger/DropEverything', '/no.such.Service/Call'):
        call = solo.channel.unary_unary(path, request_serializer=bytes, response_deserializer=bytes)
        try:
            call(b'', timeout=10)
            raise AssertionError('an unknown method was answered')
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.UNIMPLEMENTED, error


def test_reads_with_bad_names(solo):
    for request in (ledger_pb2.ReadStreamRequest(context='bank'), ledger_pb2.ReadStreamRequest(context='', stream='s'),
                    ledger_pb2.ReadStreamRequest(context='bank', stream='n' * 65536)):
        refused('INVALID_ARGUMENT', collect, solo.read_stream(request, timeout=10))


def test_a_caller_that_goes_away_in_the_middle(solo):
    for _ in range(20):
        call = solo.read_log(ledger_pb2.ReadLogRequest(), timeout=10)
        next(iter(call), None)
        call.cancel()
        stream = solo.append_stream(iter([batch(write('gone'))] * 1), timeout=10)
        stream.cancel()
    read_log(solo, limit=1)


def test_more_calls_than_the_server_takes_are_refused_and_then_served_again(solo):
    calls = [solo.subscribe(ledger_pb2.SubscribeRequest(), timeout=60) for _ in range(300)]
    codes = set()
    for call in calls:
        try:
            next(iter(call))
            codes.add('OK')
        except grpc.RpcError as error:
            codes.add(error.code().name)
        except StopIteration:
            codes.add('END')
    for call in calls:
        call.cancel()
    # cancelled: the refusal was not taken in time
    assert codes <= {'OK', 'RESOURCE_EXHAUSTED', 'CANCELLED'}, codes
    assert 'RESOURCE_EXHAUSTED' in codes
    for attempt in range(100):
        try:
            solo.append(batch(write('after-the-crowd')))
            break
        except Exception:
            if attempt == 99:
                raise
            time.sleep(0.05)


def hello(**changed):
    fields = {'protocol': 2, 'cluster': 'bank', 'region': 'us', 'contexts_digest': b'\0' * 32, **changed}
    return replication_pb2.HelloRequest(**fields)


def test_hello_of_another_protocol_cluster_or_region(lab):
    eu, us = lab.started('eu', 'us')
    peer = eu.replication()
    assert 'protocol' in refused('FAILED_PRECONDITION', peer.hello, hello(protocol=1)).message
    assert 'cluster' in refused('FAILED_PRECONDITION', peer.hello, hello(cluster='other')).message
    for region in ('mars', '', 'eu'):
        try:
            peer.hello(hello(region=region))
            raise AssertionError(f'region "{region}" was welcome')
        except AssertionError:
            raise
        except Exception as error:
            assert error.code in ('INVALID_ARGUMENT', 'FAILED_PRECONDITION', 'NOT_FOUND', 'PERMISSION_DENIED'), error
            assert error.message


def test_hello_with_other_contexts(lab):
    eu, us = lab.started('eu', 'us')
    assert 'context' in refused('FAILED_PRECONDITION', eu.replication().hello, hello(contexts_digest=b'\1' * 32)).message


def test_pull_that_makes_no_sense(lab):
    eu, us = lab.started('eu', 'us')
    eu.client().append(batch(write('s')))
    peer = eu.replication()
    start = {'protocol': 2, 'cluster': 'bank', 'region': 'us', 'origin': 'bank/eu/1', 'from_index': 0}
    for changed in ({'protocol': 9}, {'cluster': 'x'}, {'region': 'mars'}, {'origin': 'bank/mars/1'}, {'origin': '../../etc'}, {'from_index': 1 << 60}):
        call = peer.pull(iter([replication_pb2.PullRequest(**{**start, **changed})]), timeout=10)
        try:
            collect(call)
            raise AssertionError(f'{changed} was accepted')
        except AssertionError:
            raise
        except Exception as error:
            assert error.code in ('INVALID_ARGUMENT', 'FAILED_PRECONDITION', 'NOT_FOUND', 'OUT_OF_RANGE', 'PERMISSION_DENIED', 'DATA_LOSS'), (changed, error)


ENDLESS = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)'
ENDLESS_SCHEMA = f'''-- tally: projection schema
-- tally: schema
CREATE TABLE t AS {ENDLESS} SELECT count(*) AS c FROM n;
-- tally: on bank *
SELECT 1;
'''
ENDLESS_SECTION = f'''-- tally: projection section
-- tally: schema
CREATE TABLE t (c INTEGER);
-- tally: on bank Happened
INSERT INTO t {ENDLESS} SELECT count(*) FROM n;
'''


def test_projections_whose_sql_does_not_end_do_not_keep_a_server_from_stopping(lab):
    eu = lab.solo()
    sql = lab.folder / 'section.sql'
    sql.write_text(ENDLESS_SECTION)
    check('tally', 'projection', 'create', sql, '--server', eu.address)
    eu.client().append(batch(write('s')))
    answers = []

    def create():
        """On a connection that eu.stop() leaves alone."""
        client = Client(eu.address)
        try:
            answers.append(client.create_projection(ledger_pb2.CreateProjectionRequest(sql=ENDLESS_SCHEMA), timeout=80))
        except Refused as error:
            answers.append(error.code)
        client.close()
    thread = threading.Thread(target=create)
    thread.start()
    wait_until(lambda: (eu.folder / 'projections' / 'schema' / 'projection.sql').exists(), 'the schema to be under way')
    time.sleep(0.3)  # and well into its work
    eu.stop()
    thread.join(timeout=80)
    assert answers[0] in ('UNAVAILABLE', 'CANCELLED') and 'failed' not in eu.said(), (answers, eu.said())
    assert not (eu.folder / 'projections' / 'schema').exists(), 'what was not made leaves nothing behind'
