"""Models that give several arrays: one each, in one pass; and what `post` makes of blocks."""

import json
import shutil
from typing import NamedTuple

import numpy as np
import pytest
import zarr
from volumes import read, save

import daskpatch

TILES = {"axes": "ZYX", "patch_size": 24, "overlaps": 8, "chunks": 16}


def stardist(batch):
    """A probability and distances along four rays."""
    inside = 1 / (1 + np.exp(-batch))
    rays = np.concatenate([batch * k for k in range(4)], axis=1)
    return {"prob": inside.astype("f4"), "dist": rays.astype("f8")}


def pair(batch):
    return batch * 2, (batch > 0).astype("uint8")


def votes(batch):
    """Three classes."""
    return np.concatenate([batch, -batch, batch * 0 + 0.5], axis=1)


def labels(block):
    return block.argmax(0).astype("uint8")


@pytest.fixture
def values(rng):
    return rng.normal(size=(30, 41, 37)).astype("f4")


@pytest.fixture
def wanted(values):
    return {name: result[0] for name, result in stardist(values[None, None]).items()}


def test_each_array_is_written_in_one_pass(tmp_path, values, wanted):
    calls = []

    def counted(batch):
        calls.append(len(batch))
        return stardist(batch)

    plan = daskpatch.plan(values, counted, tmp_path / "o.zarr", **TILES)
    calls.clear()
    report = plan.run(progress=False)
    assert sum(calls) == report.tiles
    assert np.allclose(read(tmp_path / "o.zarr/prob"), wanted["prob"][0])
    dist = zarr.open_array(store=str(tmp_path / "o.zarr/dist"))
    assert np.allclose(dist[...], wanted["dist"])
    assert dist.metadata.dimension_names == ("c", "z", "y", "x")
    assert dist.chunks == (4, 16, 16, 16)
    assert report.bytes_written == wanted["prob"].nbytes + wanted["dist"].nbytes
    for name in ("prob", "dist"):
        assert daskpatch.verify(tmp_path / "o.zarr" / name, progress=False).ok


def test_the_lazy_arrays(values, wanted):
    plan = daskpatch.plan(values, stardist, **TILES)
    assert plan.output_names == ("prob", "dist")
    prob, dist = plan.views
    assert (prob.name, prob.shape, prob.dtype) == ("prob", (30, 41, 37), "float32")
    assert (dist.name, dist.shape, dist.dtype) == ("dist", (4, 30, 41, 37), "float64")
    assert np.allclose(dist[1:3, 5, ::7], wanted["dist"][1:3, 5, ::7])
    lazy = plan.arrays[1]
    assert lazy.chunks[0] == (4,)
    assert np.allclose(lazy[:, 20:].compute(), wanted["dist"][:, 20:])
    with pytest.raises(ValueError, match="prob, dist"):
        _ = plan.view
    assert "prob: ZYX" in repr(plan)
    assert "dist: CZYX" in repr(plan)


def test_a_tuple_is_numbered(tmp_path, values):
    daskpatch.predict(values, pair, tmp_path / "o.zarr", **TILES, progress=False)
    assert np.array_equal(read(tmp_path / "o.zarr/output0"), values * 2)
    assert np.array_equal(read(tmp_path / "o.zarr/output1"), (values > 0).astype("u1"))


def test_a_series_has_a_group_for_each_image(tmp_path, values, wanted):
    images = []
    for number, part in enumerate((values, values[:11])):
        images.append(str(tmp_path / f"{number}.zarr"))
        save(images[-1], part, chunks=(16, 16, 16), dimension_names=["z", "y", "x"])
    tiles = {name: value for name, value in TILES.items() if name != "axes"}
    daskpatch.predict(images, stardist, tmp_path / "o.zarr", **tiles, progress=False)
    assert np.allclose(read(tmp_path / "o.zarr/0/prob"), wanted["prob"][0])
    assert np.allclose(read(tmp_path / "o.zarr/1/dist"), wanted["dist"][:, :11])
    assert daskpatch.verify(tmp_path / "o.zarr", progress=False).ok
    assert daskpatch.status(tmp_path / "o.zarr").remaining == 0


def test_dtypes_by_name(tmp_path, values):
    options = TILES | {"dtype": {"dist": "float16"}}
    plan = daskpatch.plan(values, stardist, **options)
    assert [view.dtype for view in plan.views] == ["float32", "float16"]
    with pytest.raises(ValueError, match="names 'far'; the model gives 'prob', 'dist'"):
        daskpatch.plan(values, stardist, **TILES, dtype={"far": "f4"})


def test_a_resume_and_a_repair(tmp_path, values, wanted):
    out = tmp_path / "o.zarr"
    options = TILES | {"block_shape": 16}
    daskpatch.plan(values, stardist, out, **options).run(region=np.s_[:16], progress=False)
    assert daskpatch.status(out).remaining > 0
    report = daskpatch.plan(values, stardist, out, **options).run(resume=True, progress=False)
    assert report.skipped > 0
    assert np.allclose(read(out / "dist"), wanted["dist"])
    chunk = next((out / "dist" / "c").rglob("1/1/1"))
    chunk.unlink()
    found = daskpatch.verify(out, progress=False)
    assert len(found.bad) == 1
    assert set(found.reasons.values()) == {"missing"}
    mended = daskpatch.verify(out, repair=True, model=stardist, source=values, progress=False)
    assert mended.repaired.done == 1
    assert np.allclose(read(out / "dist"), wanted["dist"])
    assert daskpatch.verify(out, progress=False).ok


def tear(path):
    path.write_bytes(path.read_bytes()[:20])


def edit(path):
    array = zarr.open_array(path, mode="r+")
    array[...] += 1


def describe_as_halves(path):
    document = json.loads((path / "zarr.json").read_text())
    (path / "zarr.json").write_text(json.dumps({**document, "data_type": "float16"}))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (edit, "changed"),
        (lambda path: tear(next((path / "c").rglob("1/1/1"))), "corrupt"),
        (lambda path: next((path / "c").rglob("1/1/1")).unlink(), "missing"),
        (lambda path: (path / "zarr.json").unlink(), "missing"),
        (describe_as_halves, "unlike the record"),
    ],
)
@pytest.mark.parametrize("names", [["dist"], ["prob"], ["prob", "dist"]])
def test_of_a_bad_block_the_arrays_are_named(tmp_path, values, damage, reason, names):
    out = tmp_path / "o.zarr"
    daskpatch.predict(values, stardist, out, **TILES, block_shape=16, progress=False)
    for name in names:
        damage(out / name)
    found = daskpatch.verify(out, progress=False)
    assert set(found.reasons.values()) == {reason}
    assert set(found.arrays.values()) == {tuple(names)}
    assert f"of {' and '.join(names)}" in str(found)
    assert found.to_dict()["arrays"] == {str(i): list(names) for i in found.bad}


def test_of_a_bad_block_of_a_level_the_arrays_are_named(tmp_path, values):
    out = tmp_path / "o.zarr"
    options = TILES | {"block_shape": 32, "ome": True, "factors": [2, 2]}
    daskpatch.predict(values, stardist, out, **options, progress=False)
    for path in ("prob/0", "dist/1", "prob/2"):
        edit(out / path)
    found = daskpatch.verify(out, progress=False)
    assert set(found.arrays.values()) == {("prob/0",)}
    levels = {name: set(found.passes[name].arrays.values()) for name in ("level-1", "level-2")}
    assert levels == {"level-1": {("dist/1",)}, "level-2": {("prob/2",)}}
    daskpatch.verify(out, repair=True, model=stardist, source=values, progress=False)
    assert daskpatch.verify(out, progress=False).ok


def test_another_output_may_take_the_place_of_ours(tmp_path, values, wanted):
    out = tmp_path / "o.zarr"
    for model in (np.negative, stardist, pair, np.negative):
        daskpatch.predict(values, model, out, **TILES, overwrite=True, progress=False)
    assert np.array_equal(read(out), -values)
    assert sorted(p.name for p in out.iterdir()) == [".daskpatch", "c", "zarr.json"]
    daskpatch.predict(values, stardist, out, **TILES, overwrite=True, progress=False)
    assert np.allclose(read(out / "prob"), wanted["prob"][0])


def test_blended_and_augmented(values):
    options = {**TILES, "patch_size": (30, 48, 48), "overlaps": 0, "augment": "flips"}
    plan = daskpatch.plan(values, stardist, **options, stitch="gaussian")
    for view, result in zip(plan.views, stardist(values[None, None]).values(), strict=True):
        expected = result[0] if len(result[0]) > 1 else result[0, 0]
        assert np.allclose(view[...], expected, atol=1e-5)


def test_an_array_named_as_the_chunks_of_another_were(tmp_path, values):
    out = tmp_path / "o.zarr"
    options = {**TILES, "overwrite": True, "progress": False}
    daskpatch.predict(values, np.negative, out, **options)
    daskpatch.predict(values, lambda b: {"c": b * 3, "d": b}, out, **options)
    assert np.array_equal(read(out / "c"), values * 3)
    assert sorted(p.name for p in (out / "c").iterdir()) == [".daskpatch", "c", "zarr.json"]


def test_an_array_is_no_place_for_several(tmp_path, values):
    array = zarr.create_array(
        store=str(tmp_path / "a.zarr"), shape=values.shape, chunks=(16,) * 3, dtype="f4"
    )
    tiles = {name: value for name, value in TILES.items() if name != "chunks"}
    with pytest.raises(ValueError, match="written to a group"):
        daskpatch.plan(values, stardist, array, **tiles)


@pytest.mark.parametrize("name", ["a/b", "", ".x", "zarr.json", "__x"])
def test_names_that_no_array_can_have_are_refused(values, name):
    with pytest.raises(ValueError, match="names an array"):
        daskpatch.plan(values, lambda b: {"good": b, name: b}, **TILES)


def test_a_model_that_changes_what_it_gives(tmp_path, values):
    def moody(batch):
        return stardist(batch) if batch.mean() > 100 or not moody.calls else batch

    moody.calls = 0
    plan = daskpatch.plan(values, moody, tmp_path / "o.zarr", **TILES, model_id="moody")
    moody.calls = 1
    with pytest.raises(daskpatch.RunFailed, match="on the trial tile it gave arrays named prob"):
        plan.run(progress=False)


def test_post_spares_what_is_not_stored(tmp_path, values):
    plan = daskpatch.plan(values, votes, tmp_path / "o.zarr", **TILES, post=labels)
    assert (plan.dtype, plan.view.shape) == ("uint8", values.shape)
    plan.run(progress=False)
    assert np.array_equal(read(tmp_path / "o.zarr"), votes(values[None, None])[0].argmax(0))
    assert "labels" in repr(plan)


@pytest.mark.parametrize("stitch", ["crop", "gaussian"])
def test_post_comes_after_stitching(values, stitch):
    def first_two(block):
        return block[:2] * 10

    plan = daskpatch.plan(values, votes, **TILES, post=first_two, stitch=stitch, dtype="int16")
    assert plan.view.shape == (2, *values.shape)
    assert (
        np.array_equal(plan.view[1], np.rint(-values * np.float32(10)).astype("int16"))
        or stitch == "gaussian"
    )


def test_post_of_several_arrays(values):
    def both(block):
        return {"mask": block["prob"] > 0.5, "far": block["dist"].max(0)}

    plan = daskpatch.plan(values, stardist, **TILES, post=both)
    assert plan.output_names == ("mask", "far")
    assert [view.dtype for view in plan.views] == ["bool", "float64"]
    assert np.array_equal(plan.views[0][...], values > 0)


def test_post_is_part_of_what_is_resumed(tmp_path, values):
    options = {**TILES, "progress": False}
    daskpatch.predict(values, votes, tmp_path / "o.zarr", **options, post=labels)
    with pytest.raises(ValueError, match="post.code changed"):
        daskpatch.predict(
            values, votes, tmp_path / "o.zarr", **options, post=lambda b: b[0] > 0, resume=True,
            dtype="uint8",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("post", "words"),
    [
        (lambda block: block[:, ::2], "can change values and channels, not sizes"),
        (lambda block: block.sum(), "needed is the block's own size"),
        (lambda block: 1 / 0, "post .*<lambda> failed: ZeroDivisionError"),
        (lambda block: block.astype(complex), "complex"),
    ],
)
def test_what_post_must_not_do(values, post, words):
    with pytest.raises(ValueError, match=words):
        daskpatch.plan(values, votes, **TILES, post=post)


class Pair(NamedTuple):
    mean: np.ndarray
    spread: np.ndarray


@pytest.mark.parametrize(
    ("made", "names"), [(Pair, ["mean", "spread"]), (lambda *two: [*two], ["output0", "output1"])]
)
def test_named_tuples_keep_their_names_and_lists_are_numbered(tmp_path, values, made, names):
    out = tmp_path / "out.zarr"
    daskpatch.predict(
        values, lambda batch: made(batch * 2, batch + 1), out, **TILES, progress=False
    )
    group = zarr.open_group(out, mode="r")
    assert sorted(group.array_keys()) == names
    np.testing.assert_array_equal(group[names[0]][...], values * 2)
    np.testing.assert_array_equal(group[names[1]][...], values + 1)


@pytest.mark.parametrize("is_series", [True, False])
def test_an_array_that_is_lost_is_not_made_anew_and_counted_as_done(tmp_path, rng, is_series):
    values = rng.random((32, 32)).astype("f4") + 1
    source = [values, values] if is_series else values
    words = {"axes": "YX", "patch_size": 8, "chunks": 8, "block_shape": 16, "progress": False}

    def model(batch):
        return {"a": batch * 2, "b": batch * 3}

    out = tmp_path / "out.zarr"
    daskpatch.predict(source, model, out, **words)
    array = out / "1" / "b" if is_series else out / "b"
    shutil.rmtree(array)
    status = daskpatch.status(out)
    assert (status.done, status.remaining) == ((4, 4) if is_series else (0, 4))
    with pytest.raises(ValueError, match=r"b is gone, and the record says.*repair=True"):
        daskpatch.predict(source, model, out, resume=True, **words)
    assert not array.exists()
    daskpatch.verify(out, repair=True, model=model, source=source, progress=False)
    assert daskpatch.verify(out, progress=False).ok
    np.testing.assert_array_equal(read(array), values * 3)


@pytest.mark.parametrize("names", ["ba", "abc", "a"])
def test_a_model_of_other_arrays_is_told_what_the_run_began_with(tmp_path, names):
    image = np.random.default_rng(0).random((32, 32), "f4")
    options = {"axes": "YX", "patch_size": 16, "progress": False, "model_id": "m"}

    def giving(names):
        return lambda batch: {name: batch * (1 + "abc".index(name)) for name in names}

    out = tmp_path / "out.zarr"
    daskpatch.predict(image, giving("ab"), out, part=(1, 2), **options)
    words = r"began with the arrays a, b, and the model gives|output\.c was not given"
    with pytest.raises((FileExistsError, ValueError), match=words):
        daskpatch.predict(image, giving(names), out, resume=True, **options)
