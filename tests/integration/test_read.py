"""Reading streams and logs, subscribing, and the services around them: health, reflection, status."""
import threading

import grpc
from google.protobuf import descriptor_pb2
from harness import (Client, Refused, batch, collect, event, events_of, ledger_pb2, load_generated, read, read_log, refused, wait_until, write)


def fill(client, stream, count):
    client.append(batch(write(stream, *[event(b'{"n":%d}' % i) for i in range(count)])))


def versions(events):
    return [e.entry.stream_version for e in events]


def test_stream_forwards_from_a_version_with_a_limit(solo):
    fill(solo, 'fwd', 20)
    assert versions(read(solo, 'fwd')) == list(range(20))
    assert versions(read(solo, 'fwd', from_version=5, limit=3)) == [5, 6, 7]
    assert read(solo, 'fwd', from_version=20) == []


def test_stream_backwards(solo):
    fill(solo, 'bwd', 20)
    assert versions(read(solo, 'bwd', backwards=True, from_end=True)) == list(range(19, -1, -1))
    assert versions(read(solo, 'bwd', backwards=True, from_version=5, limit=3)) == [5, 4, 3]
    assert versions(read(solo, 'bwd', backwards=True, from_version=0)) == [0]


def test_stream_that_does_not_exist_is_empty_or_not_found(solo):
    try:
        assert read(solo, 'never-written') == []
    except Refused as error:
        assert error.code == 'NOT_FOUND'


def test_log_forwards_and_backwards(solo):
    fill(solo, 'log', 30)
    forward = [e.entry.index for e in read_log(solo)]
    assert forward == list(range(len(forward))) and len(forward) >= 30
    assert [e.entry.index for e in read_log(solo, from_index=3, limit=4)] == [3, 4, 5, 6]
    assert [e.entry.index for e in read_log(solo, backwards=True, from_end=True)] == forward[::-1]
    assert [e.entry.index for e in read_log(solo, backwards=True, from_index=3)] == [3, 2, 1, 0]


def test_log_that_is_not_held_is_not_found(solo):
    refused('NOT_FOUND', collect, solo.read_log(ledger_pb2.ReadLogRequest(origin='bank/nowhere/1'), timeout=10))
    refused('INVALID_ARGUMENT', collect, solo.read_log(ledger_pb2.ReadLogRequest(origin='not an origin'), timeout=10))


def test_a_long_read_comes_in_several_messages(solo):
    solo.append(batch(write('long', *[event(b'x' * 1000) for _ in range(3000)])))
    responses = collect(solo.read_stream(ledger_pb2.ReadStreamRequest(context='bank', stream='long'), timeout=20))
    assert len(responses) > 3
    assert versions(events_of(responses)) == list(range(3000))


class Subscription(threading.Thread):
    """Reads a subscription until cancelled, and keeps what it got."""

    def __init__(self, client, **fields):
        super().__init__(daemon=True)
        self.call = client.subscribe(ledger_pb2.SubscribeRequest(**fields), timeout=60)
        self.seen = []
        self.responses = []
        self.caught_up = 0
        self.start()

    def run(self):
        try:
            for response in self.call:
                self.seen += [(response.origin, e.entry.index) for e in response.events]
                self.caught_up += response.caught_up
                self.responses.append(response)
        except grpc.RpcError as error:
            self.code = error.code()

    def position(self):
        return next((r.position for r in reversed(self.responses) if r.position), '')

    def stop(self):
        self.call.cancel()
        self.join(10)


def test_subscription_has_no_gap_and_no_duplicate_while_events_arrive(lab):
    eu = lab.solo()
    fill(eu.client(), 'before', 3000)
    stop = threading.Event()
    writer_client = Client(eu.address)

    def append():
        while not stop.is_set():
            writer_client.append(batch(write('during', event(), event(), event())))

    writer = threading.Thread(target=append)
    writer.start()
    try:
        subscriptions = [Subscription(eu.client()) for _ in range(4)]
        wait_until(lambda: all(s.caught_up for s in subscriptions), 'all to catch up')
        size = eu.size()
        wait_until(lambda: eu.size() > size + 300, 'more events')
    finally:
        stop.set()
        writer.join()
        writer_client.close()
    size = eu.size()
    for subscription in subscriptions:
        wait_until(lambda: len(subscription.seen) >= size, f'the last event, {len(subscription.seen)} of {size}')
        assert subscription.seen == [('bank/eu/1', i) for i in range(size)]
        assert subscription.caught_up == 1
        subscription.stop()


def test_subscription_resumes_at_its_position(lab):
    eu = lab.solo()
    fill(eu.client(), 's', 100)
    first = Subscription(eu.client())
    wait_until(lambda: len(first.seen) == 100 and first.caught_up, '100 events')
    first.stop()
    fill(eu.client(), 's', 10)
    second = Subscription(eu.client(), position=first.position())
    wait_until(lambda: len(second.seen) >= 10, '10 events')
    assert second.seen == [('bank/eu/1', i) for i in range(100, 110)]
    second.stop()


def test_subscription_to_one_stream(lab):
    eu = lab.solo()
    for _ in range(5):
        eu.client().append(batch(write('wanted'), write('unwanted')))
    subscription = Subscription(eu.client(), context='bank', stream='wanted')
    wait_until(lambda: len(subscription.seen) == 5 and subscription.caught_up, 'the 5 events')
    eu.client().append(batch(write('unwanted'), write('wanted')))
    wait_until(lambda: len(subscription.seen) == 6, 'the live one')
    assert all(e.entry.stream == 'wanted' for r in subscription.responses for e in r.events)
    subscription.stop()


def test_subscription_sees_the_logs_of_all_regions(lab):
    eu, us = lab.started('eu', 'us')
    fill(eu.client(), 'a', 5)
    us.client().append(batch(write('b', partition='us')))
    subscription = Subscription(eu.client())
    wait_until(lambda: len(subscription.seen) == 6, 'both logs')
    assert [p for p in subscription.seen if p[0] == 'bank/eu/1'] == [('bank/eu/1', i) for i in range(5)]
    assert ('bank/us/1', 0) in subscription.seen
    subscription.stop()


def test_subscription_at_a_malformed_position_is_refused(solo):
    refused('INVALID_ARGUMENT', collect, solo.subscribe(ledger_pb2.SubscribeRequest(position='eu@@'), timeout=10))


def test_health_is_serving_and_unknown_services_are_not_found(solo):
    health_pb2 = load_generated('grpc/health/v1/health_pb2')
    check = solo.channel.unary_unary('/grpc.health.v1.Health/Check', request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                                     response_deserializer=health_pb2.HealthCheckResponse.FromString)
    for service in ('', 'tally.v1.Ledger'):
        assert check(health_pb2.HealthCheckRequest(service=service), timeout=10).status == health_pb2.HealthCheckResponse.SERVING
    try:
        check(health_pb2.HealthCheckRequest(service='no.such.Service'), timeout=10)
        raise AssertionError('an unknown service has no health')
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.NOT_FOUND


def reflect(client, version):
    module = load_generated(f'grpc/reflection/{version}/reflection_pb2')
    call = client.channel.stream_stream(f'/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo',
                                        request_serializer=module.ServerReflectionRequest.SerializeToString,
                                        response_deserializer=module.ServerReflectionResponse.FromString)
    requests = [module.ServerReflectionRequest(list_services=''), module.ServerReflectionRequest(file_containing_symbol='tally.v1.Ledger'),
                module.ServerReflectionRequest(file_by_filename='tally/v1/event.proto'),
                module.ServerReflectionRequest(file_containing_symbol='tally.v1.Nothing')]
    services, ledger, file, nothing = list(call(iter(requests), timeout=10))
    names = {s.name for s in services.list_services_response.service}
    assert {'tally.v1.Ledger', 'tally.v1.Replication', 'grpc.health.v1.Health'} <= names, names
    files = [descriptor_pb2.FileDescriptorProto.FromString(f) for f in ledger.file_descriptor_response.file_descriptor_proto]
    assert any(s.name == 'Ledger' for f in files for s in f.service)
    assert descriptor_pb2.FileDescriptorProto.FromString(file.file_descriptor_response.file_descriptor_proto[0]).name == 'tally/v1/event.proto'
    assert nothing.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


def test_reflection_v1(solo):
    reflect(solo, 'v1')


def test_reflection_v1alpha(solo):
    reflect(solo, 'v1alpha')


def test_status_tells_logs_contexts_and_position(lab):
    eu, us = lab.started('eu', 'us')
    fill(eu.client(), 's', 7)
    us.wait_size('bank/eu/1', 7)
    wait_until(lambda: eu.log('bank/eu/1').published_size == 7, 'a published checkpoint')
    status = eu.status()
    assert (status.cluster, status.region, status.accepting) == ('bank', 'eu', True)
    assert status.position == 'eu@7'
    own = eu.log('bank/eu/1')
    assert own.own and own.size == 7 and own.checkpoint_size == 7 and own.state == 'accepting'
    peer = status.peers[0]
    assert (peer.region, peer.address, peer.connected, peer.mirrored_size, peer.lag) == ('us', us.address, True, 7, 0)
    assert [(c.name, c.default_home, dict(c.homes)) for c in status.contexts if c.name != '$system'] == [('bank', 'eu', {'us': 'us'})]
