"""Brings two messages of more than 1 MiB and a small one on one connection; prints the refusals as JSON."""

import json
import smtplib
import sys

host, port = sys.argv[1].rsplit(":", 1)
sender, recipient = "sender@example.org", "user@example.com"
large = b"Subject: too large\r\n\r\n" + (b"x" * 70 + b"\r\n") * 30_000


def text(reply):
    code, lines = reply
    return f"{code} {lines.decode()}"


with smtplib.SMTP(host, int(port), timeout=120) as smtp:
    smtp.ehlo()
    declared = smtp.mail(sender, [f"SIZE={len(large)}"])
    # Without a size the server only notices while the message comes in.
    smtp.mail(sender)
    smtp.rcpt(recipient)
    sent = smtp.data(large)
    smtp.sendmail(sender, [recipient], b"Subject: small enough\r\n\r\nSmall.\r\n")

print(json.dumps({"declared": text(declared), "sent": text(sent)}))
