"""Networks of all kinds: probed, tiled automatically, equal to the whole image's result."""

import numpy as np
import pytest
import torch
from test_probing_networks import CONV, GLOBAL, NETS, TRANSPOSED, UNet, lively, reach_of
from torch import nn

import daskpatch

RNG = np.random.default_rng(9)


def whole(net, values, align, margin=0):
    """The result for an image at once, reflected up to the network's grid and by its margin.

    Axes shorter than what is reflected are mirrored again and again, as daskpatch does.
    """
    pads = [(margin, margin + -n % a) for n, a in zip(values.shape, align, strict=True)]
    padded = np.pad(values, pads, mode="reflect")
    with torch.inference_mode():
        return net(torch.from_numpy(padded[None, None]))[0, 0].numpy()


def sizes_around(patch, ndim):
    """Odd, prime, just over a tile, smaller than a tile."""
    if ndim == 3:
        return [(patch + 1, patch - 3, 13), (11, patch + 5, patch)]
    return [(patch + 1, 2 * patch + 7), (patch - 3, 131), (13, patch)]


def tiled_equals_whole(net, found, values, **options):
    plan = daskpatch.plan(
        values, net, axes="ZYX"[-values.ndim :], probe=found, overlaps="auto", **options
    )
    expected = whole(net, values, found.grid)[tuple(slice(n) for n in values.shape)]
    assert np.abs(plan.view[...] - expected).max() <= 1e-5 * expected.std()
    return plan


@pytest.mark.parametrize(("depth", "ndim", "down", "up"), NETS)
def test_u_nets(depth, ndim, down, up):
    torch.manual_seed(depth)
    net = lively(UNet(depth, ndim, down, up))
    found = daskpatch.probe(net, ndim=ndim, seconds=1)
    stride, reach = 2**depth, reach_of(depth, up)
    assert found.align == (stride,) * ndim
    assert all(reach <= halo <= reach + stride for halo in found.halo)
    assert not found.is_global
    patch = 2 * max(found.halo) + 8 * stride
    for shape in sizes_around(patch, ndim):
        values = RNG.normal(size=shape).astype("f4")
        tiled_equals_whole(net, found, values, patch_size=patch)
    values = RNG.normal(size=(300, 257) if ndim == 2 else (50, 71, 61)).astype("f4")
    plan = tiled_equals_whole(net, found, values, patch_size="auto", batch_size="auto", threads=8)
    assert plan.n_tiles > 1


@pytest.mark.parametrize("ndim", [2, 3])
def test_convolutions_of_all_kinds(ndim):
    torch.manual_seed(0)
    conv = CONV[ndim]
    nets = {
        "plain": (conv(1, 1, 7, padding=3, padding_mode="zeros"), 3, 1),
        "dilated": (
            nn.Sequential(
                conv(1, 4, 3, padding=4, dilation=4), nn.ReLU(), conv(4, 1, 3, padding=1)
            ),
            5,
            1,
        ),
        "strided": (
            nn.Sequential(conv(1, 4, 4, stride=4), TRANSPOSED[ndim](4, 1, 4, stride=4)),
            3,
            4,
        ),
    }
    for net, reach, stride in nets.values():
        found = daskpatch.probe(lively(net), ndim=ndim, seconds=0.2)
        assert all(reach <= halo <= reach + stride for halo in found.halo)
        assert found.align == (stride,) * ndim
        for shape in sizes_around(24, ndim):
            tiled_equals_whole(net, found, RNG.normal(size=shape).astype("f4"), patch_size=24)


class ValidUNet(nn.Module):
    """One pooling, convolutions without padding: what comes back is 16 voxels smaller."""

    def __init__(self):
        super().__init__()
        self.enter = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU())
        self.bottom = nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU())
        self.leave = nn.Sequential(nn.Conv2d(8, 4, 3), nn.ReLU(), nn.Conv2d(4, 1, 3))
        self.pool, self.up = nn.MaxPool2d(2), nn.ConvTranspose2d(4, 4, 2, stride=2)

    def forward(self, x):
        if (x.shape[2] % 2, x.shape[3] % 2) != (0, 0):
            raise ValueError("sizes must be even")
        first = self.enter(x)
        second = self.up(self.bottom(self.pool(first)))
        return self.leave(torch.cat([first[:, :, 4:-4, 4:-4], second], 1))


@pytest.mark.parametrize("stitch", ["crop", "gaussian"])
@pytest.mark.parametrize("shape", [(101, 97), (65, 64), (30, 200), (41, 13)], ids=str)
def test_a_valid_u_net(shape, stitch):
    torch.manual_seed(1)
    net = lively(ValidUNet())
    found = daskpatch.probe(net, ndim=2, seconds=0.2)
    assert found.margin == ((8, 8), (8, 8))
    assert found.align == (2, 2)
    assert all(halo <= 10 for halo in found.halo)
    values = RNG.normal(size=shape).astype("f4")
    expected = whole(net, values, (2, 2), margin=8)[: shape[0], : shape[1]]
    for patch_size in (48, "auto"):
        plan = daskpatch.plan(
            values, net, axes="YX", probe=found, patch_size=patch_size, overlaps="auto",
            threads=8, stitch=stitch,
        )  # fmt: skip
        assert plan.view.shape == shape
        assert np.abs(plan.view[...] - expected).max() <= 1e-5 * expected.std()


@pytest.mark.parametrize("shape", [(101, 97), (33, 32), (30, 80)], ids=str)
def test_super_resolution(shape):
    torch.manual_seed(2)
    net = lively(
        nn.Sequential(
            nn.Conv2d(1, 8, 5, padding=2),
            nn.ReLU(),
            nn.Conv2d(8, 4, 3, padding=1),
            nn.PixelShuffle(2),
        )
    )
    found = daskpatch.probe(net, ndim=2, seconds=0.2)
    assert found.scale == (2, 2)
    assert found.halo == (3, 3)
    values = RNG.normal(size=shape).astype("f4")
    expected = whole(net, values, (1, 1))
    for patch_size in (32, "auto"):
        plan = daskpatch.plan(
            values, net, axes="YX", probe=found, patch_size=patch_size, overlaps="auto", threads=8
        )
        assert plan.view.shape == tuple(2 * n for n in shape)
        assert np.abs(plan.view[...] - expected).max() <= 1e-5 * expected.std()


@pytest.mark.parametrize("net", GLOBAL.values(), ids=GLOBAL)
def test_global_networks_are_reported(net):
    net = net.eval()
    found = daskpatch.probe(net, ndim=2, seconds=0)
    values = RNG.normal(size=(200, 180)).astype("f4")
    values[:100] += 1
    with pytest.warns(UserWarning, match="no halo is exact"):
        plan = daskpatch.plan(
            values, net, axes="YX", probe=found, patch_size=64, overlaps="auto", batch_size=1
        )
    assert "no halo is exact" in repr(plan)
    report = daskpatch.check_seams(plan, progress=False)
    assert not report.ok
    assert report.cause == "global"
