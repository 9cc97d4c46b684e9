"""Append over gRPC: positions, expected versions, idempotency, atomicity, homes, pipelining."""
import uuid

import grpc
from harness import batch, collect, event, ledger_pb2, read, refused, write


def test_answers_with_place_version_and_position(solo):
    first = solo.append(batch(write('place', event(), event()), tag=7))
    second = solo.append(batch(write('place')))
    assert first.tag == 7
    assert [r.stream_version for r in first.results] == [0, 1]
    assert first.results[1].index == first.results[0].index + 1
    assert second.results[0].stream_version == 2
    assert second.results[0].index > first.results[1].index
    assert first.origin == 'bank/eu/1'
    assert second.position == f'eu@{second.results[0].index + 1}'


def test_what_was_appended_is_read_back(solo):
    sent = event(b'{"amount":"1.23"}', type='Paid', metadata=b'm', causation_id=uuid.uuid4().bytes, correlation_id=uuid.uuid4().bytes)
    index = solo.append(batch(write('back', sent))).results[0].index
    got = read(solo, 'back')[0]
    assert got.payload == sent.payload
    assert len(got.salt) == 16
    entry = got.entry
    assert (entry.index, entry.event_id, entry.type, entry.metadata) == (index, sent.id, 'Paid', b'm')
    assert (entry.causation_id, entry.correlation_id) == (sent.causation_id, sent.correlation_id)
    assert (entry.context, entry.partition, entry.stream, entry.stream_version, entry.epoch) == ('bank', 'eu', 'back', 0, 1)
    assert entry.payload_size == len(sent.payload)


def test_several_streams_in_one_batch(solo):
    answer = solo.append(batch(write('multi-a'), write('multi-b', event(), event())))
    assert [r.stream_version for r in answer.results] == [0, 0, 1]
    assert len(read(solo, 'multi-a')) == 1 and len(read(solo, 'multi-b')) == 2


def no_such_stream(client, stream):
    """A refused batch has left nothing of itself behind."""
    refused('NOT_FOUND', read, client, stream)


def conflict(client, expected, actual, **fields):
    error = refused('ABORTED', client.append, batch(write('quiet-before'), write('versions', **fields)))
    assert error.detail.code == 'VERSION_CONFLICT'
    assert (error.detail.expected, error.detail.actual) == (expected, actual)
    assert (error.detail.context, error.detail.stream, error.detail.write_number) == ('bank', 'versions', 1)
    assert expected in error.message and actual in error.message


def test_expected_versions_that_do_not_hold_are_refused_with_expected_and_actual(solo):
    conflict(solo, 'exists', 'none', stream_exists=True)
    conflict(solo, '0', 'none', version=0)
    solo.append(batch(write('versions', no_stream=True)))
    conflict(solo, 'none', '0', no_stream=True)
    conflict(solo, '1', '0', version=1)
    no_such_stream(solo, 'quiet-before')


def test_expected_versions_that_hold_are_accepted(solo):
    solo.append(batch(write('held', no_stream=True)))
    solo.append(batch(write('held', stream_exists=True)))
    solo.append(batch(write('held', version=1)))
    solo.append(batch(write('held', any=True)))
    assert [e.entry.stream_version for e in read(solo, 'held')] == [0, 1, 2, 3]


def test_same_id_and_content_is_answered_with_the_first_place(solo):
    sent = event(b'{"n":1}')
    first = solo.append(batch(write('twice', sent))).results[0]
    again = solo.append(batch(write('twice', sent))).results[0]
    assert not first.duplicate and again.duplicate
    assert (again.index, again.stream_version) == (first.index, first.stream_version)
    assert len(read(solo, 'twice')) == 1


def test_a_retry_with_an_expected_version_is_a_duplicate_and_not_a_conflict(solo):
    sent = event()
    solo.append(batch(write('retry', sent, no_stream=True)))
    assert solo.append(batch(write('retry', sent, no_stream=True))).results[0].duplicate


def test_same_id_with_other_content_is_refused(solo):
    sent = event(b'{"n":1}')
    solo.append(batch(write('reuse', sent)))
    for changed in (write('reuse', event(b'{"n":2}', id=sent.id)), write('other-reuse', sent), write('reuse', event(b'{"n":1}', id=sent.id, type='X'))):
        error = refused('ALREADY_EXISTS', solo.append, batch(changed))
        assert error.detail.code == 'ID_REUSED'
        assert error.detail.event_id == sent.id
    assert len(read(solo, 'reuse')) == 1


def test_an_id_twice_in_one_batch_is_refused(solo):
    same = uuid.uuid4().bytes
    refused('INVALID_ARGUMENT', solo.append, batch(write('same', event(id=same), event(id=same))))
    no_such_stream(solo, 'same')


def test_a_stream_twice_in_one_batch_is_refused(solo):
    refused('INVALID_ARGUMENT', solo.append, batch(write('double'), write('double')))
    no_such_stream(solo, 'double')


def test_batch_with_old_and_new_events_appends_only_the_new(solo):
    old = event()
    place = solo.append(batch(write('mixed', old))).results[0].index
    results = solo.append(batch(write('mixed', old), write('mixed-2', event()))).results
    assert [r.duplicate for r in results] == [True, False]
    assert results[0].index == place
    assert len(read(solo, 'mixed')) == 1 and len(read(solo, 'mixed-2')) == 1


def test_wrong_home_names_the_home(lab):
    eu, us = lab.started('eu', 'us')
    error = refused('FAILED_PRECONDITION', eu.client().append, batch(write('s', partition='us')))
    assert error.detail.code == 'WRONG_HOME'
    assert (error.detail.home_region, error.detail.home_address) == ('us', us.address)
    assert us.client().append(batch(write('s', partition='us'))).origin == 'bank/us/1'


def test_stream_of_batches_is_answered_in_order(solo):
    requests = [batch(write(f'pipe-{i % 5}', event(b'{"n":%d}' % i)), tag=i + 1) for i in range(500)]
    answers = collect(solo.append_stream(iter(requests), timeout=30))
    assert [a.tag for a in answers] == list(range(1, 501))
    indexes = [a.results[0].index for a in answers]
    assert indexes == sorted(indexes) and len(set(indexes)) == 500
    assert [e.payload for e in read(solo, 'pipe-3')] == [b'{"n":%d}' % i for i in range(3, 500, 5)]


def test_a_refused_batch_does_not_end_the_stream(solo):
    requests = [batch(write('pipe-x', no_stream=True), tag=1), batch(write('pipe-x', no_stream=True), tag=2), batch(tag=3),
                batch(write('pipe-x', version=0), tag=4)]
    answers = collect(solo.append_stream(iter(requests), timeout=30))
    assert [a.tag for a in answers] == [1, 2, 3, 4]
    assert [a.error.code for a in answers] == ['', 'VERSION_CONFLICT', 'INVALID', '']
    assert (answers[1].error.expected, answers[1].error.actual) == ('none', '0')
    assert len(read(solo, 'pipe-x')) == 2


def test_versions_count_across_pipelined_batches_that_are_not_yet_durable(solo):
    requests = [batch(write('chain', version=i - 1) if i else write('chain', no_stream=True), tag=i) for i in range(200)]
    answers = collect(solo.append_stream(iter(requests), timeout=30))
    assert all(not a.HasField('error') for a in answers)
    assert [a.results[0].stream_version for a in answers] == list(range(200))


def test_concurrent_writers_of_one_stream_all_count(solo):
    calls = [solo.channel.unary_unary('/tally.v1.Ledger/Append', request_serializer=ledger_pb2.AppendRequest.SerializeToString,
                                      response_deserializer=ledger_pb2.AppendResponse.FromString).future(batch(write('race', version=0) if i else write('race')), timeout=20)
             for i in range(20)]
    accepted = 0
    for call in calls:
        try:
            call.result()
            accepted += 1
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.ABORTED, error
    assert len(read(solo, 'race')) == accepted
    assert accepted <= 2


def test_largest_batch_is_accepted(solo):
    answer = solo.append(batch(write('large', *[event(b'x' * 100) for _ in range(10000)])), timeout=30)
    assert len(answer.results) == 10000


def test_largest_payload_is_accepted(solo):
    solo.append(batch(write('big', event(b'x' * (1024 * 1024)))))
    assert len(read(solo, 'big')[0].payload) == 1024 * 1024


def test_empty_payload_is_accepted(solo):
    solo.append(batch(write('empty', event(b''))))
    assert read(solo, 'empty')[0].payload == b''
