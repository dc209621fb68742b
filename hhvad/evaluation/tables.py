"""Tables of words and numbers for a text: Markdown, and LaTeX with the rules of booktabs."""

from __future__ import annotations

from collections.abc import Sequence

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        **{character: f"\\{character}" for character in "&%$#_{}"},
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
    }
)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(c.replace("|", r"\|") for c in line) + " |" for line in lines]


def latex(head: Sequence[str], rows: Sequence[Sequence[str]], columns: str) -> list[str]:
    """The lines of a tabular; columns: its alignment, as LaTeX takes it."""

    def line(cells: Sequence[str]) -> str:
        return " & ".join(cell.translate(_LATEX) for cell in cells) + r" \\"

    body = [line(row) for row in rows]
    start = rf"\begin{{tabular}}{{{columns}}}"
    rules = [r"\toprule", line(head), r"\midrule", *body, r"\bottomrule"]
    return [start, *rules, r"\end{tabular}"]
