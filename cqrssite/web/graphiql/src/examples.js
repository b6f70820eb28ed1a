// The tabs a first visit finds: what the service does, in the order in which one wants to see it.
export const examples = [
  {
    query: `# What happens, as it happens. Run this,
# then add a contact in a second window.
subscription ContactChanged {
  contactChanged {
    position
    kind
    commandId
    contact {
      id
      name
      version
      lastUpdated
    }
    message
    committedAt
  }
}
`,
  },
  {
    query: `# Queued at once, in effect after the delay.
mutation AddContact {
  addContact(name: "John HUEBR") {
    status
    message
    commandId
    contactId
    takesEffectAt
    takesEffectInMs
  }
}
`,
  },
  {
    query: `query ListContacts {
  listContacts(count: 10) {
    id
    name
    last_updated
  }
}
`,
  },
  {
    query: `# afterCommand: wait until that command
# is settled, so that its effect is seen.
query Contact($id: String!, $afterCommand: String) {
  contact(id: $id, afterCommand: $afterCommand) {
    id
    name
    version
    last_updated
  }
}
`,
    variables: JSON.stringify({ id: "the contactId of addContact" }, null, 2),
  },
  {
    query: `mutation UpdateContact($id: String!) {
  updateContact(id: $id, name: "John HUEBR (2)") {
    status
    message
    commandId
  }
}

mutation DeleteContact($id: String!) {
  deleteContact(id: $id) {
    status
    message
    commandId
  }
}
`,
    variables: JSON.stringify({ id: "the contactId of addContact" }, null, 2),
  },
];
