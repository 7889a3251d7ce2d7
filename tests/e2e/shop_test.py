#!/usr/bin/python3
"""The shop from its customers' side: what it answers to good orders, bad ones, and when the broker is away; and that the
receipts reach the mail server, or die with its words."""

import json
import os
import pathlib
import time
import unittest

from processes import Workspace, http_request, program, wait_until

SHOP = pathlib.Path(__file__).resolve().parents[2] / "examples" / "shop"
GOOD = {"order": 1, "email": "ada@customers.example", "items": [{"sku": "TEA", "quantity": 2, "price_cents": 350}]}
REFUSALS = {
    "refused_for_a_while": {"seconds": 0.5, "mailboxes": {"busy@customers.example": "451 4.7.1 greylisted, come again"}},
    "refused_for_ever": {"closed@customers.example": "550 5.1.1 no such mailbox here"},
}


class Shop(unittest.TestCase):
    def setUp(self):
        self.space = self.enterContext(Workspace())
        self.broker = self.space.broker()
        self.port = self.listening("shop", program("JOBQ_SHOP_SERVER"), "--endpoint", self.space.endpoint, "--survey-after", 0.5)

    def listening(self, name, *command):
        port_file = self.space.directory / f"{name}.port"
        process = self.space.start(name, *command, "--port", 0, "--port-file", port_file)
        wait_until(lambda: port_file.exists() or not process.running(), f"{name} listens")
        self.assertTrue(port_file.exists(), process.output())
        return int(port_file.read_text())

    def start_mail(self):
        mailboxes = self.space.directory / "mailboxes.json"
        mailboxes.write_text(json.dumps(REFUSALS))
        self.received = self.space.directory / "received.jsonl"
        port = self.listening("mail", "/usr/bin/python3", SHOP / "smtp_server.py", "--received", self.received,
                              "--mailboxes", mailboxes)
        self.space.jobq("queue", "set", "receipts", "backoff_min=100ms", "backoff_max=500ms").check_returncode()
        self.worker = self.space.start("worker", program("JOBQ_RECEIPT_WORKER"), "--endpoint", self.space.endpoint,
                                       "--mail-server", f"smtp://127.0.0.1:{port}", "--concurrency", 2)

    def post(self, order, **headers):
        body = order if isinstance(order, (str, bytes)) else json.dumps(order)
        return http_request(self.port, "POST", "/checkout", body, {"Content-Type": "application/json", **headers})

    def mails(self, subject=""):
        mails = [json.loads(line) for line in self.received.read_text().splitlines()]
        return [mail for mail in mails if mail["subject"].startswith(subject)]

    def test_a_good_order_is_accepted_with_its_job(self):
        status, _, body = self.post(GOOD)
        self.assertEqual(status, 202)
        self.assertEqual((body["order"], body["duplicate"], body["total"]), (1, False, "7.00"))
        shown = self.space.jobq_json("job", "show", body["job"])["job"]
        self.assertEqual((shown["queue"], shown["type"], shown["state"]), ("receipts", "SendReceipt", "ready"))

    def test_an_order_posted_twice_is_one_job(self):
        first, second = self.post(GOOD)[2], self.post(GOOD)
        self.assertEqual(second[0], 202)
        self.assertEqual((second[2]["job"], second[2]["duplicate"]), (first["job"], True))
        self.assertEqual(self.space.queue("receipts")["ready"], 1)

    def test_the_same_number_with_another_content_is_a_conflict(self):
        self.post(GOOD)
        status, _, body = self.post({**GOOD, "email": "eve@customers.example"})
        self.assertEqual(status, 409)
        self.assertIn("order 1 was posted before", body["error"])
        self.assertEqual(self.space.queue("receipts")["ready"], 1)

    def test_bad_orders_are_refused_with_the_field_and_the_reason(self):
        for status, field, order in (
                (400, "", "{not json"),
                (422, "", "[1]"),
                (422, "order", {**GOOD, "order": 0}),
                (422, "email", {**GOOD, "email": "nobody"}),
                (422, "items", {**GOOD, "items": []}),
                (422, "items[0].quantity", {**GOOD, "items": [{"sku": "TEA", "quantity": 0, "price_cents": 1}]})):
            with self.subTest(order=order):
                got, _, body = self.post(order)
                self.assertEqual((got, body["field"]), (status, field))
                self.assertTrue(body["error"])
        self.assertIsNone(self.space.queue("receipts"), "a refused order left something in the queue")

    def test_http_errors_are_json_too(self):
        self.assertEqual(http_request(self.port, "GET", "/healthz")[0::2], (200, {"status": "ok"}))
        status, _, body = http_request(self.port, "GET", "/nowhere")
        self.assertEqual((status, body), (404, {"error": "there is no GET /nowhere"}))
        self.assertEqual(http_request(self.port, "GET", "/checkout")[0], 404)
        status, _, body = self.post(" " * 70_000)
        self.assertEqual(status, 413)
        self.assertIn("65536 bytes", body["error"])

    def test_without_a_broker_the_customer_is_told_to_come_again_before_long(self):
        self.broker.kill()
        begun = time.monotonic()
        status, headers, body = self.post(GOOD)
        self.assertEqual((status, headers["Retry-After"]), (503, "1"))
        self.assertIn("post it again", body["error"])
        self.assertLess(time.monotonic() - begun, 10)
        self.broker.start()
        self.assertEqual(self.post(GOOD)[0], 202)
        self.assertEqual(self.space.queue("receipts")["ready"], 1)

    def test_a_second_shop_on_the_port_says_so(self):
        second = self.space.start("second", program("JOBQ_SHOP_SERVER"), "--endpoint", self.space.endpoint, "--port", self.port)
        self.assertEqual(second.wait(), 1)
        self.assertIn("choose another with --port", second.output().lower())

    def test_receipts_are_sent_refused_later_or_dead_with_the_servers_words(self):
        self.start_mail()
        for number, mailbox in enumerate(("ada", "busy", "closed"), 1):
            self.assertEqual(self.post({**GOOD, "order": number, "email": f"{mailbox}@customers.example"})[0], 202)

        def all_done():
            queue = self.space.queue("receipts")
            return queue["acked_total"] == 2 and queue["dead"] == 1
        wait_until(all_done, "two receipts are sent and one is dead")
        mails = {mail["to"]: mail for mail in self.mails("Your receipt")}
        self.assertEqual(sorted(mails), ["ada@customers.example", "busy@customers.example"])
        self.assertEqual(len(self.mails("Your receipt")), 2)
        self.assertEqual(mails["ada@customers.example"]["message_id"], "<receipt-1@shop.example>")
        self.assertIn("2 x TEA", mails["ada@customers.example"]["text"])
        self.assertGreater(int(mails["busy@customers.example"]["attempt"]), 1)
        dead = self.space.jobq_json("dead", "ls", "receipts")["jobs"]
        self.assertEqual([job["error"] for job in dead], ["550 5.1.1 no such mailbox here"])
        self.assertEqual(self.worker.stop(), 0)

    def start_warehouse(self, *articles):
        self.warehouse = self.space.directory / "warehouse"
        self.warehouse.mkdir()
        (self.warehouse / "articles").write_text("".join(f"{article}\n" for article in articles))
        return self.space.start("warehouse", program("JOBQ_WORKER"), "--endpoint", self.space.endpoint, "--queue", "stock",
                                "--concurrency", 4, "--", SHOP / "take_from_stock.sh", self.warehouse)

    def taken(self, order):
        path = self.warehouse / "taken" / str(order)
        return path.read_text() if path.exists() else None

    def test_the_warehouse_takes_what_was_ordered_once(self):
        worker = self.start_warehouse("TEA", "CUP")
        items = [{"sku": "TEA", "quantity": 2, "price_cents": 350}, {"sku": "CUP", "quantity": 1, "price_cents": 100}]
        self.post({**GOOD, "items": items})
        wait_until(lambda: self.space.queue("stock")["acked_total"] == 1, "the goods are taken")
        self.assertEqual(self.taken(1), "TEA 2\nCUP 1\n")
        # The same job once more, as after a crash between the work and its ack.
        self.space.jobq("enqueue", "stock", "--header", "order=1", "--body", "TEA 2\nCUP 1\n").check_returncode()
        wait_until(lambda: self.space.queue("stock")["acked_total"] == 2, "it is done again")
        self.assertEqual([path.name for path in (self.warehouse / "taken").iterdir()], ["1"])
        self.assertEqual(worker.stop(), 0)

    def test_an_unknown_article_is_a_dead_letter_that_can_be_worked_through(self):
        self.start_warehouse("TEA")
        for number in (1, 2, 3):
            self.post({**GOOD, "order": number, "items": [{"sku": "SPOON", "quantity": number, "price_cents": 1}]})
        wait_until(lambda: self.space.queue("stock")["dead"] == 3, "three are dead")
        self.assertIsNone(self.taken(1))
        errors = {job["error"] for job in self.space.jobq_json("dead", "ls", "stock")["jobs"]}
        self.assertEqual(errors, {"no article SPOON in the warehouse's list"})
        with open(self.warehouse / "articles", "a", encoding="utf-8") as articles:
            articles.write("SPOON\n")
        self.space.jobq("dead", "redrive", "stock", "--error", "SPOON").check_returncode()
        wait_until(lambda: self.space.queue("stock")["acked_total"] == 3, "they are done")
        self.assertEqual([self.taken(number) for number in (1, 2, 3)], ["SPOON 1\n", "SPOON 2\n", "SPOON 3\n"])

    def test_customers_are_asked_how_it_was_a_while_later_and_once(self):
        self.start_mail()
        self.space.jobq("queue", "set", "surveys", "backoff_min=100ms", "backoff_max=500ms").check_returncode()
        for number, mailbox in enumerate(("ada", "busy", "closed"), 1):
            self.post({**GOOD, "order": number, "email": f"{mailbox}@customers.example"})
        self.post({**GOOD, "order": 1})
        wait_until(lambda: self.space.queue("surveys")["acked_total"] == 3, "all questions are asked or dropped")
        asked = self.mails("How was it")
        self.assertEqual(sorted(mail["subject"] for mail in asked), ["How was it, order 1?", "How was it, order 2?"])
        self.assertEqual(self.space.queue("surveys")["dead"], 0, "nobody has to look after a question")

    def test_an_order_posted_again_after_its_receipt_was_sent_sends_no_second_one(self):
        self.start_mail()
        first = self.post(GOOD)[2]
        wait_until(lambda: self.space.queue("receipts")["acked_total"] == 1, "the receipt is sent")
        status, _, again = self.post(GOOD)
        self.assertEqual((status, again["job"], again["duplicate"]), (202, first["job"], True))
        self.assertEqual(len(self.mails("Your receipt")), 1)


if __name__ == "__main__":
    unittest.main()
