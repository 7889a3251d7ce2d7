#!/usr/bin/python3
"""jobq-broker as an operator and as an enemy meets it: every flag and exit code, signals, and peers that mean harm."""

import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

import msgpack
import zmq

from processes import _die_with_parent, program, wait_until

USAGE, CANNOT_LISTEN, INTERNAL, INSECURE, BAD_CONFIG = 64, 69, 70, 77, 78
STORE_IN_USE, DAMAGED, READ_ONLY, NETWORK_FS, NO_SPACE, NOT_A_STORE, STORE_IO = 80, 81, 83, 84, 85, 86, 87
FREE_PORT = "tcp://127.0.0.1:0"


class Broker:
    """A broker that tells by --ready-fd where it listens."""

    def __init__(self, data, *arguments, listen=FREE_PORT, env=None):
        reader, writer = os.pipe()
        self.log = tempfile.TemporaryFile()
        self.child = subprocess.Popen(
            [program("JOBQ_BROKER"), "--data", data, "--listen", listen, "--ready-fd", str(writer), *arguments],
            stdout=self.log, stderr=self.log, pass_fds=(writer,), preexec_fn=_die_with_parent, env=env)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            self.endpoints = pipe.read().split()
        if not self.endpoints:
            raise AssertionError(f"the broker did not start ({self.child.wait(10)}): {self.output()}")
        self.endpoint = self.endpoints[0]

    def output(self):
        return os.pread(self.log.fileno(), 1 << 20, 0).decode()

    def port(self):
        return int(self.endpoint.rsplit(":", 1)[1])

    def memory(self):
        """Bytes that are the process's own, without mapped files."""
        with open(f"/proc/{self.child.pid}/statm", encoding="ascii") as statm:
            fields = statm.read().split()
        return (int(fields[1]) - int(fields[2])) * resource.getpagesize()

    def cpu_seconds(self):
        with open(f"/proc/{self.child.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        self.log.close()


class Client:
    """Just enough of docs/protocol.md for these tests."""

    def __init__(self, endpoint, greet=True):
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.connect(endpoint)
        self.request_id = 0
        self.pushes = []
        if greet:
            self.call(1, 1, 1, 0, "broker_test", "here", 1)

    def send(self, message_type, *fields):
        self.request_id += 1
        self.socket.send(msgpack.packb([1, message_type, self.request_id, *fields]))

    def receive(self, seconds=20):
        if not self.socket.poll(seconds * 1000):
            raise AssertionError("no answer from the broker")
        return msgpack.unpackb(self.socket.recv(), raw=False)

    def call(self, message_type, *fields):
        self.send(message_type, *fields)
        while True:
            message = self.receive()
            if message[2] == self.request_id:
                return message
            self.pushes.append(message)

    def admin(self, verb, **parameters):
        answer = self.call(13, verb, parameters)
        if answer[1] != 14:
            raise AssertionError(answer)
        return answer[3]

    def enqueue(self, queue, *bodies):
        return self.call(5, None, 0, 0, False, [[queue, [["", body] for body in bodies]]])[4]

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Case(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="jobq-broker-test.")
        self.addCleanup(shutil.rmtree, self.directory, True)
        self.data = f"{self.directory}/data"

    def run_broker(self, *arguments):
        """A broker that is expected to end by itself."""
        return subprocess.run([program("JOBQ_BROKER"), *arguments], capture_output=True, text=True, check=False, timeout=60)

    def assert_ends(self, code, words, *arguments):
        done = self.run_broker(*arguments)
        self.assertEqual(done.returncode, code, done.stderr)
        last = done.stderr.strip().splitlines()[-1]
        self.assertTrue(last.startswith("jobq-broker: "), last)
        for word in words:
            self.assertIn(word, last)

    def file(self, name, text):
        path = f"{self.directory}/{name}"
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path


class Flags(Case):
    def test_version_and_help(self):
        version = self.run_broker("--version")
        self.assertEqual((version.returncode, version.stdout.split()[0]), (0, "jobq-broker"))
        text = self.run_broker("--help")
        self.assertEqual(text.returncode, 0)
        for flag in ("--data", "--listen", "--config", "--check-config", "--insecure", "--log-format", "--log-level",
                     "--ready-fd", "--version", "Example:"):
            self.assertIn(flag, text.stdout)

    def test_wrong_flags(self):
        self.assert_ends(USAGE, ["'--bogus' is no option of jobq-broker", "--help"], "--bogus")
        self.assert_ends(USAGE, ["foo"], "--listen", "foo")
        self.assert_ends(USAGE, ["99999"], "--listen", "tcp://127.0.0.1:99999")
        self.assert_ends(USAGE, ["xml"], "--log-format", "xml")
        self.assert_ends(USAGE, ["--data"], "--data")

    def test_configuration_file(self):
        good = self.file("good.toml", "[limits]\nbody_bytes = '2MiB'\n[queue_defaults]\nlease_ms = '10s'\n")
        done = self.run_broker("--config", good, "--check-config")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_ends(BAD_CONFIG, ["limits.body_byts", "bad.toml:2", "did you mean 'limits.body_bytes'"], "--config",
                         self.file("bad.toml", "[limits]\nbody_byts = 1\n"), "--check-config")
        self.assert_ends(BAD_CONFIG, ["queue_defaults.lease_ms", "out of range"], "--config",
                         self.file("range.toml", "[queue_defaults]\nlease_ms = 1\n"))
        self.assert_ends(BAD_CONFIG, ["not TOML"], "--config", self.file("broken.toml", "[limits\n"))
        self.assert_ends(BAD_CONFIG, ["cannot read"], "--config", f"{self.directory}/none.toml")
        self.assert_ends(BAD_CONFIG, ["cannot read", "Is a directory"], "--config", self.directory)

    def test_sample_is_what_the_program_prints(self):
        with open(os.path.join(program("JOBQ_SOURCE_ROOT"), "broker/jobq-broker.toml"), encoding="utf-8") as sample:
            self.assertEqual(self.run_broker("--print-config").stdout, sample.read())

    def test_endpoints_that_others_reach_are_refused(self):
        for endpoint in ("tcp://0.0.0.0:0", "tcp://*:0", "tcp://10.1.2.3:0", "tcp://[::]:0"):
            self.assert_ends(INSECURE, [endpoint, "--insecure"], "--data", self.data, "--listen", endpoint)
        self.assertFalse(os.path.exists(self.data))
        with Broker(self.data, "--listen", f"ipc://{self.directory}/socket") as broker:
            self.assertEqual(len(broker.endpoints), 2)
            for endpoint in broker.endpoints:
                with Client(endpoint) as client:
                    client.admin("ping")

    def test_insecure_is_possible_and_told(self):
        with Broker(self.data, "--insecure", listen="tcp://0.0.0.0:0") as broker:
            with Client(f"tcp://127.0.0.1:{broker.port()}") as client:
                client.admin("ping")
            self.assertIn("--insecure", broker.output())

    def test_log_as_json(self):
        with Broker(self.data, "--log-format", "json") as broker:
            lines = [json.loads(line) for line in broker.output().splitlines()]
            self.assertTrue(any("serves on" in line["text"] and line["level"] == "info" for line in lines), lines)

    def test_log_level(self):
        with Broker(self.data, "--log-level", "error") as broker:
            self.assertEqual(broker.output(), "")


class Refusals(Case):
    def test_too_few_descriptors_to_serve(self):
        done = subprocess.run(["sh", "-c", 'ulimit -n 16; exec "$0" --data "$1"', program("JOBQ_BROKER"), self.data],
                              capture_output=True, text=True, check=False, timeout=60)
        self.assertEqual(done.returncode, INTERNAL, done.stderr)
        self.assertEqual(done.stderr, "jobq-broker: this process may have 16 descriptors only, too few to serve; raise "
                         "`ulimit -n` (LimitNOFILE=)\n")

    def test_port_in_use(self):
        with Broker(self.data) as broker:
            self.assert_ends(CANNOT_LISTEN, [broker.endpoint, "in use"], "--data", f"{self.directory}/other", "--listen",
                             broker.endpoint)

    def test_socket_file_in_use(self):
        endpoint = f"ipc://{self.directory}/socket"
        with Broker(self.data, listen=endpoint) as broker:
            self.assert_ends(CANNOT_LISTEN, [endpoint, "in use"], "--data", f"{self.directory}/other", "--listen", endpoint)
            with Client(broker.endpoint) as client:
                client.admin("ping")
            broker.child.kill()
            broker.child.wait()
        with Broker(self.data, listen=endpoint) as broker:  # a file that a killed broker left is no hindrance
            with Client(broker.endpoint) as client:
                client.admin("ping")

    def test_second_broker_names_the_first(self):
        with Broker(self.data) as broker:
            self.assert_ends(STORE_IN_USE, [str(broker.child.pid)], "--data", self.data, "--listen", FREE_PORT)

    def test_something_else_in_the_place_of_the_store(self):
        os.mkdir(self.data)
        self.file("data/data.mdb", "this is no store\n" * 1000)
        # It cannot be told from a store that was overwritten.
        self.assert_ends(DAMAGED, [self.data], "--data", self.data, "--listen", FREE_PORT)

    def test_file_in_the_place_of_the_directory(self):
        place = self.file("plain", "no directory\n")
        self.assert_ends(NOT_A_STORE, [place, "directory"], "--data", place, "--listen", FREE_PORT)

    def test_data_of_another_program(self):
        os.mkdir(self.data)
        other = self.file("other.dump", "VERSION=3\nformat=print\ndatabase=theirs\ntype=btree\nmapsize=1048576\n"
                          "HEADER=END\n key\n value\nDATA=END\n")
        subprocess.run(["mdb_load", "-n", "-f", other, f"{self.data}/data.mdb"], check=True)
        self.assert_ends(NOT_A_STORE, [self.data], "--data", self.data, "--listen", FREE_PORT)

    def test_store_whose_file_cannot_be_opened(self):
        os.makedirs(f"{self.data}/data.mdb")
        self.assert_ends(STORE_IO, [f"{self.data}/data.mdb"], "--data", self.data, "--listen", FREE_PORT)

    def test_file_system_that_may_be_remote(self):
        local, place = f"{self.directory}/local", f"{self.directory}/mounted"
        os.mkdir(local)
        os.mkdir(place)
        done = subprocess.run(["bindfs", local, place], capture_output=True, check=False)
        if done.returncode != 0:
            self.skipTest(f"LOUD: cannot mount (FUSE is needed): {done.stderr.decode().strip()}")
        self.addCleanup(subprocess.run, ["umount", "-l", place], check=False)
        self.assert_ends(NETWORK_FS, [place, "FUSE", "store.allow_network_fs"],
                         "--data", f"{place}/data", "--listen", FREE_PORT)
        self.assertEqual(os.listdir(local), [])
        allowed = self.file("allowed.toml", "[store]\nallow_network_fs = true\n")
        with Broker(f"{place}/data", "--config", allowed) as broker, Client(broker.endpoint) as client:
            client.admin("ping")

    def test_directory_that_cannot_be_written(self):
        if os.geteuid() == 0:
            self.skipTest("root may write everywhere; see test_read_only_file_system")
        os.mkdir(self.data, 0o500)
        self.assert_ends(READ_ONLY, [self.data], "--data", self.data, "--listen", FREE_PORT)

    def mount(self, *options):
        place = f"{self.directory}/mounted"
        os.makedirs(place, exist_ok=True)
        done = subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", place], capture_output=True, check=False)
        if done.returncode != 0:
            self.skipTest(f"LOUD: cannot mount (root is needed): {done.stderr.decode().strip()}")
        self.addCleanup(subprocess.run, ["umount", "-l", place], check=False)
        return place

    def test_read_only_file_system(self):
        place = self.mount("-o", "ro")
        self.assert_ends(READ_ONLY, [place], "--data", f"{place}/data", "--listen", FREE_PORT)

    def test_no_space_for_a_store(self):
        place = self.mount("-o", "size=8k")
        self.assert_ends(NO_SPACE, [place], "--data", f"{place}/data", "--listen", FREE_PORT)

    def test_small_disk_refuses_enqueues_and_still_takes_acks(self):
        place = self.mount("-o", "size=48m")
        config = self.file("small.toml", "[store]\nmin_free = '16MiB'\npreallocate = false\nmax_size = '1GiB'\n")
        with Broker(f"{place}/data", "--config", config) as broker, Client(broker.endpoint) as client:
            body = b"x" * 500_000
            refused = None
            for _ in range(200):
                refused = next((row for row in client.enqueue("q", body) if row[0] == 2), None)
                if refused:
                    break
            self.assertIsNotNone(refused)
            self.assertEqual(refused[1], 204, refused)
            self.assertGreater(refused[2], 0)
            self.assertEqual(client.admin("stats")["broker"]["refusing"], "disk_full")
            registered = client.call(3, None, None, [["q", 1]], [], 1, 0, [], [], "w", "h", 1, "b")
            self.assertEqual(registered[1], 4)
            delivery = client.pushes.pop(0) if client.pushes else client.receive()
            self.assertEqual(delivery[1], 64)
            job, lease_no = delivery[4][0][:2]
            self.assertEqual(client.call(7, [[job, lease_no, 0]])[3], [1])


class Life(Case):
    def test_jobs_outlive_the_broker(self):
        with Broker(self.data) as broker, Client(broker.endpoint) as client:
            self.assertEqual([row[0] for row in client.enqueue("q", b"one", b"two")], [0, 0])
            broker.child.kill()
        with Broker(self.data) as broker, Client(broker.endpoint) as client:
            self.assertEqual(client.admin("queue.show", queue="q")["queue"]["ready"], 2)
            self.assertIn("2 jobs wait", broker.output())

    def test_many_requests_before_the_first_answer_is_read(self):
        with Broker(self.data) as broker, Client(broker.endpoint) as client:
            client.socket.close()
            client.socket = zmq.Context.instance().socket(zmq.DEALER)
            client.socket.linger = 0
            client.socket.sndhwm = client.socket.rcvhwm = 0
            client.socket.connect(broker.endpoint)
            client.call(1, 1, 1, 0, "broker_test", "here", 1)
            for _ in range(20_000):
                client.send(5, None, 0, 0, False, [["q", [["", b"x"]]]])
            answers = [client.receive() for _ in range(20_000)]
            self.assertEqual({answer[1] for answer in answers}, {6})
            self.assertEqual(client.admin("queue.show", queue="q")["queue"]["ready"], 20_000)
            self.assertEqual(client.admin("stats")["broker"]["cut_connections"], 0)

    def test_stop_signals(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with Broker(self.data) as broker, Client(broker.endpoint) as client:
                began = time.monotonic()
                broker.child.send_signal(number)
                self.assertEqual(broker.child.wait(20), 0)
                self.assertLess(time.monotonic() - began, 2.0 * float(os.environ.get("JOBQ_TEST_PATIENCE", "1")))
                bye = client.receive()
                self.assertEqual((bye[1], bye[3]), (65, 217))

    def test_hangup_reloads_and_says_what_it_cannot(self):
        config = self.file("broker.toml", "[limits]\nbody_bytes = 100\n")
        with Broker(self.data, "--config", config) as broker, Client(broker.endpoint) as client:
            self.assertEqual(client.enqueue("q", b"x" * 200)[0][:2], [2, 205])
            self.file("broker.toml", "[limits]\nbody_bytes = 1000\nconnections = 7\n")
            broker.child.send_signal(signal.SIGHUP)
            wait_until(lambda: "taken over" in broker.output(), "the broker has reloaded")
            self.assertRegex(broker.output(), r"need a restart.*limits\.connections")
            self.assertRegex(broker.output(), r"taken over: limits\.body_bytes")
            self.assertEqual(client.enqueue("q", b"x" * 200)[0][0], 0)
            self.file("broker.toml", "[limits]\nbody_byts = 1000\n")
            broker.child.send_signal(signal.SIGHUP)
            wait_until(lambda: "nothing is changed" in broker.output(), "the broker has refused the file")

    def test_supervisor_is_told(self):
        place = f"{self.directory}/notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.bind(place)
            listener.settimeout(20)
            environment = dict(os.environ, NOTIFY_SOCKET=place, WATCHDOG_USEC="400000")
            with Broker(self.data, env=environment) as broker:
                self.assertEqual(listener.recv(100), b"READY=1")
                for _ in range(3):
                    self.assertEqual(listener.recv(100), b"WATCHDOG=1")
                broker.child.send_signal(signal.SIGTERM)
                heard = b""
                while heard != b"STOPPING=1":
                    heard = listener.recv(100)

    def test_idle_broker_uses_no_cpu(self):
        with Broker(self.data) as broker, Client(broker.endpoint) as client:
            client.enqueue("q", b"x")
            before, turns = broker.cpu_seconds(), client.admin("stats")["broker"]["turns"]
            self.assertFalse(client.socket.poll(2_000))  # the time that is measured
            self.assertLess(broker.cpu_seconds() - before, 0.2)
            self.assertLess(client.admin("stats")["broker"]["turns"] - turns, 10)

    def test_start_with_a_backlog_is_quick(self):
        with Broker(self.data) as broker, Client(broker.endpoint) as client:
            for _ in range(20):
                client.enqueue("q", *[b"a body of some bytes"] * 5_000)
            broker.child.kill()
        began = time.monotonic()
        with Broker(self.data) as broker, Client(broker.endpoint) as client:
            took = time.monotonic() - began
            self.assertEqual(client.admin("queue.show", queue="q")["queue"]["ready"], 100_000)
            self.assertLess(took, 5.0 * float(os.environ.get("JOBQ_TEST_PATIENCE", "1")))
            own = int(re.search(r"started in (\d+) ms", broker.output()).group(1))
            self.assertLess(own, 1000 * float(os.environ.get("JOBQ_TEST_PATIENCE", "1")), broker.output())


class Enemies(Case):
    def test_garbage_is_answered_and_harms_nobody(self):
        with Broker(self.data) as broker, Client(broker.endpoint, greet=False) as enemy, Client(broker.endpoint) as friend:
            for junk in (b"", b"\xc1", b"\xff" * 100, b"\x9f" * 1000, os.urandom(5000), b"\xdd\xff\xff\xff\xff"):
                enemy.socket.send(junk)
                self.assertEqual(enemy.receive()[1], 15)
            enemy.socket.send_multipart([b"", b"x", b"y"])
            self.assertEqual(enemy.receive()[1:4], [15, 0, 100])
            self.assertEqual(enemy.call(13, "ping", {})[1:4:2], [15, 103])  # before hello
            friend.admin("ping")
            self.assertEqual(friend.admin("stats")["broker"]["rejected_messages"], 1)

    def test_message_too_large(self):
        config = self.file("broker.toml", "[limits]\nmessage_bytes = '2MiB'\n")
        with Broker(self.data, "--config", config) as broker, Client(broker.endpoint) as client:
            self.assertEqual(client.call(13, "x" * (2 * 1024 * 1024 + 100), {})[1:4:2], [15, 102])
            with Client(broker.endpoint) as enemy:
                enemy.socket.send(b"x" * (8 * 1024 * 1024))
                self.assertFalse(enemy.socket.poll(300))  # cut off: no answer, but the broker lives
            client.admin("ping")

    def raw(self, broker, handshake=True):
        """A TCP connection that has done ZeroMQ's handshake by hand, as a DEALER."""
        connection = socket.create_connection(("127.0.0.1", broker.port()))
        connection.settimeout(20)
        if handshake:
            connection.sendall(b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + b"\0" + bytes(31))
            ready = b"\x05READY" + b"\x0bSocket-Type" + (6).to_bytes(4, "big") + b"DEALER"
            connection.sendall(b"\x04" + bytes([len(ready)]) + ready)
            self.read_exactly(connection, 64)  # the broker's greeting
            head = self.read_exactly(connection, 2)
            self.read_exactly(connection, head[1])  # its READY
        return connection

    def read_exactly(self, connection, size):
        data = b""
        while len(data) < size:
            part = connection.recv(size - len(data))
            if not part:
                raise AssertionError("the broker closed the connection")
            data += part
        return data

    def test_endless_message_is_cut_off_and_memory_stays_bounded(self):
        with Broker(self.data) as broker, Client(broker.endpoint) as friend, self.raw(broker) as enemy:
            before, peak, sent = broker.memory(), 0, 0
            frame = b"\x03" + (60_000).to_bytes(8, "big") + bytes(60_000)  # more to come, long
            try:
                while sent < 2 << 30:
                    enemy.sendall(frame * 16)
                    sent += 16 * len(frame)
                    peak = max(peak, broker.memory())
            except OSError:
                pass
            self.assertLess(sent, 2 << 30, "it was never cut off")
            self.assertLess(peak - before, 400 << 20)
            friend.admin("ping")
            self.assertGreaterEqual(friend.admin("stats")["broker"]["cut_connections"], 1)

    def test_peer_that_does_not_read_is_cut_off(self):
        config = self.file("broker.toml", "[limits]\nunsent_bytes = '4MiB'\n")
        with Broker(self.data, "--config", config) as broker, Client(broker.endpoint) as friend:
            friend.enqueue("q", b"x" * 60_000)
            job = friend.enqueue("q", b"x" * 60_000)[0][1]
            with self.raw(broker) as enemy:
                hello = msgpack.packb([1, 1, 1, 1, 1, 0, "enemy", "h", 1])
                enemy.sendall(b"\0" + bytes([len(hello)]) + hello)
                show = msgpack.packb([1, 13, 2, "job.show", {"id": job}])
                try:
                    for _ in range(3_000):
                        enemy.sendall(b"\0" + bytes([len(show)]) + show)
                except OSError:
                    pass
                wait_until(lambda: friend.admin("stats")["broker"]["cut_connections"] >= 1, "the enemy is cut off")

    def test_connection_cap(self):
        config = self.file("broker.toml", "[limits]\nconnections = 20\n")
        with Broker(self.data, "--config", config) as broker, Client(broker.endpoint) as friend:
            crowd = [socket.create_connection(("127.0.0.1", broker.port())) for _ in range(60)]
            self.addCleanup(lambda: [connection.close() for connection in crowd])
            wait_until(lambda: friend.admin("stats")["broker"]["cut_connections"] >= 41, "those above the cap are closed")
            self.assertLessEqual(friend.admin("stats")["broker"]["connections"], 21)

    def test_silent_connections_are_closed(self):
        config = self.file("broker.toml", "[limits]\nhandshake_ms = 300\n")
        with Broker(self.data, "--config", config) as broker, Client(broker.endpoint) as friend:
            silent = [self.raw(broker, handshake=False) for _ in range(50)]
            for connection in silent:
                while connection.recv(100):  # the broker's greeting, then the end
                    pass
                connection.close()
            wait_until(lambda: friend.admin("stats")["broker"]["connections"] == 1, "only the friend is left")

    def test_lost_worker_is_noticed_at_once(self):
        with Broker(self.data) as broker, Client(broker.endpoint) as friend:
            worker = Client(broker.endpoint)
            worker.call(3, None, None, [["q", 1]], [], 1, 0, [], [], "w", "h", 1, "b")
            self.assertTrue(friend.admin("worker.ls")["workers"][0]["connected"])
            worker.close()
            wait_until(lambda: not any(row["connected"] for row in friend.admin("worker.ls")["workers"]),
                       "the broker has noticed", seconds=1.0)


if __name__ == "__main__":
    unittest.main()
