#!/usr/bin/python3
"""Writes orders.jsonl and mailboxes.json next to itself: the input of the quickstart. The same files every time.

A thousand orders of 400 customers, one line of JSON each, just as the shop's web page would post it to /checkout. One
order stands in the file twice, as when a customer presses the button again. mailboxes.json tells smtp_server.py which
of the customers' mailboxes it refuses, for a while or for ever, and in which words.
"""

import json
import pathlib

HERE = pathlib.Path(__file__).resolve().parent
ORDERS, CUSTOMERS = 1000, 400
FIRST_ORDER = 70001
REPEATED_LINE, REPEAT_AFTER = 250, 500  # the 250th order comes again after the 500th
BUSY_CUSTOMERS = (13, 57, 101, 145, 189, 233, 277, 321)  # their mail server asks to come back later
CLOSED_CUSTOMERS = {  # will never take mail again, and say so each in their own way
    29: "550 5.1.1 <{}>: no such mailbox here",
    88: "550 5.2.1 <{}>: this mailbox is closed",
    174: "553 5.1.3 <{}>: that is not an address of ours",
    260: "550 5.7.1 <{}>: we take no mail from shops",
    399: "552 5.2.2 <{}>: mailbox full since 2019, nobody reads it",
}
FIRST_NAMES = ("ada", "alan", "barbara", "dennis", "edsger", "frances", "grace", "john", "ken", "leslie", "radia", "tony")
LAST_NAMES = ("adams", "berg", "costa", "dumas", "eriksen", "fischer", "garcia", "horvat", "ivanova", "jensen", "kowalski")
GOODS = (("TEA-250", 890), ("TEA-1000", 2990), ("POT-BLUE", 3450), ("CUP-2", 1290), ("CUP-6", 3290), ("HONEY", 750),
         ("FILTER-100", 420), ("SPOON", 310))


class Dice:
    """A generator of our own: the standard one may draw differently in another version of Python."""

    def __init__(self, seed):
        self.state = seed

    def below(self, limit):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 33) % limit


def mailbox(customer):
    first = FIRST_NAMES[customer % len(FIRST_NAMES)]
    last = LAST_NAMES[customer % len(LAST_NAMES)]
    return f"{first}.{last}.{customer}@customers.example"


def orders():
    dice = Dice(20)
    lines = []
    for number in range(ORDERS):
        # The first 400 orders are one of each customer, so that every mailbox occurs.
        customer = number if number < CUSTOMERS else dice.below(CUSTOMERS)
        items = []
        for sku, price_cents in (GOODS[dice.below(len(GOODS))] for _ in range(1 + dice.below(3))):
            items.append({"sku": sku, "quantity": 1 + dice.below(4), "price_cents": price_cents})
        lines.append({"order": FIRST_ORDER + number, "email": mailbox(customer), "items": items})
    lines.insert(REPEAT_AFTER, lines[REPEATED_LINE - 1])
    return lines


def mailboxes():
    return {
        "refused_for_a_while": {
            "seconds": 3,
            "mailboxes": {mailbox(c): f"451 4.7.1 <{mailbox(c)}>: greylisted, please try again later" for c in BUSY_CUSTOMERS},
        },
        "refused_for_ever": {mailbox(c): words.format(mailbox(c)) for c, words in CLOSED_CUSTOMERS.items()},
    }


def texts():
    """File name -> what belongs in it."""
    return {
        "orders.jsonl": "".join(json.dumps(order, separators=(",", ":")) + "\n" for order in orders()),
        "mailboxes.json": json.dumps(mailboxes(), indent=2) + "\n",
    }


if __name__ == "__main__":
    for name, text in texts().items():
        (HERE / name).write_text(text, encoding="utf-8")
