"""wire.py FD…: carries packets between TUN interfaces; packets for address 10.77.0.N go to the Nth. Orders come as lines of JSON on stdin; ends with it.

An order sets one direction of one link: sender, receiver (numbers from 0), cut, delay_ms, loss_percent. A delayed packet is kept in order of its time, and a
queue that is full drops, as a router does. Losses come from a generator with a fixed seed.
"""
import heapq
import json
import os
import random
import select
import sys
import time

PACKET_MAX_BYTES = 65536
QUEUE_MAX_PACKETS = 20000
ADDRESS_AT = 19  # the last byte of an IPv4 packet's destination
PERFECT = {'cut': False, 'delay_ms': 0, 'loss_percent': 0}


class Wire:
    def __init__(self, tuns):
        self.tuns = tuns
        self.links = {}
        self.queue = []
        self.count = 0
        self.chance = random.Random(1)
        self.poll = select.poll()
        for fd in [*tuns, 0]:
            os.set_blocking(fd, False)
            self.poll.register(fd, select.POLLIN)

    def send(self, receiver, packet):
        try:
            os.write(self.tuns[receiver], packet)
        except OSError:
            pass  # a full interface loses packets; TCP sends them again

    def carry(self, sender, packet):
        if len(packet) < 20 or packet[0] >> 4 != 4:
            return
        receiver = packet[ADDRESS_AT] - 1
        if receiver == sender or not 0 <= receiver < len(self.tuns):
            return
        link = self.links.get((sender, receiver), PERFECT)
        if link['cut'] or (link['loss_percent'] and self.chance.random() * 100 < link['loss_percent']):
            return
        if not link['delay_ms']:
            self.send(receiver, packet)
        elif len(self.queue) < QUEUE_MAX_PACKETS:
            self.count += 1
            heapq.heappush(self.queue, (time.monotonic() + link['delay_ms'] / 1000, self.count, receiver, packet))

    def drain(self, sender):
        try:
            while True:
                self.carry(sender, os.read(self.tuns[sender], PACKET_MAX_BYTES))
        except BlockingIOError:
            pass

    def deliver_due(self):
        """Returns the milliseconds until the next one, or None."""
        while self.queue and self.queue[0][0] <= time.monotonic():
            _, _, receiver, packet = heapq.heappop(self.queue)
            self.send(receiver, packet)
        return max(1, int((self.queue[0][0] - time.monotonic()) * 1000)) if self.queue else None

    def obey(self, line):
        order = json.loads(line)
        self.links[order.pop('sender'), order.pop('receiver')] = order

    def run(self):
        pending = b''
        numbers = {fd: number for number, fd in enumerate(self.tuns)}
        while True:
            for fd, _ in self.poll.poll(self.deliver_due()):
                if fd != 0:
                    self.drain(numbers[fd])
                    continue
                read = os.read(0, PACKET_MAX_BYTES)
                if not read:
                    return
                *lines, pending = (pending + read).split(b'\n')
                for line in lines:
                    self.obey(line)


Wire([int(fd) for fd in sys.argv[1:]]).run()
