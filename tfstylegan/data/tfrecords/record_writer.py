"""Writes datasets of TFRecord shards (`records`): parallel, resumable, all or nothing.

Everything is written into `.NAME.partial` beside the folder, shard by shard. A shard is
finished when its index file is there; the folder gets its name when all of it is. The
bytes are a function of the source and the settings, whatever the number of workers and
however often the work was broken off.
"""

import contextlib
import dataclasses
import fcntl
import functools
import hashlib
import json
import os
import pathlib
import shutil

from tfstylegan.data import parallel
from tfstylegan.data import recipe as recipe_lib
from tfstylegan.data.tfrecords import example, record_job, records, shard_file

SETTINGS = "settings.json"  # of the unfinished folder


def write(job: record_job.Job) -> dict:
    """Writes the dataset and returns its manifest.

    The same job again goes on where it was broken off, keeping the shards that are
    finished and unchanged; where all is done it only verifies.

    Raises ValueError where `record_job.Plan` does, for images that cannot be used
    (unless `skip_corrupt`) and where `outdir` or what is left of an earlier run has
    other settings; OSError where writing fails.
    """
    outdir = pathlib.Path(os.path.abspath(job.outdir))
    job = dataclasses.replace(job, outdir=outdir)
    _check_free(outdir)
    plan = record_job.Plan(job)
    if records.is_dataset(outdir):
        _check_same(outdir, records.read_manifest(outdir), plan.settings)
        records.verify(outdir)
        return records.read_manifest(outdir)
    with _partial_folder(outdir, plan.settings) as folder:
        _write_shards(job, plan, folder)
        manifest = _manifest(plan, folder)
        shard_file.write_whole(folder / records.MANIFEST, _json(manifest))
        (folder / SETTINGS).unlink(missing_ok=True)
        os.rename(folder, outdir)
    return manifest


def _check_free(outdir):
    if not outdir.exists() or records.is_dataset(outdir):
        return
    if not outdir.is_dir() or any(outdir.iterdir()):
        raise ValueError(f"outdir must be new or empty; {outdir} is not")


def _check_same(folder, there, settings):
    other = [key for key in settings if there.get(key) != settings[key]]
    if other:
        raise ValueError(
            f"{folder} was made with other settings ({', '.join(other)}): remove it or "
            "give another outdir"
        )


@contextlib.contextmanager
def _partial_folder(outdir, settings):
    """The unfinished folder, locked against other processes."""
    folder = outdir.with_name(f".{outdir.name}.partial")
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, lock)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(f"another process is writing {outdir}") from None
            stack.callback(_remove_useless, folder)
            _begin(folder, settings)
            yield folder
        except OSError as error:
            reason = error.strerror or error
            raise OSError(
                f"writing {outdir} failed: {reason}; finished shards are kept, the "
                "same command goes on from there"
            ) from error


def _begin(folder, settings):
    for file in folder.glob(f"*{shard_file.PARTIAL}"):
        file.unlink()
    for name in (SETTINGS, records.MANIFEST):
        if (folder / name).exists():
            _check_same(folder, json.loads((folder / name).read_text()), settings)
            return
    shard_file.write_whole(folder / SETTINGS, _json(settings))


def _remove_useless(folder):
    """Removes the unfinished folder where no shard of it is finished."""
    if not any(folder.glob("*-of-*.json")):
        shutil.rmtree(folder, ignore_errors=True)


def _write_shards(job, plan, folder):
    """Writes those that are not finished; ValueError for images that are broken."""
    todo, skipped = {}, []
    for name, indices in plan.shards.items():
        done = shard_file.is_finished(folder / name)
        if done and not job.skip_corrupt:  # images that an earlier run left out
            done = not shard_file.about(folder / name)["skipped"]
        if not done:
            todo[name] = indices
    indices = [index for shard in todo.values() for index in shard]
    with parallel.ordered_map(
        functools.partial(_prepare, plan.recipe),
        indices,
        setup=job.open_source,
        workers=job.workers,
        title="writing",
    ) as results:
        for name in todo:
            skipped += _write_shard(job, plan, folder / name, todo[name], results)
    if skipped and not job.skip_corrupt:
        name, reason = skipped[0]
        raise ValueError(
            f"{len(skipped)} of {len(plan.order)} images cannot be used, the first is "
            f"{name} ({reason}); repair or remove them, or leave them out with "
            "--skip_corrupt"
        )


def _write_shard(job, plan, path, indices, results):
    """Writes one shard, unless an image is broken and may not be; returns these."""
    with shard_file.ShardFile(path) as shard:
        for index, result in zip(indices, results):
            name = plan.names[index]
            if isinstance(result, str):
                shard.skip(name, result)
            else:
                shard.add(example.Example(result, name, plan.labels[index]))
        if job.skip_corrupt or not shard.skipped:
            shard.finish()
        return shard.skipped


def _prepare(recipe, source, index):
    """The encoded image, or the reason why there is none."""
    try:
        return recipe_lib.prepare(source.read(index), recipe)
    except (ValueError, OSError) as error:
        return str(error)


def _manifest(plan, folder):
    """The settings and what came of them."""
    listed, skipped = [], []
    for name in plan.shards:
        about = shard_file.about(folder / name)
        skipped += about["skipped"]
        listed.append(
            {
                "name": name,
                "images": len(about["names"]),
                "bytes": about["bytes"],
                "sha256": about["sha256"],
                "index_sha256": records.file_sha256(folder / records.index_name(name)),
            }
        )
    images = sum(shard["images"] for shard in listed)
    if not images:
        name, reason = skipped[0]
        raise ValueError(f"no image can be used, the first is {name} ({reason})")
    content = hashlib.sha256("".join(shard["sha256"] for shard in listed).encode())
    return {
        **plan.settings,
        "images": images,
        "skipped": skipped,
        "sha256": content.hexdigest(),
        "shards": listed,
    }


def _json(content):
    return json.dumps(content, indent=1) + "\n"
