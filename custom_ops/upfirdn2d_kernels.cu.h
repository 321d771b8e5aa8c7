// Bodies of the CUDA kernels of upfirdn2d and the choice between them.
//
// `General` computes an output word from the definition. `Strip` serves the separable
// filters of 4 taps with up 2, down 2 or neither: a block owns a strip of columns and
// channels and walks down its rows. Rows pass through a ring in shared memory, filled
// some steps ahead; each thread filters along x what it reads there, and keeps the last
// filtered rows in registers for the filter along y. So every sample comes from device
// memory once, but for the borders of the strips.

#ifndef TFSTYLEGAN_CUSTOM_OPS_UPFIRDN2D_KERNELS_CU_H_
#define TFSTYLEGAN_CUSTOM_OPS_UPFIRDN2D_KERNELS_CU_H_

#include <cmath>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "cuda_common.cu.h"
#include "upfirdn2d.cu.h"

namespace tfstylegan {
namespace cuda {

using Shape = TfstyleganUpfirdn2dShape;

// Taps that travel in the parameters of a kernel, which hold 4 KiB; more are copied.
constexpr int64_t kParameterTaps = 448;

template <typename Acc>
struct ParameterTaps {
  Acc v[kParameterTaps];
};

// The samples that output o of one axis reads: `sample` with tap `tap`, the next one
// with tap + up, ... while both are in range. Samples before the first are skipped.
struct Reads {
  int64_t sample, tap;
};

TFSTYLEGAN_HD Reads FirstRead(int64_t o, int64_t up, int64_t down, int64_t pad0) {
  const int64_t base = o * down - pad0;
  const int64_t sample = base > 0 ? CeilDiv(base, up) : 0;
  return {sample, sample * up - base};
}

// y word `item`. taps: [Kh, Kw], or [Kh] and then [Kw] of a separable kernel.
template <typename T, int V>
TFSTYLEGAN_HD void General(const Shape& s, bool separable, const AccOf<T>* taps,
                           int64_t item, const T* x, T* y) {
  using Acc = AccOf<T>;
  const int64_t words = s.channels / V;
  const int64_t c = item % words * V;
  item /= words;
  const int64_t ox = item % s.out[1];
  item /= s.out[1];
  const int64_t oy = item % s.out[0];
  const int64_t n = item / s.out[0];
  const Reads ry = FirstRead(oy, s.up[0], s.down[0], s.pad0[0]);
  const Reads rx = FirstRead(ox, s.up[1], s.down[1], s.pad0[1]);
  Acc sum[V];
  TFSTYLEGAN_UNROLL
  for (int v = 0; v < V; ++v) sum[v] = Acc(0);
  int64_t iy = ry.sample;
  for (int64_t ky = ry.tap; ky < s.taps[0] && iy < s.in[0]; ky += s.up[0], ++iy) {
    const Acc outer = separable ? taps[ky] : Acc(1);
    const Acc* row_taps = separable ? taps + s.taps[0] : taps + ky * s.taps[1];
    const T* row = x + Offset(n, iy, 0, c, s.in[0], s.in[1], s.channels);
    Acc row_sum[V];
    TFSTYLEGAN_UNROLL
    for (int v = 0; v < V; ++v) row_sum[v] = Acc(0);
    int64_t ix = rx.sample;
    for (int64_t kx = rx.tap; kx < s.taps[1] && ix < s.in[1]; kx += s.up[1], ++ix) {
      const Pack<T, V> word =
          *reinterpret_cast<const Pack<T, V>*>(row + ix * s.channels);
      const Acc tap = row_taps[kx];
      TFSTYLEGAN_UNROLL
      for (int v = 0; v < V; ++v) row_sum[v] += tap * static_cast<Acc>(word.v[v]);
    }
    TFSTYLEGAN_UNROLL
    for (int v = 0; v < V; ++v) sum[v] += outer * row_sum[v];
  }
  Pack<T, V> word;
  TFSTYLEGAN_UNROLL
  for (int v = 0; v < V; ++v) word.v[v] = static_cast<T>(sum[v]);
  const int64_t to = Offset(n, oy, ox, c, s.out[0], s.out[1], s.channels);
  Store(word, y + to);
}

enum Mode : int { kBlur = 0, kUp = 1, kDown = 2 };

// Outputs come in groups: group g is the outputs first_out + g * outs + (0 .. outs - 1)
// and reads the samples first_sample + g * step + (0 .. reads - 1). Along y:
template <int kMode>
struct Along {
  static constexpr int kStep = kMode == kDown ? 2 : 1;
  static constexpr int kReads = kMode == kUp ? 3 : 4;
  static constexpr int kOuts = kMode == kUp ? 2 : 1;
};

// Along x, where a thread of the blur makes two outputs of five samples.
template <int kMode>
struct Across {
  static constexpr int kStep = kMode == kUp ? 1 : 2;
  static constexpr int kReads = kMode == kUp ? 3 : kMode == kBlur ? 5 : 4;
  static constexpr int kOuts = kMode == kDown ? 1 : 2;
};

struct Groups {
  int64_t first_out;
  int64_t first_sample;
  int64_t count;
};

TFSTYLEGAN_HD Groups MakeGroups(int mode, int outs, int64_t out, int64_t pad0) {
  Groups groups{0, -pad0, CeilDiv(out, outs)};
  if (mode == kUp) {  // a group begins where tap 0 meets a sample
    const int64_t odd = pad0 & 1;
    groups = {-odd, -((pad0 + odd) / 2), CeilDiv(out + odd, 2)};
  }
  return groups;
}

constexpr int kStripThreads = 128;
constexpr int kStripRows = 2;    // of a step; a multiple of Along::kStep
constexpr int kStripStages = 4;  // steps in the ring
static_assert(kStripRows % Along<kDown>::kStep == 0, "a row's parity must be known");

template <typename Acc>
struct StripArgs {
  Shape shape;
  Groups y, x;
  int64_t rows;        // groups along y of a strip
  int64_t columns;     // groups along x of a strip
  int64_t strips_y, strips_x;
  int64_t chunks;      // of the channels
  int64_t tiles;
  int lane_bits;       // log2 of the words of a chunk
  Acc taps_y[4], taps_x[4];
};

// sum or, for kUp, the two sums, of one group: in[i] -> out[o]. in(i, v) is a function.
template <int kMode, int kOuts, int V, typename Acc, typename In>
TFSTYLEGAN_HD void FilterGroup(const Acc* t, const In& in, Acc (*out)[V]) {
  TFSTYLEGAN_UNROLL
  for (int v = 0; v < V; ++v) {
    if constexpr (kMode == kUp) {
      out[0][v] = t[0] * in(0, v) + t[2] * in(1, v);
      out[1][v] = t[1] * in(1, v) + t[3] * in(2, v);
    } else {
      TFSTYLEGAN_UNROLL
      for (int o = 0; o < kOuts; ++o) {
        out[o][v] = t[0] * in(o, v) + t[1] * in(o + 1, v) + t[2] * in(o + 2, v) +
                    t[3] * in(o + 3, v);
      }
    }
  }
}

// The part of a strip's work that one thread does, between barriers.
template <typename T, int kMode, int V>
class Strip {
 public:
  using Acc = AccOf<T>;
  using Word = Pack<T, V>;
  using Y = Along<kMode>;
  using X = Across<kMode>;

  // Words of a chunk: 128 bytes, at most a warp.
  static constexpr int kMostLanes = sizeof(Word) < 4 ? 32 : 128 / int(sizeof(Word));
  // A row of the ring: ((threads / lanes - 1) * step + reads) * lanes words.
  static constexpr int kRowWords =
      kStripThreads * X::kStep + (X::kReads - X::kStep) * kMostLanes;
  static constexpr int kSharedWords = kRowWords * kStripRows * kStripStages;

  // Rows after the filter along x.
  struct Window {
    Acc row[Y::kReads - 1][X::kOuts][V];
  };

  TFSTYLEGAN_HD Strip(const StripArgs<Acc>& args, int64_t tile, int thread)
      : args_(args), thread_(thread) {
    lanes_ = 1 << args.lane_bits;
    channel_ = tile % args.chunks * lanes_ * V;
    tile /= args.chunks;
    group_x_ = tile % args.strips_x * args.columns;
    tile /= args.strips_x;
    group_y_ = tile % args.strips_y * args.rows;
    batch_ = tile / args.strips_y;
    rows_ = Least(args.rows, args.y.count - group_y_);
  }

  // Steps that the strip takes, each of kStripRows rows of samples.
  TFSTYLEGAN_HD int64_t Steps() const {
    return CeilDiv((rows_ - 1) * Y::kStep + Y::kReads, kStripRows);
  }

  // Where the strip begins: batch, groups along y and x, channel.
  TFSTYLEGAN_HD void Corner(int64_t corner[4]) const {
    corner[0] = batch_;
    corner[1] = group_y_;
    corner[2] = group_x_;
    corner[3] = channel_;
  }

  static TFSTYLEGAN_HD void Clear(Window* window) {
    TFSTYLEGAN_UNROLL
    for (int i = 0; i < Y::kReads - 1; ++i) {
      TFSTYLEGAN_UNROLL
      for (int o = 0; o < X::kOuts; ++o) {
        TFSTYLEGAN_UNROLL
        for (int v = 0; v < V; ++v) window->row[i][o][v] = Acc(0);
      }
    }
  }

  // Brings the rows of a step into the ring; zeros where there is no sample.
  TFSTYLEGAN_HD void Load(int64_t step, const T* x, Word* ring) const {
    const Shape& s = args_.shape;
    const int columns = (int(args_.columns) - 1) * X::kStep + X::kReads;
    const int64_t left = args_.x.first_sample + group_x_ * X::kStep;
    const int64_t channel = channel_ + (thread_ & (lanes_ - 1)) * V;
    TFSTYLEGAN_UNROLL
    for (int j = 0; j < kStripRows; ++j) {
      const int64_t iy =
          args_.y.first_sample + group_y_ * Y::kStep + step * kStripRows + j;
      const bool row_valid = iy >= 0 && iy < s.in[0] && channel < s.channels;
      const T* row =
          x + (row_valid ? Offset(batch_, iy, 0, channel, s.in[0], s.in[1], s.channels)
                         : int64_t{0});
      Word* to = RingRow(step, j, ring);
      for (int i = thread_; i < columns << args_.lane_bits; i += kStripThreads) {
        const int64_t ix = left + (i >> args_.lane_bits);
        const bool valid = row_valid && ix >= 0 && ix < s.in[1];
        Copy(valid, valid ? row + ix * s.channels : x, to + i);
      }
    }
  }

  // Filters the rows of a step and writes the outputs that they complete.
  TFSTYLEGAN_HD void Compute(int64_t step, const Word* ring, Window* window,
                             T* y) const {
    const int lane = thread_ & (lanes_ - 1);
    const int column = thread_ >> args_.lane_bits;
    TFSTYLEGAN_UNROLL
    for (int j = 0; j < kStripRows; ++j) {
      const Word* from = RingRow(step, j, ring) +
                         ((column * X::kStep) << args_.lane_bits) + lane;
      Acc in[X::kReads][V];
      TFSTYLEGAN_UNROLL
      for (int k = 0; k < X::kReads; ++k) {
        const Word word = from[k << args_.lane_bits];
        TFSTYLEGAN_UNROLL
        for (int v = 0; v < V; ++v) in[k][v] = static_cast<Acc>(word.v[v]);
      }
      Acc row[X::kOuts][V];
      FilterGroup<kMode, X::kOuts, V>(
          args_.taps_x, [&](int k, int v) { return in[k][v]; }, row);
      if ((kStripRows + j + 1 - Y::kReads % kStripRows) % Y::kStep == 0) {
        const int64_t group = step * kStripRows + j - (Y::kReads - 1);
        if (group >= 0 && group / Y::kStep < rows_) {
          Write(group_y_ + group / Y::kStep, column, lane, *window, row, y);
        }
      }
      TFSTYLEGAN_UNROLL
      for (int o = 0; o < X::kOuts; ++o) {
        TFSTYLEGAN_UNROLL
        for (int v = 0; v < V; ++v) {
          TFSTYLEGAN_UNROLL
          for (int i = 0; i < Y::kReads - 2; ++i) {
            window->row[i][o][v] = window->row[i + 1][o][v];
          }
          window->row[Y::kReads - 2][o][v] = row[o][v];
        }
      }
    }
  }

 private:
  template <typename W>
  static TFSTYLEGAN_HD W* RingRow(int64_t step, int j, W* ring) {
    return ring + (int(step % kStripStages) * kStripRows + j) * kRowWords;
  }

  static TFSTYLEGAN_HD void Copy(bool valid, const T* from, Word* to) {
#ifdef __CUDA_ARCH__
    if constexpr (sizeof(Word) >= 4) {  // asynchronous
      __pipeline_memcpy_async(to, from, sizeof(Word), valid ? 0 : sizeof(Word));
      return;
    }
#endif
    if (valid) {
      *to = *reinterpret_cast<const Word*>(from);
    } else {
      for (int v = 0; v < V; ++v) to->v[v] = T(0.0f);
    }
  }

  TFSTYLEGAN_HD void Write(int64_t group_y, int column, int lane, const Window& window,
                           const Acc (*last)[V], T* y) const {
    const Shape& s = args_.shape;
    const int64_t channel = channel_ + lane * V;
    if (channel >= s.channels) return;
    TFSTYLEGAN_UNROLL
    for (int o = 0; o < X::kOuts; ++o) {
      const int64_t ox =
          args_.x.first_out + (group_x_ + column) * X::kOuts + o;
      if (ox < 0 || ox >= s.out[1]) continue;
      Acc out[Y::kOuts][V];
      FilterGroup<kMode, Y::kOuts, V>(
          args_.taps_y,
          [&](int k, int v) {
            return k == Y::kReads - 1 ? last[o][v] : window.row[k][o][v];
          },
          out);
      TFSTYLEGAN_UNROLL
      for (int r = 0; r < Y::kOuts; ++r) {
        const int64_t oy = args_.y.first_out + group_y * Y::kOuts + r;
        if (oy < 0 || oy >= s.out[0]) continue;
        Word word;
        TFSTYLEGAN_UNROLL
        for (int v = 0; v < V; ++v) word.v[v] = static_cast<T>(out[r][v]);
        const int64_t to =
            Offset(batch_, oy, ox, channel, s.out[0], s.out[1], s.channels);
        Store(word, y + to);
      }
    }
  }

  const StripArgs<Acc>& args_;
  int thread_;
  int lanes_;
  int64_t batch_, group_y_, group_x_, channel_;
  int64_t rows_;
};

// Enough tiles to fill the largest GPUs a few times over, if the image gives them.
constexpr int64_t kEnoughTiles = 2048;
constexpr int64_t kMostStripRows = 64;
constexpr int64_t kLeastStripRows = 8;

template <typename T, int kMode, int V>
StripArgs<AccOf<T>> MakeStrips(const Shape& shape, const double* column,
                               const double* row) {
  StripArgs<AccOf<T>> args{};
  args.shape = shape;
  args.y = MakeGroups(kMode, Along<kMode>::kOuts, shape.out[0], shape.pad0[0]);
  args.x = MakeGroups(kMode, Across<kMode>::kOuts, shape.out[1], shape.pad0[1]);
  const int64_t words = shape.channels / V;
  while ((1 << args.lane_bits) < Least(words, Strip<T, kMode, V>::kMostLanes)) {
    ++args.lane_bits;
  }
  args.chunks = CeilDiv(words, int64_t{1} << args.lane_bits);
  args.columns = kStripThreads >> args.lane_bits;
  args.strips_x = CeilDiv(args.x.count, args.columns);
  const int64_t across = shape.batch * args.strips_x * args.chunks;
  args.rows = Least(args.y.count, kMostStripRows);
  while (args.rows > kLeastStripRows &&
         across * CeilDiv(args.y.count, args.rows) < kEnoughTiles) {
    args.rows = CeilDiv(args.rows, 2);
  }
  args.strips_y = CeilDiv(args.y.count, args.rows);
  args.tiles = across * args.strips_y;
  for (int i = 0; i < 4; ++i) {
    args.taps_y[i] = static_cast<AccOf<T>>(column[i]);
    args.taps_x[i] = static_cast<AccOf<T>>(row[i]);
  }
  return args;
}

// taps = outer(column, row) to 1e-13; the scale is shared between both.
inline bool Separate(const double* taps, int64_t height, int64_t width,
                     std::vector<double>* column, std::vector<double>* row) {
  int64_t pivot = 0;
  for (int64_t i = 1; i < height * width; ++i) {
    if (std::abs(taps[i]) > std::abs(taps[pivot])) pivot = i;
  }
  const double top = taps[pivot] == 0 ? 1.0 : taps[pivot];
  const double root = std::sqrt(std::abs(top));
  column->resize(height);
  row->resize(width);
  for (int64_t i = 0; i < height; ++i) {
    (*column)[i] = taps[i * width + pivot % width] / root;
  }
  for (int64_t j = 0; j < width; ++j) {
    (*row)[j] = taps[pivot / width * width + j] / (top / root);
  }
  for (int64_t i = 0; i < height; ++i) {
    for (int64_t j = 0; j < width; ++j) {
      const double error = std::abs((*column)[i] * (*row)[j] - taps[i * width + j]);
      if (!(error <= 1e-13 * std::abs(top))) return false;
    }
  }
  return true;
}

// The mode of the strips that serve a shape, or -1.
inline int StripMode(const Shape& s) {
  for (int i = 0; i < 2; ++i) {
    if (s.taps[i] != 4 || s.up[i] != s.up[0] || s.down[i] != s.down[0]) return -1;
  }
  if (s.up[0] == 1 && s.down[0] == 1) return kBlur;
  if (s.up[0] == 2 && s.down[0] == 1) return kUp;
  if (s.up[0] == 1 && s.down[0] == 2) return kDown;
  return -1;
}

template <typename T>
constexpr int kWord = sizeof(T) == 8 ? 2 : 4;  // elements of the widest word

inline int64_t Upfirdn2dScratch(int dtype, const Shape& s) {
  const int64_t taps = s.taps[0] * s.taps[1];
  return taps <= kParameterTaps ? 0 : taps * (dtype == kDouble ? 8 : 4);
}

// Launcher has Strips<T, kMode, V>(args, x, y), General<T, V>(shape, separable, taps,
// items, x, y) with taps a ParameterTaps or a pointer, and Upload(to, from, bytes);
// each returns a status, 0 for success.
template <typename T, int V, typename Launcher>
int Upfirdn2dWords(const Shape& s, const double* taps, const T* x, void* scratch, T* y,
                   const Launcher& launcher) {
  using Acc = AccOf<T>;
  std::vector<double> column, row;
  const bool separable = Separate(taps, s.taps[0], s.taps[1], &column, &row);
  switch (separable ? StripMode(s) : -1) {
    case kBlur:
      return launcher.template Strips<T, kBlur, V>(
          MakeStrips<T, kBlur, V>(s, column.data(), row.data()), x, y);
    case kUp:
      return launcher.template Strips<T, kUp, V>(
          MakeStrips<T, kUp, V>(s, column.data(), row.data()), x, y);
    case kDown:
      return launcher.template Strips<T, kDown, V>(
          MakeStrips<T, kDown, V>(s, column.data(), row.data()), x, y);
    default:
      break;
  }
  std::vector<Acc> values;
  if (separable) {
    values.assign(column.begin(), column.end());
    values.insert(values.end(), row.begin(), row.end());
  } else {
    values.assign(taps, taps + s.taps[0] * s.taps[1]);
  }
  const int64_t count = static_cast<int64_t>(values.size());
  const int64_t items = s.batch * s.out[0] * s.out[1] * (s.channels / V);
  if (count <= kParameterTaps) {
    ParameterTaps<Acc> parameters{};
    for (int64_t i = 0; i < count; ++i) parameters.v[i] = values[i];
    return launcher.template General<T, V>(s, separable, parameters, items, x, y);
  }
  if (scratch == nullptr) return kInvalidValue;
  const int status = launcher.Upload(scratch, values.data(), count * sizeof(Acc));
  if (status != 0) return status;
  const Acc* uploaded = static_cast<const Acc*>(scratch);
  return launcher.template General<T, V>(s, separable, uploaded, items, x, y);
}

template <typename Launcher>
int Upfirdn2d(int dtype, const void* x, const double* taps, const Shape& s,
              void* scratch, void* y, const Launcher& launcher) {
  for (int i = 0; i < 2; ++i) {
    if (s.up[i] < 1 || s.down[i] < 1 || s.taps[i] < 1) return kInvalidValue;
    if (s.in[i] < 0 || s.out[i] < 0) return kInvalidValue;
  }
  if (s.batch < 0 || s.channels < 0) return kInvalidValue;
  if (s.batch == 0 || s.channels == 0 || s.out[0] == 0 || s.out[1] == 0) return 0;
  return ForDtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    constexpr int V = kWord<T>;
    const T* from = static_cast<const T*>(x);
    T* to = static_cast<T*>(y);
    if (s.channels % V == 0 && Aligned(V * sizeof(T), x, y)) {
      return Upfirdn2dWords<T, V>(s, taps, from, scratch, to, launcher);
    }
    return Upfirdn2dWords<T, 1>(s, taps, from, scratch, to, launcher);
  });
}

}  // namespace cuda
}  // namespace tfstylegan

#endif  // TFSTYLEGAN_CUSTOM_OPS_UPFIRDN2D_KERNELS_CU_H_
