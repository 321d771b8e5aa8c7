"""Charts of the papers' figures, each a picture of its own."""

import figures
import numpy as np


def usage(path, kimg, parts):
    """How much each resolution adds, over training (StyleGAN2, figure 8).

    kimg: [M]; parts: {resolution: [M] in [0, 1]}. One moment is a bar chart.
    """
    figure, axes = _axes()
    names = [f"{side}x{side}" for side in parts]
    percent = 100 * np.array(list(parts.values()))  # [levels, M]
    if len(kimg) > 1:
        axes.stackplot(kimg, percent, labels=names)
        axes.set(xlabel="thousands of real images seen", ylim=(0, 100))
        axes.set_xlim(kimg[0], kimg[-1])
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), reverse=True)
    else:
        axes.bar(names, percent[:, 0])
    axes.set(ylabel="part in the image, %")
    _save(figure, path)


def distances(path, generated, real, threshold):
    """Histograms of two populations of distances, and the threshold between them."""
    figure, axes = _axes()
    bins = np.histogram_bin_edges(np.concatenate([generated, real]), bins=40)
    for values, name in ((generated, "generated"), (real, "real")):
        axes.hist(values, bins=bins, alpha=0.6, label=f"{name}, {len(values)}")
    axes.axvline(threshold, color="black", linestyle="--", label="threshold")
    axes.locator_params(axis="x", nbins=6)  # small numbers have long labels
    axes.set(xlabel="distance after projection", ylabel="images")
    axes.legend()
    _save(figure, path)


def roc(path, false, true, auc):
    """ROC curve: rates of real images taken for generated, and of generated ones."""
    figure, axes = _axes()
    axes.plot(false, true, label=f"AUC {auc:.3f}")
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":")
    axes.set(xlabel="real images attributed", ylabel="generated images attributed")
    axes.set_aspect("equal")
    axes.legend(loc="lower right")
    _save(figure, path)


def _axes():
    figure, (axes,) = figures.panels(1)
    return figure, axes


def _save(figure, path):
    figures.write(figure, path)
    print(path, flush=True)
