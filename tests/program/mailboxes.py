# Prints the subjects of the messages of an mbox file or a Maildir, as Python's mailbox module reads them.
import json
import mailbox
import sys

kind, path = sys.argv[1:]
box = mailbox.mbox(path, create=False) if kind == "mbox" else mailbox.Maildir(path, create=False)
print(json.dumps([str(message["Subject"]) for message in box]))
