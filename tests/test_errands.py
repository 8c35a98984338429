"""What others add is one file: a tiling and a back end of their own, used like ours.

A pass of one's own is in test_passes.py. docs/architecture.md says which files each takes.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import zarr
from example_models import gaussian
from volumes import read

import daskpatch
from daskpatch.geometry import AxisTile, as_sizes
from daskpatch.patching import TileStrategy
from daskpatch.store import BACK_ENDS, StoredArray, check_io, locate
from daskpatch.testing import check_tiling

# A tiling: tiles of one size, spread evenly, whose crops meet in the middle of the overlap


@dataclass(frozen=True)
class EvenAxis:
    size: int
    patch: int

    @property
    def n_tiles(self):
        return -(-self.size // self.patch)

    @property
    def step(self):
        return -(-self.size // self.n_tiles)

    def tile(self, index):
        return AxisTile(self.start(index), self.patch, self.edge(index), self.edge(index + 1))

    def touching(self, start, stop):
        indices = range(self.n_tiles)
        first = bisect_right(indices, start, key=self.edge) - 1
        return range(first, bisect_left(indices, stop, key=self.edge))

    def start(self, index):
        return index * max(self.size - self.patch, 0) // max(self.n_tiles - 1, 1)

    def edge(self, index):
        """Where the crop of a tile begins."""
        if index in (0, self.n_tiles):
            return self.size if index else 0
        return (self.start(index - 1) + self.patch + self.start(index)) // 2


@dataclass(frozen=True, init=False)
class EvenPatching(TileStrategy):
    data_shapes: tuple[tuple[int, ...], ...]
    patch_size: tuple[int, ...]

    def __init__(self, data_shapes, patch_size):
        sizes = as_sizes("patch_size", patch_size, len(data_shapes[0]) - 2, least=1)
        self._set(data_shapes=tuple(map(tuple, data_shapes)), patch_size=sizes)

    def _axis(self, axis, size):
        return EvenAxis(size, self.patch_size[axis])


@pytest.mark.parametrize(
    ("shapes", "patch"),
    [
        ([(2, 1, 31, 45), (1, 3, 13, 12)], 12),
        ([(1, 1, 7, 18, 21)], (12, 8, 1)),
        ([(1, 1, 12, 13)], (12, 12)),
    ],
)
def test_a_tiling_of_ones_own_keeps_the_contract(shapes, patch):
    check_tiling(EvenPatching(shapes, patch), shapes)


def test_the_tiles_of_an_interval_are_those_that_keep_some_of_it():
    for size in range(1, 30):
        axis = EvenAxis(size, 7)
        tiles = [axis.tile(i) for i in range(axis.n_tiles)]
        for start in range(size):
            for stop in range(start + 1, size + 1):
                kept = [
                    i
                    for i, tile in enumerate(tiles)
                    if tile.keep_start < stop and tile.keep_stop > start
                ]
                assert list(axis.touching(start, stop)) == kept


@pytest.mark.parametrize("stitch", ["crop", "gaussian"])
def test_a_plan_is_carried_out_with_a_tiling_of_ones_own(tmp_path, stored, volume, stitch):
    out = tmp_path / "out.zarr"
    even = partial(EvenPatching, patch_size=16)
    options = {"chunks": 20, "block_shape": 20, "stitch": stitch}
    plan = daskpatch.plan(stored, np.negative, out, patching=even, **options)
    assert isinstance(plan.patching, EvenPatching)
    plan.run(progress=False)
    np.testing.assert_allclose(read(out), -volume.astype("f4"), rtol=1e-6)


def test_a_tiling_of_ones_own_is_recorded_and_given_to_the_repair(tmp_path, stored):
    out, even = tmp_path / "out.zarr", partial(EvenPatching, patch_size=16)
    names = {"model_id": "gaussian", "chunks": 20, "block_shape": 20}
    daskpatch.plan(stored, gaussian, out, patching=even, **names).run(progress=False)
    other = daskpatch.plan(stored, gaussian, out, patching=partial(even, patch_size=8), **names)
    with pytest.raises(ValueError, match="patch_size was "):
        other.run(progress=False, resume=True)
    whole = read(out)
    zarr.open_array(store=str(out))[:5] = 0
    repair = partial(daskpatch.verify, out, repair=True, model=gaussian, model_id="gaussian")
    with pytest.raises(ValueError, match="EvenPatching is not daskpatch's own"):
        repair(progress=False)
    assert repair(patching=even, progress=False).repaired.done > 0
    np.testing.assert_array_equal(read(out), whole)


# A back end: arrays in this process's memory, which nobody need wait for


class Memory:
    name = "memory"

    def opens(self, location):
        return location.lives_in_this_process

    def check(self, location):
        if not self.opens(location):
            raise ValueError(f"io='memory' does not open {location.name}; use io='auto'.")

    def lasts(self, error):
        return True

    def open(self, array, delays):
        return InMemory(array)


class InMemory:
    def __init__(self, array):
        self.array = array

    def read(self, box):
        return np.asarray(self.array[box])

    def read_chunks(self, boxes):
        return [self.read(box) for box in boxes]

    def write(self, box, values):
        self.array[box] = values.copy()  # the store may keep the very array that it is given

    def flush(self, keys):
        """Memory does not outlast the process, let alone the machine."""


@pytest.fixture
def memory():
    """The back end among ours, before the one that opens everything."""
    ours = dict(BACK_ENDS)
    BACK_ENDS.clear()
    BACK_ENDS.update({Memory.name: Memory(), **ours})
    yield BACK_ENDS[Memory.name]
    BACK_ENDS.clear()
    BACK_ENDS.update(ours)


@pytest.fixture
def array(volume):
    store = zarr.storage.MemoryStore()
    return zarr.create_array(store, name="in", data=volume, chunks=(16,) * 3, compressors=None)


def test_a_back_end_of_ones_own_reads_and_writes(memory, array, volume):
    for io in ("auto", "memory"):
        stored = StoredArray(array, io=io)
        assert stored.back_end is memory
        np.testing.assert_array_equal(stored.read(np.s_[3:37, 0:61, 9:10]), volume[3:, :, 9:10])
    values = np.ones((16, 16, 16), volume.dtype)
    stored.write(np.s_[16:32, 0:16, 32:48], values)
    values[:] = 2  # the buffer is the caller's again
    assert (array[16:32, :16, 32:48] == 1).all()
    assert StoredArray(array, io="zarr").back_end.name == "zarr"


def test_a_plan_is_carried_out_through_a_back_end_of_ones_own(memory, array, volume):
    out = zarr.storage.StorePath(array.store, "out")
    for io in ("auto", "memory"):
        plan = daskpatch.plan(
            array, np.negative, out, axes="ZYX", patch_size=16, chunks=20, io=io, overwrite=True
        )
        assert plan.io == "memory"
        plan.run(progress=False)
        written = zarr.open_array(store=array.store, path="out", mode="r")
        np.testing.assert_array_equal(written[...], -volume.astype("f4"))


def test_a_back_end_of_ones_own_refuses_other_places(memory, tmp_path, volume):
    assert memory.opens(locate(zarr.storage.MemoryStore()))
    options = {"axes": "ZYX", "patch_size": 16, "io": "memory"}
    with pytest.raises(ValueError, match="io='memory' does not open"):
        daskpatch.plan(volume, np.negative, tmp_path / "out.zarr", **options)


def test_a_back_end_is_known_as_long_as_it_is_among_ours(memory):
    assert check_io("memory") == "memory"
    with pytest.raises(ValueError, match="'memory'"):
        check_io("h5py")
