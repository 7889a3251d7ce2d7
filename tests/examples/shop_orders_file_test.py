#!/usr/bin/python3
"""examples/shop/orders.jsonl and mailboxes.json are what make_orders.py writes, and hold what the quickstart needs."""

import collections
import json
import pathlib
import sys
import unittest

SHOP = pathlib.Path(__file__).resolve().parents[2] / "examples" / "shop"
sys.path.insert(0, str(SHOP))
sys.dont_write_bytecode = True
import make_orders  # noqa: E402


class OrdersFile(unittest.TestCase):
    def test_the_files_are_what_the_script_writes(self):
        for name, text in make_orders.texts().items():
            self.assertEqual((SHOP / name).read_text(encoding="utf-8"), text, f"run examples/shop/make_orders.py ({name})")

    def test_a_thousand_orders_and_one_comes_twice(self):
        orders = [json.loads(line) for line in (SHOP / "orders.jsonl").read_text(encoding="utf-8").splitlines()]
        counted = collections.Counter(order["order"] for order in orders)
        self.assertEqual(len(counted), 1000)
        self.assertEqual(sorted(counted.values())[-2:], [1, 2])

    def test_every_refused_mailbox_occurs(self):
        orders = (SHOP / "orders.jsonl").read_text(encoding="utf-8")
        refusals = json.loads((SHOP / "mailboxes.json").read_text(encoding="utf-8"))
        mailboxes = [*refusals["refused_for_a_while"]["mailboxes"], *refusals["refused_for_ever"]]
        self.assertEqual(len(mailboxes), 13)
        for mailbox in mailboxes:
            self.assertIn(f'"{mailbox}"', orders)


if __name__ == "__main__":
    unittest.main()
