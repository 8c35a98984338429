"""All options of a plan, as values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..image import Source, SourceWords
from ..model import Model, ModelWords, former_identity
from ..output import Output, OutputWords
from ..probing import Probe
from ..support import Options, refuse_unknown, taken
from ..values import Normalize, NormalizeWords
from .limits import Limits, LimitsWords
from .tiles import Tiles, TilesWords

KINDS: tuple[type[Options], ...] = (Source, Model, Output, Tiles, Normalize, Limits)


class PlanWords(SourceWords, ModelWords, OutputWords, TilesWords, NormalizeWords, LimitsWords):
    """The flat words of all options of a plan."""


@dataclass(frozen=True)
class PlanOptions:
    """What was asked for: a value of each kind."""

    source: Source
    model: Model
    output: Output
    tiles: Tiles
    normalize: Normalize
    limits: Limits

    @classmethod
    def of(cls, verb: str, words: dict[str, Any], **given: Any) -> PlanOptions:
        """Values as they were given, or made from plain things and flat words.

        Raises
        ------
        TypeError
            If a value comes with a flat word of it, or there is no such word.
        """
        # Before a value is made: "no sizes" would not tell that patch_size was misspelt.
        refuse_unknown(words, verb, *KINDS)
        words = dict(words)
        return cls(
            source=taken(Source, given["source"], words, "source"),
            model=taken(Model, given["model"], words, "model"),
            output=taken(Output, given["output"], words, "output"),
            tiles=taken(Tiles, given["tiles"], words, "tiles", plain="patching"),
            normalize=taken(Normalize, given["normalize"], words, "normalize"),
            limits=taken(Limits, given["limits"], words, "limits"),
        )

    def with_probe(self, probe: Probe) -> PlanOptions:
        """What a probe says, where nothing was said."""
        model = self.model
        if not (model.says_size or probe.keeps_size):
            model = replace(model, scale=probe.scale, margin=probe.margin)
        return replace(self, model=model, tiles=self.tiles.with_probe(probe))

    def former_identity(self) -> str | None:
        """What told model and `post` from others in records that were written before."""
        model_id = self.model.id
        try:
            function = self.output.function
            post = "" if function is None else f" post {former_identity(function.handle)}"
            if model_id is not None:
                return f"model_id {model_id}{post}"
            return f"{former_identity(self.model.shared.handle)}{post}"
        except (OSError, ValueError, ImportError):  # a file or module that is gone, too
            return None if model_id is None else f"model_id {model_id}"
