"""Real processes on loopback, and a gRPC client that shares no code with ours.

A Lab is one test's temporary folder and everything started in it: when the test ends, every process is killed and the folder removed, whatever happened.
Region wraps one tallyd; Client speaks gRPC through grpcio with messages that protoc made from proto/.
"""
import http.client
import importlib.util
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import grpc
from google.protobuf import descriptor_pb2

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / 'build' / 'bin'
GENERATED = ROOT / 'build' / 'python'
sys.path.append(str(GENERATED))

from tally.v1 import control_pb2, ledger_pb2, operations_pb2, replication_pb2  # noqa: E402

MESSAGE_MAX_BYTES = 16 * 1024 * 1024
VERIFIED, VIOLATION, USAGE, UNREADABLE = 0, 1, 2, 3


def load_generated(path):
    """A generated module whose package name (grpc.…) is that of an installed library."""
    spec = importlib.util.spec_from_file_location(path.replace('/', '_'), GENERATED / (path + '.py'))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def free_port():
    with socket.create_server(('127.0.0.1', 0)) as s:
        return s.getsockname()[1]


def wait_until(condition, what, seconds=20):
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f'waited {seconds} s for: {what}')
        time.sleep(0.02)


def at_one_position(regions):
    """Waits until the regions hold and have indexed the same, and compares their reconciliation queues."""
    def same():
        logs = [{log.origin: (log.size, log.indexed_size) for log in region.status().logs} for region in regions]
        return all(logs[0] == other and all(size == indexed for size, indexed in other.values()) for other in logs)
    wait_until(same, 'all regions to be at one position')
    digests = {region.operations().late_digest(operations_pb2.LateDigestRequest()).digest for region in regions}
    assert len(digests) == 1, digests


def run(*arguments, stdin=None, timeout=60):
    """Runs one of our binaries to its end; never raises for its exit code."""
    return subprocess.run([str(BIN / arguments[0]), *map(str, arguments[1:])], input=stdin, capture_output=True, text=not isinstance(stdin, bytes),
                          timeout=timeout)


def check(*arguments, **options):
    done = run(*arguments, **options)
    assert done.returncode == 0, f'{" ".join(map(str, arguments))}: exit {done.returncode}: {done.stdout}{done.stderr}'
    return done.stdout


# --- gRPC ------------------------------------------------------------------------------------------------------------

class Refused(Exception):
    """A call that ended with a status other than OK."""

    def __init__(self, error):
        super().__init__(f'{error.code().name}: {error.details()}')
        self.code = error.code().name
        self.message = error.details()
        metadata = dict(error.trailing_metadata() or ())
        self.detail = ledger_pb2.ErrorDetail.FromString(metadata['tally-error-bin']) if 'tally-error-bin' in metadata else None


class Client:
    """client.append(request), client.read_stream(request) …: a method for each rpc of a service, snake_case or as spelled."""

    def __init__(self, address, descriptor=ledger_pb2.DESCRIPTOR, service='Ledger', options=(), tls=None):
        options = [('grpc.max_receive_message_length', MESSAGE_MAX_BYTES), ('grpc.max_send_message_length', MESSAGE_MAX_BYTES),
                   ('grpc.enable_http_proxy', 0), ('grpc.use_local_subchannel_pool', 1), *options]
        self.channel = grpc.secure_channel(address, tls.credentials, options) if tls else grpc.insecure_channel(address, options)
        found = descriptor.services_by_name[service]
        for method, proto in zip(found.methods, self.protos(descriptor, service)):
            kind = {(False, False): 'unary_unary', (False, True): 'unary_stream', (True, False): 'stream_unary',
                    (True, True): 'stream_stream'}[proto.client_streaming, proto.server_streaming]
            call = getattr(self.channel, kind)(f'/{found.full_name}/{method.name}', request_serializer=self.bytes_of,
                                               response_deserializer=method.output_type._concrete_class.FromString)
            setattr(self, re.sub('(?<!^)([A-Z])', r'_\1', method.name).lower(), self.unary(call) if kind == 'unary_unary' else call)

    @staticmethod
    def protos(descriptor, service):
        file = descriptor_pb2.FileDescriptorProto()
        descriptor.CopyToProto(file)
        return next(s for s in file.service if s.name == service).method

    @staticmethod
    def bytes_of(request):
        return request if isinstance(request, bytes) else request.SerializeToString()

    @staticmethod
    def unary(call):
        def wrapped(request, timeout=20):
            try:
                return call(request, timeout=timeout)
            except grpc.RpcError as error:
                raise Refused(error) from None
        return wrapped

    def close(self):
        self.channel.close()


def collect(call):
    """All messages of a server's stream."""
    try:
        return list(call)
    except grpc.RpcError as error:
        raise Refused(error) from None


def events_of(responses):
    return [event for response in responses for event in response.events]


def refused(code, call, *arguments, **options):
    """The call must be refused with this gRPC code; returns the Refused for more checks."""
    try:
        answer = call(*arguments, **options)
    except Refused as error:
        assert error.code == code, f'expected {code}, got {error}'
        assert error.message, f'{code} without a message'
        return error
    raise AssertionError(f'expected {code}, but the call was answered: {str(answer)[:300]}')


# --- Events ----------------------------------------------------------------------------------------------------------

def event(payload=b'{}', type='Happened', id=None, **fields):
    return ledger_pb2.NewEvent(id=id or uuid.uuid4().bytes, type=type, payload=payload, content_type='application/json', **fields)


def write(stream, *events, context='bank', partition='eu', **expected):
    return ledger_pb2.StreamWrite(context=context, partition=partition, stream=stream, events=events or [event()], **expected)


def batch(*writes, tag=0):
    return ledger_pb2.AppendRequest(writes=writes, tag=tag)


def read(client, stream, context='bank', **fields):
    return events_of(collect(client.read_stream(ledger_pb2.ReadStreamRequest(context=context, stream=stream, **fields), timeout=20)))


def read_log(client, origin='', **fields):
    return events_of(collect(client.read_log(ledger_pb2.ReadLogRequest(origin=origin, **fields), timeout=20)))


def ndjson(count, prefix='s', partition='eu', first=0):
    """Lines for tally import, with ids that depend on prefix and number only."""
    lines = []
    for i in range(first, first + count):
        lines.append(json.dumps({'id': str(uuid.uuid5(uuid.NAMESPACE_OID, f'{prefix}-{i}')), 'context': 'bank', 'partition': partition,
                                 'stream': f'{prefix}-{i % 7}', 'type': 'Happened', 'content_type': 'application/json', 'payload': {'n': i}}))
    return '\n'.join(lines) + '\n'


# --- Regions ---------------------------------------------------------------------------------------------------------

class Region:
    def __init__(self, lab, name, port):
        self.lab = lab
        self.name = name
        self.port = port
        self.address = f'{lab.host(name)}:{port}'
        self.folder = lab.folder / name
        self.output = lab.folder / f'{name}.log'
        self.process = None
        self.clients = []
        self.http_port = None
        self.shown = None  # certificates.Files of this test's own connections, when the region speaks TLS

    @property
    def origin(self):
        return f'bank/{self.name}/1'

    @property
    def config(self):
        return self.folder / 'tallyd.yaml'

    def log_folder(self, region):
        return self.folder / 'logs' / f'{region}-1'

    def edit_config(self, pattern, replacement):
        """Patterns are written without quotes around texts."""
        text = self.config.read_text().replace("'", '')
        changed, count = re.subn(pattern, replacement, text, flags=re.M)
        assert count >= 1, f'{pattern} is not in {text}'
        self.config.write_text(changed)

    def command(self):
        return [str(BIN / 'tallyd'), '--data', str(self.folder)]

    def spawn(self):
        with open(self.output, 'ab') as output:
            self.process = subprocess.Popen(self.command(), stdout=output, stderr=output, cwd=self.lab.folder)

    def said(self):
        return self.output.read_text(errors='replace') if self.output.exists() else ''

    def start(self, accepting=True):
        ready_before = self.said().count(' ready on ')
        self.spawn()

        def ready():
            assert self.process.poll() is None, f'{self.name} ended with exit {self.process.returncode}: {self.said()[-2000:]}'
            return self.said().count(' ready on ') > ready_before
        wait_until(ready, f'{self.name} to serve')
        if accepting:
            self.wait_accepting()
        return self

    def wait_accepting(self):
        """A region that begins a new incarnation closes its port for a moment."""
        def accepting():
            assert self.process.poll() is None, f'{self.name} ended with exit {self.process.returncode}: {self.said()[-2000:]}'
            try:
                return self.status().accepting
            except Refused as error:
                assert error.code in ('UNAVAILABLE', 'CANCELLED'), error
                self.close_clients()  # a new connection does not wait for the old one's back-off
                return False
        wait_until(accepting, f'{self.name} to accept')

    def refuses_to_start(self, *words):
        """tallyd must end by itself with exit 1 and a message that has all the words."""
        before = len(self.said())
        self.spawn()
        code = self.process.wait(timeout=20)
        said = self.said()[before:]
        self.process = None
        assert code == 1, f'exit {code}: {said}'
        for word in words:
            assert word in said, f'"{word}" is not in: {said}'
        return said

    def stop(self):
        self.close_clients()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=30)
        self.process = None
        assert code == 0, f'{self.name} stopped with exit {code}: {self.said()[-2000:]}'

    def kill(self):
        self.close_clients()
        self.process.kill()
        self.process.wait()
        self.process = None

    def client(self):
        """One connection a life of the process."""
        if not self.clients:
            self.clients.append(Client(self.address, tls=self.shown))
        return self.clients[0]

    def replication(self):
        self.clients or self.client()
        self.clients.append(Client(self.address, replication_pb2.DESCRIPTOR, 'Replication', tls=self.shown))
        return self.clients[-1]

    def serve_tls(self, files, shown):
        """Before the start: certificates.Files of the region, and of this test's connections to it."""
        self.config.write_text(self.config.read_text() + files.yaml)
        self.shown = shown
        return self

    def serve_http(self):
        """Before the start."""
        self.http_port = free_port()
        self.edit_config(r'^http_listen: .*', f'http_listen: 127.0.0.1:{self.http_port}')
        return self

    def http(self, path, method='GET', body=None, headers=None):
        """An answer with .status, .headers and .body."""
        connection = http.client.HTTPConnection('127.0.0.1', self.http_port, timeout=20)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            answer = connection.getresponse()
            answer.body = answer.read()
            return answer
        finally:
            connection.close()

    def wait_shown(self, size, origin=None):
        """Until the checkpoint that HTTP shows has that size; returns it."""
        path = f'/{origin or self.origin}/checkpoint'

        def shown():
            answer = self.http(path)
            return answer.body if answer.status == 200 and answer.body.split(b'\n')[1] == str(size).encode() else None
        return wait_until(shown, f'{self.name} to show {path} of size {size}')

    def operations(self):
        self.clients or self.client()
        self.clients.append(Client(self.address, operations_pb2.DESCRIPTOR, 'Operations', tls=self.shown))
        return self.clients[-1]

    def close_clients(self):
        for client in self.clients:
            client.close()
        self.clients = []

    def status(self):
        return self.client().status(ledger_pb2.StatusRequest())

    def log(self, origin):
        return next((log for log in self.status().logs if log.origin == origin), None)

    def size(self, origin=None):
        """Entries that are durable here. The index follows in its own time: wait_size waits for it."""
        log = self.log(origin or self.origin)
        return log.size if log else 0

    def indexed(self, origin):
        log = self.log(origin)
        return min(log.size, log.indexed_size) if log else 0

    def wait_size(self, origin, size, seconds=20):
        wait_until(lambda: self.indexed(origin) >= size, f'{self.name} to hold {size} of {origin}, it has {self.size(origin)}', seconds)

    def end(self):
        self.close_clients()
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Lab:
    """Where one test does its work."""
    region_class = Region

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix='tally-test-'))
        self.regions = []
        self.endings = []

    def host(self, name):
        return '127.0.0.1'

    def port(self):
        return free_port()

    def homes(self, known):
        """Partitions of context bank whose home is not its default."""
        return {'us': 'us'} if 'us' in known else {}

    def init(self, name, peers=(), port=None, home_us=True, cluster='bank', addresses=None):
        """A data directory: context bank at home in eu, its partition `us` in us (when there is a us)."""
        region = self.region_class(self, name, port or self.port())
        arguments = ['tally', 'init', region.folder, '--cluster', cluster, '--region', name, '--listen', region.address]
        for peer in peers:
            arguments += ['--peer', f'{peer}={addresses[peer]}']
        known = {name, *peers}
        arguments += ['--context', f'bank={"eu" if "eu" in known else name}']
        for partition, home in self.homes(known).items() if home_us else ():
            arguments += ['--home', f'bank/{partition}={home}']
        check(*arguments)
        self.regions.append(region)
        return region

    def solo(self, name='eu'):
        return self.init(name).start()

    def cluster(self, *names, broken=()):
        """Regions that know each other, not yet started. A pair in `broken` has each other's address wrong, so that no direct link comes up."""
        ports = {name: self.port() for name in names}
        dead = f'127.0.0.1:{free_port()}'
        made = []
        for name in names:
            peers = [other for other in names if other != name]
            addresses = {peer: dead if (name, peer) in broken or (peer, name) in broken else f'{self.host(peer)}:{ports[peer]}' for peer in peers}
            made.append(self.init(name, peers, ports[name], addresses=addresses))
        for region in made:
            for peer in made:
                if peer is not region:
                    shutil.copy(peer.folder / 'keys' / 'region.pub', region.folder / 'keys' / f'peer-{peer.name}.pub')
        return made

    def started(self, *names, **options):
        made = self.cluster(*names, **options)
        for region in made:
            region.start(accepting=False)
        for region in made:
            region.wait_accepting()
        return made

    def at_end(self, action):
        self.endings.append(action)

    def outputs(self):
        return '\n'.join(f'--- {file.name}\n{file.read_text(errors="replace")[-3000:]}' for file in sorted(self.folder.glob('*.log')))

    def close(self):
        for region in self.regions:
            region.end()
        for action in reversed(self.endings):
            action()
        shutil.rmtree(self.folder, ignore_errors=True)
