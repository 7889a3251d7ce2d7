"""Peers that no broker wants, over bare TCP: ZeroMQ itself would keep half a message back. Each is one function that does its
worst until the broker cuts it off.

hostile_peers_test.py asserts what they come to; peers_soak.py measures what the others notice of them.
"""

import contextlib
import select
import socket
import threading
import time

import msgpack
import python_client as wire

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)  # ZMTP 3.0, no security


def ready(kind=b"DEALER"):
    command = b"\x05READY\x0bSocket-Type" + len(kind).to_bytes(4, "big") + kind
    return bytes([4, len(command)]) + command


def frame(body, more=False):
    return bytes([2 | more]) + len(body).to_bytes(8, "big") + body


# What is no greeting, or not enough of one, or that of a peer who has no business here.
WRONG_GREETINGS = {
    "nothing": b"", "HTTP": b"GET / HTTP/1.1\r\nHost: jobq\r\n\r\n", "one byte over and over": b"\xff" * 64, "half": GREETING[:30],
    "another mechanism": GREETING.replace(b"NULL", b"XYZZ"), "a greeting and no more": GREETING, "ZMTP 1": b"\x01\x00",
    "a subscriber": GREETING + ready(b"SUB"), "no such socket": GREETING + ready(b"NONSENSE"), "half a READY": GREETING + ready()[:20],
    "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(range(200)), "an error": GREETING + b"\x04\x0a\x05ERROR\x03abc",
    "unknown flags": GREETING + ready() + b"\xf8\x05hello", "an exabyte": GREETING + ready() + b"\x02" + (1 << 60).to_bytes(8, "big")}


def own_bytes(pid):
    """Memory of the process's own: without the pages of the store's file, which are the kernel's to take back."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next((int(line.split()[1]) << 10 for line in status if line.startswith("RssAnon")), 0)  # 0: it has ended


class MemoryWatch:
    """The most memory that a process has, while it is watched."""

    def __init__(self, pid):
        self.before = self.peak = own_bytes(pid)
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(pid,), daemon=True)
        self._thread.start()

    def _watch(self, pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            while not self._ends.wait(0.002):
                self.peak = max(self.peak, own_bytes(pid))

    def grown(self):
        """Ends the watch."""
        self._ends.set()
        self._thread.join()
        return self.peak - self.before


class RawPeer:
    def __init__(self, endpoint):
        host, port = endpoint.removeprefix("tcp://").split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=20)

    def shake_hands(self):
        """The broker's greeting and READY are read before anything else is sent, as ZMTP wants it."""
        self.socket.sendall(GREETING + ready())
        seen = b""
        while len(seen) < 64 + 2 or len(seen) < 66 + seen[65]:
            more = self.socket.recv(4096)
            if not more:
                raise ConnectionError("cut off in the handshake")
            seen += more
        return self

    def pong(self):
        """Says that it is alive without reading that it was asked. False: it has been cut off."""
        try:
            self.socket.sendall(b"\x04\x05\x04PONG")
        except OSError:
            return False
        return True

    def send(self, body):
        self.socket.sendall(frame(body))

    def push(self, data, seconds=20):
        """Sends all of it, and listens meanwhile: the end of a connection is not told to those who only send. False: it has been cut off."""
        left, deadline = memoryview(data), time.monotonic() + seconds * wire.PATIENCE
        self.socket.setblocking(False)
        try:
            while left:
                readable, writable, _ = select.select([self.socket], [self.socket], [], max(0, deadline - time.monotonic()))
                if readable and not self.socket.recv(1 << 16):
                    return False
                if writable:
                    left = left[self.socket.send(left):]
                if not readable and not writable:
                    raise AssertionError("neither cut off nor listened to")
        except OSError:
            return False
        finally:
            self.socket.settimeout(20)
        return True

    def say(self, kind, *fields):
        self.send(msgpack.packb([wire.VERSION, kind, *fields]))

    def read_on(self):
        try:
            return self.socket.recv(1 << 16) != b""
        except OSError:
            return False

    def close(self):
        self.socket.close()


def greeted(endpoint):
    """A peer behind the handshake, in a second or third try where the machine is so busy that its time ran out."""
    for _ in range(10):
        peer = RawPeer(endpoint)
        try:
            return peer.shake_hands()
        except OSError:
            peer.close()
    raise AssertionError("ten handshakes in vain")


def all_cut(peers, seconds):
    """Reads from all of them until each has been cut off. Those that have not been by then."""
    left, poll = {peer.socket.fileno(): peer for peer in peers}, select.poll()
    for descriptor in left:
        poll.register(descriptor, select.POLLIN)
    deadline = time.monotonic() + seconds * wire.PATIENCE
    while left and time.monotonic() < deadline:
        for descriptor, _ in poll.poll(100):
            if not left[descriptor].read_on():
                poll.unregister(descriptor)
                del left[descriptor]
    return list(left.values())


def endless_message(endpoint, part=frame(b"x" * (1 << 20), more=True), pace=0.0, most=1 << 30):
    """One message of such frames that has no end. Whether it was cut off. pace: how long to look for that after each."""
    peer = greeted(endpoint)
    try:
        for _ in range(most // len(part)):
            if not peer.push(part):
                return True
            if pace and select.select([peer.socket], [], [], pace)[0] and not peer.read_on():
                return True
        return not peer.pong()
    finally:
        peer.close()


EMPTY_FRAMES = b"\x01\x00" * (1 << 15)  # two bytes each, of which ZeroMQ makes 64
SMALL_FRAME = b"\x01\x22" + bytes(34)  # the smallest that keeps the buffer into which ZeroMQ has read it


def begun_messages(endpoint, count, begun):
    """So many peers, each with so much of a message. They are to be closed."""
    peers = [greeted(endpoint) for _ in range(count)]
    for peer in peers:
        peer.push(begun)  # or it has been cut off by now
    return peers


def half_messages(endpoint, count, body_bytes, sent_bytes):
    return begun_messages(endpoint, count, frame(b"x" * body_bytes)[:sent_bytes])


def slow_worker(endpoint, queue, credit):
    """Takes jobs and reads none of them. Returns the peer."""
    peer = greeted(endpoint)
    peer.say(wire.HELLO, 1, 1, 1, 0, "slow", "here", 1)
    peer.say(wire.REGISTER, 2, None, None, [[queue, 1]], [], credit, 0, [], [], "slow", "here", 1, "test")
    return peer


def flood(endpoint, seconds):
    """Questions as fast as they go, whose answers nobody reads. How many were taken before the connection was cut, and whether it was."""
    peer = greeted(endpoint)
    peer.say(wire.HELLO, 1, 1, 1, 0, "flood", "here", 1)
    many = b"".join(frame(msgpack.packb([wire.VERSION, wire.ADMIN, n, "ping", {}])) for n in range(2, 502))
    sent, deadline = 0, time.monotonic() + seconds
    peer.socket.settimeout(0.2)
    try:
        while time.monotonic() < deadline:
            try:
                peer.socket.sendall(many)
                sent += 500
            except TimeoutError:
                return sent, False  # the broker reads no more of it: half a message may be on its way
    except OSError:
        return sent, True
    finally:
        peer.close()
    return sent, False
