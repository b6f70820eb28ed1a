"""The schema: what it promises, and that its committed text is what the code makes."""

from graphql import GraphQLSchema, build_schema, parse, validate
from graphql.utilities import find_breaking_changes

from cqrssite.graphql.schema import SDL, SDL_COMMAND, schema

CONTRACT = """
type Query {
  contact(id: String!): Contact
  getContact(id: String!): Contact
  listContacts(count: Int!): [Contact]
}
type Mutation {
  addContact(name: String!): RequestResponse!
  updateContact(id: String!, name: String!): RequestResponse!
  deleteContact(id: String!): RequestResponse!
}
type Contact { id: String  name: String!  last_updated: String }
type RequestResponse { status: RequestStatus!  message: String! }
enum RequestStatus { OK ERROR }
"""

EXAMPLE = """
query ListContacts { listContacts(count: 10) { id name last_updated } }
mutation AddContact { addContact(name: "John HUEBR") { status message } }
mutation UpdateContact {
  updateContact(id: "0797213a-d0d0-4221-ad6b-0184672ed7cd" name: "John HUEBR (2)") { status message }
}
mutation DeleteContact { deleteContact(id: "0797213a-d0d0-4221-ad6b-0184672ed7cd") { status message } }
"""

EXTENSIONS = """
query Read($id: String!) {
  command(id: $id) {
    id kind contactId state message reason actor acceptedAt takesEffectAt settledAt version
  }
  contact(id: $id, afterCommand: $id) { lastUpdated version }
  listContacts(count: 1, afterCommand: $id) { id }
}
mutation Write($id: String!) {
  addContact(name: "x", commandId: $id) { commandId contactId takesEffectAt takesEffectInMs }
  updateContact(id: $id, name: "x", commandId: $id, expectedVersion: 1) { status }
  deleteContact(id: $id, commandId: $id, expectedVersion: 1) { status }
  cancelCommand(id: $id) { status }
}
subscription Changed($id: String) {
  contactChanged(contactId: $id, commandId: $id, afterPosition: $id) {
    position kind commandId contactId contact { id } message reason committedAt
  }
}
subscription Settled($id: String!) { commandSettled(id: $id) { id state } }
"""


def graphql_schema() -> GraphQLSchema:
    return schema.graphql_schema


def test_the_committed_schema_is_current() -> None:
    assert SDL.read_text().strip() == str(schema).strip(), f"write it anew: {SDL_COMMAND}"


def test_a_client_of_the_contract_finds_nothing_changed() -> None:
    assert find_breaking_changes(build_schema(CONTRACT), graphql_schema()) == []


def test_the_documents_of_the_example_are_valid() -> None:
    assert validate(graphql_schema(), parse(EXAMPLE)) == []


def test_the_extensions_have_the_names_they_were_given() -> None:
    assert validate(graphql_schema(), parse(EXTENSIONS)) == []
