"""Parked commands in a browser: an operator sees why, what would become of them, and decides."""

from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from tests.browser.contacts import add_contact
from tests.browser.test_admin import PASSWORD, USER, messages, rows, until
from tests.e2e.altered import program
from tests.support.processes import Stack, run_manage


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack(delay=0.1) as stack:
        stack.broker(), stack.reader(), stack.writer(), stack.gateway()
        stack.database().command = program("defective_database", "rundatabase")
        stack.start()
        run_manage(stack, "createfirstuser", USER, DJANGO_SUPERUSER_PASSWORD=PASSWORD)
        yield stack


@pytest.fixture
def admin(browser: Chrome, stack: Stack) -> Chrome:
    """A browser logged in, at the list of parked commands."""
    browser.get(f"{stack.url}/admin/cqrs/parkedcommand/")
    browser.find_element(By.NAME, "username").send_keys(USER)
    browser.find_element(By.NAME, "password").send_keys(PASSWORD)
    browser.find_element(By.CSS_SELECTOR, "input[type=submit]").click()
    return browser


def choose(browser: Chrome, action: str) -> None:
    """Chooses an action for all that is listed."""
    browser.find_element(By.ID, "action-toggle").click()
    browser.find_element(By.CSS_SELECTOR, f"select[name=action] option[value={action}]").click()
    browser.find_element(By.CSS_SELECTOR, "button[name=index]").click()


def buttons(browser: Chrome) -> list[str]:
    return [button.text for button in browser.find_elements(By.CSS_SELECTOR, ".submit-row button")]


def test_one_is_amended_after_a_preview_and_the_other_discarded(admin: Chrome, stack: Stack) -> None:
    add_contact(stack.url, "defect of Ada")
    add_contact(stack.url, "defect of Bob")
    until(admin, lambda: len(rows(admin)) == 2, "both are parked", reload=True)
    assert all("ZeroDivisionError: a planted defect" in row for row in rows(admin))

    first = next(row for row in admin.find_elements(By.CSS_SELECTOR, "#result_list tbody tr") if "Ada" in row.text)
    # In sight, without moving the list sideways.
    shown = admin.find_element(By.CSS_SELECTOR, "#changelist-form .results").rect
    link = first.find_element(By.LINK_TEXT, "amend")
    assert link.rect["x"] + link.rect["width"] <= shown["x"] + shown["width"]
    link.click()
    name = admin.find_element(By.NAME, "name")
    name.clear()
    name.send_keys("Ada Lovelace")
    admin.find_element(By.NAME, "_preview").click()
    until(admin, lambda: "As amended, tried now" in admin.page_source, "it shows what would become of it")
    assert "“Ada Lovelace”, version 1" in admin.find_element(By.ID, "content-main").text
    admin.find_element(By.NAME, "_amend").click()
    until(admin, lambda: "Queued to amend" in messages(admin), "it says that it is queued")
    until(admin, lambda: len(rows(admin)) == 1, "it is not parked any more", reload=True)

    choose(admin, "discard")
    until(admin, lambda: buttons(admin) == ["Retry 1", "Discard 1"], "it asks first")
    admin.find_element(By.CSS_SELECTOR, "button[value=discard]").click()
    until(admin, lambda: "Queued to discard" in messages(admin), "it says that it is queued")
    until(admin, lambda: not rows(admin), "nothing is parked", reload=True)

    admin.get(f"{stack.url}/admin/database_service/contact/")
    assert [row for row in rows(admin) if "Ada Lovelace" in row]
    assert not [row for row in rows(admin) if "Bob" in row]
