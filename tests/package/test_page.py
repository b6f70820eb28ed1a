"""docs/your-own-aggregate.md, followed literally."""

import httpx

from tests.package.page import Reader
from tests.package.project import Project


def test_the_page_holds_from_the_empty_project_to_the_notice(reader: Reader) -> None:
    assert httpx.get(f"{reader.url}/healthz").json() == {"status": "ok"}
    ready = httpx.get(f"{reader.url}/readyz").json()
    assert ready["status"] == "ready", ready


def test_the_projects_own_pages_go_on_working_beside_the_gateway(reader: Reader) -> None:
    login = httpx.get(f"{reader.url}/admin/login/")
    assert login.status_code == 200
    assert "Django administration" in login.text
    assert httpx.get(f"{reader.url}/").status_code == 404  # the project's own, which has none
    assert httpx.get(f"{reader.url}/static/admin/css/base.css").status_code == 200


def test_graphiqls_files_are_found(reader: Reader) -> None:
    page = httpx.get(f"{reader.url}/graphql", headers={"accept": "text/html"}).text
    assert '"/static/graphiql/graphiql.js"' in page
    assert httpx.get(f"{reader.url}/static/graphiql/graphiql.js").status_code == 200


def test_the_schema_holds_the_projects_aggregate_and_none_of_contacts(reader: Reader) -> None:
    document = "{ __schema { mutationType { fields { name } } } }"
    answer = httpx.post(f"{reader.url}/graphql", json={"query": document}).json()
    names = {field["name"] for field in answer["data"]["__schema"]["mutationType"]["fields"]}
    assert names == {"writeNote", "rewriteNote", "removeNote", "cancelCommand"}


def test_an_application_that_is_no_gateway_is_refused_with_a_sentence(project: Project) -> None:
    project.settings(ASGI_APPLICATION='"shop.wsgi.application"')
    try:
        said = project.manage("rungateway", "--bind", "127.0.0.1:0", check=False)
    finally:
        project.settings(ASGI_APPLICATION='"shop.asgi.application"')
    assert said.startswith("CommandError: ASGI_APPLICATION names no gateway: ")
