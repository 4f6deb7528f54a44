"""replay_analysis: a saved analysis, computed again from its manifest and its data."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from .. import registry, settings
from ..errors import InputError, printable
from ..files import is_file
from ..results.manifest import Opening, layout_of, revived, whole, whole_manifest
from ..results.replay import as_then, reopened
from .analyse import digest, manifest_of, studied, study_of, tokenizers_of
from .study import Layouts

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from ..model import Model
    from .analysis import Analysis


def replay_analysis(
    analysis: Analysis,
    model: Model | str | os.PathLike[str] | None = None,
    data: Any = None,
    labels: Any = None,
    tokenizer: str | os.PathLike[str] | None = None,
) -> Analysis:
    """Recompute a saved analysis from its manifest: same settings, seed, session layouts and batch sizes.

    The result equals the saved one bit for bit on the same kind of machine. Data are not kept in the file: they are
    read again from where they were, or ``data``, ``labels`` and ``tokenizer`` name them as in ``analyse``. Raises
    ``InputError`` where model, data or labels are not those that were analysed, or not there.
    """
    kept = analysis.manifest
    opening = Opening.read(kept, "analysis")
    with whole_manifest("analysis"):
        layouts = tuple(layout_of(one) for one in kept["layouts"])
        seed, target, rows = whole(kept["seed"], None), str(kept["target"]), str(kept["data_digest"])
        where = kept["data"] if data is None else data
        named = kept.get("labels_given") if labels is None else labels
        kept_tokenizer = _tokenizer(kept)
        texts = dict(dict(kept.get("preprocessing", {})).get("texts", {}))
        digests = {name: str(one["tokenizer_digest"]) for name, one in texts.items()}
        is_labelled, is_kept = bool(kept["labels"]), "labels_given" in kept
        count, asked_for = whole(kept["data_rows"], None), dict(kept.get("settings_given", {}))
    if isinstance(where, str) and not where:
        raise InputError(
            "the data of this analysis were arrays: they are not in its file", tip="give them again: data="
        )
    plugin = registry.find(analysis.name, "analysis")
    given = {n: revived(v) for n, v in analysis.settings.items()}
    analyst = settings.build(plugin.factory, given, analysis.name)
    source = reopened(opening, model)
    if tokenizer is None and kept_tokenizer is not None and not is_file(kept_tokenizer):
        raise InputError(
            f"the tokenizer is not at '{printable(kept_tokenizer)}' any more",
            tip="name it: onnxplain replay FILE --tokenizer FILE",
        )
    with as_then(source, opening):
        read = study_of(source, analyst, where, named, kept_tokenizer if tokenizer is None else tokenizer)
        if digest(read) != rows:
            tip = "give the labels again too" if is_labelled and not is_kept and labels is None else ""
            now = {name: one["tokenizer_digest"] for name, one in tokenizers_of(read).items()}
            if digests and now and now != digests:
                tip = "the tokenizer is another one than then"
            raise InputError(
                "these are not the data that were analysed: rows or labels differ",
                where=f"{read.count:,} rows of {printable(read.source) or 'arrays'}; {count:,} then",
                tip=tip,
            )
        study = dataclasses.replace(read, target=target, seed=seed, name=analysis.name, layouts=Layouts(layouts))
        again = studied(study, analyst)
    asked = {key: kept[key] for key in ("labels_given", "tokenizer_given") if key in kept}
    manifest = manifest_of(study, plugin, asked_for) | asked | again.manifest
    return dataclasses.replace(again, settings=analysis.settings, manifest=manifest)


def _tokenizer(kept: Mapping[str, Any]) -> str | None:
    """Return the tokenizer that a manifest names; ``TypeError`` where that is no name."""
    named = kept.get("tokenizer_given")
    if named is not None and not isinstance(named, str):
        raise TypeError(f"{named!r} is no name of a file")
    return named
