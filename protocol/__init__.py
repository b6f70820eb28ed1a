"""What both sides and every process agree on: messages, topics, ids, rules, and how a service lives and ends.

Imports none of the other packages and no Django.
"""
