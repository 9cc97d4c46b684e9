"""A real etcd of one member on loopback, in a test's own folder: started, killed and started again, and asked over the same gateway that regions use."""
import base64
import json
import subprocess
import urllib.error
import urllib.request

from harness import free_port, wait_until


def text(encoded):
    return base64.b64decode(encoded).decode()


class Etcd:
    def __init__(self, lab, host='127.0.0.1'):
        self.folder = lab.folder / 'etcd'
        self.output = lab.folder / 'etcd.log'
        self.url = f'http://{host}:{free_port()}'
        self.peer_url = f'http://{host}:{free_port()}'
        self.process = None
        lab.at_end(self.end)

    def command(self):
        return ['etcd', '--data-dir', str(self.folder), '--listen-client-urls', self.url, '--advertise-client-urls', self.url,
                '--listen-peer-urls', self.peer_url, '--initial-advertise-peer-urls', self.peer_url, '--initial-cluster', f'default={self.peer_url}',
                '--logger', 'zap', '--log-level', 'error', '--unsafe-no-fsync', '--heartbeat-interval', '50', '--election-timeout', '500']

    def start(self):
        with open(self.output, 'ab') as output:
            self.process = subprocess.Popen(self.command(), stdout=output, stderr=output)
        wait_until(self.answers, 'etcd to answer', 60)
        return self

    def answers(self):
        assert self.process.poll() is None, f'etcd ended: {self.output.read_text()[-2000:]}'
        try:
            return 'header' in self.ask('kv/range', key='AA==')
        except (OSError, urllib.error.URLError):
            return False

    def ask(self, what, **fields):
        request = urllib.request.Request(f'{self.url}/v3/{what}', json.dumps(fields).encode(), {'Content-Type': 'application/json'})
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.loads(answer.read())

    def keys(self, prefix='/tallystick/bank/'):
        """What regions keep there: {key without the prefix: value}."""
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        found = self.ask('kv/range', key=base64.b64encode(prefix.encode()).decode(), range_end=base64.b64encode(end.encode()).decode())
        return {text(kv['key'])[len(prefix):]: text(kv.get('value', '')) for kv in found.get('kvs', [])}

    def revision(self, key, prefix='/tallystick/bank/'):
        """That the key was created by."""
        return int(self.ask('kv/range', key=base64.b64encode((prefix + key).encode()).decode())['kvs'][0]['create_revision'])

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        if self.process and self.process.poll() is None:
            self.kill()
