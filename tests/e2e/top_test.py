#!/usr/bin/python3
"""`jobq top` on a terminal of its own: what it shows, its keys, the size, and that the terminal is as before whatever ends it."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
import unittest

from processes import Workspace, program

ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"
PATIENCE = 20 * float(os.environ.get("JOBQ_TEST_PATIENCE", "1"))


class Terminal:
    """A pseudo terminal with a program on it, in a session of its own."""

    def __init__(self, case, *command, columns=100, rows=24, env=None):
        self.case, self.output = case, b""
        self.primary, secondary = pty.openpty()
        self.secondary = secondary
        self.resize(columns, rows)
        self.modes = termios.tcgetattr(secondary)

        def controlling():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.child = subprocess.Popen([str(part) for part in command], stdin=secondary, stdout=secondary, stderr=secondary,
                                      preexec_fn=controlling, env={**os.environ, "TERM": "xterm", **(env or {})})
        case.addCleanup(self.close)

    def close(self):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        os.close(self.secondary)
        os.close(self.primary)

    def resize(self, columns, rows):
        fcntl.ioctl(self.secondary, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys):
        os.write(self.primary, keys)

    def read(self, seconds=0.05):
        ready, _, _ = select.select([self.primary], [], [], seconds)
        if ready:
            self.output += os.read(self.primary, 1 << 16)
        return bool(ready)

    def until(self, condition, what):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            self.read()
            if time.monotonic() > deadline:
                self.case.fail(f"waited in vain until {what}; the last of the output: {self.output[-3000:]!r}")

    def until_shows(self, text, after=0):
        self.until(lambda: text in self.output[after:], f"{text} is shown")

    def pictures(self):
        return self.output.count(b"\x1b[H")

    def picture(self):
        """The last whole picture, as lines without escape sequences."""
        parts = self.output.split(b"\x1b[H")[1:]
        whole = [part for part in parts if b"\x1b[J" in part]
        text = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", whole[-1].split(b"\x1b[J")[0])
        return re.split(r"\r*\n", text.decode())

    def ended(self):
        deadline = time.monotonic() + PATIENCE
        while self.child.poll() is None:
            self.read()
            if time.monotonic() > deadline:
                self.case.fail("it does not end")
        while self.read(0):
            pass
        return self.child.returncode

    def expect_as_before(self):
        self.case.assertEqual(termios.tcgetattr(self.secondary), self.modes)
        self.case.assertEqual(self.output.count(ENTER), self.output.count(LEAVE))
        self.case.assertGreater(self.output.rfind(LEAVE), self.output.rfind(ENTER))
        self.case.assertIn(b"\x1b[?25h", self.output)


class Top(unittest.TestCase):
    def setUp(self):
        self.space = self.enterContext(Workspace())
        self.broker = self.space.broker()
        for name, count in (("small", 1), ("large", 20)):
            lines = "".join(f"{number}\n" for number in range(count))
            self.space.jobq("enqueue", name, "--lines", stdin=lines).check_returncode()

    def top(self, *arguments, every="100ms", **options):
        return Terminal(self, program("JOBQ_CLI"), "--endpoint", self.space.endpoint, "top", "--every", every, *arguments,
                        **options)

    def rows(self, terminal):
        lines = terminal.picture()
        head = next((number for number, line in enumerate(lines) if line.startswith("QUEUE")), None)
        return [] if head is None else [line.split()[0] for line in lines[head + 1:] if line.strip() and not line.startswith("q quit")]

    def test_it_shows_what_happens_and_sorts(self):
        terminal = self.top()
        terminal.until_shows(b"large")
        self.assertEqual(self.rows(terminal), ["large", "small"])
        self.assertIn("CRITICAL", "\n".join(terminal.picture()))
        terminal.press(b"r")
        terminal.until(lambda: self.rows(terminal) == ["small", "large"], "the order is turned around")
        self.space.jobq("enqueue", "young", "--body", "x").check_returncode()
        terminal.until(lambda: "young" in self.rows(terminal), "the new queue is shown")
        terminal.press(b"rN")
        terminal.until(lambda: self.rows(terminal) == ["large", "small", "young"], "sorted by name")
        terminal.press(b"h")
        terminal.until_shows(b"turn the order around")
        terminal.press(b"hq")
        self.assertEqual(terminal.ended(), 0)
        terminal.expect_as_before()

    def test_a_held_picture_stays_until_it_goes_on(self):
        terminal = self.top()
        terminal.until_shows(b"large")
        terminal.press(b" ")
        terminal.until_shows(b"PAUSED")
        self.space.jobq("enqueue", "young", "--body", "x").check_returncode()
        terminal.press(b"s")  # keys still work
        before = terminal.pictures()
        terminal.until(lambda: terminal.pictures() > before or not terminal.read(), "the key is answered")
        self.assertNotIn("young", self.rows(terminal))
        terminal.press(b" ")
        terminal.until(lambda: "young" in self.rows(terminal), "it goes on")

    def test_it_follows_the_size_of_the_terminal(self):
        terminal = self.top(columns=100, rows=24)
        terminal.until_shows(b"large")
        for columns, rows in ((40, 10), (200, 50), (20, 3), (1, 1), (90, 24)):
            terminal.resize(columns, rows)
            wanted = max(rows, 3)
            terminal.until(lambda: len(terminal.picture()) == wanted and
                           all(len(line) <= max(columns, 20) for line in terminal.picture()), f"it fits {columns} x {rows}")

    def test_a_flood_of_keys_does_not_flood_the_terminal(self):
        terminal = self.top(every="10s")
        terminal.until_shows(b"large")
        began, before = time.monotonic(), terminal.pictures()
        for _ in range(50):
            terminal.press(b"rs" * 20)
            terminal.read(0.01)
        terminal.press(b"q")
        self.assertEqual(terminal.ended(), 0)
        self.assertLess(terminal.pictures() - before, (time.monotonic() - began) * 20 + 5)

    def test_the_terminal_is_given_back_whatever_ends_it(self):
        for what in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGSEGV, signal.SIGABRT, b"q", b"\x03"):
            with self.subTest(what):
                terminal = self.top()
                terminal.until_shows(b"large")
                self.assertNotEqual(termios.tcgetattr(terminal.secondary), terminal.modes)
                if isinstance(what, bytes):
                    terminal.press(what)
                else:
                    terminal.child.send_signal(what)
                code = terminal.ended()
                deadly = what in (signal.SIGQUIT, signal.SIGSEGV, signal.SIGABRT)
                self.assertEqual(code < 0 or code > 128 if deadly else code == 0, True, code)
                terminal.expect_as_before()

    def test_ctrl_z_gives_the_terminal_back_and_fg_takes_it_again(self):
        terminal = self.top()
        terminal.until_shows(b"large")
        terminal.child.send_signal(signal.SIGTSTP)

        def state():
            with open(f"/proc/{terminal.child.pid}/stat", encoding="ascii") as stat:
                return stat.read().rsplit(")", 1)[1].split()[0]

        terminal.until(lambda: state() == "T" or terminal.output.count(LEAVE) == 1, "it has let go")
        # An orphaned process group is not stopped by SIGTSTP: then it goes on at once.
        terminal.child.send_signal(signal.SIGCONT)
        terminal.until(lambda: terminal.output.count(ENTER) == 2, "it has taken the terminal again")
        after = len(terminal.output)
        terminal.until_shows(b"large", after)
        terminal.press(b"q")
        self.assertEqual(terminal.ended(), 0)
        terminal.expect_as_before()

    def test_a_broker_that_goes_away_is_waited_for_and_q_is_heard_meanwhile(self):
        terminal = self.top("--timeout", "60s")
        terminal.until_shows(b"large")
        self.broker.kill()
        after = len(terminal.output)
        terminal.press(b"h")
        terminal.until_shows(b"turn the order around", after)
        terminal.press(b"q")
        began = time.monotonic()
        self.assertEqual(terminal.ended(), 0)
        self.assertLess(time.monotonic() - began, PATIENCE / 2)
        terminal.expect_as_before()
        terminal = self.top("--timeout", "300ms")
        terminal.until_shows(b"no broker answered")
        self.broker.start()
        terminal.until_shows(b"large")

    def test_no_colour_and_no_terminal(self):
        terminal = self.top(env={"NO_COLOR": "1"})
        terminal.until_shows(b"large")
        self.assertFalse(re.search(rb"\x1b\[[0-9;]+m", terminal.output.replace(b"\x1b[0m", b"")))
        for environment in ({"TERM": "dumb"}, {}):
            done = subprocess.run([program("JOBQ_CLI"), "--endpoint", self.space.endpoint, "top"], capture_output=True,
                                  text=True, check=False, timeout=60, env={**os.environ, **environment})
            self.assertEqual(done.returncode, 64)
            self.assertIn("jobq stats --watch", done.stderr)
        self.assertEqual(self.space.jobq("top", "--every", "1ms").returncode, 64)

    def test_json_is_a_stream_of_documents(self):
        stream = subprocess.Popen([program("JOBQ_CLI"), "--endpoint", self.space.endpoint, "top", "--json", "--every", "100ms"],
                                  stdout=subprocess.PIPE, text=True)
        self.addCleanup(stream.stdout.close)
        self.addCleanup(stream.kill)
        for _ in range(3):
            self.assertIn('"large"', stream.stdout.readline())
        stream.send_signal(signal.SIGINT)
        self.assertEqual(stream.wait(PATIENCE), 0)


if __name__ == "__main__":
    unittest.main()
