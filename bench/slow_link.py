"""Replication over a link with a round trip of 100 ms, against one of 2 ms: throughput must not fall.

Two regions in network namespaces of their own (tests/gameday/network.py), joined by a process that carries each packet to the other side, 50 ms or 1 ms
later, which is the same work. The load runs beside the home, so that only replication crosses the link. Packets are large (65,000 bytes), because one process in Python carries
them all; what the delay asks for, windows of as many bytes as come in a round trip, is the same with small ones.

slow_link.py DELAY_MS [--untuned] OPTIONS_OF_THE_LOAD is a process of its own, because making the network moves it into a namespace. Prints one object of JSON.
"""
import json
import subprocess
import sys
from pathlib import Path

from lab import BIN, CONTEXT, ROOT, Lab, run

sys.path.append(str(ROOT / 'tests' / 'gameday'))
from network import Network, NotPermitted  # noqa: E402

PORT = 7400
MTU_BYTES = 65000
NOT_PERMITTED = 77
SOCKET_MAX_BYTES = 64 * 1024 * 1024  # Linux gives a sender 4 MiB, which is at most 40 MB/s at 100 ms; tools/README.md says how to raise it
UNTUNED = '--untuned'
WARM_UP = ('--events', 300 * 1000)  # gRPC finds out how large a window the link asks for: a second or two, once a connection


def raise_socket_buffers(network):
    for place in 'ab':
        for direction in ('rmem', 'wmem'):
            run(*network.inside(place), 'sh', '-c', f'echo 4096 131072 {SOCKET_MAX_BYTES} > /proc/sys/net/ipv4/tcp_{direction}')


def send_buffer_max_bytes():
    return int(Path('/proc/sys/net/ipv4/tcp_wmem').read_text().split()[2])


def measure(network, delay_ms, load):
    """Appends at full rate with the mirror at the other end, until the mirror holds all. The delay is there before any connection is."""
    network.both_ways('a', 'b', delay_ms=delay_ms)
    with Lab() as lab:
        home, mirror = lab.pair([f'{network.host(place)}:{PORT}' for place in 'ab'], [network.inside(place) for place in 'ab'])
        def replicate(*load):
            return run(*network.inside('a'), BIN / 'tally', 'bench', 'replicate', '--json', '--server', home.address, '--mirror', mirror.address,
                       *CONTEXT, '--probes', 0, *load, timeout=300)
        replicate(*load, *WARM_UP)
        out = replicate(*load)
        for region in (home, mirror):
            region.stop()
    return json.loads(out)


def run_apart(delay_ms, *arguments):
    """One run in a process of its own. NotPermitted where there are no namespaces."""
    done = subprocess.run([sys.executable, '-B', __file__, *map(str, (delay_ms, *arguments))], capture_output=True, text=True, timeout=600)
    if done.returncode == NOT_PERMITTED:
        raise NotPermitted(done.stderr.strip())
    if done.returncode != 0:
        raise RuntimeError(f'{__file__}: exit {done.returncode}\n{done.stderr[-2000:]}')
    return json.loads(done.stdout)


def main():
    delay_ms, *load = sys.argv[1:]
    try:
        network = Network('a', 'b', 'clients', mtu=MTU_BYTES)
    except NotPermitted as error:
        print(error, file=sys.stderr)
        return NOT_PERMITTED
    if UNTUNED in load:
        load.remove(UNTUNED)
    else:
        raise_socket_buffers(network)
    result = measure(network, float(delay_ms), load)
    network.close()
    print(json.dumps(result))
    return 0


if __name__ == '__main__':
    sys.exit(main())
