"""The table of docs/configs.md, made from the presets in configs/.

    python tools/configs_table.py [--write]

What a preset says of itself, and what stands in it, become one row. Prints the table;
--write puts it into docs/configs.md, in place of the one there.
"""

import ast
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags

from tfstylegan import cli
from tfstylegan import config as config_lib

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "configs.md"
MARK = "<!-- From here on made by: python tools/configs_table.py --write -->\n"
PAPERS = ("StyleGAN", "StyleGAN2")
SMALL, BENCHMARKS = "Small ones, for a laptop", "Benchmarks"
COLUMNS = ("Preset", "Paper and row", "G", "D", "Size", "Cost", "Expected")


def main(argv):
    del argv
    if flags.FLAGS.write:
        write()
    else:
        print(table(), end="")


def write():
    """Replaces the table of the page; its introduction stays."""
    introduction, mark, _ = PAGE.read_text().partition(MARK)
    if not mark:
        raise ValueError(f"{PAGE} must hold the line {MARK.strip()!r}")
    PAGE.write_text(introduction + mark + table())


def table():
    """Markdown: a heading and a table for each group of presets."""
    rows = {heading: [] for heading in (*PAPERS, SMALL, BENCHMARKS)}
    for file in sorted((ROOT / "configs").glob("*.py")):
        config = config_lib.preset(file.stem)
        title, said = label(file)
        rows[group(title, config)].append(row(file, title, said, config))
    head = [line(COLUMNS), "|---" * len(COLUMNS) + "|"]
    return "".join(
        f"\n## {heading}\n\n" + "\n".join(head + of_group) + "\n"
        for heading, of_group in rows.items()
    )


def label(file):
    """First line of a preset's docstring, and its parts as {"Cost": text, ...}."""
    docstring = ast.get_docstring(ast.parse(file.read_text()))
    title, _, rest = docstring.partition("\n")
    parts = re.split(r"^(\w+): ", rest, flags=re.MULTILINE)[1:]
    said = [" ".join(text.split()) for text in parts[1::2]]
    return title.rstrip("."), dict(zip(parts[::2], said))


def group(title, config):
    """Heading under which a preset stands."""
    if title.startswith("Benchmark"):
        return BENCHMARKS
    return SMALL if config.data.source == "digits" else title.partition(",")[0]


def row(file, title, said, config):
    size = "x".join(map(str, config.data.image_size))
    if config.growing.initial_resolution:
        size += f", from {config.growing.initial_resolution}"
    networks = config.generator, config.discriminator
    return line(
        [
            f"[`{file.stem}`](../configs/{file.name})",
            title,
            *(f"{network.block}, {network.architecture}" for network in networks),
            size,
            said["Cost"],
            said["Expected"],
        ]
    )


def line(cells):
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


if __name__ == "__main__":
    flags.DEFINE_bool("write", False, "Rewrite the table in docs/configs.md.")
    cli.run(main)
