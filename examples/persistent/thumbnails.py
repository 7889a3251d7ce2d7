#!/usr/bin/python3
"""A persistent worker in Python: one interpreter does job after job, so that what is slow to start is started once.

  jobq-worker --queue thumbnails --concurrency 4 --persistent -- python3 thumbnails.py DIRECTORY

A job comes as a line of JSON on stdin, its outcome goes back as a line of JSON on stdout (docs/persistent_workers.md).
The body of a job here: {"picture": "cat.jpg", "width": 100}.
"""

import base64
import json
import os
import sys
import traceback

# What libraries print must not get between the answers: from here on it goes to stderr, as print() does.
answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
os.dup2(2, 1)


class Reject(Exception):
    """This job can never succeed."""


class Snooze(Exception):
    """Not now; that is nobody's failure."""

    def __init__(self, seconds):
        super().__init__(f"again in {seconds} s")
        self.seconds = seconds


def make_thumbnail(directory, order):
    # Stands for the work: a real one would import its picture library above, once.
    if "picture" not in order or not str(order.get("width")).isdigit():
        raise Reject(f"not an order for a thumbnail: {order}")
    if order["picture"].startswith("uploading-"):
        raise Snooze(1)
    name = os.path.join(directory, f"{os.path.basename(order['picture'])}.{order['width']}.thumb")
    with open(name, "w", encoding="utf-8") as file:
        file.write(f"{order['picture']} at {order['width']} pixels, by process {os.getpid()}\n")


def outcome_of(job, directory):
    body = base64.b64decode(job["body_base64"]) if "body_base64" in job else job["body"]
    try:
        make_thumbnail(directory, json.loads(body))
    except Reject as error:
        return {"outcome": "reject", "error": str(error)}
    except Snooze as error:
        return {"outcome": "snooze", "delay_ms": error.seconds * 1000}
    except Exception as error:  # whatever else: a failed attempt, tried again with the queue's backoff
        traceback.print_exc()
        return {"outcome": "nack", "error": f"{type(error).__name__}: {error}"}
    return {"outcome": "ack"}


def main():
    for line in sys.stdin:  # ends when jobq-worker closes it: this process is no longer needed
        job = json.loads(line)
        answers.write(json.dumps({"job": job["job"], **outcome_of(job, sys.argv[1])}) + "\n")


if __name__ == "__main__":
    main()
