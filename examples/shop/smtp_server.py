#!/usr/bin/python3
"""An SMTP server on loopback for the shop: takes mail as a provider would, keeps it in a file, refuses some mailboxes.

  smtp_server.py --port 0 --port-file port --received received.jsonl [--mailboxes mailboxes.json]

Every message that was answered 250 is one line of JSON in the file of --received: {"to", "message_id", "subject",
"attempt", "text"}; the line is written before the answer. The file of --mailboxes (make_orders.py writes one) says
which mailboxes are refused:
  refused_for_a_while: from the first try on for so many seconds, with a 4xx reply (greylisting)
  refused_for_ever:    always, with a 5xx reply
Port 0 takes a free port; the port taken is written to --port-file when the server listens.
"""

import argparse
import asyncio
import email
import json
import os
import signal
import sys
import time

from aiosmtpd.smtp import SMTP


class Mailboxes:
    def __init__(self, settings):
        for_a_while = settings.get("refused_for_a_while", {})
        self.seconds = for_a_while.get("seconds", 3)
        self.for_a_while = for_a_while.get("mailboxes", {})
        self.for_ever = settings.get("refused_for_ever", {})
        self.first_tried = {}

    def refusal(self, mailbox):
        """The reply that refuses the mailbox now, or None."""
        if mailbox in self.for_ever:
            return self.for_ever[mailbox]
        if mailbox in self.for_a_while:
            first = self.first_tried.setdefault(mailbox, time.monotonic())
            if time.monotonic() - first < self.seconds:
                return self.for_a_while[mailbox]
        return None


class Handler:
    """The hooks that aiosmtpd calls by these names."""

    def __init__(self, mailboxes, received):
        self.mailboxes = mailboxes
        self.received = received

    async def handle_RCPT(self, server, session, envelope, address, options):
        refusal = self.mailboxes.refusal(address)
        if refusal:
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content)
        for mailbox in envelope.rcpt_tos:
            self.received.write(json.dumps({
                "to": mailbox, "message_id": message["Message-ID"], "subject": message["Subject"],
                "attempt": message["X-Attempt"], "text": message.get_payload(),
            }) + "\n")
        self.received.flush()
        return "250 2.0.0 taken"


async def serve(options):
    settings = {}
    if options.mailboxes:
        with open(options.mailboxes, encoding="utf-8") as file:
            settings = json.load(file)
    with open(options.received, "a", encoding="utf-8") as received:
        handler = Handler(Mailboxes(settings), received)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: SMTP(handler, hostname="smtp.shop.example", ident="shop example", loop=loop),
            host="127.0.0.1", port=options.port)
        stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopped.set)
        port = server.sockets[0].getsockname()[1]
        if options.port_file:
            with open(options.port_file + ".new", "w", encoding="utf-8") as file:
                file.write(f"{port}\n")
            os.rename(options.port_file + ".new", options.port_file)
        print(f"smtp_server: listening on 127.0.0.1:{port}", flush=True)
        await stopped.wait()
        server.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=2525)
    parser.add_argument("--port-file")
    parser.add_argument("--received", required=True)
    parser.add_argument("--mailboxes")
    try:
        asyncio.run(serve(parser.parse_args()))
    except OSError as error:
        sys.exit(f"smtp_server: {error}")


if __name__ == "__main__":
    main()
