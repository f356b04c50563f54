"""What Python's email package finds in each message of a folder, one JSON object a line.

Which part is a body and which an attachment is said here again, by RFC 8621 section 4.1.4; all decoding is Python's."""

import email
import email.policy
import hashlib
import json
import pathlib
import sys


def add_text(texts, part):
    text = part.get_payload(decode=True).decode(part.get_content_charset("us-ascii"))
    joined = "".join(texts)
    if joined and not joined.endswith("\n"):
        texts.append("\n")
    texts.append(text)


def is_body(part, is_first, parent):
    if part.get_content_type() not in ("text/plain", "text/html") or part.get_content_disposition() == "attachment":
        return False
    if is_first or parent == "multipart/alternative":
        return True
    return parent != "multipart/related" and part.get_filename() is None


def walk(part, is_first, parent, found):
    kind = part.get_content_type()
    if kind.startswith("multipart/"):
        for number, child in enumerate(part.get_payload()):
            walk(child, number == 0, kind, found)
    elif is_body(part, is_first, parent):
        add_text(found["text" if kind == "text/plain" else "html"], part)
    else:
        is_message = kind == "message/rfc822"
        content_id = part["Content-ID"]
        found["attachments"].append({
            "filename": part.get_filename(),
            "content_type": kind,
            "content_id": content_id and content_id.strip().strip("<>"),
            "sha256": None if is_message else hashlib.sha256(part.get_payload(decode=True)).hexdigest(),
            "subject": part.get_payload(0)["Subject"] if is_message else None,
        })


for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    found = {"text": [], "html": [], "attachments": []}
    walk(message, True, None, found)
    for body in ("text", "html"):
        found[body] = "".join(found[body]) if found[body] else None
    print(json.dumps({"subject": message["Subject"], **found}))
