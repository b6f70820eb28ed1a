"""Documents that are small to send and meant to be costly to answer."""

import random
from collections.abc import Callable, Iterator

Make = Callable[[random.Random], str]


def repeated(dice: random.Random) -> str:
    return "{" + f'{dice.choice(["contact", "x: contact"])}(id:"a"){{id name}} ' * dice.randint(100, 900) + "}"


def repeated_below(dice: random.Random) -> str:
    return '{contact(id:"a"){' + "id name " * dice.randint(300, 3_000) + "}}"


def aliases(dice: random.Random) -> str:
    fields = dice.sample(["id", "name", "version", "lastUpdated"], dice.randint(1, 4))
    return "{" + " ".join(f'a{n}: contact(id:"{n}"){{{" ".join(fields)}}}' for n in range(dice.randint(100, 600))) + "}"


def aliases_below(dice: random.Random) -> str:
    return "{listContacts(count:1000){" + " ".join(f"a{n}: name" for n in range(dice.randint(100, 4_000))) + "}}"


def unknown_fields(dice: random.Random) -> str:
    return "{" + " ".join(f"{'x' * dice.randint(1, 60)}{n}" for n in range(dice.randint(100, 3_000))) + "}"


def fragments_that_overlap(dice: random.Random, *, used: bool = True) -> str:
    number, fields = dice.randint(5, 60), dice.randint(5, 60)
    body = " ".join(f"f{n % 7}: name" for n in range(fields))
    spread = " ".join(f"...F{n}" for n in range(number))
    text = f'{{contact(id:"a"){{{spread if used else "id"}}}}}'
    return text + " ".join(f"fragment F{n} on Contact {{{body}}}" for n in range(number))


def unused_fragments(dice: random.Random) -> str:
    return fragments_that_overlap(dice, used=False)


def inline_fragments(dice: random.Random) -> str:
    return '{contact(id:"a"){' + "... on Contact {id name}" * dice.randint(50, 1_500) + "}}"


def nested_overlaps(dice: random.Random) -> str:
    part = "types{fields{type{ofType{name kind}}}} "
    return "{__schema{" + part * dice.randint(10, 200) + "}}"


def wide_introspection(dice: random.Random) -> str:
    inside = "{" + " ".join(f"n{n}: name d{n}: description" for n in range(dice.randint(5, 100))) + "}"
    for level in range(dice.randint(1, 6)):
        inside = (
            f"{{name {dice.choice(['fields', 'types', 'type'])[:0]}fields{{name type{inside}}}}}" if level else inside
        )
    return "{__schema{types" + inside + "}}"


def introspection_by_aliases(dice: random.Random) -> str:
    return (
        "{"
        + " ".join(f"s{n}: __schema{{types{{name fields{{name args{{name}}}}}}}}" for n in range(dice.randint(20, 500)))
        + "}"
    )


def chain(dice: random.Random) -> str:
    number = dice.randint(20, 700)
    links = "".join(f"fragment F{n} on Query {{...F{n + 1}}}" for n in range(number))
    return "{...F0}" + links + f"fragment F{number} on Query {{__typename}}"


def circle(dice: random.Random) -> str:
    number = dice.randint(20, 700)
    return "{...F0}" + "".join(f"fragment F{n} on Query {{...F{(n + 1) % number}}}" for n in range(number))


def web(dice: random.Random) -> str:
    """Every fragment spreads all that come after it."""
    number = dice.randint(5, 80)
    text = "{...F0}"
    for n in range(number):
        text += f"fragment F{n} on Query {{__typename {' '.join(f'...F{m}' for m in range(n + 1, number))}}}"
    return text


def multiplied(dice: random.Random) -> str:
    number = dice.randint(5, 60)
    levels = "".join(
        f"fragment F{n} on __Type {{a: ofType{{...F{n + 1}}} b: ofType{{...F{n + 1}}}}}" for n in range(number)
    )
    return '{__type(name:"Query"){...F0}}' + levels + f"fragment F{number} on __Type {{name}}"


def operations(dice: random.Random) -> str:
    return " ".join(f"query Q{n} {{...F}}" for n in range(dice.randint(40, 1_500))) + " fragment F on Query{__typename}"


def operations_with_fragments(dice: random.Random) -> str:
    values = " ".join(f"f{n}: contact(id:$v){{id}}" for n in range(dice.randint(50, 300)))
    text = " ".join(f"query Q{n}($v: String!) {{...F}}" for n in range(dice.randint(10, 50)))
    return f"{text} fragment F on Query{{{values}}}"


def variables(dice: random.Random) -> str:
    number = dice.randint(100, 1_500)
    declared = " ".join(f"$v{n}: String!" for n in range(number))
    return f"query({declared}){{" + " ".join(f"a{n}: contact(id:$v{n}){{id}}" for n in range(number)) + "}"


def values(dice: random.Random) -> str:
    return "{contact(id:[" + "1 " * dice.randint(1_000, 12_000) + "]){id}}"


def directives(dice: random.Random) -> str:
    word = dice.choice(["@include(if:true)", "@skip(if:false)", "@unknown"])
    if dice.random() < 0.5:
        return f"{{__typename {word * dice.randint(20, 2_500)}}}"
    return "{" + " ".join(f"a{n}: __typename {word}" for n in range(dice.randint(100, 1_500))) + "}"


def deep(dice: random.Random) -> str:
    number = dice.randint(15, 3_000)
    return dice.choice(
        ["{a" * number + "}" * number, '{__type(name:"x"){' + "ofType{" * number + "name" + "}" * number + "}}"]
    )


def deep_values(dice: random.Random) -> str:
    number = dice.randint(50, 5_000)
    return "{contact(id:" + "[" * number + "]" * number + "){id}}"


def huge_numbers(dice: random.Random) -> str:
    number = dice.choice(["9" * dice.randint(4_301, 100_000), "9" * dice.randint(50, 150), "1e999", "-" + "1" * 4_301])
    return (
        dice.choice(["{listContacts(count:%s){id}}", "{a:contact(id:%s){id}}", "query($n: Int = %s){__typename}"])
        % number
    )


def long_words(dice: random.Random) -> str:
    word = "x" * dice.randint(150, 190_000)
    return (
        dice.choice(
            [
                "{%s}",
                "{contact(%s:1){id}}",
                "{...%s}",
                "query($%s: Int){__typename}",
                "{a @%s}",
                '{listContacts(count:"%s"){id}}',
            ]
        )
        % word
    )


def conflicts(dice: random.Random) -> str:
    return (
        '{contact(id:"a"){'
        + " ".join(f"f{n % 5}: {dice.choice(['id', 'name'])}" for n in range(dice.randint(10, 3_000)))
        + "}}"
    )


KINDS: list[Make] = [
    repeated, repeated_below, aliases, aliases_below, unknown_fields, fragments_that_overlap, unused_fragments,
    inline_fragments, nested_overlaps, wide_introspection, introspection_by_aliases, chain, circle, web, multiplied,
    operations, operations_with_fragments, variables, values, directives, deep, deep_values, huge_numbers, long_words,
    conflicts,
]  # fmt: skip


def documents(number: int, seed: int = 12) -> Iterator[tuple[str, str]]:
    """So many documents with the names of their kinds, the same for the same seed."""
    dice = random.Random(seed)
    for place in range(number):
        make = KINDS[place % len(KINDS)]
        yield make.__name__, make(dice)
