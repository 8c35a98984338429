"""The main job on a real image, with nothing to configure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .geometry import Region
from .planning import plan
from .store import create_array, find_array, locate
from .support import load_extra

_SIGMA = 12.0
"""Grey values of the noise that is added; the denoiser is told."""

_PATCH_SIZE, _OVERLAPS = 160, 32


@dataclass(frozen=True, slots=True)
class DemoResult:
    """Files of the demo, and the largest difference between tiled and whole denoising."""

    noisy: str
    denoised: str
    picture: str
    tiles: int
    difference: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.denoised}: {self.noisy} denoised in {self.tiles} tiles\n"
            f"largest difference from denoising the whole image at once: {self.difference:.3g} "
            f"grey values of 255\n{self.picture}: noisy, denoised, difference"
        )


def denoise(batch: NDArray[Any]) -> NDArray[Any]:
    """Non-local means with a fixed sigma, for batches `(N, 1, Y, X)` of grey values.

    A sigma estimated from each tile would differ between tiles, and show as seams.
    """
    restoration = load_extra("skimage.restoration", "The demo")
    return np.stack(
        [
            restoration.denoise_nl_means(
                image[0],
                patch_size=5,
                patch_distance=6,
                h=0.8 * _SIGMA,
                sigma=_SIGMA,
                preserve_range=True,
            )
            for image in batch
        ]
    )[:, None]


def run_demo(folder: str | Path, *, progress: bool = True) -> DemoResult:
    """Make an image noisy, denoise it out of core, compare, and draw.

    The image is `skimage.data.cell()`, a microscopy image that comes with scikit-image.

    Raises
    ------
    ImportError
        If scikit-image or matplotlib is missing; the extra to install is named.
    FileExistsError
        If the folder holds something that is not of an earlier demo.
    """
    data = load_extra("skimage.data", "The demo")
    load_extra("matplotlib.figure", "The demo")
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    noisy, denoised = place / "noisy.zarr", place / "denoised.zarr"
    image = _add_noise(data.cell())
    everything = Region.whole(image.shape).slices
    stored = create_array(
        locate(noisy),
        shape=image.shape,
        dtype=image.dtype,
        chunks=(128, 128),
        shards=None,
        dimension_names=["y", "x"],
        attributes={},
    )
    stored.write(everything, image)
    planned = plan(
        noisy, denoise, denoised, patch_size=_PATCH_SIZE, overlaps=_OVERLAPS, overwrite=True
    )
    if progress:
        print(planned)
    planned.run(progress=progress)
    tiled = find_array(denoised).array.read(everything)
    whole = denoise(image[None, None].astype("float32"))[0, 0]
    difference = np.abs(tiled - whole)
    picture = place / "demo.png"
    _draw(picture, {"noisy": image, "denoised in tiles": tiled}, difference)
    return DemoResult(
        str(noisy), str(denoised), str(picture), planned.n_tiles, float(difference.max())
    )


def _add_noise(image: NDArray[Any]) -> NDArray[Any]:
    noise = np.random.default_rng(0).normal(0, _SIGMA, image.shape)
    return np.clip(np.rint(image + noise), 0, 255).astype("uint8")


def _draw(path: Path, images: dict[str, NDArray[Any]], difference: NDArray[Any]) -> None:
    figure = load_extra("matplotlib.figure", "The demo").Figure(
        figsize=(12, 5), layout="constrained"
    )
    axes = figure.subplots(1, 3)
    for axis, (title, values) in zip(axes, images.items(), strict=False):
        axis.imshow(values, cmap="gray", vmin=0, vmax=255)
        axis.set_title(title)
    step = _PATCH_SIZE - _OVERLAPS
    for edge in range(step, max(difference.shape), step):
        axes[1].axhline(edge, color="tab:orange", linewidth=0.4)
        axes[1].axvline(edge, color="tab:orange", linewidth=0.4)
    axes[1].set(xlim=(0, difference.shape[1]), ylim=(difference.shape[0], 0))
    shown = axes[2].imshow(difference, cmap="magma", vmin=0, vmax=1)
    axes[2].set_title(f"|tiled - whole|, at most {difference.max():.2g}")
    figure.colorbar(shown, ax=axes[2], label="grey values", shrink=0.7)
    for axis in axes:
        axis.set_axis_off()
    figure.savefig(path, dpi=110)
