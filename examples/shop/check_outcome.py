#!/usr/bin/python3
"""Says whether the quickstart kept its promises: orders against answers, mails and dead jobs.

  check_outcome.py DIR

DIR holds answers.jsonl (post_orders.py), received.jsonl (smtp_server.py), dead.json and stats.json (jobq), warehouse/taken/
(take_from_stock.sh). Prints a few lines for people; exits 1 when something is lost, doubled or wrong.
"""

import collections
import json
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
RECEIPT, SURVEY = r"Your receipt for order (\d+)", r"How was it, order (\d+)\?"


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class Outcome:
    def __init__(self, directory):
        self.posts = rows(HERE / "orders.jsonl")
        self.mailbox = {order["order"]: order["email"] for order in self.posts}
        refusals = json.loads((HERE / "mailboxes.json").read_text(encoding="utf-8"))
        self.for_a_while = refusals["refused_for_a_while"]["mailboxes"]
        self.for_ever = refusals["refused_for_ever"]
        self.answers = rows(directory / "answers.jsonl")
        self.mails = rows(directory / "received.jsonl")
        self.dead = json.loads((directory / "dead.json").read_text(encoding="utf-8"))["jobs"]
        self.queues = json.loads((directory / "stats.json").read_text(encoding="utf-8"))["queues"]
        self.taken = {path.name: path.read_text(encoding="utf-8") for path in (directory / "warehouse" / "taken").glob("[!.]*")}
        self.wrong = []

    def expect(self, holds, complaint):
        if not holds:
            self.wrong.append(complaint)
        return holds

    def line(self, what, text):
        print(f"  {what:<24}{text}")

    def orders_answered(self):
        accepted = [answer for answer in self.answers if answer["status"] == 202]
        again = sum(answer["tries"] > 1 for answer in self.answers)
        slowest = max((answer["ms"] for answer in self.answers), default=0)
        self.expect(len(accepted) == len(self.posts),
                    f"{len(self.posts) - len(accepted)} of {len(self.posts)} posts got no 202")
        self.line("orders answered", f"{len(accepted):,} of {len(self.posts):,} posts; the slowest took {slowest:,} ms, "
                                     f"{again} were posted again after a 503")

    def twice_posted_order(self):
        counted = collections.Counter(order["order"] for order in self.posts)
        for number in (number for number, times in counted.items() if times > 1):
            jobs = {answer["body"].get("job") for answer in self.answers if answer["order"] == number}
            mails = len(self.mails_by_order(RECEIPT)[number])
            self.expect(len(jobs) == 1 and mails == 1, f"order {number}, posted twice: {len(jobs)} jobs, {mails} receipts")
            self.line("order posted twice", f"{number}: {len(jobs)} job, {mails} receipt")

    def mails_by_order(self, kind):
        found = collections.defaultdict(list)
        for mail in self.mails:
            match = re.fullmatch(kind, mail["subject"])
            if match:
                found[int(match.group(1))].append(mail)
        return found

    def good(self):
        return {number: mailbox for number, mailbox in self.mailbox.items() if mailbox not in self.for_ever}

    def no_other_mails(self):
        others = [mail["subject"] for mail in self.mails if not re.fullmatch(f"{RECEIPT}|{SURVEY}", mail["subject"])]
        self.expect(not others, f"mails that nobody ordered: {others[:3]}")

    def receipts_sent(self):
        received, good = self.mails_by_order(RECEIPT), self.good()
        missing = [number for number in good if not received[number]]
        doubled = [number for number, mails in received.items() if len(mails) > 1]
        astray = [number for number, mails in received.items() for mail in mails if mail["to"] != good.get(number)]
        self.expect(not missing, f"receipts missing for orders {missing[:10]}")
        self.expect(not doubled, f"more than one receipt for orders {doubled[:10]}")
        self.expect(not astray, f"receipts in the wrong mailbox for orders {astray[:10]}")
        sent = [mail for mails in received.values() for mail in mails]
        self.line("receipts sent", f"{len(sent):,} to {len(set(good.values()))} mailboxes: "
                                   f"{len(missing)} missing, {len(doubled)} twice, {len(astray)} astray")
        late = [mail for mail in sent if mail["to"] in self.for_a_while]
        retried = [mail for mail in late if mail["attempt"] != "1"]
        self.expect(retried, "no receipt was ever tried again: the refusals for a while were not exercised")
        self.line("refused for a while", f"{len(self.for_a_while)} mailboxes: all {len(late)} receipts came through, "
                                         f"{len(retried)} of them after another try")

    def receipts_dead(self):
        owed = sum(mailbox in self.for_ever for mailbox in self.mailbox.values())
        words = collections.Counter(job["error"] for job in self.dead)
        self.expect(len(self.dead) == owed, f"{len(self.dead)} dead receipts where {owed} are refused for ever")
        self.expect(set(words) == set(self.for_ever.values()), f"dead receipts do not carry the server's words: {set(words)}")
        self.line("refused for ever", f"{len(self.for_ever)} mailboxes: {len(self.dead)} of {owed} receipts are among the dead:")
        for text, count in sorted(words.items()):
            print(f"  {'':<24}{count} x {text}")

    def surveys_sent(self):
        received, good = self.mails_by_order(SURVEY), self.good()
        wrong = [number for number in good if len(received[number]) != 1]
        self.expect(not wrong, f"not exactly one question how it was for orders {wrong[:10]}")
        self.line("asked how it was", f"{sum(map(len, received.values())):,} customers' orders, a while later")

    def stock_taken(self):
        ordered = {str(order["order"]): "".join(f"{item['sku']} {item['quantity']}\n" for item in order["items"])
                   for order in self.posts}
        wrong = [number for number, lines in ordered.items() if self.taken.get(number) != lines]
        self.expect(not wrong, f"the warehouse took something else than what was ordered for orders {wrong[:10]}")
        odd = sorted(self.taken.keys() - ordered.keys())
        self.expect(not odd, f"the warehouse has taken what nobody ordered: {odd[:10]}")
        pieces = sum(int(line.split()[1]) for lines in self.taken.values() for line in lines.splitlines())
        self.line("taken from stock", f"{pieces:,} pieces for {len(self.taken):,} orders, by a shell script")

    def counts_balance(self):
        for queue in self.queues:
            exits = sum(queue[name] for name in ("acked_total", "expired_total", "cancelled_total"))
            states = sum(queue[name] for name in ("ready", "leased", "scheduled", "dead"))
            self.expect(queue["enqueued_total"] == len(self.mailbox),
                        f"{queue['enqueued_total']} jobs in '{queue['name']}' for {len(self.mailbox)} orders")
            self.expect(queue["enqueued_total"] == exits + states, f"the queue's counts do not balance: {queue}")
            self.line("the broker's own count", f"{queue['name']}: {queue['enqueued_total']:,} enqueued = "
                                                f"{queue['acked_total']:,} acked + {queue['dead']:,} dead")
        names = sorted(queue["name"] for queue in self.queues)
        self.expect(names == ["receipts", "stock", "surveys"], f"the queues are {names}")


def main():
    outcome = Outcome(pathlib.Path(sys.argv[1]))
    outcome.orders_answered()
    outcome.twice_posted_order()
    outcome.receipts_sent()
    outcome.receipts_dead()
    outcome.surveys_sent()
    outcome.stock_taken()
    outcome.no_other_mails()
    outcome.counts_balance()
    print()
    if outcome.wrong:
        for complaint in outcome.wrong:
            print(f"WRONG: {complaint}")
        return 1
    print("OK: every order was answered, nothing was lost, nothing was sent twice.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
