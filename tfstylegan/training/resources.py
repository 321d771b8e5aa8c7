"""What a run takes of its machine: memory, and power and energy of the GPUs."""

import json
import os
import pathlib
import resource

import tensorflow as tf
from absl import logging

from tfstylegan import sampling

ENERGY_FILE = "energy.json"
JOULES_A_KWH = 3.6e6


class Resources:
    """What a run in a workdir takes."""

    def __init__(self, workdir):
        self.meter = meter(workdir)

    def read(self):
        """{name: value} now."""
        return memory() | (self.meter.read() if self.meter else {})


def memory():
    """{name: GiB} of the peaks so far, of this process and of its fullest GPU."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    told = {"resources/peak_memory_gb": peak}
    gpus = tf.config.list_logical_devices("GPU")
    if gpus:
        names = [gpu.name.removeprefix("/device:") for gpu in gpus]
        peaks = [tf.config.experimental.get_memory_info(n)["peak"] for n in names]
        told["resources/peak_gpu_memory_gb"] = max(peaks) / 2**30
    return told


def meter(workdir):
    """A `Meter` of the GPUs that TensorFlow has; None without, or without NVML."""
    count = len(tf.config.list_physical_devices("GPU"))
    if not count:
        return None
    try:
        import pynvml
    except ImportError:
        logging.info("power and energy: not measured, nvidia-ml-py is not installed")
        return None
    try:
        pynvml.nvmlInit()
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        return Meter(workdir, pynvml, handles(pynvml, count, visible))
    except pynvml.NVMLError as error:
        logging.info("power and energy: not measured, NVML says: %s", error)
        return None


def handles(nvml, count, visible):
    """NVML's handles of the first `count` GPUs that CUDA shows.

    `visible` is CUDA_VISIBLE_DEVICES: numbers or UUIDs, or None. NVML's numbers are
    CUDA's with CUDA_DEVICE_ORDER=PCI_BUS_ID, or where all GPUs are alike.
    """
    names = visible.split(",") if visible else map(str, range(count))
    found = []
    for name in map(str.strip, names):
        by = nvml.nvmlDeviceGetHandleByIndex
        if not name.isdecimal():
            by = nvml.nvmlDeviceGetHandleByUUID
        found.append(by(int(name) if name.isdecimal() else name))
    return found[:count]


class Meter:
    """Power and energy of GPUs, everything on them included.

    The energy of a run is that of all its starts, repeated ticks too (StyleGAN2,
    appendix F); it stands in a file of the workdir.

    Args:
      workdir: folder of the run.
      nvml: the module `pynvml`, or what does the same.
      gpus: NVML's handles.
    """

    def __init__(self, workdir, nvml, gpus):
        self._file = pathlib.Path(workdir) / ENERGY_FILE
        self._nvml = nvml
        self._gpus = gpus
        self._kwh = 0.0
        if self._file.exists():
            self._kwh = json.loads(self._file.read_text())["gpu_energy_kwh"]
        self._joules = self._counted()

    def read(self):
        """{name: value} now; writes the energy to the file."""
        power = self._asked(self._nvml.nvmlDeviceGetPowerUsage)
        told = {} if power is None else {"resources/gpu_power_w": power}
        joules = self._counted()
        if joules is not None and self._joules is not None:
            # The counters start at 0 when the driver is loaded again.
            self._kwh += max(0.0, joules - self._joules) / JOULES_A_KWH
            text = json.dumps({"gpu_energy_kwh": self._kwh})
            try:
                sampling.write_atomically(self._file, text.encode())
            except OSError as error:  # as on a full disk; the next time it may fit
                logging.warning("%s was not written: %s", self._file, error.strerror)
            told["resources/gpu_energy_kwh"] = self._kwh
        self._joules = joules
        return told

    def _counted(self):
        """Joules since the driver was loaded, of all GPUs; None before Volta."""
        return self._asked(self._nvml.nvmlDeviceGetTotalEnergyConsumption)

    def _asked(self, function):
        """Sum of what a function tells in thousandths; None where it cannot be told."""
        try:
            return sum(function(gpu) for gpu in self._gpus) / 1000
        except self._nvml.NVMLError:
            return None
