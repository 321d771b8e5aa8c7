// upfirdn2d with separable kernels of 4 x 4 taps that blur, or change the size by 2.
//
// Two output rows at a time. A vector of channels walks along the columns: each step
// loads the next column of the input rows that both output rows share, combines them
// with the y taps, and keeps the last columns of the result in registers for the x
// taps. Each input is loaded from the cache once per two output rows; nothing is stored
// but the output.

#ifndef TFSTYLEGAN_CUSTOM_OPS_UPFIRDN2D_4TAP_H_
#define TFSTYLEGAN_CUSTOM_OPS_UPFIRDN2D_4TAP_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "upfirdn2d.h"
#include "vectors.h"

namespace tfstylegan {

constexpr int kRows = 2;  // output rows of a block

// An axis in steps: a step makes kUp outputs from kTerms samples, of which the last
// kDown are new. Output j of a step meets its sample m with tap
// kUp - 1 - j + kUp * m.
template <int kUp, int kDown>
struct Steps {
  static constexpr int kTerms = 4 / kUp;
  // Samples that kRows outputs read.
  static constexpr int kSpan = kTerms + (kRows / kUp - 1) * kDown;

  int64_t origin;  // first output of step 0: 0, or -1, which is not stored
  int64_t first;   // first sample of step 0
  int64_t count;

  explicit Steps(const Axis& axis) {
    origin = kUp == 1 || FloorDiv(axis.pad0, 2) * 2 != axis.pad0 ? 0 : -1;
    first = axis.FirstSample(origin);
    count = (axis.out - origin + kUp - 1) / kUp;
  }
};

template <typename T, typename Acc>
struct FourTap {
  Geometry g;
  Acc y[4], x[4];  // taps
  const T* zeros;  // [W, C], an input row outside of the image
  const T* in;
  T* out;

  FourTap(const Geometry& g, const FilterPlan<Acc>& plan, const T* zeros, const T* in,
          T* out)
      : g(g), zeros(zeros), in(in), out(out) {
    for (int k = 0; k < 4; ++k) {
      y[k] = plan.y[k % g.y.up][k / g.y.up];
      x[k] = plan.x[0][k % g.x.up][k / g.x.up];
    }
  }

  int64_t BlocksOfImage() const {
    return g.y.up == 2 ? Steps<2, 1>(g.y).count : (g.y.out + kRows - 1) / kRows;
  }
};

// The columns of one block for kVectors * kLanes channels from `c` on.
template <int kUp, int kDown, int kVectors, typename T, typename Acc>
TFSTYLEGAN_INLINE void Walk(const FourTap<T, Acc>& f, const T* const* rows,
                            T* const* out, int64_t c) {
  using V = typename Vector<Acc>::Type;
  using S = Steps<kUp, kDown>;
  constexpr int64_t kLanes = Vector<Acc>::kLanes;
  constexpr int kNew = kRows / kUp * kDown;  // input rows from a block to the next
  const S steps(f.g.x);
  const int64_t channels = f.g.channels, width = f.g.x.in, out_width = f.g.x.out;
  const int64_t row = width * channels;
  V window[S::kTerms][kRows][kVectors] = {};
  const Acc y[4] = {f.y[0], f.y[1], f.y[2], f.y[3]};
  const Acc x[4] = {f.x[0], f.x[1], f.x[2], f.x[3]};
  // The first steps only fill the window.
  for (int64_t s = (kDown - S::kTerms) / kDown; s < steps.count; ++s) {
    for (int t = 0; t + kDown < S::kTerms; ++t) {
      for (int r = 0; r < kRows; ++r) {
        for (int v = 0; v < kVectors; ++v) window[t][r][v] = window[t + kDown][r][v];
      }
    }
#pragma GCC unroll 2
    for (int d = 0; d < kDown; ++d) {
      const int64_t column = steps.first + s * kDown + S::kTerms - kDown + d;
      auto& fresh = window[S::kTerms - kDown + d];
      for (int r = 0; r < kRows; ++r) {
        for (int v = 0; v < kVectors; ++v) fresh[r][v] = V{};
      }
      if (column < 0 || column >= width) continue;
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        V input[S::kSpan];
#pragma GCC unroll 8
        for (int m = 0; m < S::kSpan; ++m) {
          const T* from = rows[m] + column * channels + c + v * kLanes;
          // What the next block adds; the stride of a walk hides it from the hardware.
          if (m >= S::kSpan - kNew) __builtin_prefetch(from + kNew * row, 0, 2);
          input[m] = Load<Acc>(from);
        }
#pragma GCC unroll 2
        for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
          for (int m = 0; m < S::kTerms; ++m) {
            fresh[r][v] += y[kUp - 1 - r % kUp + kUp * m] * input[r / kUp * kDown + m];
          }
        }
      }
    }
#pragma GCC unroll 2
    for (int j = 0; j < kUp; ++j) {
      const int64_t column = steps.origin + s * kUp + j;
      if (s < 0 || column < 0 || column >= out_width) continue;
#pragma GCC unroll 2
      for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) {
          V sum = x[kUp - 1 - j] * window[0][r][v];
#pragma GCC unroll 4
          for (int m = 1; m < S::kTerms; ++m) {
            sum += x[kUp - 1 - j + kUp * m] * window[m][r][v];
          }
          Store<T>(sum, out[r] + column * channels + c + v * kLanes);
        }
      }
    }
  }
}

// Blocks [b0, b1) of all images. C must be at least kLanes.
template <int kUp, int kDown, typename T, typename Acc>
TFSTYLEGAN_INLINE void FourTapBlocks(const FourTap<T, Acc>& f, int64_t b0, int64_t b1) {
  using S = Steps<kUp, kDown>;
  constexpr int64_t kLanes = Vector<Acc>::kLanes;
  const Geometry& g = f.g;
  const S steps(g.y);
  const int64_t blocks = f.BlocksOfImage();
  const int64_t in_row = g.x.in * g.channels, out_row = g.x.out * g.channels;
  std::vector<T> unused(out_row);  // takes an output row outside of the image
  for (int64_t b = b0; b < b1; ++b) {
    const int64_t n = b / blocks, block = b % blocks;
    const T* rows[S::kSpan];
    T* out[kRows];
    for (int m = 0; m < S::kSpan; ++m) {
      const int64_t row = steps.first + block * (kRows / kUp) * kDown + m;
      const bool inside = row >= 0 && row < g.y.in;
      rows[m] = inside ? f.in + (n * g.y.in + row) * in_row : f.zeros;
    }
    for (int r = 0; r < kRows; ++r) {
      const int64_t row = steps.origin + block * kRows + r;
      const bool inside = row >= 0 && row < g.y.out;
      out[r] = inside ? f.out + (n * g.y.out + row) * out_row : unused.data();
    }
    int64_t c = 0;
    for (; c + 2 * kLanes <= g.channels; c += 2 * kLanes) {
      Walk<kUp, kDown, 2>(f, rows, out, c);
    }
    for (; c < g.channels; c += kLanes) {  // the last vector may overlap the one before
      Walk<kUp, kDown, 1>(f, rows, out, std::min(c, g.channels - kLanes));
    }
  }
}

// Whether the kernel above is for this geometry and type.
template <typename Acc>
bool IsFourTap(const Geometry& g, const FilterPlan<Acc>& plan) {
  return plan.separable && g.y.taps == 4 && g.x.taps == 4 && g.y.up == g.x.up &&
         g.y.down == g.x.down && g.y.up * g.y.down <= 2 &&
         g.channels >= Vector<Acc>::kLanes;
}

}  // namespace tfstylegan

#endif  // TFSTYLEGAN_CUSTOM_OPS_UPFIRDN2D_4TAP_H_
