// Bodies of the CUDA kernels of styled_epilogue, of its gradient and of the gradient of
// that, and the choice between them.
//
// A block has a part of the pixels of one image; a thread keeps to one word of their
// channels, so that what it needs of the vectors over channels stays in registers. Sums
// over channels are made in shared memory, a few pixels at a time. Sums over pixels
// stay in registers until the block ends; column_sums.cu.h adds those of the blocks.

#ifndef TFSTYLEGAN_CUSTOM_OPS_STYLED_EPILOGUE_KERNELS_CU_H_
#define TFSTYLEGAN_CUSTOM_OPS_STYLED_EPILOGUE_KERNELS_CU_H_

#include <cstdint>

#include "activations.cu.h"
#include "column_sums.cu.h"
#include "cuda_common.cu.h"
#include "styled_epilogue.cu.h"

namespace tfstylegan {
namespace cuda {

using EpilogueOptions = TfstyleganStyledEpilogue;

// What a thread keeps of a channel.
template <typename Acc>
struct Channel {
  Acc scale;
  Acc bias;
  Acc ratio;         // v_scale / scale, 0 where scale is 0
  Acc sum, product;  // over pixels
};

// An element of each pass. in: of the kReads tensors that it reads, in their order;
// out: of the kWrites ones that it writes; *row: what is summed over channels. a is
// x * scale + bias + plane, and da the gradient in it; slope * a = y. kPixels of a
// thread are on their way at once, as many as registers hold.
//
// x -> y
struct ForwardPass {
  static constexpr int kReads = 1, kWrites = 1, kPixels = 4;
  static constexpr bool kSums = false, kSecond = false;

  template <typename A, typename Acc>
  static TFSTYLEGAN_HD void At(const A& act, const Acc* in, Acc plane, Acc,
                               Channel<Acc>* c, Acc* out, Acc*) {
    out[0] = act.Clamped(act.Value(in[0] * c->scale + (c->bias + plane)));
  }
};

// dy, y -> dx
struct GradPass {
  static constexpr int kReads = 2, kWrites = 1, kPixels = 2;
  static constexpr bool kSums = true, kSecond = false;

  template <typename A, typename Acc>
  static TFSTYLEGAN_HD void At(const A& act, const Acc* in, Acc plane, Acc,
                               Channel<Acc>* c, Acc* out, Acc* row) {
    const Acc dy = in[0], y = in[1];
    const Acc da = act.Masked(act.Times(dy, y), y);
    out[0] = da * c->scale;
    c->sum += da;
    c->product += act.Masked(dy * y, y) - da * (c->bias + plane);
    *row += da;
  }
};

// v_x, dy, y -> d_dy, d_y; bias is v_bias - ratio * bias.
struct SecondPass {
  static constexpr int kReads = 3, kWrites = 2, kPixels = 2;
  static constexpr bool kSums = true, kSecond = true;

  template <typename A, typename Acc>
  static TFSTYLEGAN_HD void At(const A& act, const Acc* in, Acc plane, Acc v_plane,
                               Channel<Acc>* c, Acc* out, Acc* row) {
    const Acc v = in[0], dy = in[1], y = in[2];
    const Acc tangent = v * c->scale + (c->bias + (v_plane - c->ratio * plane));
    const Acc da = act.Masked(act.Times(dy, y), y);
    out[0] = act.Masked(act.Times(tangent, y) + c->ratio * y, y);
    out[1] = act.Masked(c->ratio * dy, y);
    c->sum += da;
    c->product += v * da;
    *row -= c->ratio * da;
  }
};

// Tensors of a launch; null are those that a pass has not. An output may be the first
// input, and d_y may be dy: who writes an element has read it.
template <typename T>
struct EpilogueTensors {
  using Acc = AccOf<T>;
  const T* in[3];                          // [batch, area, channels]
  T* out[2];
  const Acc *scale, *v_scale;              // [batch, channels]
  const Acc *plane, *v_plane;              // [maps, area]
  const Acc* strength;                     // of plane; null is 1
  const Acc *bias, *v_bias;                // [channels]
  Acc* rows;                               // [batch, chunks, area]: sums over channels
  Acc* partial;                            // [batch, parts, 2, channels]: over pixels
};

template <typename T>
struct EpilogueArgs {
  EpilogueTensors<T> t;
  int64_t batch, area, channels, maps;
  int lane_bits;    // of a pixel's words that are side by side in a block
  int64_t chunks;   // of a pixel's words
  int64_t length;   // pixels of a part
  int64_t parts;    // of an image
  int64_t items;    // blocks' worth of work
};

constexpr int64_t kEpilogueBlocks = 1056;  // eight for each of 132 multiprocessors
constexpr int kFold = 8;                   // threads that add the channels of a pixel

template <typename Pass, typename T, int V>
EpilogueArgs<T> MakeEpilogue(const EpilogueTensors<T>& t, const EpilogueOptions& o) {
  EpilogueArgs<T> args{};
  args.t = t;
  args.batch = o.batch;
  args.area = o.area;
  args.channels = o.channels;
  args.maps = o.maps;
  const int64_t words = o.channels / V;
  while ((1 << args.lane_bits) < Least(words, kThreads)) ++args.lane_bits;
  const int64_t step = int64_t{Pass::kPixels} * (kThreads >> args.lane_bits);
  args.chunks = CeilDiv(words, int64_t{1} << args.lane_bits);
  const int64_t parts = Least(CeilDiv(o.area, step),
                              CeilDiv(kEpilogueBlocks, o.batch * args.chunks));
  args.length = CeilDiv(CeilDiv(o.area, parts), step) * step;
  args.parts = CeilDiv(o.area, args.length);
  args.items = o.batch * args.parts * args.chunks;
  return args;
}

// The part of a block's work that one thread does, between barriers.
template <typename Pass, typename T, int V>
class EpilogueThread {
 public:
  using Acc = AccOf<T>;
  using Word = Pack<T, V>;

  static constexpr int kPixels = Pass::kPixels;
  // Elements of shared memory: the sums of kPixels pixels, or both sums of V channels.
  static constexpr int kShared = kThreads * (kPixels > 2 * V ? kPixels : 2 * V);

  TFSTYLEGAN_HD EpilogueThread(const EpilogueArgs<T>& args, int64_t item, int thread)
      : args_(args), thread_(thread) {
    lanes_ = 1 << args.lane_bits;
    columns_ = kThreads >> args.lane_bits;
    chunk_ = item % args.chunks;
    item /= args.chunks;
    part_ = item % args.parts;
    image_ = item / args.parts;
    begin_ = part_ * args.length;
    end_ = Least(begin_ + args.length, args.area);
    channel_ = (chunk_ * lanes_ + (thread & (lanes_ - 1))) * V;
    valid_ = channel_ < args.channels;
    strength_ = args.t.strength == nullptr ? Acc(1) : *args.t.strength;
    TFSTYLEGAN_UNROLL
    for (int v = 0; v < V; ++v) channels_[v] = valid_ ? ChannelOf(v) : Channel<Acc>{};
  }

  // Steps that the block takes, each of kPixels pixels a thread.
  TFSTYLEGAN_HD int64_t Steps() const {
    return CeilDiv(end_ - begin_, int64_t{kPixels} * columns_);
  }

  // Writes a step's elements; leaves the sums over this thread's channels of pixel p of
  // the step in shared[p, lane].
  TFSTYLEGAN_HD void Compute(const Activation<Acc, false>& act, int64_t step,
                             Acc* shared) {
    const EpilogueTensors<T>& t = args_.t;
    const int64_t first = FirstPixel(step) + (thread_ >> args_.lane_bits);
    const int64_t map = args_.maps == 1 ? 0 : image_ * args_.area;
    Word in[kPixels][Pass::kReads];
    TFSTYLEGAN_UNROLL
    for (int p = 0; p < kPixels; ++p) {
      if (!Has(first + p * columns_)) continue;
      const int64_t at = ElementOf(first + p * columns_);
      TFSTYLEGAN_UNROLL
      for (int r = 0; r < Pass::kReads; ++r) {
        in[p][r] = *reinterpret_cast<const Word*>(t.in[r] + at);
      }
    }
    TFSTYLEGAN_UNROLL
    for (int p = 0; p < kPixels; ++p) {
      const int64_t pixel = first + p * columns_;
      Acc row = Acc(0);
      if (Has(pixel)) {
        const Acc plane = t.plane[map + pixel] * strength_;
        const Acc v_plane = Pass::kSecond ? t.v_plane[map + pixel] : Acc(0);
        Word out[Pass::kWrites];
        TFSTYLEGAN_UNROLL
        for (int v = 0; v < V; ++v) {
          Acc from[Pass::kReads], to[Pass::kWrites];
          TFSTYLEGAN_UNROLL
          for (int r = 0; r < Pass::kReads; ++r) {
            from[r] = static_cast<Acc>(in[p][r].v[v]);
          }
          Pass::At(act, from, plane, v_plane, &channels_[v], to, &row);
          TFSTYLEGAN_UNROLL
          for (int w = 0; w < Pass::kWrites; ++w) out[w].v[v] = static_cast<T>(to[w]);
        }
        TFSTYLEGAN_UNROLL
        for (int w = 0; w < Pass::kWrites; ++w) {
          Store(out[w], t.out[w] + ElementOf(pixel));
        }
      }
      if constexpr (Pass::kSums) shared[p * kThreads + thread_] = row;
    }
  }

  // Adds what Compute left to kFold numbers a pixel; needless for as few lanes.
  TFSTYLEGAN_HD void FoldRows(Acc* shared) const {
    for (int i = thread_; i < kPixels * columns_ * kFold; i += kThreads) {
      Acc* row = shared + (i / kFold << args_.lane_bits);
      Acc sum = Acc(0);
      for (int lane = i % kFold; lane < lanes_; lane += kFold) sum += row[lane];
      row[i % kFold] = sum;
    }
  }

  // Adds what is left, from different lanes on, for the sake of the banks.
  TFSTYLEGAN_HD void WriteRows(int64_t step, const Acc* shared) const {
    const int64_t to = (image_ * args_.chunks + chunk_) * args_.area;
    const int count = lanes_ < kFold ? lanes_ : kFold;
    for (int p = thread_; p < kPixels * columns_; p += kThreads) {
      const int64_t pixel = FirstPixel(step) + p;
      if (pixel >= end_) return;
      const Acc* row = shared + (p << args_.lane_bits);
      Acc sum = Acc(0);
      for (int i = 0; i < count; ++i) sum += row[(i + p) & (count - 1)];
      args_.t.rows[to + pixel] = sum;
    }
  }

  // Before the tree, which ends with the lanes.
  TFSTYLEGAN_HD void LeaveSums(Acc* shared) const {
    TFSTYLEGAN_UNROLL
    for (int v = 0; v < V; ++v) {
      shared[2 * V * thread_ + v] = channels_[v].sum;
      shared[2 * V * thread_ + V + v] = channels_[v].product;
    }
  }

  // After the tree.
  TFSTYLEGAN_HD void WriteSums(const Acc* shared) const {
    if (thread_ >= lanes_ || !valid_) return;
    Acc* to = args_.t.partial + 2 * (image_ * args_.parts + part_) * args_.channels;
    TFSTYLEGAN_UNROLL
    for (int v = 0; v < V; ++v) {
      to[channel_ + v] = shared[2 * V * thread_ + v];
      to[args_.channels + channel_ + v] = shared[2 * V * thread_ + V + v];
    }
  }

  // Index of the word of a pixel in the features.
  TFSTYLEGAN_HD int64_t ElementOf(int64_t pixel) const {
    return (image_ * args_.area + pixel) * args_.channels + channel_;
  }

  TFSTYLEGAN_HD int64_t FirstPixel(int64_t step) const {
    return begin_ + step * kPixels * columns_;
  }

 private:
  TFSTYLEGAN_HD bool Has(int64_t pixel) const { return valid_ && pixel < end_; }

  TFSTYLEGAN_HD Channel<Acc> ChannelOf(int v) const {
    const EpilogueTensors<T>& t = args_.t;
    const int64_t at = image_ * args_.channels + channel_ + v;
    Channel<Acc> c{t.scale[at], t.bias[channel_ + v], Acc(0), Acc(0), Acc(0)};
    if constexpr (Pass::kSecond) {
      c.ratio = c.scale == 0 ? Acc(0) : t.v_scale[at] / c.scale;
      c.bias = t.v_bias[channel_ + v] - c.ratio * c.bias;
    }
    return c;
  }

  const EpilogueArgs<T>& args_;
  int thread_, lanes_, columns_;  // columns: pixels side by side in a block
  int64_t chunk_, part_, image_;
  int64_t begin_, end_;           // pixels of the part
  int64_t channel_;
  bool valid_;
  Acc strength_;
  Channel<Acc> channels_[V];
};

// What becomes of the sums over an image's pixels, [2, channels]: d_scale, and the
// terms of d_bias.
template <typename Pass, typename Acc>
struct WriteImage {
  const Acc *scale, *v_scale;
  Acc *d_scale, *terms;  // [batch, channels]
  int64_t channels;

  TFSTYLEGAN_HD void operator()(int64_t image, int64_t column, Acc sum) const {
    const bool product = column >= channels;
    const int64_t at = image * channels + (product ? column - channels : column);
    if constexpr (Pass::kSecond) {
      const Acc ratio = scale[at] == 0 ? Acc(0) : v_scale[at] / scale[at];
      (product ? d_scale : terms)[at] = product ? sum : -ratio * sum;
    } else if (product) {
      d_scale[at] = scale[at] == 0 ? Acc(0) : sum / scale[at];
    } else {
      terms[at] = sum;
    }
  }
};

// The sums as they are.
template <typename Acc>
struct WriteSum {
  Acc* to;
  int64_t columns;

  TFSTYLEGAN_HD void operator()(int64_t group, int64_t column, Acc sum) const {
    to[group * columns + column] = sum;
  }
};

inline bool Valid(const EpilogueOptions& o) {
  return o.act >= 0 && o.act <= kLeakyRelu && o.batch >= 0 && o.area >= 0 &&
         o.channels >= 0 && (o.maps == 1 || o.maps == o.batch) && o.gain != 0;
}

inline bool Empty(const EpilogueOptions& o) {
  return o.batch == 0 || o.area == 0 || o.channels == 0;
}

// Rows of EpilogueTensors::rows that an element of d_plane is the sum of.
template <typename T>
int64_t RowsOfPlane(const EpilogueArgs<T>& args) {
  return args.batch / args.maps * args.chunks;
}

// The scratch memory, in elements: partial, terms, and rows unless they are d_plane.
template <typename T>
struct EpilogueScratch {
  int64_t partial, terms, rows;

  explicit EpilogueScratch(const EpilogueArgs<T>& args)
      : partial(2 * args.batch * args.parts * args.channels),
        terms(args.batch * args.channels),
        rows(RowsOfPlane(args) == 1 ? 0 : args.batch * args.chunks * args.area) {}

  int64_t Bytes() const {
    return (partial + terms + rows) * int64_t{sizeof(AccOf<T>)};
  }
};

// The outputs of a gradient that are sums.
template <typename Acc>
struct EpilogueSums {
  Acc *d_scale, *d_plane, *d_bias;
  void* scratch;
};

inline int64_t StyledEpilogueGradScratch(int dtype, const EpilogueOptions& o) {
  if (!Valid(o) || Empty(o)) return 0;
  int64_t bytes = 0;
  ForDtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    static_assert(GradPass::kPixels == SecondPass::kPixels, "they share the sizes");
    // Of either width: which it will be depends on the pointers too.
    bytes = EpilogueScratch<T>(MakeEpilogue<GradPass, T, 1>({}, o)).Bytes();
    if (o.channels % kWide<T> == 0) {
      const EpilogueScratch<T> wide(MakeEpilogue<GradPass, T, kWide<T>>({}, o));
      if (wide.Bytes() > bytes) bytes = wide.Bytes();
    }
    return 0;
  });
  return bytes;
}

// Launcher has Epilogue<Pass, T, V>(args, act), SumColumns(sums, write) and
// Zero(pointer, bytes); each returns a status, 0 for success.
template <typename Pass, typename T, int V, typename Launcher>
int EpilogueWords(EpilogueTensors<T> t, const EpilogueOptions& o,
                  const EpilogueSums<AccOf<T>>& sums, const Launcher& launcher) {
  using Acc = AccOf<T>;
  const auto act = MakeActivation<T, false>(o);
  EpilogueArgs<T> args = MakeEpilogue<Pass, T, V>(t, o);
  if constexpr (!Pass::kSums) {
    return launcher.template Epilogue<Pass, T, V>(args, act);
  } else {
    const EpilogueScratch<T> scratch(args);
    Acc* terms = static_cast<Acc*>(sums.scratch) + scratch.partial;
    args.t.partial = static_cast<Acc*>(sums.scratch);
    args.t.rows = scratch.rows == 0 ? sums.d_plane : terms + scratch.terms;
    int status = launcher.template Epilogue<Pass, T, V>(args, act);
    if (status != 0) return status;
    status = launcher.SumColumns(
        Columns<Acc>{args.t.partial, o.batch, args.parts, 2 * o.channels},
        WriteImage<Pass, Acc>{t.scale, t.v_scale, sums.d_scale, terms, o.channels});
    if (status != 0) return status;
    status = launcher.SumColumns(Columns<Acc>{terms, 1, o.batch, o.channels},
                                 WriteSum<Acc>{sums.d_bias, o.channels});
    if (status != 0 || scratch.rows == 0) return status;
    return launcher.SumColumns(
        Columns<Acc>{args.t.rows, o.maps, RowsOfPlane(args), o.area},
        WriteSum<Acc>{sums.d_plane, o.area});
  }
}

template <typename Acc, typename Launcher>
int ZeroSums(const EpilogueOptions& o, const EpilogueSums<Acc>& sums,
             const Launcher& launcher) {
  Acc* const outputs[] = {sums.d_scale, sums.d_plane, sums.d_bias};
  const int64_t counts[] = {o.batch * o.channels, o.maps * o.area, o.channels};
  for (int i = 0; i < 3; ++i) {
    if (counts[i] == 0) continue;
    const int status = launcher.Zero(outputs[i], counts[i] * int64_t{sizeof(Acc)});
    if (status != 0) return status;
  }
  return 0;
}

template <typename Pass, typename T, typename Launcher>
int EpilogueOf(const EpilogueTensors<T>& t, const EpilogueOptions& o,
               const EpilogueSums<AccOf<T>>& sums, const Launcher& launcher) {
  if (Empty(o)) return Pass::kSums ? ZeroSums(o, sums, launcher) : 0;
  if (Pass::kSums && sums.scratch == nullptr) return kInvalidValue;
  if (o.channels % kWide<T> == 0 &&
      Aligned(16, t.in[0], t.in[1], t.in[2], t.out[0], t.out[1])) {
    return EpilogueWords<Pass, T, kWide<T>>(t, o, sums, launcher);
  }
  return EpilogueWords<Pass, T, 1>(t, o, sums, launcher);
}

template <typename T>
EpilogueTensors<T> TensorsOf(const void* scale, const void* plane, const void* bias) {
  using Acc = AccOf<T>;
  EpilogueTensors<T> t{};
  t.scale = static_cast<const Acc*>(scale);
  t.plane = static_cast<const Acc*>(plane);
  t.bias = static_cast<const Acc*>(bias);
  return t;
}

template <typename Acc>
EpilogueSums<Acc> SumsOf(void* d_scale, void* d_plane, void* d_bias, void* scratch) {
  return {static_cast<Acc*>(d_scale), static_cast<Acc*>(d_plane),
          static_cast<Acc*>(d_bias), scratch};
}

template <typename Launcher>
int StyledEpilogue(int dtype, const void* x, const void* scale, const void* noise,
                   const void* strength, const void* bias, const EpilogueOptions& o,
                   void* y, const Launcher& launcher) {
  if (!Valid(o)) return kInvalidValue;
  return ForDtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    using Acc = AccOf<T>;
    EpilogueTensors<T> t = TensorsOf<T>(scale, noise, bias);
    t.in[0] = static_cast<const T*>(x);
    t.out[0] = static_cast<T*>(y);
    t.strength = static_cast<const Acc*>(strength);
    return EpilogueOf<ForwardPass>(t, o, EpilogueSums<Acc>{}, launcher);
  });
}

template <typename Launcher>
int StyledEpilogueGrad(int dtype, const void* dy, const void* y, const void* scale,
                       const void* plane, const void* bias, const EpilogueOptions& o,
                       void* scratch, void* dx, void* d_scale, void* d_plane,
                       void* d_bias, const Launcher& launcher) {
  if (!Valid(o)) return kInvalidValue;
  return ForDtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    EpilogueTensors<T> t = TensorsOf<T>(scale, plane, bias);
    t.in[0] = static_cast<const T*>(dy);
    t.in[1] = static_cast<const T*>(y);
    t.out[0] = static_cast<T*>(dx);
    const auto sums = SumsOf<AccOf<T>>(d_scale, d_plane, d_bias, scratch);
    return EpilogueOf<GradPass>(t, o, sums, launcher);
  });
}

template <typename Launcher>
int StyledEpilogueGradGrad(int dtype, const void* v_x, const void* v_scale,
                           const void* v_plane, const void* v_bias, const void* dy,
                           const void* y, const void* scale, const void* plane,
                           const void* bias, const EpilogueOptions& o, void* scratch,
                           void* d_dy, void* d_y, void* d_scale, void* d_plane,
                           void* d_bias, const Launcher& launcher) {
  if (!Valid(o)) return kInvalidValue;
  return ForDtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    using Acc = AccOf<T>;
    EpilogueTensors<T> t = TensorsOf<T>(scale, plane, bias);
    t.in[0] = static_cast<const T*>(v_x);
    t.in[1] = static_cast<const T*>(dy);
    t.in[2] = static_cast<const T*>(y);
    t.out[0] = static_cast<T*>(d_dy);
    t.out[1] = static_cast<T*>(d_y);
    t.v_scale = static_cast<const Acc*>(v_scale);
    t.v_plane = static_cast<const Acc*>(v_plane);
    t.v_bias = static_cast<const Acc*>(v_bias);
    const auto sums = SumsOf<Acc>(d_scale, d_plane, d_bias, scratch);
    return EpilogueOf<SecondPass>(t, o, sums, launcher);
  });
}

}  // namespace cuda
}  // namespace tfstylegan

#endif  // TFSTYLEGAN_CUSTOM_OPS_STYLED_EPILOGUE_KERNELS_CU_H_
