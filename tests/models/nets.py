"""Small networks with awkward grids, and their whole-image results."""

import numpy as np
import torch
from torch import nn


class UNet(nn.Module):
    """Two poolings (align 4) of plain convolutions, in 2-D or 3-D."""

    def __init__(self, ndim, features=4):
        super().__init__()
        conv = {2: nn.Conv2d, 3: nn.Conv3d}[ndim]
        self.pool = {2: nn.MaxPool2d, 3: nn.MaxPool3d}[ndim](2)
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.enter = conv(1, features, 3, padding=1)
        self.down = conv(features, features, 3, padding=1)
        self.bottom = conv(features, features, 3, padding=1)
        self.rise = conv(2 * features, features, 3, padding=1)
        self.leave = conv(2 * features, 1, 3, padding=1)

    def decoded(self, x):
        """The result, and what the decoder has on its coarser levels."""
        first = torch.relu(self.enter(x))
        second = torch.relu(self.down(self.pool(first)))
        third = torch.relu(self.bottom(self.pool(second)))
        second = torch.relu(self.rise(torch.cat([self.up(third), second], 1)))
        return self.leave(torch.cat([self.up(second), first], 1)), second, third

    def forward(self, x):
        return self.decoded(x)[0]


class DeepUNet(UNet):
    """With a head on each level of the decoder, for deep supervision."""

    def forward(self, x):
        full, half, quarter = self.decoded(x)
        return [full, half.mean(1, keepdim=True), quarter[:, :2]]


def unet(ndim, kind=UNet):
    torch.manual_seed(ndim)
    return kind(ndim).eval()


def whole(model, values, align=4):
    """The prediction of an image at once, reflected up to a multiple of `align`."""
    result = all_of(lambda batch: [model(batch)], values, align)[0][0]
    return result[tuple(slice(n) for n in values.shape)]


def all_of(model, values, align=4):
    """All results of a model for such an image, `C(Z)YX`."""
    pads = [(0, -n % align) for n in values.shape]
    # Not np.pad's own reflection of a size-1 axis; daskpatch pads in the same way.
    padded = np.pad(values.astype("f4"), pads, mode="reflect")
    with torch.inference_mode():
        return [result[0].numpy() for result in model(torch.from_numpy(padded[None, None]))]
