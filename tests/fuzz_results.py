"""Whether what lies in a store is what the oracle expects of a prediction."""

import numpy as np
import zarr
from fuzz_answers import WrongAnswerError
from fuzz_levels import coarser


def check_outputs(store, expected, given, *, fields, is_partial):
    """Compare all arrays in a store: nothing is missing, and there is nothing else.

    `expected` has those of each image by name. `fields` are the paths of a plate's; none of an
    image. Where a run was `is_partial`, what it did not do is empty.
    """
    root = zarr.open(store, mode="r")
    if not fields:
        _check_arrays(root, expected[0], given, is_partial)
        return
    # Bare arrays are no plate.
    numbers = [str(number) for number in range(len(expected))]
    names = fields if all(each.is_image for each in expected[0].values()) else numbers
    _check_names(_paths(root, names[0].count("/")), names, given)
    for name, each in zip(names, expected, strict=True):
        _check_arrays(root[name], each, given, is_partial)


def _paths(group, depth):
    """The paths of what lies so many groups deep."""
    if not depth:
        return list(group)
    return [f"{name}/{path}" for name in group for path in _paths(group[name], depth - 1)]


def _check_arrays(node, expected, given, is_partial):
    """One array, or several of a model in a group."""
    if "" in expected:
        _check_output(node, expected[""], given, is_partial)
        return
    _check_names(node, expected, given)
    for name, each in expected.items():
        _check_output(node[name], each, given, is_partial)


def _check_output(node, expected, given, is_partial):
    if not expected.is_image:
        check_array(node[...], expected.values, given, is_partial=is_partial)
        return
    _check_names(node, [str(number) for number in range(1 + len(expected.levels))], given)
    found = node["0"][...]
    check_array(found, expected.values, given, is_partial=is_partial)
    for number, factors in enumerate(expected.levels, 1):
        made = coarser(found, factors, expected.how)
        found = node[str(number)][...]
        check_level(found, made, given, is_partial=is_partial)


def _check_names(group, names, given):
    if sorted(group) != sorted(names):
        raise WrongAnswerError(f"there are {sorted(group)}, not {sorted(names)}: {given}")


def check_array(found, expected, given, *, is_partial):
    """Refuse other shapes, dtypes or voxels; what a partial run was not asked for may be empty."""
    low, high = expected.low, expected.high
    if found.shape != low.shape or found.dtype != low.dtype:
        raise WrongAnswerError(f"{found.shape} {found.dtype}, not {low.shape} {low.dtype}: {given}")
    is_empty = found == 0
    right = (found >= low) & (found <= high) | is_nan(found) & is_nan(low)
    if is_partial:
        asked = np.zeros(found.shape, bool)
        if given.get("region") is not None:
            asked[given["region"]] = True
        right |= is_empty & ~asked
    if not right.all():
        at = tuple(np.argwhere(~right)[0].tolist())
        raise WrongAnswerError(
            f"{(~right).sum()} other voxels: {found[at]} at {at}, not {low[at]} to {high[at]}: "
            f"{given}"
        )


def check_level(found, made, given, *, is_partial):
    if found.shape != made.shape or found.dtype != made.dtype:
        raise WrongAnswerError(
            f"a level of {found.shape} {found.dtype}, not {made.shape} {made.dtype}: {given}"
        )
    right = np.isclose(found.astype("f8"), made.astype("f8"), rtol=1e-6, atol=0, equal_nan=True)
    if found.dtype.kind != "f":
        right = found == made
    if is_partial:
        right |= found == 0
    if not right.all():
        raise WrongAnswerError(f"{(~right).sum()} other voxels of a level: {given}")


def is_nan(values):
    return np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
