"""Judges a history by the promises alone. Knows nothing of how the system works inside.

Sound: a correct system is never accused, whatever the faults were. So an answer that was lost leaves both open, two
commands are in order only if the answer to one came before the other was sent (or both stood in one document), and an
answer of a gateway binds only the same process of it.
"""

from chaos import answers, effects
from chaos.case import Case, Violation
from chaos.history import History

_RULES = (
    effects.accepted_has_one_outcome,
    effects.every_outcome_was_requested,
    effects.effects_are_as_sent,
    effects.outcomes_are_in_order_of_acceptance,
    effects.each_notice_follows_from_those_before,
    answers.reads_saw_what_they_waited_for,
    answers.cancelled_was_cancelled,
    answers.the_same_key_gets_the_same_answer,
    answers.numbers_have_no_gap,
    answers.watchers_saw_everything_once_and_in_order,
    answers.command_says_what_the_notice_says,
    answers.settled_stays_settled,
    answers.nothing_overran,
)


def check(history: History) -> list[Violation]:
    """All violations; empty: every promise was kept."""
    case = Case(history)
    return [violation for rule in _RULES for violation in rule(case)]
