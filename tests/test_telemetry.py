"""Where time goes, what a run takes, and traces: against clocks of our own."""

import json
import sys

import pytest
import tensorflow as tf

from tfstylegan.training import profiling, resources, telemetry


class Clock:
    """Stands for `time.perf_counter`; and for devices that are busy for a while."""

    def __init__(self, monkeypatch):
        self.now, self.busy, self.waits = 100.0, 0.0, 0
        monkeypatch.setattr(telemetry.time, "perf_counter", lambda: self.now)

    def work(self, seconds, queued=0.0):
        self.now += seconds
        self.busy += queued

    def wait(self):
        self.now += self.busy
        self.busy, self.waits = 0.0, self.waits + 1


def test_parts_of_a_tick_add_up_to_one(monkeypatch):
    time = Clock(monkeypatch)
    clock = telemetry.Clock()
    for left in (4, 3, 2, 1):
        clock.step(left)
        time.work(0.25)  # the loop
        with clock.part("data_wait"):
            time.work(0.5)
        with clock.part("g_main", traces=left == 4):
            time.work(1.25 + 10 * (left == 4))
    told = clock.read(images=1000)
    seconds = 4 * 2 + 10
    assert told["timing/sec_per_tick"] == told["timing/sec_per_kimg"] == seconds
    assert told["timing/images_per_sec"] == pytest.approx(1000 / seconds)
    assert told["timing/retrace"] == clock.retrace == 11.25
    measured = seconds - 11.25
    assert told["timing/data_wait"] == pytest.approx(2 / measured)
    assert told["timing/g_main"] == pytest.approx(3 * 1.25 / measured)
    assert told["timing/loop"] == pytest.approx(1 / measured)


def test_devices_are_waited_for_in_the_last_steps_only(monkeypatch):
    time = Clock(monkeypatch)
    clock = telemetry.Clock(time.wait)
    for left in range(100, 0, -1):
        clock.step(left)
        with clock.part("g_main"):
            time.work(0.01, queued=3.0)
        with clock.part("d_main"):
            time.work(0.01, queued=1.0)
        if left > telemetry.WAITING_STEPS:
            assert not time.waits
            time.busy = min(time.busy, 2.0)  # it works while the program is ahead
    assert time.waits == 3 * telemetry.WAITING_STEPS
    told = clock.read(images=3200)
    assert told["timing/g_main"] == pytest.approx(3.01 / 4.02)
    assert told["timing/d_main"] == pytest.approx(1.01 / 4.02)
    assert told["timing/loop"] == pytest.approx(0, abs=1e-9)


def test_a_tick_that_only_traces_has_no_parts(monkeypatch):
    time = Clock(monkeypatch)
    clock = telemetry.Clock()
    clock.step(1)
    with clock.part("g_main", traces=True):
        time.work(2.0)
    told = clock.read(images=4)
    assert told["timing/retrace"] == 2 and "timing/g_main" not in told


def test_chores_are_told_once_also_where_they_fail(monkeypatch):
    time = Clock(monkeypatch)
    chores = telemetry.Chores()
    for seconds in (1.0, 2.0):
        with pytest.raises(OSError), chores.part("checkpoint"):
            time.work(seconds)
            raise OSError
    assert chores.read() == {"timing/checkpoint": 3.0}
    assert chores.read() == {}


class Nvml:
    """What of pynvml is asked, with two GPUs."""

    class NVMLError(Exception):
        """As NVML's."""

    def __init__(self):
        self.power, self.energy = [200_000, 100_000], [5_000_000, 1_000_000]
        self.counts = True

    def nvmlDeviceGetHandleByIndex(self, index):
        if not 0 <= index < 2:
            raise self.NVMLError(f"no GPU {index}")
        return index

    def nvmlDeviceGetHandleByUUID(self, name):
        return {"GPU-a": 0, "GPU-b": 1}[name]

    def nvmlDeviceGetPowerUsage(self, gpu):
        return self.power[gpu]

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu):
        if not self.counts:
            raise self.NVMLError("Not Supported")
        return self.energy[gpu]


def test_energy_adds_up_over_the_starts_of_a_run(tmp_path):
    nvml = Nvml()
    meter = resources.Meter(tmp_path, nvml, [0, 1])
    nvml.energy = [5_000_000 + 3_600_000_000, 1_000_000 + 1_800_000_000]  # mJ
    told = meter.read()
    assert told["resources/gpu_power_w"] == 300
    assert told["resources/gpu_energy_kwh"] == pytest.approx(1.5)
    nvml.energy[0] += 3_600_000_000  # while the run is down: not its own
    again = resources.Meter(tmp_path, nvml, [0, 1])
    nvml.energy[1] += 3_600_000_000
    assert again.read()["resources/gpu_energy_kwh"] == pytest.approx(2.5)
    nvml.energy = [0, 0]  # the driver was loaded again
    assert again.read()["resources/gpu_energy_kwh"] == pytest.approx(2.5)
    nvml.energy = [0, 360_000_000]
    assert again.read()["resources/gpu_energy_kwh"] == pytest.approx(2.6)
    assert json.loads((tmp_path / resources.ENERGY_FILE).read_text()) == {
        "gpu_energy_kwh": pytest.approx(2.6)
    }


def test_gpus_without_a_counter_have_their_power_only(tmp_path):
    nvml = Nvml()
    nvml.counts = False
    told = resources.Meter(tmp_path, nvml, [1]).read()
    assert told == {"resources/gpu_power_w": 100}
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "visible, count, expected",
    [(None, 2, [0, 1]), ("", 1, [0]), ("1", 1, [1]), ("GPU-b, 0", 2, [1, 0])],
)
def test_the_gpus_are_those_that_cuda_shows(visible, count, expected):
    assert resources.handles(Nvml(), count, visible) == expected


def test_without_a_gpu_memory_is_the_hosts(tmp_path):
    told = resources.Resources(tmp_path).read()
    if not tf.config.list_physical_devices("GPU"):
        assert list(told) == ["resources/peak_memory_gb"]
    assert 0.1 < told["resources/peak_memory_gb"] < 1000


def test_nvml_is_asked_where_there_is_a_gpu(tmp_path, monkeypatch):
    nvml = Nvml()
    nvml.nvmlInit = lambda: None
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    meter = resources.meter(tmp_path)
    assert meter.read()["resources/gpu_power_w"] == 100
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert resources.meter(tmp_path) is None  # NVML says why
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert resources.meter(tmp_path) is None


def test_profiler_traces_the_first_steps_of_its_ticks(tmp_path, monkeypatch):
    monkeypatch.setattr(profiling, "STEPS", 2)
    profiler = profiling.Profiler(tmp_path, (2,))
    ops = {}
    for tick in (1, 2, 3):
        with profiler.tick(tick):
            for step in range(4):
                with profiler.step(step):
                    tf.add(1, step).numpy()
        ops[tick] = len(list(tmp_path.rglob("*.xplane.pb")))
    assert ops == {1: 0, 2: 1, 3: 1}
    (trace,) = tmp_path.rglob("*.xplane.pb")
    assert "plugins/profile" in str(trace) and trace.stat().st_size > 100
    with pytest.raises(KeyboardInterrupt), profiler.tick(2):
        raise KeyboardInterrupt  # the trace ends all the same: another can begin
    with profiler.tick(2), profiler.step(0):
        pass
