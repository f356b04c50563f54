"""A small program under test: who gives an address on its page gets a code by mail, and signs up with that.

Prints its URL. Its argument is the address of an SMTP server.
"""

import secrets
import smtplib
import sys
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

codes = {}


def page(body):
    return f"<!doctype html><html lang=en><meta charset=utf-8><title>Sign up</title>{body}</html>".encode()


SIGN_UP = page("<form method=post action=/code><label>E-mail <input name=address></label><button>Sign up</button></form>")
WELCOME = page("<h1>Welcome</h1>")
WRONG = page("<h1>That is not the code</h1>")


def ask_for_code(address):
    codes[address] = f"{secrets.randbelow(10**6):06}"
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = "Confirm your address", "no-reply@example.com", address
    mail.set_content(f"Your code is {codes[address]}.\n")
    with smtplib.SMTP(sys.argv[1]) as smtp:
        smtp.send_message(mail)
    hidden = f"<input type=hidden name=address value='{address}'>"
    return page(f"<form method=post action=/confirm>{hidden}<label>Code <input name=code></label><button>Confirm</button></form>")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(SIGN_UP)

    def do_POST(self):
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        address = form["address"][0]
        if self.path == "/code":
            self.answer(ask_for_code(address))
        else:
            self.answer(WELCOME if codes.get(address) == form.get("code", [""])[0] else WRONG)

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(f"http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
