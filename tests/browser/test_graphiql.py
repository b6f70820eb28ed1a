"""GraphiQL in a browser: served by ourselves, queries run, and a subscription shows what is committed."""

import json
import os
from urllib.parse import quote, urlsplit

from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.browser.contacts import add_contact
from tests.processes import Stack

SUBSCRIPTION = """subscription Live {
  contactChanged {
    kind
    contact { name version last_updated }
    committedAt
  }
}"""


def open_graphiql(browser: Chrome, stack: Stack, document: str) -> None:
    browser.get(f"{stack.url}/graphql?query={quote(document)}")
    WebDriverWait(browser, 20).until(lambda it: it.find_elements(By.CSS_SELECTOR, "button.graphiql-execute-button"))
    # The editor shows the document of the address once it is there.
    first_word = document.split()[0]
    WebDriverWait(browser, 20).until(
        lambda it: first_word in it.find_element(By.CSS_SELECTOR, ".graphiql-editors").text
    )


def run(browser: Chrome) -> None:
    browser.find_element(By.CSS_SELECTOR, "button.graphiql-execute-button").click()


def shown(browser: Chrome) -> str:
    """The answer as it stands on the page; the editor writes spaces that do not break."""
    return browser.find_element(By.CSS_SELECTOR, ".graphiql-response").text.replace("\u00a0", " ")


def asked_hosts(browser: Chrome) -> set[str]:
    """Every host that the page asked anything of."""
    hosts = set()
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            url = urlsplit(message["params"]["request"]["url"])
        elif message["method"] == "Network.webSocketCreated":
            url = urlsplit(message["params"]["url"])
        else:
            continue
        if url.scheme in ("http", "https", "ws", "wss"):
            hosts.add(url.netloc)
    return hosts


def test_it_loads_and_runs_a_query_without_asking_any_other_host(browser: Chrome, stack: Stack) -> None:
    open_graphiql(browser, stack, "{ listContacts(count: 10) { id name } }")
    run(browser)
    WebDriverWait(browser, 20).until(lambda it: '"listContacts"' in shown(it))
    assert asked_hosts(browser) == {stack.address["gateway"]}
    severe = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert severe == []


def test_the_root_leads_to_it(browser: Chrome, stack: Stack) -> None:
    browser.get(f"{stack.url}/")
    WebDriverWait(browser, 20).until(lambda it: it.find_elements(By.CSS_SELECTOR, "button.graphiql-execute-button"))
    assert urlsplit(browser.current_url).path == "/graphql"


def test_a_mutation_typed_by_hand_is_answered(browser: Chrome, stack: Stack) -> None:
    open_graphiql(browser, stack, 'mutation { addContact(name: "by hand") { status message takesEffectInMs } }')
    browser.find_element(By.CSS_SELECTOR, ".graphiql-query-editor").click()
    ActionChains(browser).key_down(Keys.CONTROL).send_keys(Keys.ENTER).key_up(Keys.CONTROL).perform()
    WebDriverWait(browser, 20).until(lambda it: "Queued to add" in shown(it))


def test_a_subscription_shows_the_notice_of_a_mutation(browser: Chrome, stack: Stack) -> None:
    open_graphiql(browser, stack, SUBSCRIPTION)
    run(browser)
    # It runs once its button stops it.
    WebDriverWait(browser, 20).until(
        lambda it: (
            "Stop"
            in (it.find_element(By.CSS_SELECTOR, "button.graphiql-execute-button").get_attribute("aria-label") or "")
        )
    )
    add_contact(stack.url, "Ada Lovelace")
    WebDriverWait(browser, 20).until(lambda it: "Ada Lovelace" in shown(it))
    assert '"ADDED"' in shown(browser)
    if path := os.environ.get("GRAPHIQL_SCREENSHOT"):
        browser.save_screenshot(path)
