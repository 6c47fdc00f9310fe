"""The section of a report: what it shows, and that it can be replaced."""

from __future__ import annotations

import html
import re

import matplotlib
import mne
import numpy as np
import pytest

from eeg_recordings import FEW
from learnmm_esi.head.from_forward import head_model_from_forward
from learnmm_esi.recordings.apply import MMInverse
from learnmm_esi.recordings.report import add_to_report
from learnmm_esi.recordings.settings import InverseSettings, SensorSettings

matplotlib.use("agg")


@pytest.fixture
def report():
    return mne.Report(title="<bert>", verbose="ERROR")


def saved(report, folder) -> str:
    path = folder / "report.html"
    report.save(path, open_browser=False, overwrite=True, verbose="ERROR")
    return path.read_text(encoding="utf-8")


def rows(page: str) -> dict[str, str]:
    return dict(re.findall(r"<tr><th>([^<]*)</th><td>([^<]*)</td></tr>", page))


@pytest.mark.filterwarnings("ignore:the estimate explains:RuntimeWarning")
def test_a_section_shows_picture_certificate_and_settings_and_is_replaced(
    report, model, evoked, weights, head_models, monkeypatch, tmp_path
):
    """On the sources of a forward solution, drawn as points, which is soon done."""
    monkeypatch.setenv("LEARNMM_CACHE", str(head_models))
    sources = head_model_from_forward(model.forward())
    evoked.comment = "left & <right>"
    learned = InverseSettings(weights=weights, transfer=True)
    inverse = MMInverse(sources, learned)
    stc, fit = inverse.apply(evoked, return_result=True)
    add_to_report(report, evoked, stc, fit, inverse)
    page = saved(report, tmp_path)
    assert re.search(r"<img[^>]*Sources of left[^>]*data:image/", page)
    assert html.escape(str(fit)) in page
    told = rows(page)
    assert told["head model"] == "90 sensors, 60 sources of fsaverage"
    assert told["recording"].startswith("16 samples, -20 to 10 ms, 512 Hz, 1 averages")
    assert (told["weights"], told["noise cov"]) == ("tiny.safetensors", "default")
    assert "diffusion" not in told

    noise = mne.make_ad_hoc_cov(evoked.info, verbose="ERROR")
    evoked.info["bads"] = ["Cz"]
    inverse = MMInverse(sources, FEW, sensors=SensorSettings(noise_cov=noise))
    stc, fit = inverse.apply(evoked, return_result=True)
    add_to_report(report, evoked, stc, fit, inverse, replace=True)
    page = saved(report, tmp_path)
    assert page.count("<th>head model</th>") == 1
    told = rows(page)
    assert (told["bad channels"], told["max iter"], told["weight"]) == ("Cz", "5", "default")
    assert (told["noise cov"], told["diffusion"]) == ("of 90 channels", "default")
    assert told["on missing"] == "raise"


def test_what_cannot_be_reported_is_named(report, inverse, evoked):
    stc, fit = inverse.apply(evoked, return_result=True)
    with pytest.raises(TypeError, match=r"report must be Report, got 'report\.html'"):
        add_to_report("report.html", evoked, stc, fit, inverse)
    with pytest.raises(TypeError, match="fit must be MMFit, got None"):
        add_to_report(report, evoked, stc, None, inverse)
    short = mne.SourceEstimate(np.zeros((59, 1)), [stc.vertices[0], stc.vertices[1][:-1]], 0, 1)
    with pytest.raises(ValueError, match="59 sources, the head model 60"):
        add_to_report(report, evoked, short, fit, inverse)
    assert report.html == []
