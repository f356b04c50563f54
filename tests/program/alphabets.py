"""Sends a multipart mail in several alphabets over STARTTLS; prints what was in it as JSON."""

import json
import smtplib
import ssl
import sys
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import localtime, make_msgid

host, port = sys.argv[1].rsplit(":", 1)

subject = "Grüße aus Köln – 日本からの挨拶 🎉 и привет, длинная строка темы"
text = "Schöne Grüße,\nこんにちは世界\n" + "sehr lange Zeile ✓ " * 60 + "\n"
html = '<p style="color:red">Schöne Grüße ✓ = 100 %</p>\n'
filename = "Übersicht 2026 – 報告書.bin"

message = EmailMessage(policy=SMTP)
message["From"] = Address("Jörg Müller", "sender", "example.org")
message["To"] = [Address("田中 太郎", "user", "example.com"), Address("Plain", "plain", "example.com")]
message["Subject"] = subject
message["Date"] = localtime()
message["Message-ID"] = make_msgid(domain="example.org")
message.set_content(text)
message.add_alternative(html, subtype="html")
message.add_attachment(bytes(range(256)), maintype="application", subtype="octet-stream", filename=filename)

context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
with smtplib.SMTP(host, int(port), timeout=120) as smtp:
    smtp.starttls(context=context)
    smtp.send_message(message, "sender@example.org", ["user@example.com"])

print(
    json.dumps(
        {
            "from": "sender@example.org",
            "to": "user@example.com",
            "subject": subject,
            "body_text": text.replace("\n", "\r\n"),
            "body_html": html.replace("\n", "\r\n"),
            "attachments": [filename],
            "header_from": {"name": "Jörg Müller", "address": "sender@example.org"},
            "header_to": [
                {"name": "田中 太郎", "address": "user@example.com"},
                {"name": "Plain", "address": "plain@example.com"},
            ],
        }
    )
)
