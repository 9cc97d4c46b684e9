"""A PostgreSQL server of a test's own: a cluster in a temporary folder, made and run as a user without rights, on a free port of loopback."""
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path


def program(name):
    """Debian keeps PostgreSQL's programs off the path."""
    return str(max(Path('/usr/lib/postgresql').glob(f'*/bin/{name}')))


class Postgres:
    """`with Postgres() as postgres:` runs one; nothing stays behind."""

    def __init__(self, *settings):
        """settings: NAME=VALUE of postgresql.conf."""
        self.user = {'user': 'postgres'} if os.geteuid() == 0 else {}
        self.folder = Path(tempfile.mkdtemp(prefix='tally-postgres-'))
        self.data = self.folder / 'data'
        if self.user:
            shutil.chown(self.folder, 'postgres')
        with socket.create_server(('127.0.0.1', 0)) as s:
            self.port = s.getsockname()[1]
        self.options = ' '.join(f'-c {setting}' for setting in
                                ('listen_addresses=127.0.0.1', f'port={self.port}', f'unix_socket_directories={self.folder}', *settings))
        self.run('initdb', '-D', self.data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale', 'C.UTF-8', '--locale-provider', 'icu',
                 '--icu-locale', 'en', '-N')
        self.start()

    def run(self, name, *arguments):
        done = subprocess.run([program(name), *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=self.folder, timeout=60,
                              **self.user)
        assert done.returncode == 0, f'{name}: exit {done.returncode}: {done.stdout}'
        return done.stdout

    def control(self, *arguments):
        with open(self.folder / 'control', 'a') as out:  # a pipe would stay open in the server
            done = subprocess.run([program('pg_ctl'), '-D', str(self.data), '-w', '-l', str(self.folder / 'log'), *arguments], stdout=out, stderr=out,
                                  cwd=self.folder, timeout=60, **self.user)
        assert done.returncode == 0, (self.folder / 'control').read_text()

    def start(self):
        self.control('-o', self.options, 'start')

    def stop(self, mode='immediate'):
        """immediate: as by a loss of power; its log is replayed at the next start."""
        self.control('-m', mode, 'stop')

    def url(self, user='postgres', host='127.0.0.1'):
        return f'postgresql://{user}@{host}:{self.port}/postgres'

    def sql(self, text):
        """Rows of one column, or of several separated by |."""
        return self.run('psql', '-qAtX', '-v', 'ON_ERROR_STOP=1', self.url(), '-c', text).splitlines()

    def close(self):
        try:
            self.stop()
        except AssertionError:
            pass  # it was stopped already
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
