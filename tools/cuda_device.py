"""PyTorch as allocator, timer and float64 arithmetic of the CUDA benchmark."""

import statistics

import torch

SETTLING = 5  # launches before those that are timed


class Arrays:
    """What the cases need to know of PyTorch."""

    def normal(self, shape, dtype):
        values = torch.randn(tuple(shape), dtype=torch.float32, device="cuda")
        return values.to(getattr(torch, dtype))

    def poison(self, shape, dtype):
        """What a kernel does not write shows as NaN."""
        dtype = getattr(torch, dtype)
        return torch.full(tuple(shape), float("nan"), dtype=dtype, device="cuda")

    def wide(self, array):
        return array.double()


def scratch(size):
    return torch.empty(size, dtype=torch.uint8, device="cuda")


def stream():
    return torch.cuda.current_stream().cuda_stream


def arch():
    major, minor = torch.cuda.get_device_capability()
    return f"{major}{minor}"


def describe():
    return f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}"


def is_there():
    return torch.cuda.is_available()


def same_bits(a, b):
    return torch.equal(a.view(torch.uint8), b.view(torch.uint8))


def empty_cache():
    torch.cuda.empty_cache()


def synchronize():
    torch.cuda.synchronize()


def seconds_of(launch, launches):
    """Median of a launch, by CUDA's events."""
    for _ in range(SETTLING):
        launch()
    times = []
    for _ in range(launches):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        launch()
        end.record()
        end.synchronize()
        times.append(1e-3 * begin.elapsed_time(end))
    return statistics.median(times)


def copy_bandwidth(launches):
    """Bytes a second of a device-to-device copy, read and written."""
    source = torch.randn(1 << 28, device="cuda")  # 1 GiB
    target = torch.empty_like(source)
    return 2 * source.nbytes / seconds_of(lambda: target.copy_(source), launches)
