"""Descriptions of models as bioimage.io has them, formats 0.4 and 0.5."""

from fractions import Fraction

import numpy as np
import pytest
from command_line import exit_code
from example_models import gaussian

import daskpatch
from daskpatch.probing import as_probe, read_description

FORMAT_04 = """
format_version: 0.4.10
name: a network
inputs:
  - name: raw
    axes: bcyx
    data_type: float32
    shape: {min: [1, 2, 64, 32], step: [0, 0, 16, 8]}
outputs:
  - name: probability
    axes: bcyx
    data_type: float32
    halo: [0, 0, 24, 12]
    shape: {reference_tensor: raw, scale: [1, 0, 1, 2], offset: [0, 1.5, 0, -4]}
"""

FORMAT_05 = """
format_version: 0.5.4
name: a network
inputs:
  - id: raw
    axes:
      - {type: batch}
      - {type: channel, channel_names: [a, b]}
      - {type: space, id: z, size: 16}
      - {type: space, id: y, size: {min: 64, step: 16}}
      - {type: space, id: x, size: {min: 32, step: 8}, scale: 1.0}
    data: {type: uint16}
outputs:
  - id: probability
    axes:
      - {type: batch}
      - {type: channel, channel_names: [a, b, c]}
      - {type: space, id: z, size: {tensor_id: raw, axis_id: z, offset: 0}, halo: 2}
      - {type: space, id: y, size: {tensor_id: raw, axis_id: y, offset: -8}, halo: 20}
      - {type: space, id: x, size: {tensor_id: raw, axis_id: x}, scale: 4.0, halo: 2}
    data: [{type: float64}]
"""


@pytest.fixture
def written(tmp_path):
    def write(text, name="rdf.yaml"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_format_04(written):
    stated = read_description(written(FORMAT_04))
    assert (stated.channels, stated.out_channels, stated.name) == (2, 3, "a network")
    assert stated.min_size == (64, 32)
    assert stated.align == (16, 8)
    assert stated.scale == (1, 2)
    assert stated.margin == ((0, 0), (2, 2))  # 8 voxels of the output, 4 of the input
    assert stated.halo == (24, 8)  # 12 of the output, and the margin
    assert not stated.costs


def test_format_05(written):
    stated = read_description(written(FORMAT_05))
    assert (stated.channels, stated.out_channels) == (2, 3)
    assert (stated.input_dtype, stated.dtype) == ("uint16", "float64")
    assert [(along.smallest, along.step) for along in stated.sizes] == [(16, 0), (64, 16), (32, 8)]
    assert stated.scale == (1, 1, Fraction(1, 4))
    assert stated.margin == ((0, 0), (4, 4), (0, 0))
    assert stated.halo == (2, 24, 8)


def test_fixed_sizes(written):
    text = FORMAT_04.replace("{min: [1, 2, 64, 32], step: [0, 0, 16, 8]}", "[1, 2, 64, 32]")
    text = text.replace(
        "{reference_tensor: raw, scale: [1, 0, 1, 2], offset: [0, 1.5, 0, -4]}", "[1, 1, 48, 64]"
    )
    stated = read_description(written(text))
    assert [(along.smallest, along.step) for along in stated.sizes] == [(64, 0), (32, 0)]
    assert stated.scale == (1, 2)
    assert stated.margin == ((8, 8), (0, 0))


SMOOTH = """
inputs: [{axes: bcyx, shape: {min: [1, 1, 16, 16], step: [0, 0, 4, 4]}}]
outputs:
  - axes: bcyx
    halo: [0, 0, HALO, HALO]
    shape: {reference_tensor: raw, scale: [1, 1, 1, 1], offset: [0, 0, 0, 0]}
"""


def test_tiles_are_chosen_from_what_it_states(written, rng):
    values = rng.normal(size=(152, 132)).astype("f4")
    path = written(SMOOTH.replace("HALO", "8"))
    plan = daskpatch.plan(values, gaussian, axes="YX", patch_size="auto", probe=path, threads=8)
    assert plan.n_tiles > 1
    assert all(o in (0, 16) for o in plan.patching.overlaps)
    assert plan.patching.align == (4, 4)
    assert np.abs(plan.view[...] - gaussian(values[None, None])[0, 0]).max() < 1e-5


def test_one_beside_the_model_is_believed(written, tmp_path, rng):
    values = rng.normal(size=(150, 130)).astype("f4")
    written(SMOOTH.replace("HALO", "12"))
    (tmp_path / "net.py").write_text("from example_models import gaussian\n")
    plan = daskpatch.plan(
        values, f"{tmp_path}/net.py:gaussian", axes="YX", patch_size=64, overlaps="auto"
    )
    assert plan.patching.overlaps == (24, 24)


@pytest.mark.parametrize(
    ("halo", "words"), [(8, []), (2, ["Y: halo 4 found, 2 stated", "X: halo 4"])]
)
def test_a_probe_checks_it(written, halo, words):
    found = daskpatch.probe(gaussian, ndim=2, seconds=0)
    said = found.disagreements(read_description(written(SMOOTH.replace("HALO", str(halo)))))
    assert len(said) == len(words)
    for line, word in zip(said, words, strict=True):
        assert word in line


def test_the_command_line_checks_it(written, tmp_path, capsys):
    written(SMOOTH.replace("HALO", "2"))
    (tmp_path / "net.py").write_text("from example_models import gaussian\n")
    assert exit_code("probe", f"{tmp_path}/net.py:gaussian", "--ndim", "2", "--seconds", "0") == 0
    assert "halo 4 found, 2 stated" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ["", "a: [", "inputs: []", "inputs: [{axes: bcyx}]\noutputs: [{}]", "[" * 2000]
)
def test_what_states_nothing_is_refused(written, text):
    with pytest.raises(ValueError, match="does not state"):
        read_description(written(text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it holds None, not named fields. Needed are inputs and outputs"),
        ("hello", "it holds 'hello', not named fields. "),
        ("- 1\n- 2", r"it holds \[1, 2\], not named fields. "),
        ("a: [1,", "it is no YAML .while parsing a flow node.. "),
        ("type: model", "its field 'inputs' is missing; needed is a list of tensors. "),
        ("inputs: foo", "its field 'inputs' is 'foo'; needed is a list"),
        ("inputs: [null]", r"inputs\[0\] is None; needed are the fields of a tensor"),
        ("inputs: [{axes: 3}]", r"axes of inputs\[0\] is 3; needed are letters"),
        ("inputs: [{axes: yx}]\noutputs: []", r"its field 'outputs' is \[\]; needed is a list"),
        ("inputs: [{axes: yx}]\noutputs: [{axes: yx}]", "has no 'shape' where it is needed"),
    ],
)
def test_a_description_that_states_nothing_is_told_by_the_field(written, text, words):
    with pytest.raises(ValueError, match=f"rdf.yaml does not state what tiles need: .*{words}"):
        read_description(written(text))


def test_a_folder_with_a_description_is_told(written, tmp_path):
    written(FORMAT_04)
    with pytest.raises(FileNotFoundError, match=r"is a folder; name a file: its .*rdf.yaml\."):
        as_probe(tmp_path)


@pytest.mark.parametrize("text", ['{"format": 1', "{}"])
def test_a_probe_that_is_torn_says_how_to_fix_it(written, text):
    with pytest.raises(ValueError, match=r"no saved probe: .*\. Save it again with Probe.save, or"):
        as_probe(written(text, "a.json"))


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000])
def test_a_probe_that_is_nested_too_deeply_is_none(written, text):
    with pytest.raises(ValueError, match=r"a.json is no saved probe: it is nested too deeply"):
        as_probe(written(text, "a.json"))


def test_what_is_no_probe(tmp_path):
    with pytest.raises(FileNotFoundError, match="no probe"):
        as_probe(tmp_path / "none.json")
    with pytest.raises(TypeError, match="probe is 3"):
        as_probe(3)
