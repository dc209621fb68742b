# The page on which a person sees what was found.


rule build_viewer:
    """Write the page of events, videos, curves and metrics, and the events as tables."""
    input:
        results_of_viewer,
    output:
        # Its files make the report a zip; all tables are in it, as HTML.
        report(
            directory("<results>/viewer"),
            htmlindex="index.html",
            caption="../workflow/report/viewer.rst",
            category="Viewer",
            labels={"page": "events, videos and all tables"},
        ),
    log:
        "<logs>/build_viewer.log",
    benchmark:
        "<benchmarks>/build_viewer.tsv"
    conda:
        "../envs/light.yaml"
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        annotations=STUDY.annotation(STUDY.videos),
        sheet=SHEET,
        results=results_folder,
        study=STUDY.name,
        methods=list(STUDY.methods),
        described="" if STUDY.described is None else f"--described {STUDY.described}",
        masks=masks_flag,
        mask=masks_of_tests,
        version=VIEWER_VERSION,
    shell:
        "hhvad build-viewer"
        " --sheet {params.sheet:q}"
        " --results {params.results:q}"
        " --study {params.study:q}"
        " --methods {params.methods:q}"
        " {params.described}"
        " {params.masks}"
        " --video-root ."
        " --out {output:q}/index.html > {log:q} 2>&1"
