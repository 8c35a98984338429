"""The probe on networks whose reach and stride follow from their layers."""

import numpy as np
import pytest
import torch
from torch import nn

import daskpatch

CONV = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
POOL = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
SMOOTH = {2: "bilinear", 3: "trilinear"}


def lively(net):
    """Weights under which signals neither fade nor drift: what the layers see can be seen."""
    for part in net.modules():
        if isinstance(part, (*CONV.values(), *TRANSPOSED.values())):
            nn.init.kaiming_normal_(part.weight)
            nn.init.zeros_(part.bias)
    return net.eval()


class UNet(nn.Module):
    """Two convolutions of 3 on each level on the way down and up, and at the bottom."""

    def __init__(self, depth, ndim, down="pooled", up="transposed", width=6):
        super().__init__()
        convolution = CONV[ndim]

        def twice(channels):
            return nn.Sequential(
                convolution(channels, width, 3, padding=1),
                nn.ReLU(),
                convolution(width, width, 3, padding=1),
                nn.ReLU(),
            )

        def shrink():
            return POOL[ndim](2) if down == "pooled" else convolution(width, width, 2, stride=2)

        def grow():
            if up == "transposed":
                return TRANSPOSED[ndim](width, width, 2, stride=2)
            mode = "nearest" if up == "nearest" else SMOOTH[ndim]
            return nn.Upsample(scale_factor=2, mode=mode)

        self.enter = nn.ModuleList([twice(1), *(twice(width) for _ in range(depth))])
        self.shrink = nn.ModuleList(shrink() for _ in range(depth))
        self.grow = nn.ModuleList(grow() for _ in range(depth))
        self.leave = nn.ModuleList(twice(2 * width) for _ in range(depth))
        self.last = convolution(width, 1, 1)

    def forward(self, x):
        levels = []
        for enter, shrink in zip(self.enter, self.shrink, strict=False):
            levels.append(enter(x))
            x = shrink(levels[-1])
        x = self.enter[-1](x)
        for grow, leave in zip(self.grow, self.leave, strict=True):
            x = leave(torch.cat([grow(x), levels.pop()], 1))
        return self.last(x)


def reach_of(depth, up):
    """Two voxels of each level's size per pair of convolutions, and the cells of the grid."""
    stride = 2**depth
    levels = 2 * 2 * (stride - 1) + 2 * stride
    # A smooth upsampling takes a neighbour: half of a coarse voxel further, on every level.
    smooth = stride - 1 if up == "smooth" else 0
    return levels + smooth + stride - 1


NETS = [
    *((depth, 2, "pooled", "transposed") for depth in (1, 2, 3, 4)),
    *((2, 2, down, up) for down in ("pooled", "strided") for up in ("nearest", "smooth")),
    (1, 3, "pooled", "transposed"),
]


@pytest.mark.parametrize(("depth", "ndim", "down", "up"), NETS)
def test_u_nets(depth, ndim, down, up):
    torch.manual_seed(depth)
    net = lively(UNet(depth, ndim, down, up))
    found = daskpatch.probe(net, ndim=ndim, seconds=0)
    stride, reach = 2**depth, reach_of(depth, up)
    assert found.align == (stride,) * ndim
    assert found.min_size == (stride,) * ndim
    assert [along.step for along in found.sizes] == [stride] * ndim
    assert all(reach <= halo <= reach + stride for halo in found.halo)
    assert not found.is_global


def test_a_u_net_is_asked_seldom():
    """Of sixteen phases of its grid those are left out that cannot see farther than others."""
    torch.manual_seed(4)
    net = lively(UNet(4, 2))
    calls = []
    net.register_forward_hook(lambda *_: calls.append(1))
    found = daskpatch.probe(net, ndim=2, seconds=0)
    assert found.halo == (112, 112)
    assert len(calls) < 120


LAYERS = {
    "plain": (nn.Conv2d(1, 1, 7, padding=3), 3, 1),
    "dilated": (
        nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=4, dilation=4),
            nn.ReLU(),
            nn.Conv2d(4, 1, 3, padding=2, dilation=2),
        ),
        6,
        1,
    ),
    "there and back": (
        nn.Sequential(nn.Conv2d(1, 4, 4, stride=4), nn.ConvTranspose2d(4, 1, 4, stride=4)),
        3,
        4,
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    torch.manual_seed(0)
    net, reach, stride = LAYERS[name]
    found = daskpatch.probe(net.eval(), ndim=2, seconds=0)
    assert all(reach <= halo <= reach + stride for halo in found.halo)
    assert found.align == (stride, stride)


def test_a_result_of_another_size():
    torch.manual_seed(0)
    valid = daskpatch.probe(nn.Conv2d(1, 1, 5), ndim=2, seconds=0)
    assert [(along.smallest, along.scale, along.margin) for along in valid.sizes] == [(5, 1, 4)] * 2
    assert valid.halo == (2, 2)
    finer = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.PixelShuffle(2))
    found = daskpatch.probe(finer, ndim=2, seconds=0)
    assert (found.scale, found.halo) == ((2, 2), (1, 1))
    coarser = daskpatch.probe(nn.Conv2d(1, 8, 4, stride=4), ndim=2, seconds=0)
    assert (coarser.out_channels, coarser.align) == (8, (4, 4))
    assert [str(scale) for scale in coarser.scale] == ["1/4", "1/4"]


class Attention(nn.Module):
    """Every patch of 4 x 4 looks at every other one, as in a vision transformer."""

    def __init__(self):
        super().__init__()
        self.of_query, self.of_key, self.of_value = (nn.Conv2d(1, 4, 4, stride=4) for _ in range(3))
        self.last = nn.ConvTranspose2d(4, 1, 4, stride=4)

    def forward(self, x):
        query, key, value = (
            layer(x).flatten(2).transpose(1, 2)
            for layer in (self.of_query, self.of_key, self.of_value)
        )
        result = nn.functional.scaled_dot_product_attention(query, key, value)
        grid = (x.shape[2] // 4, x.shape[3] // 4)
        return self.last(result.transpose(1, 2).reshape(len(x), 4, *grid))


GLOBAL = {
    "instance norm": nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.InstanceNorm2d(4), nn.Conv2d(4, 1, 3, padding=1)
    ),
    "attention": Attention(),
}


@pytest.mark.parametrize("net", GLOBAL.values(), ids=GLOBAL)
def test_networks_that_look_at_all_of_their_tile(net):
    found = daskpatch.probe(net.eval(), ndim=2, seconds=0)
    assert found.is_global
    assert found.effect > found.tolerance
    assert "no halo is exact" in repr(found)


def test_a_static_onnx_graph_has_one_size(tmp_path):
    from onnx import TensorProto, helper, save

    shape = [1, 1, 48, 64]
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "static",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )
    opset = helper.make_opsetid("", 17)
    save(helper.make_model(graph, opset_imports=[opset], ir_version=9), tmp_path / "static.onnx")
    found = daskpatch.probe(str(tmp_path / "static.onnx"), ndim=2, seconds=0.2)
    assert [(along.smallest, along.step) for along in found.sizes] == [(48, 0), (64, 0)]
    values = np.random.default_rng(0).normal(size=(101, 30)).astype("f4")
    plan = daskpatch.plan(
        values, str(tmp_path / "static.onnx"), axes="YX", patch_size="auto", probe=found
    )
    assert np.array_equal(plan.view[...], np.maximum(values, 0))
    with pytest.raises(ValueError, match="patch_size"):
        daskpatch.probe(str(tmp_path / "static.onnx"), ndim=2, patch_size=32, seconds=0)
