"""A figure's caption in files beside the picture."""

from __future__ import annotations

from pathlib import Path

from analysis.figures.paper import name_figure
from analysis.figures.style import RunFigure, remove_caption
from analysis.latex import escape_latex, make_label
from csg.messages.text import make_printable
from csg.storage.files import make_folder, open_replacement


def write_caption(figure: RunFigure, folder: Path, name: str) -> list[Path]:
    """Take a figure's caption out of the picture, write it as ``name``.txt and ``name``.tex, and return the paths.

    The second is a float for LaTeX, with the picture and a label.

    Raises:
        UserError: the folder cannot be written to.
    """
    remove_caption(figure)
    make_folder(folder, "--out")
    title = name_figure(name)
    latex = (
        "\\begin{figure}\n\\centering\n\\includegraphics[width=\\columnwidth]{" + name + ".pdf}\n"
        f"\\caption{{{escape_latex(title)}. {escape_latex(figure.caption)}}}\n"
        f"\\label{{fig:{make_label(name)}}}\n\\end{{figure}}\n"
    )
    written = {folder / f"{name}.txt": f"{title}. {figure.caption}\n", folder / f"{name}.tex": latex}
    for path, text in written.items():
        with open_replacement(path) as file:
            file.write(make_printable(text).encode())
    return list(written)
