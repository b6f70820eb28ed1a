"""The GraphQL requests that are sent, as JSON; "~U~" stands for a unique text, "~I~" for a random id."""

import json

_ADD = "{ status message commandId contactId takesEffectAt }"
_FIELDS = "{ id name last_updated }"


def _request(document: str, **variables: str) -> str:
    return json.dumps({"query": document, "variables": variables} if variables else {"query": document})


CONTACT = _request(f"query Contact($id: String!) {{ contact(id: $id) {_FIELDS} }}", id="~I~")
CONTACT_LITERAL = _request(f'query Contact {{ contact(id: "~I~") {_FIELDS} }}')
LIST = _request(f"query ListContacts {{ listContacts(count: 10) {_FIELDS} }}")
ADD = _request(f"mutation AddContact($name: String!) {{ addContact(name: $name) {_ADD} }}", name="Ada ~U~")
ADD_LITERAL = _request(f'mutation AddContact {{ addContact(name: "Ada ~U~") {_ADD} }}')


def many(count: int, *, literal: bool = False) -> str:
    """A document of so many mutations."""
    if literal:
        fields = " ".join(f'm{n}: addContact(name: "Ada ~U~") {{ status commandId }}' for n in range(count))
        return _request(f"mutation {{ {fields} }}")
    declared = ", ".join(f"$n{n}: String!" for n in range(count))
    fields = " ".join(f"m{n}: addContact(name: $n{n}) {{ status commandId }}" for n in range(count))
    return _request(f"mutation({declared}) {{ {fields} }}", **{f"n{n}": "Ada ~U~" for n in range(count)})


# The same mutation where it takes effect before it is answered, so that there is no command to tell of.
STOCK_ADD = _request(
    "mutation AddContact($name: String!) { addContact(name: $name) { status message } }", name="Ada ~U~"
)
