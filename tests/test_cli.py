"""How commands start and fail: flags, configuration files and damaged models."""

import json
import shutil

import pytest
import tensorflow as tf
from test_commands import contents, fails, run

from tfstylegan import checkpoints, cli, evaluate
from tfstylegan import config as config_lib
from tfstylegan.networks import build, storage
from tfstylegan.ops import library


def test_config_file_as_an_argument_of_its_own(tmp_path):
    preset = ("--config", "configs/yardstick32.py")
    result = run("train", *preset, "--dry_run", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    expected = run("train", "--config=configs/yardstick32.py", "--dry_run")
    assert result.stdout == expected.stdout != run("train", "--dry_run").stdout
    fails(run("train", "--config", "nowhere.py", cwd=tmp_path), "nowhere.py")
    fails(run("train", "--config"), "--config")
    fails(run("train", "--config="), "''")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def get_config():\n    pass\n", "got NoneType"),
        ("def get_config():\n    return {}\n", "got dict"),
        ("x = 1\ndef get_config(:\n", "line 2: SyntaxError"),
        ("x = 1\n", "get_config"),
        ("def get_config():\n    return x\n", "line 2: NameError: name 'x'"),
        ("raise ValueError('several\\nlines')\n", "line 1: ValueError: several"),
        ("raise ValueError\n", "line 1: ValueError"),
        ("raise OSError(5, 'broken')\n", "OSError: broken"),
    ],
)
def test_config_file_that_does_not_work_is_named(tmp_path, text, message):
    (tmp_path / "mine.py").write_text(text)
    fails(run("train", "--config=mine.py", cwd=tmp_path), "mine.py", message)
    assert list(contents(tmp_path)) == ["mine.py"]


@pytest.mark.parametrize("module", ["train", "evaluate", "generate", "export"])
def test_unexpected_argument(module, tmp_path):
    needed = {"train": [], "evaluate": ["--model=x"]}
    flags = needed.get(module, ["--model=x", f"--outdir={tmp_path / 'out'}"])
    fails(run(module, *flags, "extra"), "unexpected argument 'extra'")
    assert not contents(tmp_path)


def test_unexpected_argument_hints():
    for argument, flag in (("mine.py", "--config=mine.py"), ("workdir=w", "--workdir")):
        fails(run("train", argument), argument, f"did you mean {flag}")
    message = fails(run("evaluate", "--model=x", "mine.py"), "'mine.py'")
    assert "--config" not in message


@pytest.mark.parametrize("module", ["train", "tools/bench_training.py"])
def test_short_help_lists_the_configuration(module):
    assert "--config: " in run(module, "--helpshort").stdout


@pytest.mark.parametrize("module", ["evaluate", "generate", "export"])
def test_short_help_lists_the_model(module):
    assert "--model: " in run(module, "--helpshort").stdout


def test_unknown_choice_of_ops():
    fails(run("train", "--dry_run", TFSTYLEGAN_OPS="foo"), "TFSTYLEGAN_OPS", "'foo'")
    assert cli.OPS == library._CHOICES


def test_benchmark_of_ops_checks_its_flags():
    fails(run("tools/bench_ops.py", "--resolutions=8,9"), "powers of 2", "'9'")
    fails(run("tools/bench_ops.py", "--resolutions="), "at least one")
    fails(run("tools/bench_ops.py", "--batch=0"), "batch", "0")
    fails(run("tools/bench_ops.py", "--dtype=int8"), "dtype", "int8")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError("no file name"), "no file name"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (FileNotFoundError(2, "No such file", "a.txt"), "a.txt: No such file"),
        (ValueError(), "ValueError"),
        (ValueError("\nfirst\nsecond"), "first"),
    ],
)
def test_one_sentence_of_an_error(error, line):
    with pytest.raises(SystemExit) as ended, cli.one_sentence():
        raise error
    assert ended.value.code == f"error: {line}"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A model directory and a run's workdir of the same small networks."""
    config = config_lib.Config()
    config.data.resolution = 8
    config.generator.fmap_max = config.discriminator.fmap_max = 4
    config.generator.z_dim = config.generator.w_dim = 4
    config.generator.mapping_layers = 1
    names = {"G": "g", "D": "d", "G_ema": "g_ema"}
    networks = {
        "G": build.build_generator(config.validate(), 0),
        "D": build.build_discriminator(config, 0),
        "G_ema": build.build_generator(config, 0),
    }
    path = tmp_path_factory.mktemp("models")
    networks = storage.Networks(**networks, config=config)
    storage.save_networks(path / "directory", networks)
    (path / "run").mkdir()
    (path / "run" / "config.json").write_text(config.to_json())
    (path / "run" / "data.json").write_text('{"label_dim": 0}')
    fields = {
        field: storage.variables_by_path(getattr(networks, name))
        for name, field in names.items()
    }
    cur_nimg = tf.Variable(0, dtype=tf.int64)
    checkpoint = tf.train.Checkpoint(cur_nimg=cur_nimg, **fields)
    checkpoints.write(checkpoint, path / "run" / "checkpoints", 0, keep=1)
    return path


@pytest.mark.parametrize("damage", ["empty", "half", "middle"])
@pytest.mark.parametrize(
    ("model", "file"),
    [
        ("directory", "G_ema.keras"),
        ("directory", "config.json"),
        ("run", "checkpoints/*.index"),
        ("run", "checkpoints/*.data*"),
        ("run", "checkpoints/*.json"),
        ("run", "data.json"),
    ],
)
def test_damaged_model_is_named(models, tmp_path, model, file, damage):
    path = tmp_path / "model"
    shutil.copytree(models / model, path)
    cli.load_model(path)  # the copy works
    (file,) = path.glob(file)
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    if damage == "middle":
        content[middle : middle + 200] = bytes(
            255 - x for x in content[middle : middle + 200]
        )
    else:
        del content[middle if damage == "half" else 0 :]
    file.write_bytes(content)
    with pytest.raises(ValueError, match=str(path)):
        cli.load_model(path)


def test_model_without_averaged_generator(models, tmp_path):
    path = tmp_path / "model"
    shutil.copytree(models / "directory", path)
    (path / "G_ema.keras").unlink()
    with pytest.raises(ValueError, match=f"{path} has no G_ema"):
        cli.load_model(path)


def test_damaged_model_ends_a_command_in_one_sentence(models, tmp_path):
    path = tmp_path / "model"
    shutil.copytree(models / "directory", path)
    (path / "G_ema.keras").write_bytes(b"")
    result = run("generate", f"--model={path}", f"--outdir={tmp_path / 'out'}")
    fails(result, path, "cannot be read")
    assert not (tmp_path / "out").exists()


def test_evaluate_shows_results_that_it_cannot_store(tmp_path, capsys):
    result = {"network": "trained", "model": "M", "metric": "m", "num_fake": 4}
    result |= {"value": 1.5, "values": {"m": 1.5}}
    occupied = tmp_path / "metrics.jsonl"
    occupied.mkdir()
    evaluate.report([result], occupied)
    output, errors = capsys.readouterr()
    assert json.loads(output.splitlines()[-1]) == result
    assert errors.startswith("warning: ")
    assert str(occupied) in errors
    assert len(errors.splitlines()) == 1


def test_evaluate_keeps_what_came_before_an_error(tmp_path, capsys):
    def results():
        yield {"network": "trained", "model": "M", "num_fake": 4, "values": {"m": 1.5}}
        assert len(file.read_text().splitlines()) == 1
        raise ValueError("a file is not the right one")

    file = tmp_path / "metrics.jsonl"
    with pytest.raises(ValueError, match="not the right one"):
        evaluate.report(results(), file)
    (line,) = file.read_text().splitlines()
    assert json.loads(line)["values"] == {"m": 1.5}
    assert capsys.readouterr().out.splitlines()[-1] == line


def test_evaluate_without_metrics():
    fails(run("evaluate", "--model=x", "--metrics="), "--metrics")
    fails(run("evaluate", "--model="), "--model must name one")


def test_evaluate_with_a_psi_that_is_no_number():
    for psi in ("nan", "-inf"):
        flag = f"--truncation_psi={psi}"
        fails(run("evaluate", "--model=x", flag), "--truncation_psi", psi)


def test_unknown_switch_names_the_nearest():
    result = run("train", "--noconfig.data.mirro", "--dry_run")
    fails(result, "'mirro'", "'mirror'")
