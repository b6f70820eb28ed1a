"""MQTT topics. The first three are the Go example's contract; one command a message, binary protobuf."""

ADD = "CONTACT/ADD"  # protocol.Contact
UPDATE = "CONTACT/UPDATE"  # protocol.Contact
DELETE = "CONTACT/DELETE"  # protocol.ContactReference

# Ours, for commands of every aggregate. An implementation that knows only the contract never sees them.
BATCH = "CONTACT/BATCH"  # cqrs.CommandBatch, up to BATCH_SIZE commands, in order
CANCEL = "CONTACT/CANCEL"  # cqrs.CommandBatch of cancelled commands
HELLO = "CONTACT/HELLO"  # empty: a writer has subscribed and may have missed what was sent before

BATCH_SIZE = 100

# Every process of ours refuses a larger message, in bytes.
MAX_PAYLOAD = 1024 * 1024
# The same of one command, of whatever aggregate; and of its body, so that the rest of the envelope has room.
MAX_COMMAND = 64 * 1024
MAX_BODY = 60 * 1024
