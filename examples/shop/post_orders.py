#!/usr/bin/python3
"""Posts a file of orders to the shop, several at a time, as many customers' browsers would.

  post_orders.py --shop http://127.0.0.1:8080 --orders orders.jsonl --answers answers.jsonl [--parallel 8] [--rate 200]

An answer of 503, or none, is tried again after a moment, as a browser's page would do it: posting an order twice is
safe. Each finished order is one line of JSON in the file of --answers: {"order", "status", "body", "tries", "ms"}; ms is
from the first try to the last answer. Exits 1 when an order got no 202 in the end.
"""

import argparse
import http.client
import json
import queue
import sys
import threading
import time
import urllib.parse

GIVE_UP_SECONDS = 60


class Shop:
    """One kept-alive connection; used by one thread."""

    def __init__(self, address):
        self.address = address
        self.connection = None

    def post(self, body):
        """(status, parsed body); status 0 when the shop did not answer."""
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection(self.address, timeout=30)
            self.connection.request("POST", "/checkout", body, {"Content-Type": "application/json"})
            response = self.connection.getresponse()
            return response.status, json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            if self.connection is not None:
                self.connection.close()
            self.connection = None
            return 0, {"error": str(error)}


def post_until_answered(shop, line):
    begun = time.monotonic()
    tries = 0
    while True:
        tries += 1
        status, body = shop.post(line)
        elapsed = time.monotonic() - begun
        if status not in (0, 503) or elapsed > GIVE_UP_SECONDS:
            return {"order": json.loads(line)["order"], "status": status, "body": body, "tries": tries,
                    "ms": round(elapsed * 1000)}
        time.sleep(0.2)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shop", required=True)
    parser.add_argument("--orders", required=True)
    parser.add_argument("--answers", required=True)
    parser.add_argument("--parallel", type=int, default=8)
    parser.add_argument("--rate", type=float, default=0, help="orders per second; 0: as fast as they are answered")
    options = parser.parse_args()

    with open(options.orders, encoding="utf-8") as file:
        lines = [line.strip() for line in file if line.strip()]
    address = urllib.parse.urlsplit(options.shop).netloc
    waiting = queue.Queue(maxsize=options.parallel)
    written = threading.Lock()
    refused = 0

    with open(options.answers, "w", encoding="utf-8") as answers:
        def customer():
            nonlocal refused
            shop = Shop(address)
            while (line := waiting.get()) is not None:
                answer = post_until_answered(shop, line)
                with written:
                    answers.write(json.dumps(answer) + "\n")
                    answers.flush()
                    refused += answer["status"] != 202

        customers = [threading.Thread(target=customer) for _ in range(options.parallel)]
        for each in customers:
            each.start()
        begun = time.monotonic()
        for number, line in enumerate(lines):
            if options.rate > 0:
                time.sleep(max(0.0, begun + number / options.rate - time.monotonic()))
            waiting.put(line)
        for _ in customers:
            waiting.put(None)
        for each in customers:
            each.join()
    print(f"post_orders: {len(lines) - refused} of {len(lines)} answered 202")
    sys.exit(1 if refused else 0)


if __name__ == "__main__":
    main()
