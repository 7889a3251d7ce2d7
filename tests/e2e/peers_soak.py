#!/usr/bin/python3
"""What peers cost each other, measured: not asserted, because times depend on the machine.

    peers_soak.py hostile SECONDS            each hostile peer beside a producer and a worker that behave; p50 and p99 without and with
    peers_soak.py connections COUNT SECONDS  so many connections held while 1,000 jobs a second come; against ten connections

The broker is JOBQ_BROKER. The clients are processes of this script (`load`, `peer`, `crowd`), so that they share no interpreter with
what is measured.
"""

import contextlib
import json
import os
import pathlib
import resource
import subprocess
import sys
import time

import hostile_peers
import msgpack
import python_client as wire
import zmq
from hostile_peers import RawPeer, all_cut, frame, greeted, own_bytes
from processes import Workspace, wait_until
from python_client import Connection, Producer, Worker, job
from wire_case import WireBroker, free_port

MIB = 1 << 20


def percentile(numbers, share):
    return sorted(numbers)[min(len(numbers) - 1, int(len(numbers) * share))] if numbers else 0.0


def load(endpoint, rate, seconds):
    """So many jobs a second, each on its own, and a worker that acks them. How long each confirm took, from when it was to be asked."""
    producer, worker = Producer(endpoint, timeout=60), Worker(endpoint, ["load"], credit=64, timeout=60)
    producer.connection.socket.setsockopt(zmq.SNDHWM, 0)
    groups = msgpack.packb([["load", [job(b"x" * 256)]]])
    both = zmq.Poller()
    both.register(producer.connection.socket, zmq.POLLIN)
    both.register(worker.connection.socket, zmq.POLLIN)
    began, beat, sequence, asked, took = time.monotonic(), 0.0, 0, {}, []
    while True:
        now = time.monotonic()
        if sequence >= rate * seconds and (not asked or now > began + seconds + 30):
            break
        while sequence < rate * seconds and began + sequence / rate <= now:
            sequence += 1
            asked[producer.send(sequence, groups, lowest_open=min(sequence, len(took) + 1))] = began + (sequence - 1) / rate
        if now - beat > 2:
            beat = now
            worker.connection.send(wire.HEARTBEAT, [], None)
        next_at = began + sequence / rate if sequence < rate * seconds else now + 0.1
        both.poll(max(0, (next_at - time.monotonic()) * 1000))
        while producer.connection.socket.poll(0):
            producer.connection._receive(time.monotonic() + 1)
        for request_id in list(producer.connection.replies):
            took.append(time.monotonic() - asked.pop(request_id))
            kind, fields = producer.connection.replies.pop(request_id)
            assert kind == wire.ENQUEUED and fields[1][0][0] == wire.CREATED, (kind, fields)
        while worker.connection.socket.poll(0):
            worker.connection._receive(time.monotonic() + 1)
        outcomes = [[each[0], each[1], wire.ACK, 1, "", 0] for _, (_, jobs, *_) in worker.connection.pushes for each in jobs]
        worker.connection.pushes.clear()
        worker.connection.replies.clear()
        if outcomes:
            worker.connection.send(wire.OUTCOMES, outcomes, None)
    print(json.dumps({"p50": percentile(took, 0.5) * 1000, "p99": percentile(took, 0.99) * 1000, "max": max(took) * 1000,
                      "answered": len(took), "unanswered": len(asked)}))


# ---- the peers, each again and again until the time is over; how often it was cut off

def again_and_again(once):
    def peer(endpoint, seconds):
        cuts, deadline = 0, time.monotonic() + seconds
        while time.monotonic() < deadline:
            cuts += once(endpoint)
        return cuts
    return peer


def silent(endpoint):
    peers = [RawPeer(endpoint) for _ in range(3000)]
    left = all_cut(peers, 30)
    for peer in peers:
        peer.close()
    return len(peers) - len(left)


def wrong_greetings(endpoint):
    peers = []
    for _ in range(20):
        for greeting in hostile_peers.WRONG_GREETINGS.values():
            peers.append(RawPeer(endpoint))
            peers[-1].socket.sendall(greeting)
    left = all_cut(peers, 30)
    for peer in peers:
        peer.close()
    return len(peers) - len(left)


def half_frames(endpoint):
    peers = [greeted(endpoint) for _ in range(50)]
    for peer in peers:
        with contextlib.suppress(OSError):
            peer.socket.sendall(frame(b"x" * MIB)[:MIB // 2])
    left = all_cut(peers, 30)
    for peer in peers:
        peer.close()
    return len(peers) - len(left)


def halves(endpoint):
    peers = hostile_peers.half_messages(endpoint, 100, body_bytes=7 * MIB, sent_bytes=6 * MIB)
    left = all_cut(peers, 30)
    for peer in peers:
        peer.close()
    return len(peers) - len(left)


def stolen_name(endpoint):
    for _ in range(200):
        with zmq.Context.instance().socket(zmq.DEALER) as thief:
            thief.setsockopt(zmq.LINGER, 0)
            thief.setsockopt(zmq.ROUTING_ID, b"taken")
            thief.connect(endpoint)
            thief.send(msgpack.packb([wire.VERSION, wire.HELLO, 1, 1, 1, 0, "thief", "here", 1]))
            thief.poll(5)
    return 0


LARGE_JOB = [job(b"x" * (63 * MIB))]  # with its message the largest that there is


def large_jobs_wait(endpoint):
    """As many as slow workers hold until their sessions end. That is no attack, and over before anything is measured."""
    producer = Producer(endpoint, timeout=60)
    for _ in range(32):
        producer.enqueue("large", LARGE_JOB)
    producer.connection.admin("queue.set", queue="large", max_attempts=1000)
    producer.close()


def large_jobs_come(endpoint):
    """Nobody hostile: what commits of such a size cost the others."""
    producer = Producer(endpoint, timeout=60)
    producer.enqueue("large", LARGE_JOB)
    producer.connection.admin("queue.purge", queue="large")
    producer.close()
    return 0


def large_jobs_to_a_slow_worker(endpoint):
    slow = hostile_peers.slow_worker(endpoint, "large", credit=8)
    cut, deadline = False, time.monotonic() + 30
    while not cut and time.monotonic() < deadline:
        cut = not slow.pong()
        slow.socket.settimeout(1)
    slow.close()
    return int(cut)


def busy_machine(endpoint, seconds):
    """Nobody hostile: a process that computes, and one at idle priority. An attack keeps ZeroMQ's thread as busy, and the attacker's
    own machine is this one: where there are two cores, what it costs the others is to be compared with this too."""
    other = subprocess.Popen([sys.executable, "-c", "import os\nos.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))\nwhile True: pass"])
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        pass
    other.kill()
    other.wait()
    return 0


BUSY = "nobody, both cores busy"
PEERS = {
    "nobody": None,
    BUSY: busy_machine,
    "3,000 silent connections": again_and_again(silent),
    "wrong greetings, 20 of each of 14": again_and_again(wrong_greetings),
    "50 half frames": again_and_again(half_frames),
    "a message that never ends": again_and_again(lambda endpoint: int(hostile_peers.endless_message(endpoint))),
    "empty frames without end": again_and_again(
        lambda endpoint: int(hostile_peers.endless_message(endpoint, hostile_peers.EMPTY_FRAMES, most=64 * MIB))),
    "100 halves of 6 MiB": again_and_again(halves),
    "a flood of questions": again_and_again(lambda endpoint: int(hostile_peers.flood(endpoint, 5)[1])),
    "a name that somebody has": again_and_again(stolen_name),
    "63 MiB jobs to a worker that does not read": again_and_again(large_jobs_to_a_slow_worker),
    "63 MiB jobs that somebody enqueues": again_and_again(large_jobs_come),
}
BEFORE = {"63 MiB jobs to a worker that does not read": large_jobs_wait}
LARGE = "[limits]\nbody_bytes = '63MiB'\nmessage_bytes = '65MiB'\nunread_bytes = '130MiB'\nunsent_bytes = '128MiB'\n"


def child(*arguments):
    return subprocess.Popen([sys.executable, __file__, *map(str, arguments)], stdout=subprocess.PIPE, text=True,
                            env=dict(os.environ, PYTHONPATH=str(pathlib.Path(__file__).parent)))


def answer_of(process):
    said = process.communicate()[0]
    if process.returncode != 0:
        sys.exit(f"a client ended with {process.returncode}")
    return json.loads(said)


def started_broker(space, config=""):
    space.endpoint = f"tcp://127.0.0.1:{free_port()}"
    path = space.directory / "broker.toml"
    path.write_text(config)
    broker = WireBroker(space.directory, space.endpoint, ["--config", path])
    space.processes.append(broker)
    return broker.start()


def hostile(seconds):
    print("| beside | p50 ms | p99 ms | p99 against nobody | ... and both cores busy | cut off | broker's memory, MiB, at most |\n"
          "|---|---|---|---|---|---|---|", flush=True)
    alone, busy = {}, None
    for name in PEERS:
        config = LARGE if "63 MiB" in name else ""
        if config not in alone and name != "nobody":
            alone[config] = measured("nobody", config, seconds, None)
        row = measured(name, config, seconds, alone.get(config), busy)
        alone.setdefault(config, row)
        busy = row if name == BUSY else busy


def measured(name, config, seconds, alone, busy=None):
    with Workspace() as space:
        broker = started_broker(space, config)
        if name in BEFORE:
            BEFORE[name](space.endpoint)
        memory = hostile_peers.MemoryWatch(broker.child.pid)
        peer = child("peer", space.endpoint, name, seconds + 1) if PEERS[name] else None
        row = answer_of(child("load", space.endpoint, 200, seconds))
        cuts = answer_of(peer)["cuts"] if peer else 0
        grown = memory.grown()
        if broker.stop() != 0 or row["unanswered"]:
            sys.exit(f"{name}: the broker ended badly, or {row['unanswered']} jobs were not confirmed")
    ratios = " | ".join(f"{row['p99'] / other['p99']:.1f}" if other else "" for other in (alone, busy))
    print(f"| {name}{', with room for such jobs' if config and name == 'nobody' else ''} | {row['p50']:.2f} | {row['p99']:.2f} | {ratios} "
          f"| {cuts} | {grown / MIB:.0f} |", flush=True)
    return row


# ---- connections

def crowd(endpoint, count):
    """Held, each greeted once, until standard input ends."""
    context = zmq.Context()
    context.set(zmq.MAX_SOCKETS, count + 16)
    members = []
    for _ in range(count):
        member = context.socket(zmq.DEALER)
        member.setsockopt(zmq.LINGER, 0)
        member.connect(endpoint)
        member.send(msgpack.packb([wire.VERSION, wire.HELLO, 1, 1, 1, 0, "crowd", "here", 1]))
        members.append(member)
    for member in members:
        if not member.poll(60_000):
            sys.exit("a member of the crowd was not answered")
        member.recv()
    print("served", flush=True)
    sys.stdin.read()
    for member in members:
        member.close()


def state_of(broker):
    return own_bytes(broker.child.pid) / MIB, len(os.listdir(f"/proc/{broker.child.pid}/fd"))


def connections(count, seconds):
    with Workspace() as space:
        broker = started_broker(space, f"[limits]\nconnections = {count + 100}\n")
        few = answer_of(child("load", space.endpoint, 1000, max(5, seconds // 4)))
        print(f"10 connections: p50 {few['p50']:.2f} ms, p99 {few['p99']:.2f} ms, {few['answered']} confirmed", flush=True)
        began, crowds = time.monotonic(), []
        for first in range(0, count, 5000):
            process = subprocess.Popen([sys.executable, __file__, "crowd", space.endpoint, str(min(5000, count - first))],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            crowds.append(process)
        for process in crowds:
            if process.stdout.readline() != "served\n":
                sys.exit("the crowd did not get in")
        print(f"{count} connections are in after {time.monotonic() - began:.1f} s", flush=True)
        loaded, states, ends = child("load", space.endpoint, 1000, seconds), [], time.monotonic() + seconds
        while loaded.poll() is None and time.monotonic() < ends:
            states.append(state_of(broker))
            with contextlib.suppress(subprocess.TimeoutExpired):
                loaded.wait(max(1.0, seconds / 20))
        many = answer_of(loaded)
        states.append(state_of(broker))
        memory, descriptors = [state[0] for state in states], [state[1] for state in states]
        print(f"{count} connections: p50 {many['p50']:.2f} ms, p99 {many['p99']:.2f} ms ({many['p99'] / few['p99']:.1f} times), "
              f"{many['answered']} confirmed, {many['unanswered']} not", flush=True)
        print(f"memory {memory[0]:.0f} MiB at first, {memory[len(memory) // 4]:.0f} after a quarter, {memory[-1]:.0f} at last, "
              f"{max(memory):.0f} at most; descriptors {min(descriptors)} to {max(descriptors)}", flush=True)
        for process in crowds:
            process.stdin.close()
            process.wait()
        wait_until(lambda: state_of(broker)[1] < 100, "all have gone", seconds=60)
        print(f"and {state_of(broker)[0]:.0f} MiB when they have gone", flush=True)
        with contextlib.closing(Connection(space.endpoint)) as friend:
            cut = friend.admin("stats")["broker"]["cut_connections"]
        if broker.stop() != 0 or many["unanswered"] or cut:
            sys.exit(f"{many['unanswered']} jobs were not confirmed, {cut} connections were cut off")


def main():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    what, *arguments = sys.argv[1:]
    if what == "hostile":
        hostile(int(arguments[0]))
    elif what == "connections":
        connections(int(arguments[0]), int(arguments[1]))
    elif what == "load":
        load(arguments[0], int(arguments[1]), int(arguments[2]))
    elif what == "crowd":
        crowd(arguments[0], int(arguments[1]))
    elif what == "peer":
        # Whoever attacks does so from another machine: he must not be measured by the processor time that he takes on this one.
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        print(json.dumps({"cuts": PEERS[arguments[1]](arguments[0], int(arguments[2]))}))
    else:
        sys.exit(f"peers_soak.py: '{what}' is not hostile or connections")


if __name__ == "__main__":
    main()
