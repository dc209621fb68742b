"""The command of rules/methods/hiprobe.smk; its scorer is fitted and applied as HeadHunt's."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from hhvad.cli.headhunt import _add_features


def add_commands(commands: Any) -> None:
    """Add score-layers."""
    p = commands.add_parser(
        "score-layers", help="rank layers by how well their hidden states tell classes apart"
    )
    _add_features(p)
    p.add_argument("--out", required=True, metavar="H5", help="the best layer, as an expert")
    p.add_argument("--table", required=True, metavar="TSV", help="every layer's measures")
    p.set_defaults(run=_score_layers)


def _score_layers(arguments: Namespace) -> None:
    import numpy as np

    from hhvad.artifacts import hdf5
    from hhvad.errors import ArtifactError
    from hhvad.files import write_tsv
    from hhvad.methods.headhunt import samples
    from hhvad.methods.hiprobe.layers import rank

    files = [samples.read_all_heads(path) for path in arguments.features]
    hdf5.require_same(files, samples.SAME_PROMPT)
    if not files[0].provenance.get("states"):
        raise ArtifactError(f"{files[0].path}: holds heads, not hidden states")
    states, labels, _ = samples.join_samples(files, arguments.labels, arguments.segment_labels)
    found = rank(states[:, :, 0], labels)
    prompt = files[0].provenance["prompt"]
    provenance = {
        **samples.carried(files[0], samples.SAME_CAPTURE),
        "prompts": [prompt],
        "prompt_texts": {prompt: files[0].provenance.get("prompt_text")},
        "reconstruction": "HiProbe-VAD, arXiv 2507.17394; its code is not public",
    }
    experts = np.array([[found.best, 0]], np.int64)
    hdf5.write(arguments.out, "experts", {"experts": experts, **found._asdict()}, provenance)
    rows = [
        (layer, *(float(values[layer]) for values in found), int(layer == found.best))
        for layer in range(len(found.score))
    ]
    write_tsv(arguments.table, ("layer", *found._fields, "chosen"), rows)
    print(f"layer {found.best} of 0 to {len(found.score) - 1}")
