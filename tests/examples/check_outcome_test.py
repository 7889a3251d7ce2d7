#!/usr/bin/python3
"""The quickstart's own judge (check_outcome.py) notices each way in which the shop could break its promises."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

SHOP = pathlib.Path(__file__).resolve().parents[2] / "examples" / "shop"


def perfect_run():
    """What a run without a fault leaves behind."""
    posts = [json.loads(line) for line in (SHOP / "orders.jsonl").read_text(encoding="utf-8").splitlines()]
    refusals = json.loads((SHOP / "mailboxes.json").read_text(encoding="utf-8"))
    for_a_while, for_ever = refusals["refused_for_a_while"]["mailboxes"], refusals["refused_for_ever"]
    orders = {order["order"]: order["email"] for order in posts}
    good = {number: mailbox for number, mailbox in orders.items() if mailbox not in for_ever}
    dead = [{"id": f"j{number}", "error": for_ever[mailbox]} for number, mailbox in orders.items() if mailbox in for_ever]
    return {
        "answers.jsonl": [{"order": order["order"], "status": 202, "body": {"job": f"j{order['order']}"}, "tries": 1, "ms": 3}
                          for order in posts],
        "received.jsonl": [{"to": mailbox, "subject": f"Your receipt for order {number}",
                            "attempt": "2" if mailbox in for_a_while else "1"} for number, mailbox in good.items()],
        "dead.json": {"jobs": dead},
        "stats.json": {"queues": [{"enqueued_total": len(orders), "acked_total": len(good), "expired_total": 0,
                                   "cancelled_total": 0, "ready": 0, "leased": 0, "scheduled": 0, "dead": len(dead)}]},
    }


def judge(run):
    with tempfile.TemporaryDirectory() as directory:
        for name, content in run.items():
            text = "".join(json.dumps(row) + "\n" for row in content) if name.endswith("l") else json.dumps(content)
            (pathlib.Path(directory) / name).write_text(text, encoding="utf-8")
        done = subprocess.run([sys.executable, SHOP / "check_outcome.py", directory], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


class CheckOutcome(unittest.TestCase):
    def setUp(self):
        self.run_data = perfect_run()

    def refused(self, words):
        code, output = judge(self.run_data)
        self.assertEqual(code, 1, output)
        self.assertIn(f"WRONG: {words}", output)
        self.assertNotIn("OK:", output)

    def test_a_run_without_a_fault_is_ok(self):
        code, output = judge(self.run_data)
        self.assertEqual(code, 0, output)
        self.assertIn("OK: every order was answered", output)

    def test_an_order_without_an_answer(self):
        self.run_data["answers.jsonl"][17]["status"] = 503
        self.refused("1 of 1001 posts got no 202")

    def test_a_lost_receipt(self):
        del self.run_data["received.jsonl"][3]
        self.refused("receipts missing for orders [70004]")

    def test_a_receipt_sent_twice(self):
        self.run_data["received.jsonl"].append(self.run_data["received.jsonl"][0])
        self.refused("more than one receipt for orders [70001]")

    def test_a_receipt_in_the_wrong_mailbox(self):
        self.run_data["received.jsonl"][0]["to"] = "eve@customers.example"
        self.refused("receipts in the wrong mailbox for orders [70001]")

    def test_a_second_job_for_the_order_that_was_posted_twice(self):
        again = [answer for answer in self.run_data["answers.jsonl"] if answer["order"] == 70250][1]
        again["body"] = {"job": "j-another"}
        self.refused("order 70250, posted twice: 2 jobs, 1 receipts")

    def test_a_refused_receipt_that_is_not_among_the_dead(self):
        self.run_data["dead.json"]["jobs"].pop()
        self.refused("")

    def test_dead_receipts_without_the_servers_words(self):
        self.run_data["dead.json"]["jobs"][0]["error"] = "mail failed"
        self.refused("dead receipts do not carry the server's words")

    def test_counts_that_do_not_balance(self):
        self.run_data["stats.json"]["queues"][0]["acked_total"] -= 1
        self.refused("the queue's counts do not balance")

    def test_a_run_in_which_nothing_was_ever_tried_again(self):
        for mail in self.run_data["received.jsonl"]:
            mail["attempt"] = "1"
        self.refused("no receipt was ever tried again")


if __name__ == "__main__":
    unittest.main()
