"""A small jobq client, written from docs/protocol.md alone: it shows that the document is enough, and lets the tests speak
to a broker in ways that the C++ library never would.

    connection = Connection(endpoint)                     # says hello
    results = Producer(endpoint).enqueue("receipts", [job(b"order 42", "receipt")])
    worker = Worker(endpoint, ["receipts"], credit=2)
    for delivery in worker.take(): worker.ack(delivery)

Not thread-safe. Times are seconds unless a name ends in _ms. A wait that runs out raises Unanswered.
"""

import os
import socket
import time

import msgpack
import zmq

VERSION = 1
FEATURE_DRAIN = 1  # this client has none: it says 0
HELLO, WELCOME, REGISTER, REGISTERED, ENQUEUE, ENQUEUED = 1, 2, 3, 4, 5, 6
OUTCOMES, OUTCOMES_REPLY, HEARTBEAT, HEARTBEAT_REPLY, GOODBYE, GOODBYE_REPLY = 7, 8, 9, 10, 11, 12
ADMIN, ADMIN_REPLY, ERROR, DELIVER, BYE, REVOKED, CANCEL_REQUESTED = 13, 14, 15, 64, 65, 66, 67

ACK, NACK, RELEASE, REJECT, SNOOZE, NO_HANDLER = range(6)
OWNED, SETTLED, STALE, GONE = range(4)
CREATED, DUPLICATE, REFUSED = range(3)
SCHEDULED, READY, LEASED, DEAD, LEFT = range(5)

BAD_MESSAGE, UNSUPPORTED_VERSION, TOO_LARGE, NOT_GREETED, UNKNOWN_VERB, BAD_ARGUMENT = 100, 101, 102, 103, 104, 105
NO_SUCH_QUEUE, QUEUE_FULL, BODY_TOO_LARGE, HEADERS_TOO_LARGE, BAD_QUEUE_NAME = 200, 201, 205, 206, 207
BAD_TYPE, BAD_PRIORITY, BAD_TIME, BAD_UNIQUE_KEY, NOT_DONE = 208, 209, 210, 211, 214
UNKNOWN_PRODUCER, RESEND_MISMATCH, SHUTTING_DOWN = 215, 216, 217
STALE_LEASE, CODE_GONE, NO_SUCH_JOB, WRONG_STATE, UNKNOWN_SESSION, EXTEND_LIMIT = 300, 301, 302, 303, 304, 305

PATIENCE = float(os.environ.get("JOBQ_TEST_PATIENCE", "1"))


class Unanswered(Exception):
    """Nothing came in time: what became of the request is unknown."""


class BrokerError(Exception):
    """The broker refused a request as a whole."""

    def __init__(self, code, text, retry_after_ms):
        super().__init__(f"{code}: {text}")
        self.code, self.text, self.retry_after_ms = code, text, retry_after_ms


def job(body, kind="", *, headers=None, priority=None, unique_key=None, delay_ms=None, run_at=None, expires_in_ms=None,
        max_attempts=None, max_run_ms=None, unique_for_ms=None):
    """A JOB element, its absent end left out."""
    elements = [kind, body, headers, priority, unique_key, delay_ms, run_at, expires_in_ms, max_attempts, max_run_ms,
                unique_for_ms]
    while elements[-1] is None:
        elements.pop()
    return elements


class Connection:
    """One connection, greeted. Replies are matched by request id; pushes wait in `pushes` as (type, fields)."""

    def __init__(self, endpoint, timeout=5.0, greet=True):
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.HEARTBEAT_IVL, 2000)
        self.socket.connect(endpoint)
        self.timeout = timeout * PATIENCE
        self.next_request_id = 1
        self.replies = {}  # request id -> (type, fields)
        self.pushes = []
        if greet:
            (self.version, self.features, self.incarnation, self.broker, self.body_bytes_max, self.message_bytes_max,
             self.jobs_per_message_max, self.heartbeat_ms) = self.hello()[:8]

    def hello(self, version_min=VERSION, version_max=VERSION):
        return self.request(HELLO, WELCOME, version_min, version_max, 0, "python_client 1", socket.gethostname(), os.getpid())

    def send_frames(self, *frames):
        self.socket.send_multipart(frames)

    def send(self, kind, *fields):
        """Sends a request and returns its id."""
        request_id = self.next_request_id
        self.next_request_id += 1
        self.send_frames(msgpack.packb([VERSION, kind, request_id, *fields]))
        return request_id

    def _receive(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0 or not self.socket.poll(left * 1000):
            return False
        frames = self.socket.recv_multipart()
        if len(frames) != 1:
            raise AssertionError(f"a message of {len(frames)} frames")
        version, kind, request_id, *fields = msgpack.unpackb(frames[0], strict_map_key=False)
        if version != VERSION:
            raise AssertionError(f"a message of version {version}")
        if kind >= DELIVER:
            self.pushes.append((kind, fields))
        else:
            self.replies[request_id] = (kind, fields)
        return True

    def reply(self, request_id, kind, timeout=None):
        """The fields of the reply; an `error` raises BrokerError."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout * PATIENCE)
        while request_id not in self.replies:
            if not self._receive(deadline):
                raise Unanswered(f"request {request_id}")
        got, fields = self.replies.pop(request_id)
        if got == ERROR:
            raise BrokerError(*fields[:3])
        if got != kind:
            raise AssertionError(f"a reply of type {got} instead of {kind}")
        return fields

    def request(self, kind, reply_kind, *fields):
        return self.reply(self.send(kind, *fields), reply_kind)

    def push(self, kind, timeout=None):
        """The fields of the next push of this type; others stay where they are."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout * PATIENCE)
        while True:
            for index, (got, fields) in enumerate(self.pushes):
                if got == kind:
                    del self.pushes[index]
                    return fields
            if not self._receive(deadline):
                raise Unanswered(f"a push of type {kind}")

    def listen(self, seconds):
        """Takes in what arrives in that time."""
        end = time.monotonic() + seconds
        while self._receive(end):
            pass

    def silent(self, seconds):
        """Whether nothing at all arrives in that time."""
        return not self.pushes and not self.replies and not self._receive(time.monotonic() + seconds)

    def admin(self, verb, **params):
        return self.request(ADMIN, ADMIN_REPLY, verb, params)[0]

    def close(self):
        self.socket.close(0)


class Producer:
    """Enqueues, and sends again what was not answered: same producer, same sequence, same bytes."""

    def __init__(self, endpoint, timeout=5.0):
        self.endpoint, self.timeout = endpoint, timeout
        self.id = os.urandom(16)
        self.next_sequence = 1
        self.connection = Connection(endpoint, timeout)

    def frame(self, request_id, sequence, groups, resend, lowest_open=None):
        """The packed groups are put into the frame as they are, so that a resend has the same bytes."""
        packer = msgpack.Packer()
        header = packer.pack_array_header(8)
        for value in (VERSION, ENQUEUE, request_id, self.id, sequence, lowest_open or sequence, resend):
            header += packer.pack(value)
        return header + groups

    def send(self, sequence, groups, resend=False, lowest_open=None):
        request_id = self.connection.next_request_id
        self.connection.next_request_id += 1
        self.connection.send_frames(self.frame(request_id, sequence, groups, resend, lowest_open))
        return request_id

    def reconnect(self):
        incarnation = self.connection.incarnation
        self.connection.close()
        self.connection = Connection(self.endpoint, self.timeout)
        if self.connection.incarnation != incarnation:
            raise Unanswered("another store: what became of the request is unknown")

    def enqueue_groups(self, groups, deadline=30.0):
        """One RESULT per job. Rides over restarts until the deadline."""
        end = time.monotonic() + deadline * PATIENCE
        sequence, packed = self.next_sequence, msgpack.packb(groups)
        self.next_sequence += 1
        request_id, resend = self.send(sequence, packed), False
        while True:
            try:
                answered, results = self.connection.reply(request_id, ENQUEUED, self.timeout)[:2]
                assert answered == sequence
                return results
            except (Unanswered, BrokerError) as error:
                if isinstance(error, BrokerError) and error.code != NOT_GREETED:
                    raise
                if time.monotonic() > end:
                    raise Unanswered(f"sequence {sequence}") from error
                resend = True
            try:
                self.reconnect()
                request_id = self.send(sequence, packed, resend)
            except Unanswered:
                if time.monotonic() > end:
                    raise

    def enqueue(self, queue, jobs):
        """Every job a group of its own."""
        return self.enqueue_groups([[queue, [one]] for one in jobs])

    def close(self):
        self.connection.close()


class Delivery:
    def __init__(self, elements):
        (self.job, self.lease_no, self.attempt, self.max_attempts, self.queue, self.type, self.headers, self.body,
         self.priority, self.enqueued_at, self.lease_ms, self.max_run_ms) = elements[:12]

    @property
    def lease(self):
        return [self.job, self.lease_no]


class Worker:
    """Holds jobs and answers for them. Outcomes are kept until they are answered."""

    def __init__(self, endpoint, queues, credit=1, types=(), timeout=5.0, credit_bytes=0, name="python"):
        self.endpoint, self.timeout, self.name = endpoint, timeout, name
        self.queues = [[queue, 1] if isinstance(queue, str) else list(queue) for queue in queues]
        self.types, self.credit, self.credit_bytes = list(types), credit, credit_bytes
        self.session = self.secret = None
        self.held = {}  # job id -> Delivery
        self.unanswered = []  # OUTCOME elements
        self.connection = Connection(endpoint, timeout)
        try:
            self.register()
        except BrokerError:
            self.close()
            raise

    def register(self):
        """(what became of each held job, of each unanswered outcome)"""
        held = [delivery.lease for delivery in self.held.values()]
        outcomes = list(self.unanswered)
        self.session, self.secret, self.resumed, self.heartbeat_ms, held_claims, outcome_claims = self.connection.request(
            REGISTER, REGISTERED, self.session, self.secret, self.queues, self.types, self.credit, self.credit_bytes, held,
            outcomes, self.name, socket.gethostname(), os.getpid(), "test")[:6]
        for (job_id, _), claim in zip(held, held_claims, strict=True):
            if claim != OWNED:
                del self.held[job_id]
        assert len(outcome_claims) == len(outcomes)
        self.unanswered.clear()
        return held_claims, outcome_claims

    def drop_connection(self):
        self.connection.close()

    def reconnect(self):
        self.connection.close()
        self.connection = Connection(self.endpoint, self.timeout)
        return self.register()

    def take(self, timeout=None):
        """The deliveries of the next push."""
        session, elements = self.connection.push(DELIVER, timeout)[:2]
        assert session == self.session
        deliveries = [Delivery(each) for each in elements]
        for delivery in deliveries:
            assert delivery.job not in self.held or self.held[delivery.job].lease_no < delivery.lease_no
            self.held[delivery.job] = delivery
        return deliveries

    def take_one(self, timeout=None):
        deliveries = self.take(timeout)
        assert len(deliveries) == 1, deliveries
        return deliveries[0]

    def take_many(self, count, timeout=None):
        deliveries = []
        while len(deliveries) < count:
            deliveries += self.take(timeout)
        return deliveries

    def outcome(self, delivery, kind, text="", delay_ms=0):
        """Adds an outcome to what is to be answered."""
        self.held.pop(delivery.job, None)
        self.unanswered.append([*delivery.lease, kind, 1, text, delay_ms])

    def flush(self, credit=None):
        """Sends what is unanswered; one CLAIM each."""
        results = self.connection.request(OUTCOMES, OUTCOMES_REPLY, list(self.unanswered), credit)[0]
        assert len(results) == len(self.unanswered)
        self.unanswered.clear()
        return results

    def settle(self, delivery, kind, text="", delay_ms=0):
        self.outcome(delivery, kind, text, delay_ms)
        return self.flush()[0]

    def ack(self, delivery):
        return self.settle(delivery, ACK)

    def heartbeat(self, extend=(), credit=None):
        """[(CLAIM, code), ...]"""
        claims, reasons = self.connection.request(
            HEARTBEAT, HEARTBEAT_REPLY, [delivery.lease for delivery in extend], credit)[:2]
        return list(zip(claims, reasons, strict=True))

    def goodbye(self):
        self.connection.request(GOODBYE, GOODBYE_REPLY)
        self.held.clear()

    def close(self):
        self.connection.close()
