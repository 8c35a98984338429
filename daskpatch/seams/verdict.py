"""`SeamReport`: what was found at seams, as a sentence, figures and a picture."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

from ..support import counted, html_table, load_extra, text_table


@dataclass(frozen=True, repr=False)
class SeamReport:
    """What was found at the seams of a plan; made by `check_seams`.

    Differences are those of the stitched result from the same voxels computed with a much larger
    context, and with that on a shifted grid: the largest, in standard deviations of the result.

    Attributes
    ----------
    ok
        Whether there are none: `difference` is no larger than `limit`.
    verdict
        That, and what to do, in a sentence or two.
    difference, inside
        The largest difference anywhere, and at control planes, in the middle of tiles.
    by_distance
        The largest difference against the distance from the nearest seam, in voxels of the input.
    jump, jump_inside
        The largest change of the difference from one plane to the next: across a seam, and
        elsewhere.
    noise
        The largest difference between two runs of the same tiles.
    tolerance, limit
        What was asked for, and what differences were measured against: three times the noise,
        if that is more.
    cause
        `"halo"`, `"grid"`, `"global"`, `"labels"`, `"blend"` or `"random"`; None where all is well.
    places, tiles, seconds
        Seams that were looked at, tiles that were computed for it (larger ones by their voxels),
        and the time it took.
    """

    ok: bool
    verdict: str
    difference: float
    inside: float
    by_distance: tuple[float, ...]
    jump: float
    jump_inside: float
    noise: float
    tolerance: float
    limit: float
    cause: str | None
    places: int
    tiles: float
    seconds: float
    picture: NDArray[Any] | None = field(default=None, compare=False)
    seam_row: int = field(default=0, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        names = (name for name in self.__dataclass_fields__ if name not in ("picture", "seam_row"))
        values = {name: getattr(self, name) for name in names}
        return {**values, "by_distance": list(self.by_distance)}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as JSON."""
        Path(path).write_text(json.dumps(self.to_dict()))

    def plot(self) -> Any:
        """Difference against distance, and a picture of the worst seam, as a matplotlib figure."""
        figure = load_extra("matplotlib.figure", "SeamReport.plot").Figure(
            figsize=(10, 4), layout="constrained"
        )
        curve, image = figure.subplots(1, 2, width_ratios=(3, 2))
        _draw_curve(curve, self)
        _draw_picture(figure, image, self)
        figure.suptitle(self.verdict.partition(":")[0])
        return figure

    def __repr__(self) -> str:
        return text_table(self.verdict, self._figures(), 24)

    def _repr_html_(self) -> str:
        return html_table(self.verdict, self._figures())

    def _figures(self) -> list[tuple[str, str]]:
        return [
            ("largest difference", f"{self.difference:.2g} standard deviations of the result"),
            ("in the middle of tiles", f"{self.inside:.2g}"),
            ("jump across a seam", f"{self.jump:.2g}, elsewhere {self.jump_inside:.2g}"),
            ("counts from", f"{self.limit:.2g} on"),
            (
                "looked at",
                f"{counted(self.places, 'seam')}, {self.tiles:.0f} tiles computed in "
                f"{self.seconds:.1f} s",
            ),
        ]


def _draw_curve(axes: Axes, report: SeamReport) -> None:
    distances = np.arange(len(report.by_distance))
    shown = [value or np.nan for value in report.by_distance]  # a logarithm leaves zeros out
    axes.semilogy(distances, shown, "o-", ms=3, label="difference")
    drawn = [report.limit, *shown]
    axes.set_ylim(np.nanmin(drawn) / 3 or None, np.nanmax(drawn) * 3 or None)
    axes.axhline(report.limit, color="grey", lw=0.8, label="counts from here")
    if report.inside:
        axes.axhline(report.inside, color="tab:orange", ls="--", label="in the middle of tiles")
    axes.set(
        xlabel="distance from the nearest seam (voxels)",
        ylabel="largest difference (standard deviations)",
        xlim=(-1, len(distances)),
    )
    if not np.nansum(shown):
        axes.text(0.5, 0.75, "no difference at all", ha="center", transform=axes.transAxes)
    axes.legend()


def _draw_picture(figure: Figure, axes: Axes, report: SeamReport) -> None:
    axes.set_axis_off()
    if report.picture is None:
        return
    largest = max(float(np.abs(report.picture).max()), report.limit)
    shown = axes.imshow(report.picture, cmap="RdBu", vmin=-largest, vmax=largest)
    axes.axhline(report.seam_row - 0.5, color="black", lw=0.8)
    axes.set_title("stitched - larger context, at the worst seam", fontsize="medium")
    figure.colorbar(shown, ax=axes, label="standard deviations", shrink=0.8)


def verdict_of(
    cause: str | None, difference: float, inside: float, noise: float, grid: Sequence[int]
) -> str:
    """What was found and what to do, in words."""
    off = f"the stitched result is off by up to {difference:.2g} of its standard deviation"
    if cause is None and difference == 0:
        return "No seams: the stitched result is exactly what a larger context gives."
    if cause is None:
        return (
            "No seams: the stitched result is what a larger context gives, to within "
            f"{difference:.1g} of its standard deviation."
        )
    if cause == "random":
        return (
            f"The model is not deterministic: two runs of the same tiles differ by {noise:.2g} of "
            "the result's standard deviation, so nothing can be said of seams. Put it in "
            "evaluation mode, or fix its seed."
        )
    if cause == "grid":
        return (
            f"Seams: {off}, and tiles on another grid give another result. The tiles begin on "
            f"multiples of {tuple(grid)} voxels, the network's grid is coarser: give align (the "
            "probe finds it), or patch_size='auto'."
        )
    if cause == "global":
        return (
            f"Seams: {off}, {inside:.2g} in the middle of tiles: the model's result depends on "
            "all of its tile (normalisation of each tile, attention). Normalise over the whole "
            "image (normalize=), take larger tiles, or blend them (stitch=)."
        )
    if cause == "labels":
        return (
            "Seams: the model numbers the objects of each tile by itself, so that an object has "
            "another id on the other side of a seam, and one id is of several objects. Predict a "
            "mask or scores, and number the objects of the stitched result."
        )
    if cause == "blend":
        return (
            f"No whole-image result: {off}. Tiles are blended, and what they give near their "
            "edges, where they see less, weighs in. With stitch='crop' and overlaps that hold the "
            "model's halo (overlaps='auto') there is no difference."
        )
    return (
        f"Seams: {off}, {inside:.2g} in the middle of tiles: the overlap is smaller than what the "
        "model needs. Give larger overlaps, or overlaps='auto'."
    )
