"""Stages are shown on standard error with their times, or nowhere."""

from __future__ import annotations

import sys

import pytest

from learnmm.progress import Progress, stages


def test_stages_are_shown_as_they_end(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rich")
    with stages(True) as stage:
        for title in ("read [it]", "solve all"):
            with stage(title):
                pass
    out, err = capsys.readouterr()
    assert out == ""
    for title in ("read [it]", "solve all"):
        assert f"✓ {title} 0:00:00" in err


def test_a_stage_that_fails_is_not_shown_as_done(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rich")
    with pytest.raises(ZeroDivisionError), stages(True) as stage, stage("divide"):
        raise ZeroDivisionError
    err = capsys.readouterr().err
    assert "divide" in err
    assert "✓" not in err


def test_a_bar_counts_from_where_it_starts(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rich")
    with Progress(9, enabled=True, title="[fit]", done=4) as bar:
        bar.show(5, "loss 0.5 [of many]")
    out, err = capsys.readouterr()
    assert out == ""
    assert "[fit]" in err
    assert "5/9" in err
    assert "loss 0.5 [of many]" in err


def test_nothing_is_shown_unless_asked(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(9, enabled=False) as bar, stages(False) as stage, stage("read"):
        bar.show(5, "loss")
    assert capsys.readouterr() == ("", "")


def test_stages_need_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    message = r"progress=True needs rich: pip install 'learnmm\[progress\]'"
    with pytest.raises(ImportError, match=message), stages(True):
        pass
