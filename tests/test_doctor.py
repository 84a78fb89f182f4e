"""The examination before the first night, over real sockets: what it tells of each kind of server."""

import csv
import io
import json
import socket
import time
from dataclasses import replace
from hashlib import sha256

import pytest

from pipeline.config import Config
from pipeline.doctor import OK, PROBLEM, UNKNOWN, examine
from pipeline.errors import worst
from pipeline.sandbox.app import NO_PERMISSION_KEY
from pipeline.sandbox.faults import Fault
from pipeline.sandbox.shape import Shape
from tests.cli.program import assert_one_message, pipeline, settings
from tests.e2e.place import KEY, NOW, Place

LISTS = ["openai", "exact", "azure", "azure-preview", "ogx"]
EVERY_CHECK = [
    *("key and list", "account", "clock", "default order", "after", "largest limit", "filters"),
    *("data folder", "disk", "duckdb"),
]


def served(folder, shape=None, *, seconds=(3, 3, 2, 1), **place):
    """Serve a few completions by this machine's clock, so many seconds ago each."""
    one = Place(folder, shape, **place)
    one.clock.now = time.time()
    for ago in seconds:
        one.add(int(one.clock.now) - 60 * ago)
    return one


def examined(config):
    """Return the checks by name; whatever they say, a problem has a remedy of one line, and no key is shown."""
    checks = list(examine(config))
    for check in checks:
        assert check.state in {OK, PROBLEM, UNKNOWN}
        assert (check.state == PROBLEM) == bool(check.remedy), check
        assert (check.state == PROBLEM) == bool(check.exit_code), check
        assert "\n" not in check.found + check.remedy
        assert KEY not in repr(check)
    assert len({check.check for check in checks}) == len(checks)
    return {check.check: check for check in checks}


def with_key(place, name):
    """Return settings that look for the key under another name of the environment."""
    return Config(data=place.data, sources=(replace(place.source(), api_key=f"env:{name}"),))


def of_source(found):
    """Return the checks of the server alone: this machine's disk is not the test's matter."""
    return {name: check for name, check in found.items() if check.where != "machine"}


@pytest.mark.parametrize("name", LISTS)
def test_every_server_that_lists_passes_every_check(tmp_path, name):
    """On each shape that lists, every check is made, in one order, and none is a problem."""
    with served(tmp_path, Shape.named(name)) as place:
        found = examined(place.config())
    assert list(found) == EVERY_CHECK
    assert not [check for check in of_source(found).values() if check.state == PROBLEM]
    assert found["key and list"].found == "the server lists completions (4 on a page)"


def test_a_gateway_without_a_list_is_told(tmp_path):
    """A server that knows POST alone gives one problem that says so; nothing else is asked of it."""
    with served(tmp_path, Shape.named("post-only"), seconds=()) as place:
        found = of_source(examined(place.config()))
    assert list(found) == ["key and list"]
    assert "this server has no stored completions" in found["key and list"].found
    assert (found["key and list"].exit_code, found["key and list"].remedy[:14]) == (78, "check base_url")


def test_organization_and_project_are_named(tmp_path):
    """Whom the key answers for is told where the server tells it."""
    with served(tmp_path) as place:
        check = examined(place.config())["account"]
    assert (check.state, check.found) == (OK, "organization org-sandbox, project proj_sandbox")


@pytest.mark.parametrize("name", ["azure", "ogx"])
def test_an_account_that_is_not_named_is_unknown(tmp_path, name):
    """A server without these headers leaves the account unknown, with why."""
    with served(tmp_path, Shape.named(name)) as place:
        check = examined(place.config())["account"]
    assert (check.state, check.found) == (UNKNOWN, "the server names neither organization nor project")


@pytest.mark.parametrize(("off", "told"), [(3600, "behind"), (-3600, "ahead of")])
def test_a_clock_that_is_off_is_a_problem(tmp_path, off, told):
    """A server whose clock is an hour away from ours is told with direction, size and remedy."""
    with served(tmp_path) as place:
        place.clock.advance(off)
        check = examined(place.config())["clock"]
    seconds, *rest = check.found.split()
    assert abs(int(seconds) - 3600) < 30
    assert " ".join(rest) == f"s {told} the server's"
    assert (check.state, check.remedy) == (PROBLEM, "set the clock (NTP)")


@pytest.mark.parametrize(("name", "order"), [("openai", "newest first"), ("azure", "oldest first")])
def test_the_default_order_is_found(tmp_path, name, order):
    """What a request without an order gives is found by asking one."""
    with served(tmp_path, Shape.named(name)) as place:
        check = examined(place.config())["default order"]
    assert (check.state, check.found) == (OK, f"{order}; every request names its order anyway")


@pytest.mark.parametrize("seconds", [(), (1,), (1, 1, 1)])
def test_an_order_of_one_second_is_unknown(tmp_path, seconds):
    """Nothing is claimed of an order that nothing shows."""
    with served(tmp_path, seconds=seconds) as place:
        check = examined(place.config())["default order"]
    assert (check.state, check.found) == (UNKNOWN, "fewer than two seconds are listed")


@pytest.mark.parametrize(
    ("name", "told"),
    [("openai", "skips the rest of a row's second"), ("azure", "skips the rest"), ("exact", "continues exactly")],
)
@pytest.mark.parametrize("seconds", [(3, 3, 2, 1), (3, 2, 1, 1), (1, 1)], ids=["first", "last", "only"])
def test_what_after_means_is_detected(tmp_path, name, told, seconds):
    """Two rows of one second, wherever they stand in the list, show how the server continues behind the first."""
    with served(tmp_path, Shape.named(name), seconds=seconds) as place:
        check = examined(place.config())["after"]
    assert check.state == OK
    assert check.found.startswith(told)


def test_what_after_means_is_found_behind_the_first_page(tmp_path):
    """The two rows of one second may stand on a later page, or on both sides of a page's end."""
    with served(tmp_path, Shape.named("exact"), seconds=(*range(60, 1, -1), 1, 1)) as place:
        assert examined(place.config())["after"].found.startswith("continues exactly")


@pytest.mark.parametrize("seconds", [(), (3, 2, 1)])
def test_what_after_means_is_unknown_without_a_pair(tmp_path, seconds):
    """Without two rows of one second nothing is claimed, and why is told."""
    with served(tmp_path, seconds=seconds) as place:
        check = examined(place.config())["after"]
    assert (check.state, check.found) == (UNKNOWN, "no two completions of one second were found to try it on")


@pytest.mark.parametrize(("most", "told"), [(100, "100"), (None, "1000"), (200, "200"), (7, "7")])
def test_the_largest_limit_is_found(tmp_path, most, told):
    """The largest limit of those tried that the server takes is told."""
    with served(tmp_path, Shape(max_limit=most)) as place:
        check = examined(place.config(limit=7))["largest limit"]
    assert check.state == OK
    assert check.found.startswith(f"{told} of those tried")


def test_a_limit_that_is_too_large_is_a_problem(tmp_path):
    """A source that asks for more than the server gives is told what to set."""
    with served(tmp_path) as place:
        check = examined(place.config(limit=1000))["largest limit"]
    assert (check.state, check.found, check.remedy) == (PROBLEM, "100, and limit is 1000", "set limit = 100")
    assert check.exit_code == 78


def test_filters_that_are_honoured_are_told(tmp_path):
    """A server that shows nothing for a model and metadata of nobody honours both."""
    with served(tmp_path) as place:
        check = examined(place.config())["filters"]
    assert (check.state, check.found) == (OK, "model honoured, metadata honoured")


def test_a_filter_that_is_ignored_harms_only_who_uses_it(tmp_path):
    """That a server ignores the metadata filter is told, and is a problem only for a source that uses it."""
    with served(tmp_path, Shape(by_metadata=False), seconds=()) as place:
        place.add(NOW, 2, metadata={"team": "search"})
        unused = examined(place.config())["filters"]
        used = examined(place.config(metadata={"team": "search"}))
    assert (unused.state, unused.found) == (OK, "model honoured, metadata ignored")
    (problem,) = (check for check in of_source(used).values() if check.state == PROBLEM)
    assert problem == replace(unused, state=PROBLEM, remedy=problem.remedy, exit_code=78)
    assert problem.remedy == "remove what is not honoured from this source"


def test_rows_that_do_not_pass_the_filter_end_the_examination(tmp_path):
    """A source whose filter lets everything through is told at once, with the remedy."""
    with served(tmp_path, Shape.named("ogx")) as place:
        (check,) = of_source(examined(place.config(metadata={"team": "search"}))).values()
    assert (check.state, check.exit_code) == (PROBLEM, 78)
    assert "the server ignores the filters" in check.found


def test_a_filter_that_is_refused_is_not_called_honoured(tmp_path):
    """A server that answers a filter, which is asked for last, with 400 is told by that."""
    with served(tmp_path) as place:
        examined(place.config())
        place.server.app.faults = (Fault("400", at=2 * place.asked() - 1, times=0),)
        check = examined(place.config())["filters"]
    assert (check.state, check.found) == (OK, "model refused (400), metadata refused (400)")


def test_filters_without_rows_are_unknown(tmp_path):
    """Where nothing is listed nothing can show that a filter works."""
    with served(tmp_path, seconds=()) as place:
        check = examined(place.config())["filters"]
    assert (check.state, check.found) == (UNKNOWN, "nothing is listed to filter")


def test_no_key_is_told_with_where_it_was_looked_for(tmp_path):
    """A key that is not there is one problem of the source, with the remedy; the machine is looked at all the same."""
    with served(tmp_path) as place:
        found = examined(with_key(place, "NO_SUCH_KEY"))
        assert place.asked() == 0
    check = of_source(found)["key and list"]
    assert (check.exit_code, check.remedy) == (77, "set the environment variable NO_SUCH_KEY")
    assert "data folder" in found


def test_a_wrong_key_is_told(tmp_path, monkeypatch):
    """A key that the server does not know is refused, with where to mend it, and never shown."""
    monkeypatch.setenv("WRONG_KEY", wrong := "sk-a-key-of-somebody-else")
    with served(tmp_path) as place:
        (check,) = of_source(examined(with_key(place, "WRONG_KEY"))).values()
    assert (check.state, check.exit_code) == (PROBLEM, 77)
    assert "the server refuses the key: 401" in check.found
    assert "api_key" in check.remedy
    assert wrong not in repr(check)


def test_a_key_without_permission_is_told(tmp_path, monkeypatch):
    """A key that may not list is told by the server's own words for the scope it lacks."""
    monkeypatch.setenv("POOR_KEY", NO_PERMISSION_KEY)
    with served(tmp_path) as place:
        (check,) = of_source(examined(with_key(place, "POOR_KEY"))).values()
    assert (check.state, check.exit_code) == (PROBLEM, 77)
    assert "Missing scopes: model.read" in check.found
    assert "may read stored completions" in check.remedy


def test_a_server_that_is_down_is_told(tmp_path):
    """Where nobody listens the problem is one that time may mend: 75."""
    with served(tmp_path) as place, socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        source = replace(place.source(), base_url=f"http://127.0.0.1:{nobody.getsockname()[1]}/v1")
        (check,) = of_source(examined(Config(data=place.data, sources=(source,)))).values()
    assert (check.state, check.exit_code) == (PROBLEM, 75)
    assert check.remedy.startswith("check base_url")


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        *(("400", 78), ("401", 77), ("404", 78), ("money", 77), ("503", 75)),
        *(("301", 78), ("html", 75), ("truncated-json", 75), ("reset", 75)),
    ],
)
@pytest.mark.parametrize("at", [1, 2, 5])
def test_whatever_goes_wrong_is_a_check(tmp_path, fault, code, at):
    """A server that fails at the first question or at a later one is a problem or an unknown, never an exception."""
    value = "http://127.0.0.1:9/" if fault == "301" else ""
    with served(tmp_path) as place:
        place.server.app.faults = (Fault(fault, at=at, times=0, value=value),)
        found = of_source(examined(place.config(retry_attempts=1)))
    problems = [check for check in found.values() if check.state == PROBLEM]
    if at == 1:
        assert [check.exit_code for check in problems] == [code]
    assert {check.exit_code for check in problems} <= {code}
    assert not found.get("filters") or "ignored" not in found["filters"].found


def test_a_row_that_comes_again_proves_nothing(tmp_path):
    """What ``after`` means is unknown where the server answers with the page before once more."""
    with served(tmp_path, Shape.named("exact")) as place:
        place.server.app.faults = (Fault("stuck", at=3),)
        check = examined(place.config())["after"]
    assert (check.state, check.found[:32]) == (UNKNOWN, "the server shows the very row ag")


def everything_in(folder):
    """Return every path with what it is and holds."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mode, path.stat().st_mtime_ns, path.is_file() and _digest(path))
        for path in sorted([folder, *folder.rglob("*")])
    }


def _digest(path):
    return sha256(path.read_bytes()).hexdigest()


def test_an_examination_leaves_the_data_folder_as_it_is(tmp_path):
    """Folder and files are byte for byte and moment for moment what they were before."""
    with served(tmp_path) as place:
        place.run()
        before = everything_in(place.data)
        examined(place.config())
    assert any(name.endswith(".duckdb") for name in before)
    assert everything_in(place.data) == before


def test_an_examination_makes_no_folder(tmp_path):
    """Before the first night there is no data folder, and there is none afterwards."""
    with served(tmp_path) as place:
        before = everything_in(tmp_path)
        found = examined(place.config())
        assert everything_in(tmp_path) == before
    assert found["data folder"].found == f"{place.data} can be made"


def test_an_examination_changes_nothing_on_the_server(tmp_path):
    """Only lists are asked for."""
    with served(tmp_path) as place:
        examined(place.config())
        assert {request.method for request in place.server.requests} == {"GET"}
        assert all(request.list_number for request in place.server.requests)


@pytest.mark.parametrize("kind", ["file", "foreign"])
def test_a_data_folder_that_is_none_is_a_problem(tmp_path, kind):
    """A file in its place, or a folder of other things, is told and left alone."""
    data = tmp_path / "data"
    (data if kind == "file" else data / "thesis.txt").parent.mkdir(exist_ok=True)
    (data if kind == "file" else data / "thesis.txt").write_text("mine")
    before = everything_in(tmp_path)
    check = examined(Config(data=data))["data folder"]
    assert (check.state, check.exit_code, "--data" in check.remedy) == (PROBLEM, 78, True)
    assert everything_in(tmp_path) == before


def test_each_source_is_examined_by_itself(tmp_path):
    """A source that does not answer hides no other, and the worst code speaks for all."""
    with served(tmp_path) as place:
        bad = replace(place.source("bad"), api_key="env:NO_SUCH_KEY")
        checks = list(examine(Config(data=place.data, sources=(bad, place.source("good")))))
    assert [check.state for check in checks if check.where == "bad"] == [PROBLEM]
    assert len([check for check in checks if check.where == "good"]) == 7
    assert worst(check.exit_code for check in checks if check.where != "machine") == 77


# -- the command ---------------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path):
    """Serve a few completions."""
    with served(tmp_path) as one:
        yield one


def examination(tmp_path, place, *arguments, **env):
    """Run the command."""
    return pipeline("doctor", "--config", settings(tmp_path, place), "--data", place.data, *arguments, **env)


def test_the_command_prints_json(tmp_path, place):
    """JSON is an array with one object per check, under the names of its fields."""
    done = examination(tmp_path, place, "--format", "json")
    assert_one_message(done, 0)
    told = json.loads(done.stdout)
    assert [check["check"] for check in told] == EVERY_CHECK
    assert list(told[0]) == ["where", "check", "state", "found", "remedy", "exit_code"]


def test_the_command_prints_csv_off_a_terminal(tmp_path, place):
    """Into a pipe comes CSV with a heading."""
    done = examination(tmp_path, place)
    assert_one_message(done, 0)
    told = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [check["check"] for check in told] == EVERY_CHECK
    assert {check["where"] for check in told} == {"prod", "machine"}


def test_the_command_draws_a_table(tmp_path, place):
    """A table has a line for each check, under a heading."""
    done = examination(tmp_path, place, "--format", "table")
    assert_one_message(done, 0, "remedy", *EVERY_CHECK)
    assert "," not in done.stdout.splitlines()[0]


@pytest.mark.parametrize("form", ["json", "csv", "table"])
def test_the_command_ends_as_the_worst_check_says(tmp_path, place, form):
    """A wrong key ends the command with 77, tells the remedy, and is shown in no form."""
    done = examination(tmp_path, place, "--format", form, OPENAI_API_KEY="sk-wrong")
    assert_one_message(done, 77, "check the setting api_key")
    assert "sk-wrong" not in done.stdout + done.stderr
