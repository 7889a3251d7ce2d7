#!/usr/bin/python3
"""The examples of docs/cli.md, run one after the other against a broker: the outputs have the shape that is printed there.

Shape: the same words; numbers, ids, times, sizes, paths and column widths may differ. `--update` writes what was really
printed into the document (run it with JOBQ_BROKER and JOBQ_CLI set), and the difference is reviewed.
"""

import os
import pathlib
import re
import socket
import subprocess
import sys
import threading
import unittest

import python_client
from processes import Workspace, program, wait_until

DOCUMENT = pathlib.Path(__file__).parents[2] / "docs" / "cli.md"
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)

# What may differ, in this order.
VARIES = [
    (r"\bon (web-1|" + re.escape(socket.gethostname()) + r")(?=[:,);]|$)", "on HOST"),
    (r"\bj[0-9][0-9a-z]*\b|\bj[a-z][0-9a-z]?\b(?![a-z])", "ID"),
    (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?( [A-Z]{3,4}|Z)?", "TIME"),
    (r"\d{4}-\d\d-\d\d", "DATE"),
    (r"\d\d:\d\d:\d\d\.\d{3}", "CLOCK"),
    (r"\b\d\d:\d\d:\d\d\b", "TIME"),  # of today: of another day the date stands with it
    (r"^ *DATE\n", ""),  # where another day begins in a timeline
    (r"(tcp|ipc)://[^\s,;]+", "ENDPOINT"),
    (r"/[\w./-]+", "PATH"),
    (r"\d+(\.\d+)?(ms|s|m|h|d)\b( \d+[smh]\b)?", "SPAN"),
    (r"<?[\d,]+(\.\d+)? (B|KiB|MiB|GiB|TiB)\b", "SIZE"),
    (r"<?\d[\d,.]*", "N"),
    (r"\w+@[\w.-]+:N", "WORKER"),
    (r"(?<= )(never|-|SPAN)(?= )", "SPAN"),
    (r"[ \t]+", " "),
]


def shape(text):
    for pattern, name in VARIES:
        text = re.sub(pattern, name, text, flags=re.MULTILINE)
    return [line.strip() for line in text.strip().splitlines()]


class MailWorker(threading.Thread):
    """Serves `receipts`: a body with "nobody" in it is rejected in the mail server's words, another one is sent."""

    def __init__(self, endpoint):
        super().__init__(daemon=True)
        self.worker = python_client.Worker(endpoint, ["receipts"], credit=8, name="mailer")
        self.stopping = threading.Event()

    def run(self):
        while not self.stopping.is_set():
            try:
                deliveries = self.worker.take(timeout=0.2)
            except python_client.Unanswered:
                self.worker.heartbeat()
                continue
            for delivery in deliveries:
                if b"nobody" in delivery.body:
                    self.worker.outcome(delivery, python_client.REJECT, "550 5.1.1 no such mailbox: nobody@example.org")
                else:
                    self.worker.outcome(delivery, python_client.ACK)
            self.worker.flush()

    def stop(self):
        self.stopping.set()
        self.join()
        self.worker.close()


def run_examples(space, examples):
    """(command, what it printed) of each block's commands, in order."""
    bin_directory = space.directory / "bin"
    bin_directory.mkdir()
    (bin_directory / "jobq").symlink_to(program("JOBQ_CLI"))
    environment = {**os.environ, "PATH": f"{bin_directory}:{os.environ['PATH']}", "JOBQ_ENDPOINT": space.endpoint, "TZ": "Etc/UTC"}
    broker = space.broker()
    mailer = MailWorker(space.endpoint)
    mailer.start()
    printed = []
    for command in examples:
        if re.match(r"jobq (check|restore|compact) \w", command) and broker.running():  # while no broker has the store
            mailer.stop()
            broker.stop()
        done = subprocess.run(["bash", "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.STDOUT, env=environment, cwd=space.directory, check=False, timeout=60)
        printed.append((command, done.stdout))
        if broker.running():
            wait_until(lambda: not (row := space.queue("receipts")) or row["paused"] or row["ready"] + row["leased"] == 0,
                       f"the mailer is done after {command}")
    if mailer.is_alive():
        mailer.stop()
    return printed


def examples_of(document):
    """[(command, output)] of all blocks."""
    found = []
    for block in BLOCK.findall(document):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


def update():
    document = DOCUMENT.read_text()
    with Workspace() as space:
        printed = iter(run_examples(space, [command for command, _ in examples_of(document)]))

        # What only this machine has does not belong into the document.
        local = [(space.endpoint, "tcp://127.0.0.1:7710"), (f"{space.directory}/data", "/var/lib/jobq"),
                 (f"@{socket.gethostname()}:", "@web-1:"), (f"on {socket.gethostname()}", "on web-1")]

    def tidy(output):
        for here, there in local:
            output = output.replace(here, there)
        return output.rstrip()

    def rewrite(match):
        parts = re.split(r"^\$ ", match.group(1), flags=re.MULTILINE)[1:]
        return "```console\n" + "\n".join(
            f"$ {command}\n{tidy(output)}" for command, output in (next(printed) for _ in parts)) + "\n```"

    DOCUMENT.write_text(BLOCK.sub(rewrite, document))


class Examples(unittest.TestCase):
    maxDiff = None

    def test_the_document_shows_what_the_commands_print(self):
        examples = examples_of(DOCUMENT.read_text())
        self.assertGreater(len(examples), 15)
        with Workspace() as space:
            printed = run_examples(space, [command for command, _ in examples])
        for (command, written), (_, seen) in zip(examples, printed, strict=True):
            with self.subTest(command):
                self.assertEqual(shape(seen), shape(written), seen)

    def test_the_shape_tells_words_apart(self):
        self.assertEqual(shape("j1a7  12s ago  1,234"), shape("jz9 3m 2s ago 7"))
        self.assertEqual(shape("due 23:59:30"), shape("due 2026-12-01 00:00:30 UTC"))
        self.assertEqual(shape("  2026-11-30\n  23:59:59.000  now\n  2026-12-01\n  00:00:01.000  ready"),
                         shape("  2026-11-30\n  12:00:00.000  now\n  12:00:01.000  ready"))
        self.assertNotEqual(shape("receipts paused"), shape("receipts"))
        self.assertNotEqual(shape("dead"), shape("acked"))

    def test_every_command_has_an_example(self):
        document = DOCUMENT.read_text()
        listing = subprocess.run([program("JOBQ_CLI"), "--help"], capture_output=True, text=True, check=True).stdout
        commands = re.findall(r"^  (\w+)  ", listing[listing.index("Subcommands:"):], re.MULTILINE)
        self.assertGreater(len(commands), 7)
        for command in commands:
            self.assertRegex(document, rf"\$ (.*\| )?jobq {command}\b")


if __name__ == "__main__":
    if sys.argv[1:] == ["--update"]:
        update()
    else:
        unittest.main()
