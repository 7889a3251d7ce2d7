"""A broker that says what a test tells it to: for answers that a sound broker gives rarely or never.

    with ScriptedBroker(endpoint) as broker:
        broker.admin["stats"] = {"queues": []}             # a document,
        broker.admin["ping"] = Refusal(500, "broken")      # an error message,
        broker.admin["queue.ls"] = SILENCE                 # or nothing at all
        broker.enqueue = lambda jobs: [[0, "j1", 1]] * len(jobs)

Written from docs/protocol.md. The endpoint is served by a thread; `requests` lists what came in.
"""

import threading

import msgpack
import zmq

HELLO, WELCOME, ENQUEUE, ENQUEUED, ADMIN, ADMIN_REPLY, ERROR = 1, 2, 5, 6, 13, 14, 15
SILENCE = object()


class Refusal:
    def __init__(self, code, text, retry_after_ms=0):
        self.fields = [code, text, retry_after_ms]


class ScriptedBroker:
    def __init__(self, endpoint):
        self.endpoint = endpoint
        self.admin = {}
        self.enqueue = lambda jobs: [[0, f"j{index + 1}", 1] for index in range(len(jobs))]
        self.requests = []  # (type, fields)
        self._stop = threading.Event()

    def __enter__(self):
        self._socket = zmq.Context.instance().socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(self.endpoint)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        self._socket.close()

    def _serve(self):
        while not self._stop.is_set():
            if not self._socket.poll(20):
                continue
            peer, frame = self._socket.recv_multipart()
            _, kind, request_id, *fields = msgpack.unpackb(frame, strict_map_key=False)
            self.requests.append((kind, fields))
            answer = self._answer(kind, fields)
            if answer is not SILENCE:
                self._send(peer, request_id, *answer)

    def _send(self, peer, request_id, kind, fields):
        self._socket.send_multipart([peer, msgpack.packb([1, kind, request_id, *fields])])

    def _answer(self, kind, fields):
        if kind == HELLO:
            return WELCOME, [1, 0, b"0123456789abcdef", "scripted 1", 1 << 20, 8 << 20, 10000, 5000]
        if kind == ENQUEUE:
            sequence, groups = fields[1], fields[4]
            given = self.enqueue([job for _, jobs in groups for job in jobs])
            if given is SILENCE:
                return SILENCE
            return (ERROR, given.fields) if isinstance(given, Refusal) else (ENQUEUED, [sequence, given])
        if kind == ADMIN:
            given = self.admin.get(fields[0], Refusal(104, f"no verb is called '{fields[0]}'"))
            if given is SILENCE:
                return SILENCE
            return (ERROR, given.fields) if isinstance(given, Refusal) else (ADMIN_REPLY, [given])
        return ERROR, [100, "not in the script", 0]
