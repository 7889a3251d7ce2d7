#!/usr/bin/python3
"""The command line without a broker, and with one that says what a real one rarely does: usage, messages, exit codes."""

import json
import os
import pathlib
import pty
import subprocess
import time
import unittest

from processes import Workspace, program
from scripted_broker import SILENCE, Refusal, ScriptedBroker

OK, REFUSED, USAGE, NO_INPUT, NO_BROKER, INTERNAL, TRY_AGAIN = 0, 1, 64, 66, 69, 70, 75
COMMANDS = ["stats", "enqueue", "job", "job show", "job why", "job retry", "job snooze", "job cancel", "dead", "dead ls",
            "dead summary", "dead show", "dead export", "dead redrive", "dead purge", "queue", "queue ls", "queue show",
            "queue set", "queue pause", "queue resume", "queue purge", "queue rm", "worker", "worker ls", "worker show",
            "worker drain", "task", "task ls", "task cancel", "events", "ping", "check", "backup", "restore",
            "compact", "top"]


class CliCase(unittest.TestCase):
    def setUp(self):
        self.space = self.enterContext(Workspace())

    def jobq(self, *arguments, stdin="", env=None):
        return subprocess.run([program("JOBQ_CLI"), *map(str, arguments)], input=stdin, capture_output=True, text=True,
                              check=False, timeout=60,
                              env={**os.environ, "JOBQ_ENDPOINT": self.space.endpoint, "TZ": "Europe/Berlin", **(env or {})})

    def expect(self, code, *arguments, says=(), stdin="", env=None):
        done = self.jobq(*arguments, stdin=stdin, env=env)
        shown = f"jobq {' '.join(map(str, arguments))}\n{done.stdout}\n{done.stderr}"
        self.assertEqual(done.returncode, code, shown)
        for part in [says] if isinstance(says, str) else says:
            self.assertIn(part, done.stdout + done.stderr, shown)
        if code not in (OK, REFUSED):
            self.assertTrue(done.stderr.startswith("jobq: "), shown)
            self.assertEqual(done.stdout, "", shown)
        return done


class Usage(CliCase):
    def test_every_command_has_help_with_an_example(self):
        for command in COMMANDS:
            with self.subTest(command):
                done = self.expect(OK, *command.split(), "--help", says=["Examples:", f"jobq {command.split()[0]}"])
                self.assertEqual(done.stderr, "")
        self.expect(OK, "--help", says=["Exit codes:", "Examples:"])

    def test_version(self):
        self.assertRegex(self.expect(OK, "--version").stdout, r"^jobq \d+\.\d+\.\d+\n$")

    def test_wrong_command_lines_are_refused_with_the_remedy(self):
        for arguments, says in [
            ([], "--help"),
            (["frobnicate"], "frobnicate"),
            (["stat"], "did you mean 'stats'?"),
            (["stats", "--frobnicate"], ["--frobnicate", "`jobq stats --help`"]),
            (["dead", "redrive", "q", "--dry-rum", "5"], ["--dry-rum", "did you mean '--dry-run'?"]),
            (["enqueue"], ["QUEUE", "`jobq enqueue --help`"]),
            (["job"], "`jobq job --help`"),
            (["job", "show"], ["ID", "`jobq job show --help`"]),
            (["job", "show", "42"], "'42' is not a job id"),
            (["job", "cancel", "J1A7"], "is not a job id"),
            (["queue", "set", "receipts"], "NAME=VALUE"),
            (["queue", "set", "receipts", "lease"], "'lease' is not NAME=VALUE"),
            (["queue", "set", "receipts", "lease=30"], "30 of what?"),
            (["queue", "set", "receipts", "max_jobs=many"], "whole number"),
            (["dead", "redrive", "receipts", "--min-age", "old"], "'old' is not a duration"),
            (["dead", "redrive", "receipts", "--limit", "-3"], "--limit"),
            (["task", "x"], "TASK"),
            (["stats", "--every", "x", "--watch"], "--every"),
            (["--endpoint", "localhost:7710", "stats"], "tcp://HOST:PORT"),
            (["--endpoint", "tcp://127.0.0.1:99999", "stats"], "tcp://HOST:PORT"),
            (["--timeout", "5", "stats"], "5 of what?"),
            (["--timeout", "0", "stats"], "no time"),
        ]:
            with self.subTest(arguments):
                self.expect(USAGE, *arguments, says=says)

    def test_wrong_jobs_are_refused_before_anything_is_sent(self):
        for arguments, says in [
            (["a/b"], "'a/b' cannot be the name of a queue"),
            (["q", "--type", "a b"], "'a b' cannot be a type"),
            (["q", "--priority", "10"], "--priority"),
            (["q", "--priority", "high"], "--priority"),
            (["q", "--delay", "5"], "5 of what?"),
            (["q", "--at", "tomorrow"], ["'tomorrow' is not a time", "--delay"]),
            (["q", "--at", "2026-10-25 02:30"], "comes twice in Europe/Berlin"),
            (["q", "--delay", "5m", "--at", "2026-11-23"], "--delay and --at"),
            (["q", "--expires", "never"], "--expires"),
            (["q", "--unique-for", "1h"], "--key"),
            (["q", "--max-attempts", "0"], "--max-attempts"),
            (["q", "--max-run", "30d"], "--max-run"),
            (["q", "--header", "novalue"], "NAME=VALUE"),
            (["q", "--header", "big=" + "x" * 5000], "too many"),
            (["q", "--key", "k" * 300], "300 bytes"),
            (["q", "--key", ""], "empty key"),
            (["q", "--body", "x", "--lines"], "one of them"),
            (["q", "--body", "x", "--body-file", "f"], "one of them"),
            (["q", "--lines", "--key", "k"], "one job of all lines"),
        ]:
            with self.subTest(arguments):
                self.expect(USAGE, "enqueue", *arguments, says=says)

    def test_a_body_file_that_cannot_be_read_is_named(self):
        missing = pathlib.Path(self.space.directory) / "missing"
        self.expect(NO_INPUT, "enqueue", "q", "--body-file", missing, says=[str(missing), "No such file"])
        self.expect(NO_INPUT, "enqueue", "q", "--body-file", self.space.directory, says="directory")

    def test_without_a_body_a_terminal_is_told_what_to_give(self):
        main, other = pty.openpty()
        done = subprocess.run([program("JOBQ_CLI"), "enqueue", "q"], stdin=other, capture_output=True, text=True, check=False,
                              timeout=60)
        os.close(main)
        os.close(other)
        self.assertEqual(done.returncode, USAGE)
        self.assertIn("--body TEXT", done.stderr)


class NoBroker(CliCase):
    def test_no_broker_is_an_exit_code_of_its_own_and_names_the_endpoint(self):
        for arguments in (["stats"], ["ping"], ["queue", "ls"], ["job", "show", "j1"], ["enqueue", "q", "--body", "x"],
                          ["dead", "ls", "q"], ["worker", "ls"], ["queue", "purge", "q", "--yes"]):
            with self.subTest(arguments):
                begun = time.monotonic()
                self.expect(NO_BROKER, "--timeout", "300ms", *arguments, says=self.space.endpoint)
                self.assertLess(time.monotonic() - begun, 20)

    def test_lines_that_no_broker_takes_are_not_called_jobs(self):
        done = self.expect(NO_BROKER, "enqueue", "q", "--lines", "--timeout", "300ms", stdin="a\nb\n",
                           says=self.space.endpoint)
        self.assertEqual(done.stdout, "")

    def test_the_endpoint_of_the_option_wins_over_the_environment(self):
        self.expect(NO_BROKER, "stats", "--timeout", "200ms", "--endpoint", f"ipc://{self.space.directory}/other", says="/other")


class Scripted(CliCase):
    def setUp(self):
        super().setUp()
        self.broker = self.enterContext(ScriptedBroker(self.space.endpoint))

    def test_a_broker_that_says_nothing_leaves_the_outcome_unknown(self):
        self.broker.enqueue = lambda jobs: SILENCE
        self.expect(TRY_AGAIN, "enqueue", "q", "--body", "x", "--timeout", "500ms", says="not known")
        self.broker.admin["queue.purge"] = SILENCE
        self.broker.admin["queue.show"] = {"queue": {"name": "q", "ready": 1}}
        self.expect(TRY_AGAIN, "queue", "purge", "q", "--yes", "--timeout", "500ms")

    def test_refusals_that_waiting_helps_against_say_so(self):
        for code in (201, 202, 203, 204, 217):
            with self.subTest(code):
                self.broker.enqueue = lambda jobs, code=code: [[2, code, 100]] * len(jobs)
                self.expect(TRY_AGAIN, "enqueue", "q", "--body", "x")

    def test_refusals_for_good(self):
        for code in (200, 205, 212, 107):
            with self.subTest(code):
                self.broker.enqueue = lambda jobs, code=code: [[2, code, 0]] * len(jobs)
                self.expect(REFUSED, "enqueue", "q", "--body", "x")

    def test_a_fault_of_the_broker_is_told_apart(self):
        self.broker.admin["stats"] = Refusal(500, "the engine has tripped")
        self.expect(INTERNAL, "stats", says="the engine has tripped")

    def test_an_older_broker_that_does_not_know_a_verb(self):
        self.expect(REFUSED, "worker", "ls", says="worker.ls")

    def test_a_queue_that_does_not_exist_gets_the_nearest_names(self):
        self.broker.admin["dead.ls"] = Refusal(200, "")
        self.broker.admin["queue.ls"] = {"queues": [{"name": "emails"}, {"name": "receipts"}]}
        self.expect(REFUSED, "dead", "ls", "recipts",
                    says="no queue is called 'recipts'; there are: receipts, emails. `jobq queue ls` lists them")

    def test_a_document_of_another_shape_does_not_break_the_view(self):
        self.broker.admin["stats"] = {"queues": [{"name": "q", "ready": "many", "new_field": [1]}], "problems": None}
        self.expect(OK, "stats", says="no problems")

    def test_what_others_wrote_cannot_move_the_cursor(self):
        self.broker.admin["dead.ls"] = {"jobs": [{"id": "j1", "error": "\x1b[2Jboo\nsecond line"}], "next": None}
        done = self.expect(OK, "dead", "ls", "q", says="\\x1b[2Jboo\\nsecond line")
        self.assertNotIn("\x1b", done.stdout)

    def test_a_duplicate_is_a_success_that_is_told(self):
        self.broker.enqueue = lambda jobs: [[1, "j1a7", 3, True]] * len(jobs)
        done = self.expect(OK, "enqueue", "q", "--key", "k", "--body", "x", says=["'k' is held by j1a7 (dead)", "another one"])
        self.assertEqual(done.stdout, "j1a7\n")
        done = self.expect(OK, "enqueue", "q", "--key", "k", "--body", "x", "--json")
        self.assertEqual(json.loads(done.stdout), {"id": "j1a7", "outcome": "duplicate", "state": "dead", "body_differs": True})

    def test_check_of_stats_is_for_monitoring(self):
        self.broker.admin["stats"] = {"queues": [], "problems": [
            {"kind": "no_worker", "severity": "critical", "queue": "q", "text": "9 jobs and no worker", "remedy": "start one"}]}
        self.expect(OK, "stats", says=["1 problem\n", "CRITICAL  q: 9 jobs and no worker", "-> start one"])
        self.expect(REFUSED, "stats", "--check", says="9 jobs and no worker")

    def test_a_purge_without_yes_says_what_it_would_do(self):
        self.broker.admin["queue.show"] = {"queue": {"name": "q", "ready": 1200, "scheduled": 3}}
        self.expect(REFUSED, "queue", "purge", "q", says=["1,200 ready and 3 scheduled", "--yes"])
        self.broker.admin["dead.redrive"] = {"task": {"task": 1, "kind": "redrive", "state": "done", "scanned": 7, "moved": 4,
                                                      "skipped_expired": 1, "dry_run": True}}
        self.expect(REFUSED, "dead", "purge", "q", says=["5 of 7 dead jobs", "--yes"])
        self.expect(OK, "dead", "purge", "q", "--dry-run", says="5 of 7 dead jobs")
        self.assertNotIn("dead.purge", [fields[0] for kind, fields in self.broker.requests if kind == 13])

    def test_lines_are_offered_again_when_the_queue_is_full_and_keep_their_order(self):
        taken, refusals = [], [3]

        def enqueue(jobs):
            results = []
            for job in jobs:
                if refusals[0] > 0:
                    refusals[0] -= 1
                    results.append([2, 201, 20])
                else:
                    taken.append(job[1])
                    results.append([0, f"j{len(taken)}", 1])
            return results

        self.broker.enqueue = enqueue
        lines = [f"line {number}" for number in range(200)]
        done = self.expect(OK, "enqueue", "q", "--lines", stdin="\n".join(lines))
        self.assertEqual(sorted(taken), sorted(line.encode() for line in lines))
        ids = done.stdout.split()
        self.assertEqual([taken[int(number[1:]) - 1].decode() for number in ids], lines)

    def test_a_line_that_is_too_large_leaves_a_gap_and_the_others_go_on(self):
        self.broker.enqueue = lambda jobs: [[2, 205, 0] if len(job[1]) > 3 else [0, "j7", 1] for job in jobs]
        done = self.jobq("enqueue", "q", "--lines", stdin="a\ntoolong\nb\n")
        self.assertEqual(done.returncode, REFUSED, done.stderr)
        self.assertEqual(done.stdout, "j7\n-\nj7\n")
        self.assertIn("line 2: refused", done.stderr)

    def test_a_refusal_that_concerns_all_lines_ends_the_run(self):
        self.broker.enqueue = lambda jobs: [[2, 200, 0]] * len(jobs)
        done = self.jobq("enqueue", "q", "--lines", stdin="a\nb\n" * 50_000)
        self.assertEqual(done.returncode, REFUSED, done.stderr)
        self.assertIn("stopped at line 1", done.stderr)
        self.assertLess(len(done.stderr.splitlines()), 10)

    def test_lines_whose_outcome_is_unknown_are_not_sent_as_new_jobs(self):
        self.broker.enqueue = lambda jobs: SILENCE
        done = self.jobq("enqueue", "q", "--lines", "--timeout", "500ms", stdin="a\nb\n")
        self.assertEqual(done.returncode, TRY_AGAIN, done.stderr)
        self.assertIn("of 2 it is not known whether they were stored", done.stderr)
        sequences = {fields[1] for kind, fields in self.broker.requests if kind == 5}
        self.assertLessEqual(len(sequences), 2)

    def test_lines_as_json(self):
        self.broker.enqueue = lambda jobs: [[1, "j9", 1, False] if job[1] == b"b" else [0, "j8", 1] for job in jobs]
        done = self.expect(OK, "enqueue", "q", "--lines", "--json", stdin="a\nb\n")
        self.assertEqual([json.loads(line) for line in done.stdout.splitlines()],
                         [{"line": 1, "outcome": "created", "id": "j8"}, {"line": 2, "outcome": "duplicate", "id": "j9"}])

    def test_each_line_is_confirmed_as_it_comes(self):
        child = subprocess.Popen([program("JOBQ_CLI"), "--endpoint", self.space.endpoint, "enqueue", "q", "--lines"],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for number in range(3):
            child.stdin.write(f"line {number}\n")
            child.stdin.flush()
            self.assertEqual(child.stdout.readline(), "j1\n")  # While the stream stays open.
        child.stdin.close()
        self.assertEqual(child.wait(30), OK)
        child.stdout.close()


if __name__ == "__main__":
    unittest.main()
