"""The commands of rules/compare.smk: several methods side by side."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any


def add_commands(commands: Any) -> None:
    """Add compare-methods and compare-costs."""
    p = commands.add_parser(
        "compare-methods",
        help="all methods of a run side by side, and what tells two of them apart",
        description="Put the metrics of several methods on the same test videos into one table, "
        "with an interval for the difference of each two, corrected for the number of pairs.",
    )
    p.add_argument("--methods", required=True, nargs="+", metavar="NAME")
    p.add_argument("--sheet", required=True, metavar="TSV", help="the sample sheet")
    p.add_argument("--results", required=True, metavar="DIR", help="the study's results")
    p.add_argument("--interval", choices=("half-open", "inclusive"), required=True)
    p.add_argument("--bootstrap", type=int, required=True, metavar="N", help="resamples")
    p.add_argument("--seed", type=int, required=True)
    p.add_argument("--out", required=True, metavar="JSON")
    p.add_argument("--table", required=True, metavar="TSV")
    p.add_argument("--markdown", required=True, metavar="MD")
    p.add_argument("--latex", required=True, metavar="TEX")
    p.add_argument("--curves", required=True, metavar="SVG", help="ROC and precision-recall")
    p.add_argument("--heat-map", required=True, metavar="SVG", help="videos by methods")
    p.set_defaults(run=_compare)

    p = commands.add_parser(
        "compare-costs",
        help="what each method of a run took and needed",
        description="Add up the times, model calls and tokens of the jobs of each method.",
    )
    p.add_argument(
        "--methods",
        required=True,
        metavar="JSON",
        help="{NAME: {'kind': K, 'needs': {'labels', 'training', 'wordings'}, 'jobs': [PATH]}}",
    )
    p.add_argument("--sheet", required=True, metavar="TSV", help="the sample sheet")
    p.add_argument("--results", required=True, metavar="DIR", help="the study's results")
    p.add_argument("--benchmarks", required=True, metavar="DIR", help="the times of its jobs")
    p.add_argument("--out", required=True, metavar="JSON")
    p.add_argument("--table", required=True, metavar="TSV")
    p.add_argument("--markdown", required=True, metavar="MD")
    p.add_argument("--latex", required=True, metavar="TEX")
    p.set_defaults(run=_compare_costs)


def _compare(arguments: Namespace) -> None:
    from hhvad import sheet
    from hhvad.errors import ConfigError
    from hhvad.evaluation import compare, run
    from hhvad.figures import plots
    from hhvad.files import read_json, write_json, write_text, write_tsv
    from hhvad.localization import locator_file

    names = list(dict.fromkeys(arguments.methods))
    if len(names) < 2:
        raise ConfigError("--methods: a comparison needs two methods or more")
    results = Path(arguments.results)
    labelled = [
        video
        for video in sheet.read(arguments.sheet)
        if video.split == "test" and video.label is not None
    ]
    methods = []
    for name in names:
        folders = run.Folders(
            results / "localization" / name, results / "events" / name, results / "probe"
        )
        locator = locator_file.read(results / "locator" / f"{name}.json")
        videos = [run.scored(one, folders, arguments.interval, locator) for one in labelled]
        metrics = read_json(results / "metrics" / f"{name}.json")
        methods.append(compare.Method(name, videos, metrics))
    result = compare.compare(methods, resamples=arguments.bootstrap, seed=arguments.seed)
    text = compare.markdown(result)
    write_json(arguments.out, result)
    write_tsv(arguments.table, compare.COLUMNS, compare.table_rows(result))
    write_text(arguments.markdown, text)
    write_text(arguments.latex, compare.latex(result))
    lines = {method.name: compare.curves(method) for method in methods}
    labels = {
        one["name"]: {
            kind: plots.with_interval(area, one["metrics"][metric])
            for kind, area, metric in (("roc", "AUC", "auc"), ("pr", "AP", "ap_step"))
        }
        for one in result["methods"]
    }
    plots.save(plots.method_curves(lines, labels), arguments.curves)
    plots.save(plots.method_videos(result["per_video"], names), arguments.heat_map)
    print(text)


def _compare_costs(arguments: Namespace) -> None:
    import json

    from hhvad import sheet
    from hhvad.errors import ConfigError
    from hhvad.evaluation import costs
    from hhvad.files import write_json, write_text, write_tsv

    try:
        methods = [
            costs.Costed(name, one["kind"], one["needs"], one["jobs"])
            for name, one in json.loads(arguments.methods).items()
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"--methods: not the JSON that the help shows ({error!r})") from error
    rows = costs.costs(
        methods, sheet.read(arguments.sheet), Path(arguments.benchmarks), Path(arguments.results)
    )
    text = costs.markdown(rows)
    write_json(arguments.out, {"meanings": costs.MEANINGS, "note": costs.NOTE, "methods": rows})
    write_tsv(arguments.table, costs.COLUMNS, [[row[key] for key in costs.COLUMNS] for row in rows])
    write_text(arguments.markdown, text)
    write_text(arguments.latex, costs.latex(rows))
    print(text)
