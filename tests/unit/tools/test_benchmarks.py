"""The pure parts of the benchmarks: what is read, divided, compared and drawn."""

import io
import json
import sqlite3
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import documents
from benchmarks.bench import percentile
from benchmarks.figures import Figure, Hello, Load, Unit
from benchmarks.plot import svg
from benchmarks.profile import Functions
from benchmarks.report import Run, as_json, change, keep, read_committed, remarks, show
from benchmarks.scenarios import SCENARIOS
from benchmarks.wrk import LoadFailed, parsed
from cqrssite.graphql.engine.documents import Documents
from cqrssite.graphql.schema import schema

HELLO = Hello(rate=10_000, p50=4, p99=8, spread=0.02)
READS = Figure("reads.contact", "contact(id)", 4_000, Unit.PER_SECOND)
TAIL = Figure("reads.contact.p99", "contact(id): p99", 16, Unit.MILLISECONDS, tail=True)
START = Figure("start.first", "first start", 2, Unit.SECONDS)
MEMORY = Figure("memory.gateway", "memory of the gateway", 80, Unit.MEGABYTES)
BEHIND = Figure("writes.committed.behind", "behind", 0.01, Unit.SECONDS, compared=False)
RESULT = (
    'RESULT {"requests": 1000, "microseconds": 500000, "p50": 1500.0, "p99": 9000.0,'
    ' "status": %d, "sockets": 0, "timeouts": 0}'
)


def run_of(*figures: Figure, hello: Hello = HELLO, others: float = 0.0, without: dict[str, str] | None = None) -> Run:
    return Run(hello, figures, quick=True, gateways=1, without=without or {}, others=others)


# What wrk says.


def test_a_result_of_wrk_is_read_among_its_other_lines():
    load = parsed("Running 1s test\n" + RESULT % 0 + "\nsomething else\n")
    assert load == Load(requests=1000, seconds=0.5, p50=1.5, p99=9.0)
    assert load.rate == 2000


def test_answers_with_an_error_make_no_figure():
    with pytest.raises(LoadFailed, match="3 were answered with an error"):
        parsed(RESULT % 3)


def test_no_answer_at_all_makes_no_figure():
    with pytest.raises(LoadFailed, match="no request was answered"):
        parsed((RESULT % 0).replace("1000,", "0,", 1))


def test_what_wrk_says_instead_of_a_result_is_told():
    with pytest.raises(LoadFailed, match="unable to connect"):
        parsed("unable to connect to 127.0.0.1:1 Connection refused")


# Ratios.


def test_a_rate_is_divided_by_the_rate_of_the_hello_world():
    assert HELLO.ratio(READS) == pytest.approx(0.4)


def test_a_99th_percentile_is_divided_by_the_99th_and_any_other_time_by_the_median():
    assert HELLO.ratio(TAIL) == pytest.approx(2)
    assert HELLO.ratio(START) == pytest.approx(500)
    assert HELLO.ratio(Figure("x", "x", 400, Unit.MICROSECONDS)) == pytest.approx(0.1)


def test_cores_count_for_more_on_a_faster_machine():
    assert HELLO.ratio(Figure("delays.cpu", "CPU", 0.5, Unit.CORES)) == pytest.approx(5)


def test_memory_has_no_ratio_and_is_compared_as_it_is():
    assert HELLO.ratio(MEMORY) is None
    assert run_of(MEMORY).measures() == {"memory.gateway": 80}


def test_the_hello_world_of_a_run_is_the_median_of_its_measurements():
    hello = Hello.of([Load(900, 1, 1, 2), Load(1000, 1, 2, 5), Load(1100, 1, 3, 9)])
    assert hello == Hello(rate=1000, p50=2, p99=5, spread=pytest.approx(0.2))


# The comparison.


@pytest.mark.parametrize(("now", "worse"), [(0.34, False), (0.33, True), (0.9, False)])
def test_a_rate_is_worse_when_it_lost_more_than_15_percent(now: float, worse: bool):
    changed = change(READS, now, 0.4)
    assert changed is not None
    assert changed.worse is worse
    assert changed.share == pytest.approx(now / 0.4 - 1)


@pytest.mark.parametrize(("now", "worse"), [(92, True), (91, False), (10, False)])
def test_a_size_is_worse_when_it_grew_by_more_than_15_percent(now: float, worse: bool):
    changed = change(MEMORY, now, 79.5)
    assert changed is not None
    assert changed.worse is worse


def test_a_99th_percentile_may_vary_more():
    assert not change(TAIL, 1.4, 1).worse  # type: ignore[union-attr]
    assert change(TAIL, 1.6, 1).worse  # type: ignore[union-attr]


def test_what_was_never_committed_or_is_close_to_nothing_is_not_compared():
    assert change(READS, 0.4, None) is None
    assert change(BEHIND, 5, 1) is None


def test_kept_measures_are_read_again_beside_those_of_other_kinds_of_run(tmp_path: Path):
    file = tmp_path / "ratios.json"
    file.write_text(json.dumps({"full": {"reads.contact": 0.5}, "quick": {"start.first": 7}}))
    keep(run_of(READS, BEHIND), file)
    assert read_committed(file, "quick") == {"reads.contact": 0.4, "start.first": 7}
    assert read_committed(file, "full") == {"reads.contact": 0.5}
    assert read_committed(file, "full-2") == {}
    assert read_committed(tmp_path / "none.json", "quick") == {}


def test_a_run_with_several_gateways_is_a_kind_of_its_own():
    assert run_of().kind == "quick"
    assert Run(HELLO, [], quick=False, gateways=2, without={}).kind == "full-2"


# What is shown.


def shown(run: Run, committed: dict[str, float]) -> str:
    console = Console(file=io.StringIO(), width=160)
    show(run, committed, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table_has_value_ratio_committed_ratio_and_change():
    (line,) = [line for line in shown(run_of(READS), {"reads.contact": 0.5}).splitlines() if "4,000 /s" in line]
    assert [cell.strip() for cell in line.strip("│").split("│")] == [
        "contact(id)",
        "4,000 /s",
        "0.4",
        "0.5",
        "-20% WORSE",
    ]


def test_what_is_worse_is_named_below_the_table():
    assert "WORSE than committed, by more than 15% (p99: 50%): reads.contact" in shown(
        run_of(READS), {"reads.contact": 0.5}
    )
    assert "Nothing is worse" in shown(run_of(READS), {"reads.contact": 0.41})


def test_a_scenario_that_failed_is_named_with_its_reason():
    assert "reads is missing: it was away" in remarks(run_of(without={"reads": "it was away"}), {})


def test_a_machine_that_was_not_quiet_is_told_of():
    assert not any("not quiet" in line for line in remarks(run_of(READS), {}))
    assert any("0.40 cores" in line for line in remarks(run_of(READS, others=0.4), {}))
    restless = Hello(rate=10_000, p50=4, p99=8, spread=0.3)
    assert any("varied by 30%" in line for line in remarks(run_of(READS, hello=restless), {}))


def test_stock_graphene_django_is_compared_where_it_was_measured():
    stock = Figure("stock.daphne_contact", "stock", 100, Unit.PER_SECOND)
    assert "contact(id): 40 × stock graphene-django on daphne" in remarks(run_of(READS, stock), {})


def test_json_has_every_figure_with_its_ratio():
    written = json.loads(json.dumps(as_json(run_of(READS, MEMORY))))
    assert [(figure["key"], figure["ratio"]) for figure in written["figures"]] == [
        ("reads.contact", 0.4),
        ("memory.gateway", None),
    ]


def test_the_plot_has_a_bar_for_each_rate_and_the_mark_of_the_go_original():
    drawn = ElementTree.fromstring(svg(run_of(READS, TAIL, Figure("stock.x", "a < b", 40, Unit.PER_SECOND))))
    tag = "{http://www.w3.org/2000/svg}"
    assert [text.text for text in drawn.iter(f"{tag}text") if text.get("text-anchor") == "end"] == [
        "contact(id)",
        "a < b",
    ]
    bars = [float(bar.get("width", "")) for bar in drawn.iter(f"{tag}rect") if bar.get("height") == "15"]
    assert len(bars) == 2
    assert bars[0] > bars[1]
    assert len([line for line in drawn.iter(f"{tag}line") if line.get("stroke") == "#d00"]) == 1


def test_every_scenario_has_a_title_of_its_own():
    from benchmarks.report import _TITLES

    assert _TITLES.keys() == SCENARIOS.keys()


# What is sent, and how it is summed up.


BODIES = {
    "contact": documents.CONTACT,
    "contact literal": documents.CONTACT_LITERAL,
    "list": documents.LIST,
    "add": documents.ADD,
    "add literal": documents.ADD_LITERAL,
    "many": documents.many(100),
    "many literal": documents.many(100, literal=True),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_every_request_is_valid(body: str):
    filled = json.loads(body.replace("~U~", "unique").replace("~I~", "an-id"))
    assert Documents(schema.graphql_schema).get(filled["query"])


def test_a_document_of_many_mutations_has_as_many_unique_names():
    assert documents.many(100).count("~U~") == 100
    assert documents.many(100, literal=True).count("~U~") == 100


def test_a_percentile_is_the_value_that_so_many_do_not_exceed():
    assert percentile(list(range(100, 0, -1)), 0.5) == 51
    assert percentile([1, 2, 3], 0.99) == 3


def test_functions_are_counted_where_they_are_at_the_top_and_where_they_are_at_all():
    functions = Functions("main;work;parse 3\nmain;work 1\nmain;work;parse;work 1\n")
    assert functions.samples == 5
    assert functions.own == {"parse": 3, "work": 2}
    assert functions.all == {"main": 5, "work": 5, "parse": 4}


def test_seeded_contacts_are_what_commands_would_have_left(tmp_path: Path):
    from benchmarks.seed import sample_ids, seed

    with sqlite3.connect(tmp_path / "contacts.sqlite3") as database:
        database.execute(
            "CREATE TABLE notice (number INTEGER PRIMARY KEY, command_id, kind, aggregate, command_kind, aggregate_id,"
            " state, version, summary, message, reason, actor, depends_on, committed_at)"
        )
        database.execute("CREATE TABLE contact (id PRIMARY KEY, name, last_updated, version, added_by)")
    seed(tmp_path, 50)
    joined = database.execute(
        "SELECT number, kind, id, contact.name FROM contact JOIN notice ON number = added_by AND aggregate_id = id"
    ).fetchall()
    assert [row[0] for row in joined] == list(range(1, 51))
    assert joined[6][1:] == (1, joined[6][2], "Contact number 7")
    ids = sample_ids(tmp_path, tmp_path / "ids", most=20).read_text().split()
    assert len(set(ids)) == 20
    assert {len(contact_id) for contact_id in ids} == {36}
