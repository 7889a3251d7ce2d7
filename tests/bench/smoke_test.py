#!/usr/bin/python3
"""The benchmarks run and report: every case once, small and short. What they measure is asserted nowhere."""

import json
import os
import pathlib
import subprocess
import sys
import unittest

SHORT = ["--json", "--seconds", "0.3", "--warm-up", "0.1"]
SMALL = ["--backlog", "2000", "--window", "200", "--peers", "10", "--held", "300", "--minutes", "0.01"]
PROCESS_FIELDS = {"broker_cpu_us", "rss_anon_mb"}
FIELDS_OF = {"churn": {"cpu_last_to_first", "disk_mb_first", "disk_mb_last"},
             "refill": {"disk_mb_full", "disk_mb_drained", "disk_mb_refilled"}}


def output_of(command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout


def row_of(command):
    return json.loads(output_of(command))


class Smoke(unittest.TestCase):
    def test_the_bare_loop(self):
        for mode in ("cycle", "enqueue", "sync", "latency"):
            with self.subTest(mode=mode):
                row = row_of([os.environ["JOBQ_BARE_LOOP"], "--mode", mode, *SHORT])
                self.assertGreater(row["jobs"], 0)
                self.assertGreater(row["commits_per_s"], 0)
                self.assertLessEqual(PROCESS_FIELDS, row.keys())

    def test_idle_clients_of_the_bare_loop(self):
        row = row_of([os.environ["JOBQ_BARE_LOOP"], "--mode", "idle", "--peers", "10", *SHORT])
        self.assertIn("broker_cpu_percent", row)

    def test_plain_writes(self):
        row = row_of([os.environ["JOBQ_PLAIN_WRITES"], "--body", "4096", *SHORT])
        self.assertGreater(row["mb_per_s"], 0)
        self.assertGreater(row["confirm_p50_us"], 0)

    def test_the_peers_are_known_without_being_there(self):
        run = pathlib.Path(os.environ["JOBQ_SOURCE_ROOT"]) / "bench" / "peers" / "run.py"
        lines = output_of([sys.executable, str(run), "--build", os.environ["JOBQ_BUILD_ROOT"], "--list"]).splitlines()
        self.assertGreaterEqual(len(lines), 6)
        for line in lines:
            self.assertRegex(line, "ready|apt-get install|npm install")

    def test_every_case_of_the_broker(self):
        program = os.environ["JOBQ_BENCH_BROKER"]
        names = [line.split()[0] for line in output_of([program, "--list"]).splitlines()]
        self.assertIn("packed", names)
        for name in names:
            with self.subTest(case=name):
                command = [program, "--broker", os.environ["JOBQ_BROKER"], "--case", name, *SHORT, *SMALL]
                if name in ("deliver", "restart"):
                    row = row_of(command)  # what there was may be gone before it is counted
                    self.assertIn("rss_anon_mb", row)
                    self.assertEqual("first_delivery_ms" in row, name == "restart")
                    continue
                if name == "idle":
                    self.assertIn("broker_cpu_percent", row_of(command))
                    continue
                row = row_of(command)
                self.assertGreater(row["jobs"], 0)
                self.assertEqual(row.get("refused", 0), 0)
                self.assertLessEqual(FIELDS_OF.get(name, PROCESS_FIELDS), row.keys())

    def test_the_table(self):
        compare = pathlib.Path(os.environ["JOBQ_SOURCE_ROOT"]) / "bench" / "compare.py"
        text = output_of([sys.executable, str(compare), "--build", os.environ["JOBQ_BUILD_ROOT"], "--json", "--pairs", "2",
                          "--seconds", "0.4", "--warm-up", "0.2", "--only", "single / bare"])
        about, row = [json.loads(line) for line in text.splitlines()]
        self.assertIn("processor", about["machine"])
        self.assertEqual(row["row"], "single / bare")
        self.assertLessEqual({"ratio", "low", "high", "ratio_to_bare", "broker_cpu_us", "commits_per_s", "disk_waits_per_job"}, row.keys())


if __name__ == "__main__":
    unittest.main()
