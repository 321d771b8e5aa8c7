// Geometry and filter plan of upfirdn2d (README.md: the op's contract).

#ifndef TFSTYLEGAN_CUSTOM_OPS_UPFIRDN2D_H_
#define TFSTYLEGAN_CUSTOM_OPS_UPFIRDN2D_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace tfstylegan {

// Division that rounds down, for b > 0.
inline int64_t FloorDiv(int64_t a, int64_t b) {
  return a >= 0 ? a / b : -((-a + b - 1) / b);
}

// One axis: output o reads up(x)[o * down + k - pad0], k = 0 .. taps - 1, where only
// every up-th sample of up(x) is not zero.
struct Axis {
  int64_t in = 0;
  int64_t out = 0;
  int64_t up = 1;
  int64_t down = 1;
  int64_t pad0 = 0;
  int64_t taps = 1;

  // First tap that meets a sample, in [0, up). The next are this + up, + 2 * up, ...
  int64_t FirstTap(int64_t o) const {
    const int64_t base = o * down - pad0;
    return FloorDiv(base + up - 1, up) * up - base;
  }
  // The sample that the first tap meets; the next taps meet the next samples. May be
  // outside of [0, in).
  int64_t FirstSample(int64_t o) const {
    return FloorDiv(o * down - pad0 + up - 1, up);
  }
  // One past the last sample that output o can read.
  int64_t EndSample(int64_t o) const {
    return FloorDiv(o * down - pad0 + taps - 1, up) + 1;
  }
};

struct Geometry {
  int64_t batch = 0;
  int64_t channels = 0;
  Axis y, x;
};

// Taps of one axis by phase: phase[p] = {t[p], t[p + up], ...}.
template <typename Acc>
using Phases = std::vector<std::vector<Acc>>;

template <typename Acc>
Phases<Acc> MakePhases(const double* taps, int64_t count, int64_t up) {
  Phases<Acc> phases(up);
  for (int64_t k = 0; k < count; ++k) {
    phases[k % up].push_back(static_cast<Acc>(taps[k]));
  }
  return phases;
}

// A separable kernel has one x filter and combines rows with the y filter first;
// another one has an x filter for each of its rows.
template <typename Acc>
struct FilterPlan {
  bool separable = false;
  Phases<Acc> y;
  std::vector<Phases<Acc>> x;

  // taps: [y.taps, x.taps], row-major.
  FilterPlan(const double* taps, const Axis& ay, const Axis& ax) {
    int64_t pivot = 0;
    for (int64_t i = 1; i < ay.taps * ax.taps; ++i) {
      if (std::abs(taps[i]) > std::abs(taps[pivot])) pivot = i;
    }
    // taps = column * row / top; the root shares the scale between both, exactly so
    // for the square of a vector.
    const double top = taps[pivot] == 0 ? 1.0 : taps[pivot];
    const double root = std::sqrt(std::abs(top));
    std::vector<double> column(ay.taps), row(ax.taps);
    for (int64_t i = 0; i < ay.taps; ++i) {
      column[i] = taps[i * ax.taps + pivot % ax.taps] / root;
    }
    for (int64_t j = 0; j < ax.taps; ++j) {
      row[j] = taps[pivot / ax.taps * ax.taps + j] / (top / root);
    }
    separable = true;
    for (int64_t i = 0; i < ay.taps; ++i) {
      for (int64_t j = 0; j < ax.taps; ++j) {
        const double error = std::abs(column[i] * row[j] - taps[i * ax.taps + j]);
        if (!(error <= 1e-13 * std::abs(top))) separable = false;
      }
    }
    if (separable) {
      y = MakePhases<Acc>(column.data(), ay.taps, ay.up);
      x.push_back(MakePhases<Acc>(row.data(), ax.taps, ax.up));
    } else {
      for (int64_t i = 0; i < ay.taps; ++i) {
        x.push_back(MakePhases<Acc>(taps + i * ax.taps, ax.taps, ax.up));
      }
    }
  }
};

}  // namespace tfstylegan

#endif  // TFSTYLEGAN_CUSTOM_OPS_UPFIRDN2D_H_
