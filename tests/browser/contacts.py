"""What the browser's tests need of the gateway besides the browser."""

import json
import urllib.request


def add_contact(url: str, name: str) -> str:
    """Adds a contact over HTTP and returns its id."""
    document = "mutation($name: String!) { addContact(name: $name) { contactId } }"
    body = json.dumps({"query": document, "variables": {"name": name}}).encode()
    request = urllib.request.Request(f"{url}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        contact_id: str = json.load(answer)["data"]["addContact"]["contactId"]
    return contact_id
