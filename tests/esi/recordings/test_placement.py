"""Electrodes on the template: measured on any head, of a template montage, or known by name."""

from __future__ import annotations

import warnings

import mne
import numpy as np
import pytest
from mne.coreg import get_mni_fiducials
from scipy.spatial.transform import Rotation

from learnmm_esi.recordings.montages import CAPS, head_frame, named_places
from learnmm_esi.recordings.placement import place_electrodes
from learnmm_esi.recordings.scalp_fit import fit_to_scalp, template_skin

FEW = ["Fp1", "Fp2", "F7", "F3", "Fz", "F4", "F8", "T7", "C3", "Cz"]
FEW += ["C4", "T8", "P7", "P3", "Pz", "P4", "P8", "O1", "O2"]  # the 19 of the 10-20 system
OLD = {"T7": "T3", "T8": "T4", "P7": "T5", "P8": "T6"}
FIDUCIALS = np.array([point["r"] for point in get_mni_fiducials("fsaverage")])


def nameless(count):
    return [f"X{k}" for k in range(count)]


def montage_of(kind):
    """Channels with the positions of a montage that MNE ships."""
    montage = mne.channels.make_standard_montage(kind)
    return mne.create_info(montage.ch_names, 100.0, "eeg").set_montage(montage)


def measured(points, names, fiducials=FIDUCIALS, missing=()):
    """Channels with digitised positions; `missing` have none."""
    places = {n: p for n, p in zip(names, points, strict=True) if n not in missing}
    lpa, nasion, rpa = (None, None, None) if fiducials is None else fiducials
    montage = mne.channels.make_dig_montage(places, nasion, lpa, rpa, coord_frame="unknown")
    info = mne.create_info(list(names), 100.0, "eeg")
    return info.set_montage(montage, on_missing="ignore", verbose="ERROR")


def apart(placement, points):
    """Distances from points in millimetres."""
    return 1e3 * np.linalg.norm(placement.points - points, axis=1)


def cap(count=60):
    """Electrodes all over the upper head, somewhere between those of the 10-05 system."""
    vertices = template_skin().vertices
    upper = vertices[vertices[:, 2] > -0.01]
    return upper[np.random.default_rng(1).permutation(len(upper))[:count]]


@pytest.mark.parametrize("stretch", [(1, 1, 1), (0.8, 0.8, 0.8), (1.1, 0.95, 1.0), (0.9, 1.0, 1.1)])
def test_a_cap_on_another_head_lands_where_it_is_on_the_template(stretch):
    turn = Rotation.from_euler("xyz", (25, -40, 110), degrees=True)
    generator = np.random.default_rng(2)
    cap_there = cap()

    def there(points):
        return turn.apply(points * stretch) + np.array([0.1, -0.2, 0.3])

    noise = 1e-3 * generator.standard_normal(cap_there.shape)
    info = measured(there(cap_there) + noise, nameless(60), there(FIDUCIALS))
    found = apart(place_electrodes(info), cap_there)
    assert np.median(found) < 2.5
    assert found.max() < 6


def test_names_serve_where_fiducials_are_not_known():
    """Without either, positions are taken to be in the head frame."""
    turn = Rotation.from_euler("z", 90, degrees=True)
    names = [*FEW, "FC1", "FC2", "CP1", "CP2", "AFz", "POz"]
    places = named_places(names)
    turned = measured(0.9 * turn.apply(places) + 0.02, names, None)
    assert apart(place_electrodes(turned), places).max() < 8
    frame = mne.transforms.invert_transform(mne.read_trans(_trans()))
    unturned = measured(mne.transforms.apply_trans(frame, cap()), nameless(60), None)
    assert apart(place_electrodes(unturned), cap()).max() < 8


def _trans():
    from importlib.resources import files

    return files("mne") / "data" / "fsaverage" / "fsaverage-trans.fif"


def test_one_electrode_at_a_wrong_place_moves_no_other():
    points = cap()
    wrong = points.copy()
    wrong[7] = points[7] * 1.2
    info = measured(wrong, nameless(60))
    shift = apart(place_electrodes(info), points)
    assert np.delete(shift, 7).max() < 5


@pytest.mark.parametrize("kind", ["biosemi64", "easycap-M1", "brainproducts-RNP-BA-128"])
def test_positions_of_a_template_say_no_more_than_names(kind):
    info = montage_of(kind)
    by_names = mne.create_info(info.ch_names, 100.0, "eeg")
    placed = place_electrodes(info)
    np.testing.assert_array_equal(placed.points, place_electrodes(by_names).points)
    # Fitted, they would lie some millimetres from there.
    there = np.array([channel["loc"][:3] for channel in info["chs"]])
    _, _, fiducials = head_frame(kind)
    moved = measured(there + 2e-3 * np.random.default_rng(0).standard_normal(there.shape),
                     info.ch_names, fiducials)  # fmt: skip
    found = apart(place_electrodes(moved), placed.points)
    assert 1 < np.median(found) < 8
    assert found.max() < 20


@pytest.mark.parametrize("kind", CAPS)
def test_caps_that_number_their_electrodes_are_known_by_their_number(kind):
    info = montage_of(kind)
    names = mne.create_info(info.ch_names, 100.0, "eeg")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="neither landmarks nor names")
        placed = place_electrodes(info)
    np.testing.assert_array_equal(place_electrodes(names).points, placed.points)
    vertex = {"bio": "A1", "GSN": "Cz"}[kind[:3]]
    if vertex in placed.names:
        cz = named_places(["Cz"])[0]
        assert 1e3 * np.linalg.norm(placed.points[placed.names.index(vertex)] - cz) < 15


def test_bad_channels_count_where_a_cap_is_recognised():
    names = mne.channels.make_standard_montage("biosemi128").ch_names
    info = mne.create_info(names, 100.0, "eeg")
    whole = place_electrodes(info)
    info["bads"] = names[:30]
    few = place_electrodes(info)
    assert few.names == tuple(names[30:])
    np.testing.assert_array_equal(few.points, whole.points[30:])


def test_the_reference_of_a_net_is_its_vertex():
    names = mne.channels.make_standard_montage("GSN-HydroCel-129").ch_names
    expected = place_electrodes(mne.create_info(names, 100.0, "eeg")).points
    for vertex in ("VREF", "E129"):
        info = mne.create_info([*names[:-1], vertex], 100.0, "eeg")
        np.testing.assert_array_equal(place_electrodes(info).points, expected)


@pytest.mark.parametrize("written", [str.upper, str.lower, "EEG {}-Ref".format, "{}.".format])
def test_names_are_known_as_archives_write_them(written):
    placed = place_electrodes(mne.create_info(FEW, 100.0, "eeg"))
    names = [written(OLD.get(name, name)) for name in FEW]
    other = place_electrodes(mne.create_info(names, 100.0, "eeg"))
    assert other.names == tuple(names)
    np.testing.assert_array_equal(other.points, placed.points)


@pytest.mark.parametrize("names", [nameless(20), [str(k) for k in range(61)]])
def test_electrodes_of_no_known_place_are_named(names):
    with pytest.raises(ValueError, match=rf"the channels have no positions.*\({names[0]}, .*set_m"):
        place_electrodes(mne.create_info(names, 100.0, "eeg"))
    with pytest.raises(ValueError, match=r"Fp1-F7.* are differences of two electrodes"):
        place_electrodes(mne.create_info(["Fp1-F7", "F7-T7", "C3-Cz"], 100.0, "eeg"))


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ([f"E{k}" for k in range(1, 101)], r"100 of GSN-HydroCel-128 \(78% of it\)"),
        ([f"{c}{k}" for c in "ABC" for k in range(1, 33)], r"96 of biosemi128 \(75% of it\)"),
    ],
)
def test_names_of_several_caps_are_refused(names, told):
    with pytest.raises(ValueError, match=rf"names of several caps.*{told}.*Say which it is with"):
        place_electrodes(mne.create_info(names, 100.0, "eeg"))


def test_names_of_ears_are_no_cap():
    placed = place_electrodes(mne.create_info([*FEW, "A1", "A2"], 100.0, "eeg"))
    left, right = placed.points[-2:]
    assert left[0] < -0.06 < 0.06 < right[0]
    assert max(left[2], right[2]) < 0


@pytest.mark.parametrize("known", ["by position", "by name"])
def test_channels_of_no_known_place_are_left_out_if_that_is_asked_for(known):
    names = [*FEW, "EOG"]
    info = mne.create_info(names, 100.0, "eeg")
    message = "1 of 20 good EEG channels have names of no known place: EOG"
    if known == "by position":
        info = measured(
            np.concatenate([named_places(FEW), np.zeros((1, 3))]), names, missing=("EOG",)
        )
        message = "1 of 20 good EEG channels have no position: EOG"
    with pytest.raises(ValueError, match=message + ".* on_missing='warn'"):
        place_electrodes(info)
    with pytest.warns(RuntimeWarning, match=message + ": left out"):
        placed = place_electrodes(info, "warn")
    assert placed.names == tuple(FEW)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert place_electrodes(info, "ignore").names == tuple(FEW)
        info["bads"] = ["EOG"]
        assert place_electrodes(info).names == tuple(FEW)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: 1e3 * p, "probably in millimetres, and MNE-Python expects metres"),
        (lambda p: 1e2 * p, "probably in centimetres"),
        (lambda p: 1e-3 * p, "probably in another unit"),
        (lambda p: p * (1, 1, 0), "lie in a plane, as in a drawing of the head"),
        (lambda p: p * (-1, 1, 1), r"names and positions of the electrodes disagree: .* by \d+ mm"),
        (lambda p: p[::-1], r"names and positions of the electrodes disagree"),
    ],
)
def test_positions_that_cannot_be_are_refused(change, message):
    info = measured(named_places(FEW), FEW)
    places = np.array([channel["loc"][:3] for channel in info["chs"]])
    for channel, place in zip(info["chs"], change(places), strict=True):
        channel["loc"][:3] = place
    with pytest.raises(ValueError, match=message):
        place_electrodes(info)


def test_two_electrodes_at_one_place_are_refused():
    points = cap()
    points[5] = points[2]
    with pytest.raises(ValueError, match="channels 'X2' and 'X5' lie at the same place: drop one"):
        place_electrodes(measured(points, nameless(60)))
    with pytest.raises(ValueError, match="channels 'T7' and 'T3' lie at the same place"):
        place_electrodes(mne.create_info([*FEW, "T3"], 100.0, "eeg"))


def test_electrodes_off_the_scalp_are_refused():
    points = cap()
    points[3] *= 1.8
    with pytest.raises(ValueError, match=r"electrodes lie off the scalp: X3 by \d+ mm, even where"):
        place_electrodes(measured(points, nameless(60)))


def test_names_exchanged_are_told():
    names = [*FEW, "FC1", "FC2", "CP1", "CP2"]
    exchanged = ["C3" if name == "P3" else "P3" if name == "C3" else name for name in names]
    info = measured(
        named_places(names) + 1e-3 * np.random.default_rng(0).random((23, 3)), exchanged
    )
    with pytest.warns(RuntimeWarning, match=r"2 of 23 electrodes lie far .*(C3|P3) by \d+ mm"):
        placed = place_electrodes(info)
    assert apart(placed, named_places(names)).max() < 10, "positions are believed"


def test_too_few_electrodes_are_refused():
    with pytest.raises(ValueError, match=r"at least 16 .* whose place is known, got 12 \(Fp1, "):
        place_electrodes(mne.create_info(FEW[:12], 100.0, "eeg"))
    with pytest.raises(ValueError, match="no EEG channels, only misc"):
        place_electrodes(mne.create_info(FEW, 100.0, "misc"))


def test_a_fit_is_equal_for_equal_heads_however_they_are_turned():
    """The head frame is that of the fiducials, so a turn of the digitiser changes nothing."""
    turn = Rotation.from_euler("zyx", (160, 20, -30), degrees=True)
    one = place_electrodes(measured(cap(), nameless(60)))
    other = place_electrodes(measured(turn.apply(cap()), nameless(60), turn.apply(FIDUCIALS)))
    np.testing.assert_allclose(one.points, other.points, atol=2e-4)


def test_without_landmarks_the_frame_is_the_head_s():
    frame = mne.transforms.invert_transform(mne.read_trans(_trans()))
    there = mne.transforms.apply_trans(frame, cap())
    assert 1e3 * np.linalg.norm(fit_to_scalp(there) - cap(), axis=1).max() < 3


def test_a_frame_that_nothing_tells_is_told():
    """Electrodes without names and landmarks may be turned any way."""
    names = nameless(60)
    places = dict(zip(names, cap(), strict=True))
    montage = mne.channels.make_dig_montage(places, coord_frame="head")
    info = mne.create_info(names, 100.0, "eeg")
    with pytest.warns(RuntimeWarning, match="neither landmarks nor names tell which way"):
        place_electrodes(info.set_montage(montage))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        place_electrodes(measured(cap(), nameless(60)))
