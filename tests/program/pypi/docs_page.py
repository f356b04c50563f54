"""Asks for a code on the page of the description, as a reader does who has the key.

Its arguments are the URL of the server and the key. It prints what the page shows, what the browser complains of, and which
other hosts it asks.
"""

import json
import os
import sys

from playwright.sync_api import sync_playwright

url, key = sys.argv[1:]
complaints, strangers = [], []

with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=os.environ["CHROMIUM"])
    page = browser.new_page()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("request", lambda request: strangers.append(request.url))
    page.goto(f"{url}/docs")
    page.get_by_role("button", name="Authorize").first.click()
    page.locator("input[type=text]").first.fill(key)
    page.locator(".auth-btn-wrapper button.authorize").first.click()
    page.locator(".btn-done").first.click()
    operation = page.locator("#operations-Content-get_latest_code")
    operation.click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()
    shown = operation.locator(".live-responses-table .response .microlight").first
    shown.wait_for()
    print(json.dumps({"shown": shown.inner_text(), "complaints": complaints,
                      "strangers": [asked for asked in strangers if not asked.startswith((url, "data:"))]}))
    browser.close()
