"""Sends the file that is named first as an attachment, and writes the message as it was sent to the one named second."""

import smtplib
import sys
from email.message import EmailMessage
from email.policy import SMTP

host, port = sys.argv[1].rsplit(":", 1)

message = EmailMessage(policy=SMTP)
message["From"] = "sender@example.org"
message["To"] = "user@example.com"
message["Subject"] = "A large one"
message.set_content("It is attached.\n")
with open(sys.argv[2], "rb") as attachment:
    message.add_attachment(attachment.read(), maintype="application", subtype="octet-stream", filename="noise.bin")

sent = message.as_bytes()
with open(sys.argv[3], "wb") as copy:
    copy.write(sent)
with smtplib.SMTP(host, int(port), timeout=120) as smtp:
    smtp.sendmail("sender@example.org", ["user@example.com"], sent)

print("null")
