#!/usr/bin/python3
"""Runs every command of docs/operations.md, block by block, as it stands there. What differs from a real installation:
/var/lib/jobq is a path in a temporary directory, and systemctl is a script that starts and stops the broker."""

import os
import pathlib
import re
import signal
import subprocess
import unittest

from processes import Workspace, program, wait_until

DOCUMENT = pathlib.Path(__file__).parents[2] / "docs" / "operations.md"
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)


class Operations(unittest.TestCase):
    def setUp(self):
        self.space = self.enterContext(Workspace())
        self.broker = self.space.broker()
        (self.space.directory / "bin").mkdir()
        self.tool("jobq", f'exec {program("JOBQ_CLI")} "$@"')
        self.tool("jobq-broker", f'exec {program("JOBQ_BROKER")} "$@"')
        # Asks this test, which is the parent of the broker and waits for the answer of the shell.
        self.tool("systemctl", 'echo "$1" >&9; read -r done <&8')

    def tool(self, name, text):
        path = self.space.directory / "bin" / name
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)

    def run_block(self, text):
        """The block in a shell that stops at the first failure; systemctl talks to us over descriptors 8 and 9."""
        ours = str(self.space.directory)
        text = text.replace("/var/lib/jobq", f"{ours}/data")
        answer_read, answer_write = os.pipe()
        ask_read, ask_write = os.pipe()
        script = (f"set -eu -o pipefail; exec 8<&{answer_read} 9>&{ask_write}\n" + text)
        shell = subprocess.Popen(["bash", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                 pass_fds=(answer_read, ask_write), cwd=ours,
                                 env={**os.environ, "PATH": f"{ours}/bin:{os.environ['PATH']}",
                                      "JOBQ_ENDPOINT": self.space.endpoint})
        os.close(ask_write)
        os.close(answer_read)
        try:
            with os.fdopen(ask_read) as asked:
                for order in iter(asked.readline, ""):
                    if order.strip() == "stop" and self.broker.running():
                        self.assertEqual(self.broker.stop(), 0)
                    elif order.strip() == "start":
                        self.broker.start()
                    os.write(answer_write, b"done\n")
            output, _ = shell.communicate(timeout=120)
        finally:
            os.close(answer_write)
            if shell.poll() is None:
                shell.kill()
        return shell.returncode, output

    def test_the_page_from_its_beginning_to_its_end(self):
        lines = "".join(f"{number}\n" for number in range(500))
        self.assertEqual(self.space.jobq("enqueue", "receipts", "--lines", stdin=lines).returncode, 0)
        self.space.jobq("queue", "pause", "receipts").check_returncode()
        blocks = BLOCK.findall(DOCUMENT.read_text())
        self.assertGreater(len(blocks), 7)
        seen = ""
        for block in blocks:
            code, output = self.run_block(block)
            seen += output
            # `jobq check` alone: the paused queue is a warning.
            self.assertEqual(code, 1 if block.strip() == "jobq check" else 0, f"{block}\n{output}")
        for expected in ("JOBQ WARNING", "verified: 500 jobs", "receipts", "nothing is lost", "500 jobs in 1 queue",
                         "before, "):
            self.assertIn(expected, seen)
        self.assertEqual(self.space.queue("receipts")["ready"], 500)


if __name__ == "__main__":
    unittest.main()
