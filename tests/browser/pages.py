"""Opens the pages in Chromium as a person would, against `cratos demo`.

    pages.py CRATOS [FOLDER]     CRATOS: the program; FOLDER: where pictures go (else a fresh one, named at the end)

Form -> token -> that token reads a list; help: authorise, try, 200. On every page: no message on the console, no request to
another host, nothing wider than a phone or a desk, a name for every field, the keyboard finds its way. Ends with 1 at the
first thing that is not so.
"""

import base64
import json
import pathlib
import sys
import tempfile
import time
import urllib.request

from demo import PATIENCE, Demo
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

WIDTHS = {"phone": (390, 844), "desk": (1280, 900)}
LIST = "/v1/feed/block/type/ipv4/age/10y/output/txt"


class Browser:
    """Chromium, and what it must never do."""

    def __init__(self, origin, pictures, dark=False):
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                         "--disable-background-networking", "--disable-component-update", "--no-first-run"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))
        self.driver.set_page_load_timeout(PATIENCE)
        self.origin, self.pictures, self.seen = origin, pictures, set()
        self.size("desk")
        scheme = {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", scheme)

    def size(self, name):
        width, height = WIDTHS[name]
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": name == "phone"}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def open(self, path):
        self.driver.get(self.origin + path)

    def find(self, css):
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def all(self, css):
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def wait(self, what, is_so):
        return WebDriverWait(self.driver, PATIENCE).until(lambda _: is_so(), what)

    def click(self, element):
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def check(self, name):
        """Everything that holds for every page, as it stands now; and a picture at each width."""
        for width in WIDTHS:
            self.size(width)
            time.sleep(0.2)
            wide, room = self.driver.execute_script(
                "return [document.documentElement.scrollWidth, window.innerWidth]")
            self.picture(f"{name}-{width}")
            assert room == WIDTHS[width][0], f"{name}: {room} px instead of those of a {width}"
            assert wide <= room, f"{name} is {wide} px wide on a {width} of {room}"
        self.size("desk")
        nameless = self.driver.execute_script(
            "return [...document.querySelectorAll('main input, main select, main button, main textarea')]"
            ".filter(e => e.type !== 'hidden' && !e.closest('.swagger-ui') && !e.labels?.length"
            " && !e.getAttribute('aria-label') && !e.textContent.trim()).map(e => e.outerHTML)")
        assert not nameless, f"{name}: fields without a name: {nameless}"
        self.silent(name)

    def picture(self, name):
        picture = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
        (self.pictures / f"{name}.png").write_bytes(base64.b64decode(picture["data"]))

    def complaints(self):
        """Errors and warnings on the console; advice to developers of the viewer is none."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]

    def silent(self, name):
        messages = self.complaints()
        assert not messages, f"{name}: on the console: {messages}"
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = message["params"]["request"]["url"]
                self.seen.add(url.split("?")[0])
                own = url.startswith((self.origin + "/", "data:"))
                assert own, f"{name}: a request to another host: {url[:200]}"


def token_by_form(browser, demo):
    browser.open("/v1/generate_token_form")
    browser.check("form")
    first = browser.find("body")
    first.send_keys(Keys.TAB)
    assert browser.driver.switch_to.active_element.get_attribute("class") == "skip", "the first stop is the skip link"
    fill(browser, "demo.example.net", "A" * 20)
    # The browser itself would not send so short a key: this is what a script gets to see.
    browser.driver.execute_script("document.forms[0].noValidate = true")
    browser.find("#auth").send_keys(Keys.ENTER)
    browser.wait("mistakes", lambda: browser.all(".wrong li"))
    assert browser.find("#auth").get_attribute("aria-invalid") == "true"
    # The browser says on its console that the answer was a 422, which is what was wanted.
    expected = f"{demo.origin}/v1/generate_token_form - Failed to load resource: the server responded with a status of 422"
    messages = browser.complaints()
    assert all(message.startswith(expected) for message in messages), f"mistakes: on the console: {messages}"
    browser.check("mistakes")
    fill(browser, "demo.example.net", demo.key)
    browser.click(browser.find(".go"))
    browser.wait("a token", lambda: browser.all("#token"))
    browser.check("token")
    assert len(browser.all("button.copy")) >= 5, "buttons to copy"
    token = browser.find("#token").text.strip()
    assert browser.find("#url").text.startswith(demo.origin + "/v1/feed/"), browser.find("#url").text
    return token


def fill(browser, domain, key):
    for name, value in (("domain", domain), ("auth", key)):
        field = browser.find("#" + name)
        field.clear()
        field.send_keys(value)


def help_page(browser, token):
    browser.open("/v1/help")
    browser.wait("operations", lambda: len(browser.all(".opblock")) >= 10)
    browser.check("help")
    browser.click(browser.find("button.authorize"))
    field = browser.wait("the dialog", lambda: browser.all(".auth-container input"))[0]
    browser.picture("help-authorise")
    for container in browser.all(".auth-container"):
        if "In:" in container.text and "header" in container.text.lower():
            field = container.find_element(By.CSS_SELECTOR, "input")
            field.send_keys(token)
            browser.click(container.find_element(By.CSS_SELECTOR, "button.authorize"))
            break
    else:
        raise AssertionError("no header to put the token in")
    browser.click(browser.wait("the end of the dialog", lambda: browser.all(".modal-ux .close-modal"))[0])
    operation = browser.find("#operations-Lists-feed")
    browser.click(operation.find_element(By.CSS_SELECTOR, ".opblock-summary-control"))
    browser.click(browser.wait("try", lambda: operation.find_elements(By.CSS_SELECTOR, ".try-out__btn"))[0])
    for name, value in zip(("feedName", "dataType", "dataAge", "returnedDataType"), ("block", "ipv4", "10y", "txt")):
        row = operation.find_element(By.CSS_SELECTOR, f'tr[data-param-name="{name}"] select')
        Select(row).select_by_value(value)
    browser.click(operation.find_element(By.CSS_SELECTOR, ".execute"))
    status = browser.wait("an answer", lambda: operation.find_elements(
        By.CSS_SELECTOR, ".live-responses-table .response-col_status"))
    browser.wait("200", lambda: status[-1].text.strip().startswith("200"))
    browser.check("help-tried")


def main():
    program = sys.argv[1]
    folder = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp(prefix="cratos-pages-"))
    folder.mkdir(parents=True, exist_ok=True)
    demo = Demo(program)
    browsers = []
    try:
        browser = Browser(demo.origin, folder)
        browsers.append(browser)
        browser.open("/")
        browser.check("start")
        token = token_by_form(browser, demo)
        request = urllib.request.Request(demo.origin + LIST, headers={"token": token})
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            assert answer.status == 200 and answer.read(), "the token reads a list"
        help_page(browser, token)
        browser.open("/redoc")
        browser.wait("the one viewer", lambda: browser.driver.current_url.endswith("/v1/help"))
        browser.wait("operations", lambda: len(browser.all(".opblock")) >= 10)
        browser.silent("redoc")
        assert demo.origin + "/openapi.json" in browser.seen, "requests are watched"
        dark = Browser(demo.origin, folder, dark=True)
        browsers.append(dark)
        for name, path in (("start", "/"), ("form", "/v1/generate_token_form"), ("help", "/v1/help")):
            dark.open(path)
            if name == "help":
                dark.wait("operations", lambda: len(dark.all(".opblock")) >= 10)
            dark.check(name + "-dark")
    finally:
        for browser in browsers:
            browser.driver.quit()
        demo.end()
    print(f"pages: good; pictures in {folder}")


main()
