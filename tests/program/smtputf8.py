"""Sends a mail whose addresses and headers are UTF-8 without any encoding (RFC 6531); prints what was in it as JSON."""

import json
import smtplib
import sys
from email.message import EmailMessage

host, port = sys.argv[1].rsplit(":", 1)
sender, recipient = "jörg@bücher.example", "用户@例子.example"
subject = "Grüße ohne Umweg"

message = EmailMessage()
message["From"] = sender
message["To"] = recipient
message["Subject"] = subject
message.set_content("こんにちは\n", cte="8bit")

with smtplib.SMTP(host, int(port), timeout=120) as smtp:
    # It asks for SMTPUTF8 where an address is not ASCII.
    smtp.send_message(message)

print(
    json.dumps(
        {
            "from": sender,
            "to": recipient,
            "subject": subject,
            "body_text": "こんにちは\r\n",
            "mailbox": "用户",
        }
    )
)
