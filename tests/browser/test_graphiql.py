"""GraphiQL in a browser: served by ourselves, queries run, and a subscription shows what is committed."""

import json
import os
from urllib.parse import urlsplit

from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.browser.contacts import add_contact
from tests.support.processes import Stack

# Seconds for what a page does.
WITHIN = 40

BUTTON = "button.graphiql-execute-button"


def open_graphiql(browser: Chrome, stack: Stack, tab: str, path: str = "/graphql") -> None:
    """Opens the page at the tab whose operation has this name."""
    browser.get(f"{stack.url}{path}")

    def opened(_: Chrome) -> bool:
        if any(tab in editor.text for editor in browser.find_elements(By.CSS_SELECTOR, ".graphiql-query-editor")):
            return True
        # Again, if need be: a click is lost on a page whose editors are still being loaded.
        for found in browser.find_elements(By.CSS_SELECTOR, ".graphiql-tab"):
            if tab in found.text:
                found.find_element(By.TAG_NAME, "button").click()
        return False

    WebDriverWait(browser, WITHIN).until(opened, f"the tab {tab} is open")


def run(browser: Chrome) -> None:
    browser.find_element(By.CSS_SELECTOR, BUTTON).click()


def shown(browser: Chrome) -> str:
    """The answer as it stands on the page; the editor writes spaces that do not break."""
    return browser.find_element(By.CSS_SELECTOR, ".graphiql-response").text.replace("\u00a0", " ")


def wait_shown(browser: Chrome, text: str) -> None:
    WebDriverWait(browser, WITHIN).until(lambda it: text in shown(it), f"{text} is shown")


def asked_hosts(browser: Chrome) -> set[str]:
    """Every host that the page asked anything of."""
    urls = []
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            urls.append(urlsplit(message["params"]["request"]["url"]))
        elif message["method"] == "Network.webSocketCreated":
            urls.append(urlsplit(message["params"]["url"]))
    return {url.netloc for url in urls if url.scheme in ("http", "https", "ws", "wss")}


def complaints(browser: Chrome) -> list[str]:
    """What the browser's console calls an error: a file not found, a policy broken, an exception."""
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def test_the_root_leads_to_it_and_a_query_runs_and_no_other_host_is_asked(browser: Chrome, stack: Stack) -> None:
    open_graphiql(browser, stack, "ListContacts", path="/")
    assert urlsplit(browser.current_url).path == "/graphql"
    run(browser)
    wait_shown(browser, '"listContacts"')
    assert asked_hosts(browser) == {stack.address["gateway"]}
    assert complaints(browser) == []


def test_a_mutation_is_answered_as_queued(browser: Chrome, stack: Stack) -> None:
    open_graphiql(browser, stack, "AddContact")
    run(browser)
    wait_shown(browser, "Queued to add")
    assert complaints(browser) == []


def test_a_subscription_shows_the_notice_of_a_mutation(browser: Chrome, stack: Stack) -> None:
    open_graphiql(browser, stack, "ContactChanged")
    run(browser)
    # The button of an operation that runs stops it.
    stops = f"{BUTTON}[aria-label^='Stop']"
    WebDriverWait(browser, WITHIN).until(lambda it: it.find_elements(By.CSS_SELECTOR, stops), "the subscription runs")
    add_contact(stack.url, "Ada Lovelace")
    wait_shown(browser, "Ada Lovelace")
    assert '"ADDED"' in shown(browser)
    assert browser.find_elements(By.CSS_SELECTOR, stops), "it goes on"
    assert asked_hosts(browser) == {stack.address["gateway"]}
    if path := os.environ.get("GRAPHIQL_SCREENSHOT"):
        browser.save_screenshot(path)
