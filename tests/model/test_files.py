"""Model files survive the round trip, and damage is one clear error that runs no code."""

from __future__ import annotations

import hashlib
import json
import pickle

import numpy as np
import pytest
import torch

from yoto_sc.model import YOTO
from yoto_sc.model._files import (
    DESCRIPTION_FILE,
    FORMAT_VERSION,
    WEIGHTS_FILE,
    damaged,
    read_model,
    write_model,
)

DESCRIPTION = {"genes": ["CD3D", "α", 'say "x"'], "registry": {"n": 3, "nested": {"flag": True}}}


def make_weights():
    generator = torch.Generator().manual_seed(0)
    return {
        "encoder.weight": torch.randn(2, 5, 3, generator=generator),
        "required": torch.tensor([True, False]),
        "steps": torch.tensor(7),
        "transposed": torch.randn(4, 2, generator=generator).T,
    }


@pytest.fixture
def directory(tmp_path):
    """A directory that holds a model."""
    write_model(tmp_path / "model", DESCRIPTION, make_weights(), overwrite=False)
    return tmp_path / "model"


def edit(directory, **changes):
    path = directory / DESCRIPTION_FILE
    description = {**json.loads(path.read_text(encoding="utf-8")), **changes}
    path.write_text(json.dumps({k: v for k, v in description.items() if v is not None}), "utf-8")


def test_round_trip(directory):
    description, weights = read_model(directory)
    assert description == DESCRIPTION
    assert weights.keys() == make_weights().keys()
    for name, tensor in make_weights().items():
        assert weights[name].dtype == tensor.dtype
        assert torch.equal(weights[name], tensor)


def test_paths_may_be_strings_and_parents_may_be_missing(tmp_path):
    path = tmp_path / "a" / "b" / "model"
    write_model(str(path), DESCRIPTION, make_weights(), overwrite=False)
    assert {p.name for p in path.iterdir()} == {DESCRIPTION_FILE, WEIGHTS_FILE}
    assert torch.equal(read_model(str(path))[1]["steps"], torch.tensor(7))


def test_numpy_becomes_plain_data(tmp_path):
    description = {"array": np.arange(3), "float": np.float32(0.5), "int": np.int64(3)}
    write_model(tmp_path / "m", description, make_weights(), overwrite=False)
    got, _ = read_model(tmp_path / "m")
    assert (got["array"], got["float"], got["int"]) == ([0, 1, 2], 0.5, 3)


def test_parameters_are_saved_without_their_graph(tmp_path):
    weights = {"p": torch.nn.Parameter(torch.ones(3))}
    write_model(tmp_path / "m", {}, weights, overwrite=False)
    assert not read_model(tmp_path / "m")[1]["p"].requires_grad


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nothing_is_written_that_is_no_json(tmp_path, value):
    with pytest.raises(ValueError, match="Out of range float"):
        write_model(tmp_path / "m", {"x": value}, make_weights(), overwrite=False)
    assert not (tmp_path / "m" / DESCRIPTION_FILE).exists()


def test_objects_are_refused(tmp_path):
    with pytest.raises(TypeError, match="set cannot be saved"):
        write_model(tmp_path / "m", {"x": {1, 2}}, make_weights(), overwrite=False)


def test_a_model_is_not_overwritten_unasked(directory):
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    with pytest.raises(FileExistsError, match=r"already exists.*overwrite=True"):
        write_model(directory, {"other": 1}, {}, overwrite=False)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before
    write_model(directory, {"other": 1}, {"w": torch.zeros(1)}, overwrite=True)
    description, weights = read_model(directory)
    assert description == {"other": 1}
    assert weights.keys() == {"w"}


def test_error_no_directory(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere holds no model.*no file model\.json"):
        read_model(tmp_path / "nowhere")


@pytest.mark.parametrize("name", [DESCRIPTION_FILE, WEIGHTS_FILE])
def test_error_missing_file(directory, name):
    (directory / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"holds no model.*no file {name}"):
        read_model(directory)


@pytest.mark.parametrize("name", [DESCRIPTION_FILE, WEIGHTS_FILE])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_error_truncated_file(directory, name, share):
    content = (directory / name).read_bytes()
    (directory / name).write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=f"is damaged: {name}"):
        read_model(directory)


def flip(content, position):
    byte, bit = divmod(position, 8)
    return content[:byte] + bytes([content[byte] ^ (1 << bit)]) + content[byte + 1 :]


def test_error_any_bit_flipped_in_the_weights(directory):
    path = directory / WEIGHTS_FILE
    content = path.read_bytes()
    for position in range(0, 8 * len(content), 37):
        path.write_bytes(flip(content, position))
        with pytest.raises(ValueError, match=f"is damaged: {WEIGHTS_FILE}"):
            read_model(directory)


def test_a_bit_flipped_in_the_description_raises_nothing_but_clear_errors(directory):
    path = directory / DESCRIPTION_FILE
    content = path.read_bytes()
    for position in range(0, 8 * len(content), 5):
        path.write_bytes(flip(content, position))
        errors = []
        try:
            read_model(directory)
        except ValueError as error:
            errors.append(str(error))
        assert all(str(directory) in text for text in errors)


def test_error_a_letter_changed_in_the_description(directory):
    path = directory / DESCRIPTION_FILE
    content = path.read_bytes()
    path.write_bytes(content.replace(b"CD3D", b"CD3E"))  # one bit: D is 0x44, E is 0x45
    assert path.read_bytes() != content
    with pytest.raises(ValueError, match=f"{DESCRIPTION_FILE} is not what was saved"):
        read_model(directory)


def test_error_weights_of_another_model(directory, tmp_path):
    write_model(tmp_path / "other", {}, {"w": torch.zeros(1)}, overwrite=False)
    (directory / WEIGHTS_FILE).write_bytes((tmp_path / "other" / WEIGHTS_FILE).read_bytes())
    with pytest.raises(ValueError, match=f"{WEIGHTS_FILE} is not the file that was saved"):
        read_model(directory)


def test_error_newer_version(directory):
    edit(directory, format_version=FORMAT_VERSION + 1, yoto_sc_version="9.9.9")
    with pytest.raises(ValueError, match=r"yoto_sc 9\.9\.9.*Update yoto_sc"):
        read_model(directory)


def test_error_older_version(directory):
    edit(directory, format_version=FORMAT_VERSION - 1, yoto_sc_version="0.0.1")
    with pytest.raises(ValueError, match=r"yoto_sc 0\.0\.1.*Train the model again"):
        read_model(directory)


@pytest.mark.parametrize("version", ["1", [1], 1.5, {}, 0, -1, None])
def test_error_version_that_never_was(directory, version):
    edit(directory, format_version=version)
    with pytest.raises(ValueError, match="does not describe a model of yoto_sc"):
        read_model(directory)


@pytest.mark.parametrize("format", ["something else", 3, None])
def test_error_format_of_another_program(directory, format):
    edit(directory, format=format)
    with pytest.raises(ValueError, match=f"is damaged: {DESCRIPTION_FILE}"):
        read_model(directory)


@pytest.mark.parametrize("text", ["[]", "3", '"text"', "null", "{}", "", "not json", "{'a': 1}"])
def test_error_other_json(directory, text):
    (directory / DESCRIPTION_FILE).write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=f"is damaged: {DESCRIPTION_FILE}"):
        read_model(directory)


def test_error_text_that_is_no_unicode(directory):
    (directory / DESCRIPTION_FILE).write_bytes(b'{"format": "\xff\xfe"}')
    with pytest.raises(ValueError, match=f"is damaged: {DESCRIPTION_FILE}"):
        read_model(directory)


def test_error_deeply_nested_json(directory):
    (directory / DESCRIPTION_FILE).write_text("[" * 100_000, encoding="utf-8")
    with pytest.raises(ValueError, match=f"is damaged: {DESCRIPTION_FILE}"):
        read_model(directory)


@pytest.mark.parametrize(
    ("checksum", "name"), [("weights_sha256", WEIGHTS_FILE), ("model_sha256", DESCRIPTION_FILE)]
)
def test_error_checksum_missing(directory, checksum, name):
    edit(directory, **{checksum: None})
    with pytest.raises(ValueError, match=f"is damaged: {name} is not"):
        read_model(directory)


@pytest.mark.parametrize("content", [None, [], "text", {}])
def test_error_other_content(directory, content):
    edit(directory, model=content)
    with pytest.raises(ValueError, match=f"{DESCRIPTION_FILE} is not what was saved"):
        read_model(directory)


def test_error_no_safetensors(directory):
    """The checksum fits, but the content is something else."""
    content = b"\x10" * 64
    (directory / WEIGHTS_FILE).write_bytes(content)
    edit(directory, weights_sha256=hashlib.sha256(content).hexdigest())
    with pytest.raises(ValueError, match=f"is damaged: {WEIGHTS_FILE} cannot be read"):
        read_model(directory)


def test_damaged_says_what_to_do():
    error = damaged("some/where", "it is broken")
    assert str(error) == (
        "The model in some/where is damaged: it is broken. Save it again, or copy it anew."
    )


class _WritesMarker:
    """What an attacker would put into a file: unpickling it writes to disk."""

    def __init__(self, marker):
        self._marker = marker

    def __reduce__(self):
        return (open, (str(self._marker), "w"))


def test_the_planted_pickle_would_work(tmp_path):
    pickle.loads(pickle.dumps(_WritesMarker(tmp_path / "marker"))).close()
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize("as_torch", [False, True], ids=["pickle", "torch"])
@pytest.mark.parametrize("load", [read_model, YOTO.load], ids=["read_model", "YOTO.load"])
def test_loading_executes_nothing(directory, tmp_path, as_torch, load):
    marker = tmp_path / "marker"
    planted = tmp_path / "planted"
    if as_torch:
        torch.save({"model_state_dict": {}, "attr_dict": _WritesMarker(marker)}, planted)
    else:
        planted.write_bytes(pickle.dumps(_WritesMarker(marker)))
    content = planted.read_bytes()
    for name in (WEIGHTS_FILE, "model.pt", "attr.pkl"):
        (directory / name).write_bytes(content)
    edit(directory, weights_sha256=hashlib.sha256(content).hexdigest())
    with pytest.raises(ValueError, match=f"is damaged: {WEIGHTS_FILE}"):
        load(directory)
    (directory / DESCRIPTION_FILE).write_bytes(content)
    with pytest.raises(ValueError, match=f"is damaged: {DESCRIPTION_FILE}"):
        load(directory)
    (directory / DESCRIPTION_FILE).unlink()
    with pytest.raises(FileNotFoundError, match=f"no file {DESCRIPTION_FILE}"):
        load(directory)
    assert not marker.exists()


def test_files_that_do_not_fit_together_are_damaged(directory):
    with pytest.raises(ValueError, match="its parts do not fit together"):
        YOTO.load(directory)


def rewritten(model_dir, directory, change):
    """Copy a saved model with another description, as if it had been saved so."""
    description, weights = read_model(model_dir)
    change(description)
    write_model(directory, description, weights, overwrite=False)
    return directory


@pytest.mark.parametrize(
    ("from_raw", "layer", "source"),
    [(True, None, "raw"), (False, None, "X"), (False, "counts", "layers/counts")],
)
def test_a_model_of_the_first_version_predicts_the_same(
    model_dir, adata, tmp_path, from_raw, layer, source
):
    def as_before(description):
        description["selection"]["from_raw"] = from_raw
        del description["selection"]["held_out"], description["selection"]["source"]
        description["registry"]["setup_args"]["layer"] = layer
        description["init"]["n_candidates"] = 1000

    former = YOTO.load(rewritten(model_dir, tmp_path / "former", as_before), accelerator="cpu")
    loaded = YOTO.load(model_dir, accelerator="cpu")
    assert former.selection.source == source
    adata.layers["counts"] = adata.X.copy()
    if layer is not None:
        adata.X = adata.X * 2
    ours = former.predict_all(adata)
    theirs = loaded.predict_all(adata, layer="counts")
    for one, other in zip((*ours[0], ours[1]), (*theirs[0], theirs[1]), strict=True):
        np.testing.assert_array_equal(one, other)
    assert former.held_out.empty
    assert former.panel() == loaded.panel()


def test_what_cannot_be_written_leaves_no_directory(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_model(tmp_path / "new", {"bound": np.inf}, make_weights(), overwrite=False)
    assert not (tmp_path / "new").exists()


def test_devices_are_those_that_are_there(model_dir):
    assert YOTO.load(model_dir, accelerator="cpu", device=0).device.type == "cpu"
    has_cuda = torch.cuda.is_available()
    expected = "cuda" if has_cuda else "cpu"
    assert YOTO.load(model_dir).device.type == expected
    with pytest.raises(ValueError, match="accelerator='abacus' is not there; there are .*cpu"):
        YOTO.load(model_dir, accelerator="abacus")
    if not has_cuda and not torch.backends.mps.is_available():
        with pytest.raises(ValueError, match="is not there"):
            YOTO.load(model_dir, accelerator="gpu")
