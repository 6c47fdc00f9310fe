"""Table I beside ours: an evaluation that lacks something is named with what it lacks."""

from __future__ import annotations

import contextlib
import copy
import json

import pytest

from scripts import EXAMPLES, script

RESULTS = EXAMPLES / "esi" / "results"
table1 = script("esi", "table1")
HEADER = script("esi", "table1_page").HEADER
read_evaluations = script("esi", "evaluations").read_evaluations

ROW = {
    **dict.fromkeys(("localization_error", "localization_error_global", "auc", "nmse"), 0.5),
    **dict.fromkeys(("psnr", "time_error", "monotone", "rejected", "worst_increase"), 0.5),
    **dict.fromkeys(("localization_error_error", "auc_error", "psnr_error"), 0.1),
}
RIGHT = {
    "method": "mm-net",
    "verified": True,
    "start": "learned",
    "trained_on": "erp",
    "tested_on": "erp",
    "samples": 4,
    "horizon": 10,
    "clipped": 0.0,
    "parameters": {"all": 7},
    "steps": {"0": ROW, "10": ROW},
    "energy": [1.0],
    "data_term": [1.0],
    "prior_term": [1.0],
    "command": "learnmm-esi evaluate",
    "hardware": "a core",
    "training": {
        "minutes": 2,
        "preset": "cpu",
        "hardware": "a core",
        "steps": 3,
        "batch_size": 4,
        "best_step": 3,
        "start": {"seconds": 60.0, "settings": {"steps": 5, "batch_size": 6}},
    },
}


NOTHING = {"columns": [], "rows": []}


def pages(folder) -> list:
    """Everything that the script makes of evaluations."""
    evaluations = read_evaluations(folder)
    found = table1.all_on("erp", evaluations, NOTHING, [])
    lines = table1.table("erp", found).splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    verdict, each = table1.verdict("erp", found).splitlines(), table1.after(evaluations)
    return [rows, each, verdict, table1.trainings(evaluations)]


def paths(value, at=()):
    """All entries of nested dictionaries."""
    for name, inner in value.items():
        yield (*at, name)
        if isinstance(inner, dict):
            yield from paths(inner, (*at, name))


def changed(path, change):
    content = copy.deepcopy(RIGHT)
    *outer, last = path
    inner = content
    for name in outer:
        inner = inner[name]
    if change is None:
        del inner[last]
    else:
        inner[last] = change[0]
    return content


OPTIONAL = {  # with which the page says less
    ("training", "start"),
    ("training", "start", "seconds"),
    ("training", "start", "settings"),
    ("steps", "0"),
}


def test_the_committed_table_is_that_of_the_committed_evaluations(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["table1.py", "--out", str(tmp_path)])
    table1.main()
    written = sorted(path.stem for path in tmp_path.glob("table1*.md"))
    assert written == sorted(path.stem for path in RESULTS.glob("table1*.md"))
    for page in written:
        assert (tmp_path / f"{page}.md").read_text() == (RESULTS / f"{page}.md").read_text()


def test_the_page_of_a_whole_evaluation(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({**RIGHT, "accepted": 0.75}))
    table, each, verdict, how = pages(tmp_path)
    assert {len(line) for line in table} == {len(HEADER)}
    assert len(table) == 2 + 10 + 1  # the paper's rows of that data set, and the start alone
    (mine,) = (line for line in table if line[2] == "learned, 75 % accepted")
    assert (mine[3], mine[4], mine[-2:]) == ("3.92", "**0.50** ± 0.10", ["3", "4"])
    (start,) = (line for line in table if line[1] == "the learned start alone")
    assert (start[3], start[4], start[-2:]) == ("", "**0.50** ± 0.10", ["1.0", "4"])
    assert len(each) == 2
    assert len(verdict) == 8
    assert [line for line in verdict if "not trained yet" not in line] == [
        "- mm-net, trained on erp: missed; from learned, the nearest, is worse in AUC by 49.9, "
        "PSNR by 38.2"
    ]
    assert "3 min on a core" in how[0]


@pytest.mark.parametrize("path", list(paths(RIGHT)), ids=".".join)
def test_an_entry_that_is_missing_is_named(tmp_path, path):
    (tmp_path / "a.json").write_text(json.dumps(changed(path, None)))
    if path in OPTIONAL:
        assert len(pages(tmp_path)) == 4
        return
    with pytest.raises(ValueError, match=r"not an evaluation|not say how|no row") as caught:
        pages(tmp_path)
    assert path[-1] in str(caught.value)


@pytest.mark.parametrize("wrong", [None, [], "x", {"a": 1}, 1.5], ids=str)
@pytest.mark.parametrize("path", list(paths(RIGHT)), ids=".".join)
def test_an_entry_of_another_type_is_no_other_error(tmp_path, path, wrong):
    (tmp_path / "a.json").write_text(json.dumps(changed(path, [wrong])))
    with contextlib.suppress(ValueError):  # or it is of a type that serves
        pages(tmp_path)


def test_a_method_without_safeguard_is_said_to_refuse_nothing(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(changed(("verified",), [False])))
    _, each, *_ = pages(tmp_path)
    assert "not verified" in each[0]


def test_a_folder_without_evaluations_says_what_makes_them(tmp_path):
    with pytest.raises(FileNotFoundError, match="learnmm-esi evaluate"):
        read_evaluations(tmp_path)


@pytest.mark.parametrize("content", ["", "[1]", "nul", '{"a": ' * 5000, "\x00"])
def test_what_is_no_json_is_named(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ValueError, match=r"a\.json is "):
        read_evaluations(tmp_path)


def test_another_configuration_stands_beside_the_papers_rows_and_the_best_is_bold(tmp_path):
    for number, (method, error) in enumerate(
        (("mm-net", 9.0), ("4dvarnet", 9.004), ("mine", 10.0))
    ):
        content = copy.deepcopy(RIGHT) | {"method": method}
        content |= {"trained_on": "nmm-two", "tested_on": "nmm-two"}
        content["steps"] = {"10": {**ROW, "localization_error": error}}
        (tmp_path / f"{number}.json").write_text(json.dumps(content))
    found = table1.all_on("nmm-two", read_evaluations(tmp_path), NOTHING, [])
    lines = table1.table("nmm-two", found).splitlines()
    beside = {line.split(" | ")[1]: line.split(" | ")[3:5] for line in lines if "learned" in line}
    assert beside["mm-net"] == ["9.98", "**9.00** ± 0.10"]
    assert beside["4dvarnet"] == ["15.13", "**9.00** ± 0.10"]
    assert beside["mine"] == ["", "10.00 ± 0.10"]


def test_a_row_within_the_accepted_distance_is_reached_and_one_beyond_names_what_it_lacks(tmp_path):
    table = {"localization_error": 5.4, "auc": 0.985, "psnr": 37.8}  # 3.92, 99.90 and 38.74 there
    content = copy.deepcopy(RIGHT)
    content["steps"]["10"] = {**ROW, **table}
    printed = copy.deepcopy(RIGHT) | {"method": "mm-net-a", "start": "noise"}
    rival = copy.deepcopy(RIGHT) | {"method": "r-mm-net", "start": "sLORETA"}
    rival["steps"]["10"] = {**ROW, "localization_error": 4.0, "auc": 0.9999, "psnr": 36.7}
    for number, each in enumerate((content, printed, rival)):
        (tmp_path / f"{number}.json").write_text(json.dumps(each))
    found = table1.all_on("erp", read_evaluations(tmp_path), NOTHING, [])
    said = table1.verdict("erp", found).splitlines()
    assert "- mm-net, trained on erp: reached, from learned" in said
    assert (
        "- r-mm-net, trained on erp: missed; from sLORETA, the nearest, is worse in PSNR by 1.1"
        in said
    )
    lines = table1.table("erp", found).splitlines()
    (line,) = (line for line in lines if "as printed" in line)
    assert line.split(" | ")[1:4] == ["mm-net as printed", "noise", "3.92"]
