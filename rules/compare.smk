# Several methods on the same videos.


rule compare_methods:
    """Put the methods side by side, with an interval for the difference of each two."""
    input:
        # Made from the scores that are compared.
        metrics=metrics_of_methods,
    output:
        json="<results>/comparison/methods.json",
        table="<results>/comparison/methods.tsv",
        markdown="<results>/comparison/methods.md",
        latex="<results>/comparison/methods.tex",
        curves=report(
            "<results>/comparison/curves.svg",
            caption="../workflow/report/comparison_curves.rst",
            category="Comparison",
            labels={"table": "ROC and precision-recall"},
        ),
        heat_map=report(
            "<results>/comparison/videos.svg",
            caption="../workflow/report/comparison_videos.rst",
            category="Comparison",
            labels={"table": "videos by methods"},
        ),
    log:
        "<logs>/compare_methods.log",
    benchmark:
        "<benchmarks>/compare_methods.tsv"
    conda:
        "../envs/light.yaml"
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        annotations=STUDY.annotation(TEST),
        methods=list(STUDY.methods),
        sheet=SHEET,
        results=results_folder,
        interval=STUDY.config.metrics.interval,
        bootstrap=STUDY.config.metrics.bootstrap,
        seed=STUDY.config.metrics.seed,
    shell:
        "hhvad compare-methods"
        " --methods {params.methods:q}"
        " --sheet {params.sheet:q}"
        " --results {params.results:q}"
        " --interval {params.interval}"
        " --bootstrap {params.bootstrap}"
        " --seed {params.seed}"
        " --out {output.json:q}"
        " --table {output.table:q}"
        " --markdown {output.markdown:q}"
        " --latex {output.latex:q}"
        " --curves {output.curves:q}"
        " --heat-map {output.heat_map:q} > {log:q} 2>&1"


rule compare_costs:
    """Add up what each method's jobs took, and say what the method needs."""
    input:
        # Made when all that is added up has run.
        metrics=metrics_of_methods,
    output:
        json="<results>/comparison/costs.json",
        table="<results>/comparison/costs.tsv",
        markdown="<results>/comparison/costs.md",
        latex="<results>/comparison/costs.tex",
    log:
        "<logs>/compare_costs.log",
    benchmark:
        "<benchmarks>/compare_costs.tsv"
    conda:
        "../envs/light.yaml"
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        methods=costs_of_methods,
        sheet=SHEET,
        results=results_folder,
        benchmarks=benchmarks_folder,
    shell:
        "hhvad compare-costs"
        " --methods {params.methods:q}"
        " --sheet {params.sheet:q}"
        " --results {params.results:q}"
        " --benchmarks {params.benchmarks:q}"
        " --out {output.json:q}"
        " --table {output.table:q}"
        " --markdown {output.markdown:q}"
        " --latex {output.latex:q} > {log:q} 2>&1"
