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
    totals = {"expired_total": 0, "cancelled_total": 0, "ready": 0, "leased": 0, "scheduled": 0, "enqueued_total": len(orders)}
    surveys = [{"to": mailbox, "subject": f"How was it, order {number}?", "attempt": "1"} for number, mailbox in good.items()]
    run = {
        "answers.jsonl": [{"order": order["order"], "status": 202, "body": {"job": f"j{order['order']}"}, "tries": 1, "ms": 3}
                          for order in posts],
        "received.jsonl": [{"to": mailbox, "subject": f"Your receipt for order {number}",
                            "attempt": "2" if mailbox in for_a_while else "1"} for number, mailbox in good.items()],
        "dead.json": {"jobs": dead},
        "stats.json": {"queues": [{"name": "receipts", "acked_total": len(good), "dead": len(dead), **totals},
                                  {"name": "stock", "acked_total": len(orders), "dead": 0, **totals},
                                  {"name": "surveys", "acked_total": len(orders), "dead": 0, **totals}]},
    }
    run["received.jsonl"] += surveys
    run["taken"] = {str(order["order"]): "".join(f"{item['sku']} {item['quantity']}\n" for item in order["items"])
                    for order in posts}
    return run


_WAREHOUSES = []  # (what was taken, the directory with a file for each order): most runs have the same


def warehouse(taken):
    for known, directory in _WAREHOUSES:
        if known == taken:
            return directory.name
    directory = tempfile.TemporaryDirectory(prefix="jobq-warehouse.")
    _WAREHOUSES.append((dict(taken), directory))
    (pathlib.Path(directory.name) / "taken").mkdir()
    for name, content in taken.items():
        (pathlib.Path(directory.name) / "taken" / name).write_text(content, encoding="utf-8")
    return directory.name


def judge(run):
    with tempfile.TemporaryDirectory() as directory:
        (pathlib.Path(directory) / "warehouse").symlink_to(warehouse(run["taken"]))
        for name, content in run.items():
            if name == "taken":
                continue
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

    def test_a_question_that_was_never_asked_or_twice(self):
        first = next(mail for mail in self.run_data["received.jsonl"] if mail["subject"].startswith("How was it"))
        self.run_data["received.jsonl"].append(first)
        self.refused("not exactly one question how it was for orders [70001]")

    def test_a_mail_that_nobody_ordered(self):
        self.run_data["received.jsonl"].append({"to": "eve@customers.example", "subject": "Buy more", "attempt": "1"})
        self.refused("mails that nobody ordered")

    def test_goods_that_were_not_taken_or_other_ones(self):
        self.run_data["taken"].pop("70002")
        self.run_data["taken"]["70005"] += "SPOON 1\n"
        self.refused("the warehouse took something else than what was ordered for orders ['70002', '70005']")

    def test_goods_that_nobody_ordered(self):
        self.run_data["taken"]["99999"] = "SPOON 1\n"
        self.refused("the warehouse has taken what nobody ordered: ['99999']")

    def test_a_queue_that_is_not_there(self):
        self.run_data["stats.json"]["queues"].pop()
        self.refused("the queues are ['receipts', 'stock']")

    def test_counts_that_do_not_balance(self):
        self.run_data["stats.json"]["queues"][0]["acked_total"] -= 1
        self.refused("the queue's counts do not balance")

    def test_a_run_in_which_nothing_was_ever_tried_again(self):
        for mail in self.run_data["received.jsonl"]:
            mail["attempt"] = "1"
        self.refused("no receipt was ever tried again")


if __name__ == "__main__":
    unittest.main()
