"""The best models of a run: kept, ranked, and whole whatever ends the process."""

import pytest
from test_loop import tiny_config
from test_transfer import networks, same

from tfstylegan.networks import storage
from tfstylegan.training import best


@pytest.fixture(scope="module")
def made():
    """Networks that differ, to be the state of different ticks."""
    return [networks(tiny_config(), seed=seed) for seed in range(4)]


@pytest.fixture
def quick(monkeypatch):
    """Model directories of one small file: what is written counts, not how."""

    def save(path, networks):
        path.mkdir(parents=True)
        (path / "G.keras").write_text(str(networks))

    monkeypatch.setattr(best.storage, "save_networks", save)


def keeper(path, keep=1, now="networks"):
    return best.Best(path, lambda: now, keep=keep)


def kept(path):
    """{link target, {folder: content}}."""
    folders = {f.name: (f / "G.keras").read_text() for f in path.glob("best-*")}
    link = path / best.LINK
    return (link.readlink().name if link.is_symlink() else None), folders


def test_the_best_model_is_one_that_can_be_loaded(made, tmp_path):
    now = []
    keep = best.Best(tmp_path, lambda: now[-1], keep=1)
    values = [5.0, 3.0, 4.0]
    offered = []
    for number, value in enumerate(values):
        now.append(made[number])
        offered.append(keep.offer("fid", value, 1000 * (number + 1)))
    assert offered == [True, True, False]
    loaded = storage.load_networks(tmp_path / "best")
    assert same(loaded.G_ema, made[1].G_ema) and same(loaded.D, made[1].D)
    assert [f.name for f in tmp_path.glob("best-*")] == ["best-000002"]
    entry = {"metric": "fid", "value": 3.0, "cur_nimg": 2000}
    assert keep.entries("fid") == [entry]


def test_so_many_are_kept_and_the_link_leads_to_the_best(quick, tmp_path):
    for cur_nimg, value in [(1000, 5), (2000, 3), (2512, 4), (4000, 9), (5000, 3)]:
        keeper(tmp_path, 3, f"at {cur_nimg}").offer("fid", value, cur_nimg)
    assert kept(tmp_path) == (
        "best-000002",  # of equals the first
        {
            "best-000002": "at 2000",
            "best-000002_512": "at 2512",
            "best-000005": "at 5000",
        },
    )
    keeper(tmp_path, 1, "at 6000").offer("fid", 1, 6000)
    assert kept(tmp_path) == ("best-000006", {"best-000006": "at 6000"})
    keeper(tmp_path).clear()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "keep, value, cur_nimg",
    [(0, 1.0, 1000), (1, float("nan"), 1000), (1, 1.0, 0), (1, float("inf"), 1000)],
)
def test_what_is_not_kept(quick, tmp_path, keep, value, cur_nimg):
    assert not keeper(tmp_path, keep).offer("fid", value, cur_nimg)
    assert not list(tmp_path.iterdir())


def test_of_some_metrics_the_greatest_value_is_the_best(quick, tmp_path):
    for cur_nimg, value in [(1000, 0.5), (2000, 0.7), (3000, 0.6)]:
        keep = best.Best(tmp_path, lambda n=cur_nimg: f"at {n}", keep=1, most=True)
        keep.offer("pr50k3", value, cur_nimg)
    assert kept(tmp_path) == ("best-000002", {"best-000002": "at 2000"})


def test_the_same_place_is_measured_anew_and_another_metric_does_not_compare(
    quick, tmp_path
):
    keeper(tmp_path, 1, "first").offer("fid", 1.0, 1000)
    keeper(tmp_path, 1, "again").offer("fid", 2.0, 1000)  # the run has repeated it
    assert kept(tmp_path) == ("best-000001", {"best-000001": "again"})
    keeper(tmp_path, 1, "other").offer("kid", 7.0, 2000)
    assert kept(tmp_path) == ("best-000002", {"best-000002": "other"})


def test_a_kill_between_any_two_changes_loses_nothing(quick, tmp_path, monkeypatch):
    """The same offer afterwards, as of a run that repeats it, ends as undisturbed."""
    calls = [
        (best.pathlib.Path, "replace"),
        (best.pathlib.Path, "unlink"),
        (best.pathlib.Path, "symlink_to"),
        (best.os, "replace"),
        (best.shutil, "rmtree"),
    ]

    def offers(path):
        keeper(path, 1, "second").offer("fid", 3.0, 2000)

    ended = None
    for step in range(20):
        path = tmp_path / str(step)
        path.mkdir()
        keeper(path, 1, "first").offer("fid", 5.0, 1000)
        left = [step]

        def dying(original, left=left):
            def change(*args, **kwargs):
                if not left[0]:
                    raise KeyboardInterrupt
                left[0] -= 1
                return original(*args, **kwargs)

            return change

        with monkeypatch.context() as patch:
            for owner, name in calls:
                patch.setattr(owner, name, dying(getattr(owner, name)))
            try:
                offers(path)
                ended = step
            except KeyboardInterrupt:
                pass
        link, folders = kept(path)
        assert link in folders  # at no moment does it lead nowhere
        offers(path)
        assert kept(path) == ("best-000002", {"best-000002": "second"})
        assert sorted(f.name for f in path.iterdir()) == ["best", "best-000002"]
        if ended is not None:
            break
    assert ended > 4
