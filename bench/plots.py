"""The plots of the measurements, as SVG."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt


def bars(path: Path, groups: Mapping[str, Mapping[str, float]], *, title: str) -> None:
    """Draw a group of bars for each key, a bar for each of its values."""
    mpl.rcParams.update({"svg.hashsalt": "bench", "font.size": 9})
    names = [*next(iter(groups.values()))]
    figure, axes = plt.subplots(figsize=(9, 4), layout="constrained")
    width = 0.8 / len(names)
    for number, name in enumerate(names):
        places = [place + number * width for place in range(len(groups))]
        drawn = axes.bar(places, [values[name] for values in groups.values()], width, label=name)
        axes.bar_label(drawn, fmt="{:,.0f}", fontsize=6)
    axes.set_xticks([place + 0.4 - width / 2 for place in range(len(groups))], [*groups])
    axes.set_title(title)
    axes.legend(fontsize=7, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.08))
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
