"""Real processes for the end-to-end tests: brokers, workers, commands, each ended with its test.

    with Workspace() as space:
        broker = space.broker()                        # on an ipc:// endpoint, its data in the temporary directory
        space.jobq("enqueue", "q", "--body", "x").check_returncode()
        broker.kill(); broker.start()                  # kill -9, and again on the same data

Programs come from the environment: JOBQ_BROKER, JOBQ_CLI and what else a test is given by its meson.build.
"""

import ctypes
import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


_PARENT = os.getpid()


def _die_with_parent():
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != _PARENT:  # it died before the line above
        os._exit(127)


def program(variable):
    path = os.environ.get(variable)
    if not path:
        raise RuntimeError(f"{variable} is not set: run the test with `meson test`")
    return path


def wait_until(condition, what, seconds=20.0):
    """Returns the condition's first true value; fails loudly at the deadline."""
    deadline = time.monotonic() + seconds * float(os.environ.get("JOBQ_TEST_PATIENCE", "1"))
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s in vain until {what}")
        time.sleep(0.02)


class Process:
    """A program in the background with its output in a file."""

    def __init__(self, name, command, directory, env=None):
        self.name, self.command, self.env = name, [str(part) for part in command], env
        self.log = directory / f"{name}.log"
        self.child = None

    def start(self):
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                          env=self.env, preexec_fn=_die_with_parent)
        return self

    def running(self):
        return self.child is not None and self.child.poll() is None

    def output(self):
        return self.log.read_text(encoding="utf-8", errors="replace")

    def send(self, number):
        self.child.send_signal(number)

    def wait(self, seconds=20.0):
        """The exit code; negative: the signal that ended it."""
        return self.child.wait(seconds * float(os.environ.get("JOBQ_TEST_PATIENCE", "1")))

    def kill(self):
        self.send(signal.SIGKILL)
        self.wait()

    def stop(self):
        """SIGTERM; the exit code."""
        self.send(signal.SIGTERM)
        return self.wait()


class Broker(Process):
    def __init__(self, directory, endpoint, arguments):
        super().__init__("broker", [program("JOBQ_BROKER"), "--data", directory / "data", "--listen", endpoint, *arguments],
                         directory)
        self.endpoint = endpoint

    def start(self):
        super().start()
        wait_until(self._answers, f"the broker answers; its log: {self.log}")
        return self

    def _answers(self):
        if not self.running():
            raise AssertionError(f"the broker has ended with {self.child.returncode}:\n{self.output()}")
        asked = subprocess.run([program("JOBQ_CLI"), "--endpoint", self.endpoint, "stats", "--json"],
                               capture_output=True, check=False, timeout=60)
        return asked.returncode == 0


class Workspace:
    """A temporary directory and everything that was started in it: at its end all are killed and it is removed."""

    def __enter__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="jobq-e2e."))
        self.processes = []
        self.endpoint = f"ipc://{self.directory}/broker"
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            if process.running():
                process.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def broker(self, *arguments):
        broker = Broker(self.directory, self.endpoint, arguments)
        self.processes.append(broker)
        return broker.start()

    def start(self, name, *command, env=None):
        process = Process(name, command, self.directory, env)
        self.processes.append(process)
        return process.start()

    def jobq(self, *arguments, stdin="", timeout=60):
        """Runs the command line to its end: returncode, stdout, stderr."""
        return subprocess.run([program("JOBQ_CLI"), "--endpoint", self.endpoint, *map(str, arguments)], input=stdin,
                              capture_output=True, text=True, check=False, timeout=timeout)

    def jobq_json(self, *arguments):
        done = self.jobq(*arguments, "--json")
        if done.returncode != 0:
            raise AssertionError(f"jobq {' '.join(map(str, arguments))} exited with {done.returncode}:\n{done.stderr}")
        return json.loads(done.stdout)

    def queue(self, name):
        """The queue's row of `jobq stats`, or None."""
        rows = self.jobq_json("stats")["queues"]
        return next((row for row in rows if row["name"] == name), None)


def http_request(port, method, path, body=None, headers=None):
    """(status, headers, parsed JSON body)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), json.loads(response.read())
    finally:
        connection.close()
