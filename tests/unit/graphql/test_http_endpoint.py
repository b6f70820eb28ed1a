"""GraphQL over HTTP: its specification, and what the endpoint checks by itself."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
from django.contrib.staticfiles import finders

from cqrssite.graphql.http.endpoint import MAX_BODY, GraphQLEndpoint
from tests.support.fake_gateway import FakeGateway, Settings, name_of

RESPONSE = "application/graphql-response+json"
MUTATION = 'mutation { addContact(name: "Ada") { status message } }'


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway()


@pytest.fixture
def endpoint(gateway: FakeGateway) -> GraphQLEndpoint:
    return GraphQLEndpoint(lambda: gateway, Settings())


@pytest.fixture
async def client(endpoint: GraphQLEndpoint) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(endpoint, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        client.headers.clear()
        yield client


def code(response: httpx.Response) -> str:
    return str(response.json()["errors"][0]["extensions"]["code"])


# --- What is asked, and how


@pytest.mark.parametrize("path", ["/", "/graphql"])
async def test_a_post_is_executed_on_both_paths(client: httpx.AsyncClient, path: str) -> None:
    response = await client.post(path, json={"query": "{ __typename }"})
    assert response.status_code == 200
    assert response.json() == {"data": {"__typename": "Query"}}
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"


async def test_variables_and_operation_name_choose_what_is_executed(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    gateway.reader.add("a", "Ada")
    query = "query One($id: String!) { contact(id: $id) { name } } query Two { __typename }"
    body = {"query": query, "operationName": "One", "variables": {"id": "a"}, "extensions": {"x": 1}}
    response = await client.post("/graphql", json=body)
    assert response.json() == {"data": {"contact": {"name": "Ada"}}}


async def test_null_parameters_count_as_absent_and_unknown_ones_are_ignored(client: httpx.AsyncClient) -> None:
    body = {"query": "{ __typename }", "operationName": None, "variables": None, "extensions": None, "more": 1}
    response = await client.post("/graphql", json=body)
    assert response.json() == {"data": {"__typename": "Query"}}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"NONSENSE", "not JSON"),
        (b'{"query":', "not JSON"),
        (b'{"query":"\xff"}', "not JSON"),
        (b"", "not JSON"),
        (b"7", "must be a JSON object"),
        (b'[{"query":"{__typename}"}]', "aliases"),
        (b'{"qeury": "{__typename}"}', "query is missing"),
        (b'{"query": 7}', "query must be a string"),
        (b'{"query": "{__typename}", "variables": [7]}', "variables must be an object"),
        (b'{"query": "{__typename}", "variables": "{}"}', "variables must be an object"),
        (b'{"query": "{__typename}", "operationName": 7}', "operationName must be a string"),
        (b'{"query": "{__typename}", "extensions": "x"}', "extensions must be an object"),
    ],
)
@pytest.mark.parametrize("accept", ["application/json", RESPONSE])
async def test_what_is_no_request_is_400(client: httpx.AsyncClient, body: bytes, message: str, accept: str) -> None:
    headers = {"content-type": "application/json", "accept": accept}
    response = await client.post("/graphql", content=body, headers=headers)
    assert response.status_code == 400
    assert response.headers["content-type"] == f"{accept}; charset=utf-8"
    assert message in response.json()["errors"][0]["message"]
    assert code(response) == "BAD_USER_INPUT"


@pytest.mark.parametrize(
    ("query", "variables", "expected"),
    [
        ("{", {}, "GRAPHQL_PARSE_FAILED"),
        ("{ nobody }", {}, "GRAPHQL_VALIDATION_FAILED"),
        ("query A { __typename } query B { __typename }", {}, "BAD_USER_INPUT"),
        ("query ($id: String!) { contact(id: $id) { id } }", {}, "BAD_USER_INPUT"),
        ("query ($id: String!) { contact(id: $id) { id } }", {"id": 7}, "BAD_USER_INPUT"),
        ("subscription { contactChanged { kind } }", {}, "BAD_USER_INPUT"),
    ],
)
@pytest.mark.parametrize(("accept", "status"), [("application/json", 200), (RESPONSE, 400)])
async def test_what_cannot_be_executed_has_no_data(
    client: httpx.AsyncClient, query: str, variables: dict[str, Any], expected: str, accept: str, status: int
) -> None:
    response = await client.post("/graphql", json={"query": query, "variables": variables}, headers={"accept": accept})
    assert response.status_code == status
    assert "data" not in response.json()
    assert code(response) == expected


async def test_an_unknown_operation_name_is_refused(client: httpx.AsyncClient) -> None:
    body = {"query": "query A { __typename }", "operationName": "B"}
    response = await client.post("/graphql", json=body, headers={"accept": RESPONSE})
    assert response.status_code == 400
    assert "'B'" in response.json()["errors"][0]["message"]


async def test_an_error_of_a_field_is_200_with_data(client: httpx.AsyncClient) -> None:
    response = await client.post(
        "/graphql", json={"query": '{ contact(id: "a") { id } }'}, headers={"accept": RESPONSE}
    )
    assert response.status_code == 200
    assert response.json()["data"] == {"contact": None}


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, "application/json"),
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("application/json", "application/json"),
        (RESPONSE, RESPONSE),
        (f"{RESPONSE}, application/json", RESPONSE),
        (f"application/json, {RESPONSE}", "application/json"),
        (f"{RESPONSE}; charset=utf-8, application/json; charset=utf-8", RESPONSE),
        (f"{RESPONSE};q=0.5, application/json", "application/json"),
        (f"application/json;q=0.9, {RESPONSE}", RESPONSE),
        (f"*/*;q=0.1, {RESPONSE}", RESPONSE),
        ("application/json;q=0, */*", RESPONSE),
        (f"application/json; q=.2, {RESPONSE}; q=.3", RESPONSE),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "application/json"),
        ("text/html", None),
        ("application/json; charset=iso-8859-1", None),
        ("application/json;q=0", None),
        ("application/json;q=nonsense", None),
    ],
)
async def test_the_answer_is_of_the_type_that_the_client_likes_best(
    client: httpx.AsyncClient, accept: str | None, expected: str | None
) -> None:
    headers = {} if accept is None else {"accept": accept}
    response = await client.post("/graphql", json={"query": "{ __typename }"}, headers=headers)
    if expected is None:
        assert response.status_code == 406
    else:
        assert response.headers["content-type"] == f"{expected}; charset=utf-8"
        assert response.status_code == 200


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/graphql",
        "application/json; charset=latin-1",
        None,
    ],
)
async def test_a_mutation_that_another_site_could_send_unasked_is_refused(
    client: httpx.AsyncClient, gateway: FakeGateway, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    response = await client.post("/graphql", content=orjson.dumps({"query": MUTATION}), headers=headers)
    assert response.status_code == 415
    assert gateway.journal.accepted == []


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"']
)
async def test_utf8_json_is_accepted(client: httpx.AsyncClient, gateway: FakeGateway, content_type: str) -> None:
    body = '{"query": "mutation { addContact(name: \\"Zoë\\") { status } }"}'.encode()
    response = await client.post("/graphql", content=body, headers={"content-type": content_type})
    assert response.json() == {"data": {"addContact": {"status": "OK"}}}
    assert name_of(gateway.journal.accepted[0]) == "Zoë"


# --- GET


async def test_a_get_executes_a_query_with_all_its_parameters(client: httpx.AsyncClient, gateway: FakeGateway) -> None:
    gateway.reader.add("a", "Ada")
    query = "query One($id: String!) { contact(id: $id) { name } } query Two { __typename }"
    params = {"query": query, "operationName": "One", "variables": '{"id": "a"}', "extensions": "{}"}
    response = await client.get("/graphql", params=params)
    assert response.json() == {"data": {"contact": {"name": "Ada"}}}


async def test_empty_parameters_of_a_get_count_as_absent(client: httpx.AsyncClient) -> None:
    params = {"query": "{ __typename }", "operationName": "", "variables": "", "extensions": ""}
    response = await client.get("/", params=params)
    assert response.json() == {"data": {"__typename": "Query"}}


@pytest.mark.parametrize("accept", ["application/json", RESPONSE])
@pytest.mark.parametrize("query", [MUTATION, "subscription { contactChanged { kind } }"])
async def test_a_get_executes_queries_only(
    client: httpx.AsyncClient, gateway: FakeGateway, query: str, accept: str
) -> None:
    response = await client.get("/graphql", params={"query": query}, headers={"accept": accept})
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    assert gateway.journal.accepted == []


@pytest.mark.parametrize("parameter", ["variables", "extensions"])
@pytest.mark.parametrize("value", ["nonsense", "[7]", '"x"'])
async def test_a_get_with_wrong_json_is_400(client: httpx.AsyncClient, parameter: str, value: str) -> None:
    response = await client.get("/graphql", params={"query": "{ __typename }", parameter: value})
    assert response.status_code == 400


async def test_a_get_without_query_is_400_for_programs(client: httpx.AsyncClient) -> None:
    response = await client.get("/graphql", headers={"accept": "application/json"})
    assert response.status_code == 400
    assert "query is missing" in response.text


async def test_a_head_has_the_headers_of_a_get_and_no_body(client: httpx.AsyncClient) -> None:
    got = await client.get("/graphql", params={"query": "{ __typename }"})
    head = await client.head("/graphql", params={"query": "{ __typename }"})
    assert head.content == b""
    assert head.headers == got.headers


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_other_methods_are_405_and_told_which_are_allowed(client: httpx.AsyncClient, method: str) -> None:
    response = await client.request(method, "/graphql", json={"query": "{ __typename }"})
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, HEAD, POST, OPTIONS"


# --- GraphiQL

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


async def test_a_browser_gets_graphiql_from_our_own_origin(client: httpx.AsyncClient) -> None:
    response = await client.get("/graphql", headers={"accept": BROWSER})
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "/static/graphiql/graphiql.js" in response.text
    assert "https://" not in response.text
    policy = response.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_all_that_the_page_loads_is_among_our_static_files(client: httpx.AsyncClient) -> None:
    page = (await client.get("/graphql", headers={"accept": BROWSER})).text
    loaded = re.findall(r'(?:src|href)="(?!data:)([^"]+)"', page)
    assert len(loaded) == 2
    for path in loaded:
        assert finders.find(path.removeprefix("/static/")), path


async def test_the_root_leads_to_graphiql(client: httpx.AsyncClient) -> None:
    response = await client.get("/", headers={"accept": BROWSER})
    assert response.status_code == 302
    assert response.headers["location"] == "/graphql"


async def test_a_browser_that_asks_a_query_gets_its_answer(client: httpx.AsyncClient) -> None:
    response = await client.get("/graphql", params={"query": "{ __typename }"}, headers={"accept": BROWSER})
    assert response.json() == {"data": {"__typename": "Query"}}


# --- Who asks


@pytest.mark.parametrize("host", ["testserver", "testserver:8080", "TESTSERVER", "api.example.org", "example.org."])
async def test_allowed_hosts_are_served(client: httpx.AsyncClient, host: str) -> None:
    response = await client.post("/graphql", json={"query": "{ __typename }"}, headers={"host": host})
    assert response.status_code == 200


@pytest.mark.parametrize("host", ["evil.example.com", "testserver.evil.com", "", "a b", "testserver@evil"])
async def test_other_hosts_are_refused(client: httpx.AsyncClient, gateway: FakeGateway, host: str) -> None:
    response = await client.post("/graphql", json={"query": MUTATION}, headers={"host": host})
    assert response.status_code == 400
    assert "CONTACTS_ALLOWED_HOSTS" in response.text
    assert gateway.journal.accepted == []


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "http://testserver:81", "https://app.example.net.evil", "file://testserver"],
)
async def test_pages_of_other_origins_are_refused(client: httpx.AsyncClient, gateway: FakeGateway, origin: str) -> None:
    response = await client.post("/graphql", json={"query": MUTATION}, headers={"origin": origin})
    assert response.status_code == 403
    assert "access-control-allow-origin" not in response.headers
    assert gateway.journal.accepted == []


async def test_our_own_pages_need_no_permission(client: httpx.AsyncClient) -> None:
    headers = {"origin": "http://testserver"}
    response = await client.post("/graphql", json={"query": "{ __typename }"}, headers=headers)
    assert response.status_code == 200
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize("origin", ["https://app.example.net", "https://one.friends.example"])
async def test_pages_of_allowed_origins_may_ask_and_read(client: httpx.AsyncClient, origin: str) -> None:
    response = await client.post("/graphql", json={"query": "{ __typename }"}, headers={"origin": origin})
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == origin
    assert "origin" in response.headers["vary"]


async def test_a_preflight_of_an_allowed_origin_is_granted(client: httpx.AsyncClient) -> None:
    headers = {
        "origin": "https://app.example.net",
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type, x-app",
    }
    response = await client.options("/graphql", headers=headers)
    assert response.status_code == 204
    assert response.headers["access-control-allow-origin"] == "https://app.example.net"
    assert response.headers["access-control-allow-headers"] == "content-type, x-app"
    assert "POST" in response.headers["access-control-allow-methods"]


async def test_a_preflight_of_another_origin_is_not(client: httpx.AsyncClient) -> None:
    headers = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    response = await client.options("/graphql", headers=headers)
    assert response.status_code == 403
    assert "access-control-allow-methods" not in response.headers


async def test_options_alone_tells_the_methods(client: httpx.AsyncClient) -> None:
    response = await client.options("/graphql")
    assert response.status_code == 204
    assert response.headers["allow"] == "GET, HEAD, POST, OPTIONS"


# --- How much


async def test_a_body_that_is_too_large_is_413(client: httpx.AsyncClient) -> None:
    response = await client.post("/graphql", json={"query": "{ __typename }", "x": "x" * MAX_BODY})
    assert response.status_code == 413


async def test_a_body_that_hides_its_size_is_413_as_soon_as_it_is_too_large(endpoint: GraphQLEndpoint) -> None:
    chunks = 0
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        nonlocal chunks
        chunks += 1
        return {"type": "http.request", "body": b"x" * 65_536, "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    await endpoint(scope(), receive, send)
    assert sent[0]["status"] == 413
    assert chunks == MAX_BODY // 65_536 + 1


async def test_a_client_that_leaves_within_its_body_is_not_answered(
    endpoint: GraphQLEndpoint, gateway: FakeGateway
) -> None:
    body = orjson.dumps({"query": MUTATION})
    messages = [{"type": "http.request", "body": body, "more_body": True}, {"type": "http.disconnect"}]
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    await endpoint(scope(), receive, send)
    assert sent == []
    assert gateway.journal.accepted == []


async def test_a_compressed_body_is_415(client: httpx.AsyncClient) -> None:
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    response = await client.post("/graphql", content=b"\x1f\x8b", headers=headers)
    assert response.status_code == 415


async def test_an_operation_that_takes_too_long_is_ended(gateway: FakeGateway) -> None:
    async def never(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    gateway.reader.get = never  # type: ignore[assignment, method-assign]
    endpoint = GraphQLEndpoint(lambda: gateway, Settings(), seconds=0.01)
    transport = httpx.ASGITransport(endpoint)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        body = {"query": '{ contact(id: "a") { id } }'}
        response = await client.post("/graphql", json=body, headers={"accept": RESPONSE})
    assert response.status_code == 503
    assert code(response) == "UNAVAILABLE"


def scope() -> dict[str, Any]:
    return {
        "type": "http",
        "method": "POST",
        "path": "/graphql",
        "query_string": b"",
        "headers": [(b"host", b"testserver"), (b"content-type", b"application/json")],
    }


@pytest.mark.parametrize("depth", [900, 1_100])
async def test_variables_nested_too_deeply_are_an_error_of_the_request(client: httpx.AsyncClient, depth: int) -> None:
    query = "query ($id: String!) { contact(id: $id) { id } }"
    body = f'{{"query":"{query}","variables":{{"id":{"[" * depth + "]" * depth}}}}}'
    headers = {"content-type": "application/json", "accept": RESPONSE}
    response = await client.post("/graphql", content=body, headers=headers)
    assert response.status_code == 400
    assert code(response) == "BAD_USER_INPUT"
    assert len(response.content) < 500


async def test_strings_that_are_no_unicode_are_an_error_of_the_request(client: httpx.AsyncClient) -> None:
    body = '{"query":"{ contact(id: \\"Zoe \\ud83d\\") { id } }"}'
    response = await client.post("/graphql", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert code(response) == "BAD_USER_INPUT"
