// upfirdn2d of any kernel, factors and channels.
//
// Every output row is computed by itself, in pieces of columns that stay in the first
// cache: combine input rows with the y taps (contiguous over W * C), then combine
// columns of the result with the x taps (contiguous over C).

#ifndef TFSTYLEGAN_CUSTOM_OPS_UPFIRDN2D_GENERAL_H_
#define TFSTYLEGAN_CUSTOM_OPS_UPFIRDN2D_GENERAL_H_

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "cpu_dispatch.h"
#include "upfirdn2d.h"

namespace tfstylegan {

constexpr int64_t kPieceElements = 4096;  // of an intermediate row: 16 KiB of float
constexpr int64_t kNarrow = 16;           // fewer channels do not fill the vectors

// out[i] (+)= sum over n < N of taps[n] * in[n * stride + i], 0 <= i < length.
template <int N, bool kAdd, typename T, typename Acc>
TFSTYLEGAN_INLINE void FirFixed(const Acc* taps, const T* __restrict in, int64_t stride,
                                int64_t length, Acc* __restrict out) {
  Acc t[N];
  for (int n = 0; n < N; ++n) t[n] = taps[n];
  for (int64_t i = 0; i < length; ++i) {
    Acc sum = kAdd ? out[i] : Acc(0);
    for (int n = 0; n < N; ++n) sum += t[n] * static_cast<Acc>(in[n * stride + i]);
    out[i] = sum;
  }
}

template <bool kAdd, typename T, typename Acc>
TFSTYLEGAN_INLINE void FirUpTo4(int64_t n, const Acc* taps, const T* in, int64_t stride,
                                int64_t length, Acc* out) {
  switch (n) {
    case 0:
      if (!kAdd) std::fill(out, out + length, Acc(0));
      break;
    case 1:
      FirFixed<1, kAdd>(taps, in, stride, length, out);
      break;
    case 2:
      FirFixed<2, kAdd>(taps, in, stride, length, out);
      break;
    case 3:
      FirFixed<3, kAdd>(taps, in, stride, length, out);
      break;
    default:
      FirFixed<4, kAdd>(taps, in, stride, length, out);
  }
}

template <typename T, typename Acc>
TFSTYLEGAN_INLINE void Fir(bool add, int64_t n, const Acc* taps, const T* in,
                           int64_t stride, int64_t length, Acc* out) {
  if (!add) {
    FirUpTo4<false>(n, taps, in, stride, length, out);
    n -= 4;
    taps += 4;
    in += 4 * stride;
  }
  for (; n > 0; n -= 4, taps += 4, in += 4 * stride) {
    FirUpTo4<true>(n, taps, in, stride, length, out);
  }
}

// Scratch memory of one thread.
template <typename Acc>
struct Scratch {
  std::vector<Acc> row;    // a piece of the row after the y taps
  std::vector<Acc> dense;  // its x filtering at every sample, for few channels
  std::vector<Acc> line;   // the output piece before it is rounded to a small type
};

// row[(i - begin) * C + c] = sum of taps[n] * image[first + n, i, c] for columns i in
// [begin, end); rows and columns outside of the image are zero.
template <typename T, typename Acc>
TFSTYLEGAN_INLINE void CombineRows(const Geometry& g, const std::vector<Acc>& taps,
                                   int64_t first, const T* image, int64_t begin,
                                   int64_t end, Acc* row) {
  const int64_t c = g.channels;
  const int64_t from = std::max<int64_t>(0, -first);
  const int64_t to = std::min<int64_t>(taps.size(), g.y.in - first);
  const int64_t left = std::min(std::max<int64_t>(begin, 0), end);
  const int64_t right = std::max(std::min(end, g.x.in), left);
  if (from >= to || left >= right) {  // nothing to point at
    std::fill(row, row + (end - begin) * c, Acc(0));
    return;
  }
  std::fill(row, row + (left - begin) * c, Acc(0));
  Fir(false, to - from, taps.data() + from,
      image + ((first + from) * g.x.in + left) * c, g.x.in * c, (right - left) * c,
      row + (left - begin) * c);
  std::fill(row + (right - begin) * c, row + (end - begin) * c, Acc(0));
}

// out[(o - o0) * C + c] (+)= x filtering of `row`, which starts at column `begin`.
template <typename Acc>
TFSTYLEGAN_INLINE void FilterRow(const Geometry& g, const Phases<Acc>& phases,
                                 const Acc* row, int64_t begin, int64_t end, int64_t o0,
                                 int64_t o1, bool add, Acc* dense, Acc* out) {
  const int64_t c = g.channels;
  const Acc zeros[kNarrow] = {};
  const int64_t first_tap = g.x.FirstTap(o0);
  const int64_t first_sample = g.x.FirstSample(o0) - begin;
  if (g.x.up == 1 && g.x.down == 1) {  // one run over all columns
    Fir(add, phases[0].size(), phases[0].data(), row + first_sample * c, c,
        (o1 - o0) * c, out);
    return;
  }
  const int64_t passes = c >= kNarrow ? 1 : g.x.up;
  for (int64_t pass = 0; pass < passes; ++pass) {
    const std::vector<Acc>& dense_taps = phases[pass];
    if (c < kNarrow) {  // one phase of taps at every sample
      const int64_t n = dense_taps.size();
      const int64_t starts =
          std::max<int64_t>(end - begin - std::max<int64_t>(n - 1, 0), 0);
      Fir(false, n, dense_taps.data(), row, c, starts * c, dense);
    }
    int64_t tap = first_tap, sample = first_sample;
    for (int64_t o = o0; o < o1; ++o) {
      Acc* to = out + (o - o0) * c;
      if (c >= kNarrow) {
        const std::vector<Acc>& taps = phases[tap];
        Fir(add, taps.size(), taps.data(), row + sample * c, c, c, to);
      } else if (tap == pass) {
        const Acc* from = dense_taps.empty() ? zeros : dense + sample * c;
        for (int64_t i = 0; i < c; ++i) to[i] = add ? to[i] + from[i] : from[i];
      }
      for (tap -= g.x.down; tap < 0; tap += g.x.up) ++sample;
    }
  }
}

// Output columns [o0, o1) of row oy of one image.
template <typename T, typename Acc>
TFSTYLEGAN_INLINE void OutputPiece(const Geometry& g, const FilterPlan<Acc>& plan,
                                   const T* image, int64_t oy, int64_t o0, int64_t o1,
                                   Scratch<Acc>* scratch, T* out) {
  const int64_t begin = g.x.FirstSample(o0);
  const int64_t end = std::max(g.x.EndSample(o1 - 1), begin);
  const int64_t first = g.y.FirstSample(oy);
  Acc* row = scratch->row.data();
  Acc* dense = scratch->dense.data();
  Acc* line;
  if constexpr (std::is_same_v<T, Acc>) {
    line = out;
  } else {
    line = scratch->line.data();
  }
  // One term if the kernel is separable, otherwise one for each kernel row that meets
  // an image row.
  const std::vector<Acc> one(1, Acc(1));
  const int64_t tap = g.y.FirstTap(oy);
  const int64_t terms =
      plan.separable ? 1 : (std::max(g.y.taps - tap, int64_t{0}) + g.y.up - 1) / g.y.up;
  for (int64_t term = 0; term < terms; ++term) {
    const std::vector<Acc>& y_taps = plan.separable ? plan.y[tap] : one;
    const Phases<Acc>& x_taps = plan.x[plan.separable ? 0 : tap + term * g.y.up];
    CombineRows(g, y_taps, first + term, image, begin, end, row);
    FilterRow(g, x_taps, row, begin, end, o0, o1, term > 0, dense, line);
  }
  if (terms == 0) std::fill(line, line + (o1 - o0) * g.channels, Acc(0));
  if constexpr (!std::is_same_v<T, Acc>) {
    for (int64_t i = 0; i < (o1 - o0) * g.channels; ++i)
      out[i] = static_cast<T>(line[i]);
  }
}

// Rows [r0, r1) of the batch * out rows of the output.
template <typename T, typename Acc>
TFSTYLEGAN_INLINE void OutputRows(const Geometry& g, const FilterPlan<Acc>& plan,
                                  const T* in, int64_t r0, int64_t r1, T* out) {
  const int64_t c = g.channels;
  // Columns a piece may have, so that its input fits into kPieceElements.
  const int64_t budget = std::max<int64_t>(kPieceElements / c, 2 * g.x.taps);
  const int64_t samples = std::max<int64_t>(budget - g.x.taps, 1);
  const int64_t piece =
      std::min(std::max<int64_t>(samples * g.x.up / g.x.down, 1), g.x.out);
  const int64_t widest = (piece * g.x.down + g.x.taps) / g.x.up + 2;
  Scratch<Acc> scratch;
  scratch.row.resize(widest * c);
  scratch.dense.resize(c < kNarrow ? widest * c : 0);
  scratch.line.resize(std::is_same_v<T, Acc> ? 0 : piece * c);
  for (int64_t r = r0; r < r1; ++r) {
    const T* image = in + r / g.y.out * g.y.in * g.x.in * c;
    T* out_row = out + r * g.x.out * c;
    for (int64_t o = 0; o < g.x.out; o += piece) {
      OutputPiece(g, plan, image, r % g.y.out, o, std::min(o + piece, g.x.out),
                  &scratch, out_row + o * c);
    }
  }
}

}  // namespace tfstylegan

#endif  // TFSTYLEGAN_CUSTOM_OPS_UPFIRDN2D_GENERAL_H_
