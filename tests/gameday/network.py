"""Regions in network namespaces of their own, and a wide-area network between them that can be cut, slowed and made to lose packets.

Each place (a region, or the clients) is a network namespace with one TUN interface, `wan`, and the address 10.77.0.N. The other ends of all interfaces are
held by one process, `wire.py`, that carries each packet from its sender's interface to its receiver's, or does not. So a cut is silence, as of a dug-up
cable, and not a closed connection; a cut may go one way; delay and loss happen to packets below TCP. A bridge with tc netem would do the same where the
kernel has netem; this needs only /dev/net/tun.

The namespaces have no names and no mounts: file descriptors of this process hold them. Whatever ends this process ends them, the interfaces and the wire, too.
`ip netns` cannot list them; `nsenter --net=/proc/PID/fd/FD` enters one.
"""
import ctypes
import fcntl
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 1, 0x1000
WIRE = Path(__file__).with_name('wire.py')


class NotPermitted(Exception):
    """No namespaces or no TUN interfaces here; the message says which."""


def enter_new_namespace():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise NotPermitted(f'a network namespace: {os.strerror(ctypes.get_errno())}')


def open_tun(address, mtu):
    """In the namespace that this process is in."""
    try:
        fd = os.open('/dev/net/tun', os.O_RDWR)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack('16sH22x', b'wan', IFF_TUN | IFF_NO_PI))
        for command in ('link set lo up', f'addr add {address}/24 dev wan', f'link set wan mtu {mtu}', 'link set wan up'):
            subprocess.run(['ip', *command.split()], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotPermitted(f'a TUN interface: {getattr(error, "stderr", "") or error}') from None
    return fd


class Network:
    """Made once a process and before its threads: it moves this process into the namespace of the clients, the last of `places`."""
    can_fail = True

    def __init__(self, *places, mtu=1500):
        self.places = places
        self.namespaces = {}
        tuns = []
        for place in places:
            enter_new_namespace()
            self.namespaces[place] = os.open('/proc/self/ns/net', os.O_RDONLY)
            tuns.append(open_tun(self.host(place), mtu))
        self.wire = subprocess.Popen([sys.executable, '-B', str(WIRE), *map(str, tuns)], pass_fds=tuns, stdin=subprocess.PIPE, text=True)
        for fd in tuns:
            os.close(fd)

    def host(self, place):
        return f'10.77.0.{self.places.index(place) + 1}'

    def inside(self, place):
        """What to put before a command that shall run there."""
        return ['nsenter', f'--net=/proc/{os.getpid()}/fd/{self.namespaces[place]}']

    def tell(self, **order):
        self.wire.stdin.write(json.dumps(order) + '\n')
        self.wire.stdin.flush()

    def link(self, sender, receiver, cut=False, delay_ms=0, loss_percent=0):
        """How packets from sender to receiver fare from now on; the other way is a link of its own."""
        self.tell(sender=self.places.index(sender), receiver=self.places.index(receiver), cut=cut, delay_ms=delay_ms, loss_percent=loss_percent)

    def both_ways(self, one, other, **how):
        self.link(one, other, **how)
        self.link(other, one, **how)

    def isolate(self, place):
        for other in self.places:
            if other != place:
                self.both_ways(place, other, cut=True)

    def heal(self):
        for sender in self.places:
            for receiver in self.places:
                if sender != receiver:
                    self.link(sender, receiver)

    def close(self):
        self.wire.stdin.close()
        self.wire.wait(timeout=10)
        for fd in self.namespaces.values():
            os.close(fd)


class Loopback:
    """Where namespaces are not permitted: addresses 127.0.1.N of this machine, and links that never fail."""
    can_fail = False

    def __init__(self, *places):
        self.places = places

    def host(self, place):
        return f'127.0.1.{self.places.index(place) + 1}'

    def inside(self, place):
        return []

    def isolate(self, place):
        """Nothing: on one machine a dead process closes its connections."""

    def heal(self):
        pass

    def close(self):
        pass
