"""Finds the latent codes and noise of images (StyleGAN2, appendix D).

    python tools/project.py --model=M --outdir=D --targets=a.png,folder
    python tools/project.py --model=M --outdir=D --seeds=0-2
        [--space=w+] [--noise=const] [--distance=lpips] [--steps=1000] [--video]

Targets are image files, folders of them, or with --seeds images that the model itself
generates. Writes latents.npz, which other tools take as --latents; for each target
NAME_target.png and NAME_projected.png; projection.png with targets above and
projections below; and projection.json with distances and PSNR. Broken off, the same
command goes on: finished batches are kept, and the current one as it was at most
--save_steps ago.

--distance is lpips (its files are looked for in --detector_dir and the cache, and
downloaded with --download), discriminator (the model's own), pixels (squared
differences at all scales), or auto: lpips where its files are there, else pixels.
Prints steps a second beside what the networks' forward and backward passes alone allow.
"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np
import pictures
import projections
import video
from absl import flags

from tfstylegan import cli, code_flags


def main(argv):
    del argv
    with cli.one_sentence():
        code_flags.check_psi()
        if flags.FLAGS.video:
            video.check_formats(["mp4"])
        generated = flags.FLAGS.seeds is not None or flags.FLAGS.latents is not None
        if generated == bool(flags.FLAGS.targets):
            raise ValueError("give either --targets, or --seeds or --latents")
        options = projections.options()
        paths = pictures.found_files(flags.FLAGS.targets)
        networks, outdir = pictures.open_model()
        if generated:
            targets, names = projections.generated(networks)
        else:
            targets = pictures.read_images(paths, networks.config.data)
            names = pictures.unique_names(paths)
        runner = projections.Runner(networks, outdir, options, films=flags.FLAGS.video)
    with cli.one_sentence(OSError):
        result = runner.run(targets, names)
        write(outdir, targets, result)
    runner.tell_speed()
    runner.forget()


def write(outdir, targets, result):
    """The files of the docstring; prints a line a target."""
    from tfstylegan import sampling
    from tfstylegan.latents import codes as codes_lib

    codes_lib.save(outdir / "latents.npz", result.codes)
    print(outdir / "latents.npz")
    wanted, found = sampling.to_uint8(targets), sampling.to_uint8(result.images)
    told = []
    for i, name in enumerate(result.codes.names):
        sampling.write_png(outdir / f"{name}_target.png", wanted[i])
        sampling.write_png(outdir / f"{name}_projected.png", found[i])
        psnr = projections.psnr(wanted[i], found[i])
        told.append(
            {"name": name, "distance": float(result.distances[i]), "psnr": psnr}
        )
        print(f"{name}: distance {result.distances[i]:.5f}, PSNR {psnr:.2f} dB")
    median = float(np.median([x["psnr"] for x in told]))
    print(f"median PSNR {median:.2f} dB of {len(told)}")
    content = {"targets": told, **result.codes.about}
    text = json.dumps(content, indent=1)
    sampling.write_atomically(outdir / "projection.json", text.encode())
    both = np.concatenate([wanted, found])
    sides = ["target", "projected"]
    pictures.write(
        outdir / "projection.png", both, len(wanted), result.codes.names, sides
    )


if __name__ == "__main__":
    pictures.define("Folder of the results.")
    pictures.define_layout()
    flags.DEFINE_list("targets", [], "Image files, or folders of them.")
    code_flags.define_codes(seeds="none")
    code_flags.define_labels()
    code_flags.define_truncation()
    projections.define()
    flags.DEFINE_bool("video", False, "Also NAME.mp4 of each target's progress.")
    cli.run(main)
