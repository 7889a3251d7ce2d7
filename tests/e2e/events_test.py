#!/usr/bin/python3
"""`jobq events` against a real broker: what happens to jobs, as it happens."""

import json
import subprocess
import threading
import unittest

import python_client
from cli_test import OK, REFUSED, USAGE, LiveCase
from processes import program


def number_of(job):
    """Ids count up."""
    return int(job[1:], 36)


class Events(LiveCase):
    def follow(self, *arguments):
        """A follower, once it is known to follow."""
        child = subprocess.Popen([program("JOBQ_CLI"), "--endpoint", self.space.endpoint, "events", "--follow", "--json",
                                  *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(child.stdout.close)
        self.addCleanup(child.stderr.close)
        self.addCleanup(child.kill)
        return child

    def until_followed(self, child, queue, since="j0"):
        """Makes jobs until the follower shows one that was made after `since`: from then on it misses nothing."""
        shown = []

        def read():
            while not shown or number_of(shown[-1]["job"]) <= number_of(since):
                shown.append(json.loads(child.stdout.readline()))

        reader = threading.Thread(target=read)
        reader.start()
        while reader.is_alive():
            self.enqueue(queue)
            reader.join(0.1)
        return shown[-1]

    def test_a_life_is_followed(self):
        self.expect(OK, "queue", "set", "q", "backoff_min=1ms", "backoff_max=1ms")
        child = self.follow()
        first = self.until_followed(child, "warm")
        self.assertEqual((first["event"], first["queue"]), ("enqueued", "warm"))
        number = self.enqueue("q", "x", "--type", "mail")
        worker = self.worker(["q"], name="mailer")
        worker.settle(worker.take_one(), python_client.NACK, "421 try again")
        worker.settle(worker.take_one(), python_client.REJECT, "550 no such mailbox")
        self.expect(OK, "job", "retry", number)
        worker.ack(worker.take_one())
        seen = []
        while not seen or seen[-1]["event"] != "acked":
            event = json.loads(child.stdout.readline())
            if event["job"] == number:
                seen.append(event)
        self.assertEqual([event["event"] for event in seen],
                         ["enqueued", "leased", "failed", "due", "leased", "dead", "redriven", "leased", "acked"])
        self.assertEqual({(event["queue"], event["type"]) for event in seen}, {("q", "mail")})
        self.assertTrue(seen[1]["worker"].startswith("mailer@"))
        self.assertEqual((seen[2]["error"], seen[2]["attempt"]), ("421 try again", 1))
        self.assertEqual((seen[5]["reason"], seen[5]["error"]), ("rejected", "550 no such mailbox"))
        self.assertEqual([event["seq"] for event in seen], sorted(event["seq"] for event in seen))
        child.terminate()
        self.assertEqual(child.wait(20), OK)

    def test_filters_and_ends(self):
        child = self.follow("--queue", "q", "--event", "enqueued,dead", "--limit", "2")
        self.until_followed(child, "q")
        self.make_dead("other", ["no"])
        self.enqueue("q")
        rest = child.stdout.read().splitlines()  # With what readline() has read ahead, which communicate() would not see.
        self.assertEqual([json.loads(line)["queue"] for line in rest], ["q"])
        self.assertEqual(child.wait(60), OK)
        self.assertEqual(self.expect(OK, "events", "--for", "300ms").stdout, "")
        self.expect(REFUSED, "events", "--event", "fialed", "--for", "1s", says=["'fialed'", "failed"])
        self.expect(USAGE, "events", "--job", "42", says="is not a job id")
        self.expect(USAGE, "events", "--for", "soon", says="--for")
        self.expect(OK, "events", "--queue", "recipts", "--for", "300ms", says="no queue is called 'recipts' yet")

    def test_a_restart_of_the_broker_is_said_and_followed_over(self):
        child = self.follow("--queue", "q")
        self.until_followed(child, "q")
        self.broker.kill()
        self.broker.start()
        self.until_followed(child, "q", since=self.enqueue("other"))
        child.terminate()
        self.assertIn("is not known", child.communicate(timeout=60)[1])


if __name__ == "__main__":
    unittest.main()
