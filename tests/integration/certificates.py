"""A CA and certificates for tests, by the openssl commands of tools/README.md.

An Authority is a folder with a CA in it. Certificates are made as of another time (libfaketime), so that they have expired, begin tomorrow, or end in so many
seconds."""
import os
import subprocess
from pathlib import Path

import grpc

FAKETIME = next(Path('/usr/lib').glob('*/faketime/libfaketime.so.1'))
DAY_S = 24 * 3600
KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']


def openssl(*arguments, shift_s=0):
    environment = {**os.environ, 'LD_PRELOAD': str(FAKETIME), 'FAKETIME': f'{shift_s:+d}'} if shift_s else None
    done = subprocess.run(['openssl', *map(str, arguments)], capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, f'openssl {" ".join(map(str, arguments))}: {done.stderr}'


class Files:
    """What one side of a connection needs: as options of tally, as settings of tallyd.yaml, as bytes for grpcio."""

    def __init__(self, ca, cert, key):
        self.ca, self.cert, self.key = ca, cert, key

    @property
    def options(self):
        return ['--tls-ca', self.ca, '--tls-cert', self.cert, '--tls-key', self.key]

    @property
    def credentials(self):
        return grpc.ssl_channel_credentials(self.ca.read_bytes(), self.key.read_bytes() if self.key else None, self.cert.read_bytes() if self.cert else None)

    @property
    def yaml(self):
        return f'tls:\n  ca_file: {self.ca}\n  cert_file: {self.cert}\n  key_file: {self.key}\n'

    def take(self, other):
        """Another's contents in these places, one after the other, as an operator's copying does it."""
        for mine, theirs in (self.key, other.key), (self.cert, other.cert), (self.ca, other.ca):
            new = mine.with_suffix('.new')
            new.write_bytes(theirs.read_bytes())
            new.chmod(0o600)
            new.rename(mine)


class Authority:
    def __init__(self, folder, name='ca'):
        self.folder = folder / name
        self.folder.mkdir(parents=True)
        self.ca, self.ca_key = self.folder / 'ca.pem', self.folder / 'ca.key'
        openssl('req', '-x509', *KEY, '-days', 3650, '-subj', f'/CN={name}', '-keyout', self.ca_key, '-out', self.ca, shift_s=-20 * DAY_S)

    def issue(self, name, alternative='IP:127.0.0.1', begins_s=0, days=90, usage=None):
        """Valid from now + begins_s on, for so many days."""
        key, request, cert, extensions = (self.folder / f'{name}.{suffix}' for suffix in ('key', 'csr', 'pem', 'ext'))
        openssl('req', *KEY, '-subj', f'/CN={name}', '-keyout', key, '-out', request)
        extensions.write_text(f'subjectAltName={alternative}\n' + (f'extendedKeyUsage={usage}\n' if usage else ''))
        openssl('x509', '-req', '-in', request, '-CA', self.ca, '-CAkey', self.ca_key, '-CAcreateserial', '-days', days, '-extfile', extensions, '-out', cert,
                shift_s=begins_s)
        return Files(self.ca, cert, key)

    def issue_for(self, name, seconds, **options):
        """Valid for a whole day that ends in so many seconds."""
        return self.issue(name, begins_s=seconds - DAY_S, days=1, **options)
