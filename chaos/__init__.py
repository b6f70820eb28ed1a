"""The proof: breaks a whole running system on purpose, and checks from the outside that it kept its promises.

`trial` starts the real processes (`system`) with proxies between them (`proxy`), sends load (`load`) and watches
(`watch`) while faults strike by a seeded `schedule`; the `checker` judges the `history` of all answers and notices.
"""
