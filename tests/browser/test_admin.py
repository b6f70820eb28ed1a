"""The admin in a browser: what is stored can be looked at; what is changed is queued like all commands."""

from collections.abc import Callable

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.expected_conditions import staleness_of
from selenium.webdriver.support.ui import WebDriverWait

from tests.browser.contacts import add_contact
from tests.support.processes import Stack, run_manage

USER, PASSWORD = "ada", "correct horse battery"


@pytest.fixture(scope="session")
def user(stack: Stack) -> None:
    run_manage(stack, "createfirstuser", USER, DJANGO_SUPERUSER_PASSWORD=PASSWORD)


@pytest.fixture
def admin(browser: Chrome, stack: Stack, user: None) -> Chrome:
    """A browser logged in, at the admin's first page."""
    browser.get(f"{stack.url}/admin/")
    browser.find_element(By.NAME, "username").send_keys(USER)
    browser.find_element(By.NAME, "password").send_keys(PASSWORD)
    browser.find_element(By.CSS_SELECTOR, "input[type=submit]").click()
    until(browser, lambda: links(browser, "Contacts"), "the first page lists the contacts")
    return browser


def until(browser: Chrome, condition: Callable[[], object], what: str, *, reload: bool = False) -> None:
    """Waits until `condition` is true; with `reload`, of a page that is fetched anew each time."""

    def holds(_: Chrome) -> bool:
        if condition():
            return True
        if reload:
            browser.refresh()
        return False

    WebDriverWait(browser, 40, poll_frequency=0.3).until(holds, what)


def links(browser: Chrome, name: str) -> list[WebElement]:
    """The links to lists on the admin's first page, by the name of what is listed."""
    return [link for link in browser.find_elements(By.CSS_SELECTOR, "#content th a") if link.text == name]


def messages(browser: Chrome) -> str:
    return " ".join(element.text for element in browser.find_elements(By.CSS_SELECTOR, ".messagelist li"))


def rows(browser: Chrome) -> list[str]:
    """The texts of a list's rows, read at once: the page may be about to be replaced."""
    script = "return [...document.querySelectorAll('#result_list tbody tr')].map(row => row.innerText)"
    texts: list[str] = browser.execute_script(script)
    return texts


def open_list(browser: Chrome, stack: Stack, name: str) -> None:
    browser.get(f"{stack.url}/admin/")
    (link,) = links(browser, name)
    link.click()


def search(browser: Chrome, text: str) -> None:
    box = browser.find_element(By.ID, "searchbar")
    box.clear()
    box.send_keys(text)
    box.submit()
    WebDriverWait(browser, 40).until(staleness_of(box), "the list is fetched anew")


def test_its_own_styles_are_served(admin: Chrome) -> None:
    sheets = admin.execute_script("return [...document.styleSheets].map(sheet => sheet.cssRules.length)")
    assert sheets
    assert all(sheets)


def test_contacts_commands_and_notices_are_listed_and_found(admin: Chrome, stack: Stack) -> None:
    contact_id = add_contact(stack.url, "Lise Meitner")
    open_list(admin, stack, "Contacts")
    until(admin, lambda: any("Lise Meitner" in row for row in rows(admin)), "the contact is listed", reload=True)
    search(admin, "Lise Meitner")
    assert len(rows(admin)) == 1

    open_list(admin, stack, "Commands")
    search(admin, contact_id)
    (command,) = rows(admin)
    assert "applied" in command.lower()

    open_list(admin, stack, "Notices")
    search(admin, contact_id)
    (notice,) = rows(admin)
    assert "added" in notice.lower()


def test_a_contact_added_there_is_said_to_be_queued_and_appears_after_the_delay(admin: Chrome, stack: Stack) -> None:
    open_list(admin, stack, "Contacts")
    admin.find_element(By.CSS_SELECTOR, ".object-tools a.addlink").click()
    admin.find_element(By.NAME, "name").send_keys("Emmy Noether")
    admin.find_element(By.NAME, "_save").click()
    until(admin, lambda: "queued" in messages(admin).lower(), "it says that it is queued")
    assert not any("Emmy Noether" in row for row in rows(admin))

    open_list(admin, stack, "Contacts")
    until(admin, lambda: any("Emmy Noether" in row for row in rows(admin)), "the contact appears", reload=True)
    open_list(admin, stack, "Commands")
    search(admin, USER)
    assert any(USER in row for row in rows(admin)), "the command says who sent it"


def test_changing_and_deleting_a_contact_there_is_queued_too(admin: Chrome, stack: Stack) -> None:
    add_contact(stack.url, "Sophie Germain")
    open_list(admin, stack, "Contacts")
    until(admin, lambda: any("Sophie Germain" in row for row in rows(admin)), "the contact is listed", reload=True)

    search(admin, "Sophie Germain")
    admin.find_element(By.CSS_SELECTOR, "#result_list tbody th a, #result_list tbody td a").click()
    name = admin.find_element(By.NAME, "name")
    name.clear()
    name.send_keys("Sophie G.")
    admin.find_element(By.NAME, "_save").click()
    until(admin, lambda: "queued" in messages(admin).lower(), "it says that the change is queued")
    open_list(admin, stack, "Contacts")
    until(admin, lambda: any("Sophie G." in row for row in rows(admin)), "the contact is changed", reload=True)

    search(admin, "Sophie G.")
    admin.find_element(By.CSS_SELECTOR, "#result_list tbody th a, #result_list tbody td a").click()
    admin.find_element(By.CSS_SELECTOR, "a.deletelink").click()
    admin.find_element(By.CSS_SELECTOR, "#content form input[type=submit]").click()
    until(admin, lambda: "queued" in messages(admin).lower(), "it says that the deletion is queued")
    open_list(admin, stack, "Contacts")
    until(admin, lambda: not any("Sophie G." in row for row in rows(admin)), "the contact is gone", reload=True)
