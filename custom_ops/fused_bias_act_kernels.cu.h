// Bodies of the CUDA kernels of fused_bias_act and the choice between them.
//
// The sums of d_bias are made in two stages: a block sums its part of the rows, and
// column_sums.cu.h adds the parts.

#ifndef TFSTYLEGAN_CUSTOM_OPS_FUSED_BIAS_ACT_KERNELS_CU_H_
#define TFSTYLEGAN_CUSTOM_OPS_FUSED_BIAS_ACT_KERNELS_CU_H_

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "activations.cu.h"
#include "column_sums.cu.h"
#include "cuda_common.cu.h"
#include "fused_bias_act.cu.h"

namespace tfstylegan {
namespace cuda {

using Options = TfstyleganFusedBiasAct;

// Tensors of a launch. Forward: x -> out. Backward: x is dy, plus is dy_bias, out is
// dx. bias and plus may be null; out may be x.
template <typename T>
struct Tensors {
  const T* x;
  const T* ref;
  const T* bias;
  const T* plus;
  T* out;
};

// Position and channel of an element, moved without a division.
struct Cursor {
  int64_t at;  // in [0, inner)
  int64_t channel;
};

TFSTYLEGAN_HD Cursor CursorOf(int64_t element, int64_t channels, int64_t inner) {
  return {element % inner, element / inner % channels};
}

TFSTYLEGAN_HD void Advance(const Cursor& by, int64_t channels, int64_t inner,
                           Cursor* cursor) {
  cursor->at += by.at;
  cursor->channel += by.channel;
  if (cursor->at >= inner) {
    cursor->at -= inner;
    cursor->channel += 1;
  }
  if (cursor->channel >= channels) cursor->channel -= channels;
}

// values[v] = vector[channel of element v of a word]; zero without a vector. `whole`:
// a word is of one channel, or of V channels from a multiple of V.
template <typename T, int V, typename Acc>
TFSTYLEGAN_HD void Gather(const T* vector, bool whole, Cursor cursor, int64_t channels,
                          int64_t inner, Acc* values) {
  if (vector == nullptr) {
    TFSTYLEGAN_UNROLL
    for (int v = 0; v < V; ++v) values[v] = Acc(0);
  } else if (whole && inner == 1) {
    const Pack<T, V> word =
        *reinterpret_cast<const Pack<T, V>*>(vector + cursor.channel);
    TFSTYLEGAN_UNROLL
    for (int v = 0; v < V; ++v) values[v] = static_cast<Acc>(word.v[v]);
  } else if (whole) {
    const Acc value = static_cast<Acc>(vector[cursor.channel]);
    TFSTYLEGAN_UNROLL
    for (int v = 0; v < V; ++v) values[v] = value;
  } else {
    TFSTYLEGAN_UNROLL
    for (int v = 0; v < V; ++v) {
      values[v] = static_cast<Acc>(vector[cursor.channel]);
      if (++cursor.at == inner) {
        cursor.at = 0;
        if (++cursor.channel == channels) cursor.channel = 0;
      }
    }
  }
}

// out[first ...], V elements from their words; also returns them unrounded.
template <bool kBackward, typename T, int V, typename A, typename Acc>
TFSTYLEGAN_HD void ComputeWord(const A& act, const Pack<T, V>& x, const Pack<T, V>& ref,
                               const Acc* bias, const Acc* plus, T* out, Acc* values) {
  Pack<T, V> word;
  TFSTYLEGAN_UNROLL
  for (int v = 0; v < V; ++v) {
    const Acc from = static_cast<Acc>(x.v[v]);
    if constexpr (kBackward) {
      const Acc of = static_cast<Acc>(ref.v[v]) + (act.FromInput() ? bias[v] : Acc(0));
      const Acc y = act.FromInput() && act.clamped ? act.Value(of) : of;
      values[v] = act.Masked(act.Times(from + plus[v], of), y);
    } else {
      values[v] = act.Clamped(act.Value(from + bias[v]));
    }
    word.v[v] = static_cast<T>(values[v]);
  }
  Store(word, out);
}

constexpr int kUnroll = 4;  // words of a thread that are on their way at once

// Without sums: kThreads * kUnroll neighbouring words to a block, then a stride.
template <typename T>
struct PointwiseArgs {
  Tensors<T> t;
  int64_t size, channels, inner;
  int64_t blocks;
  bool whole;
  Cursor small;  // kThreads words
  Cursor large;  // from the end of a block's words to its next ones
};

template <typename T, int V>
PointwiseArgs<T> MakePointwise(const Tensors<T>& t, const Options& o, bool whole,
                               int64_t most_blocks) {
  PointwiseArgs<T> args{};
  args.t = t;
  args.size = o.outer * o.channels * o.inner;
  args.channels = o.channels;
  args.inner = o.inner;
  args.whole = whole;
  args.blocks = Least(CeilDiv(args.size, int64_t{kThreads} * kUnroll * V), most_blocks);
  const int64_t word_row = int64_t{kThreads} * V;
  args.small = CursorOf(word_row, o.channels, o.inner);
  args.large = CursorOf((args.blocks - 1) * kUnroll * word_row, o.channels, o.inner);
  return args;
}

template <bool kBackward, typename T, int V, typename A>
TFSTYLEGAN_HD void PointwiseThread(const PointwiseArgs<T>& args, const A& act,
                                   int64_t block, int thread) {
  using Acc = AccOf<T>;
  using Word = Pack<T, V>;
  constexpr int64_t kRow = int64_t{kThreads} * V;
  const Tensors<T>& t = args.t;
  const bool reads_ref = kBackward && !act.Constant();
  const bool vectors = t.bias != nullptr || t.plus != nullptr;
  int64_t first = block * kUnroll * kRow + int64_t{thread} * V;
  Cursor cursor{0, 0};
  if (vectors) cursor = CursorOf(first, args.channels, args.inner);
  for (; first < args.size; first += args.blocks * kUnroll * kRow) {
    Word x[kUnroll], ref[kUnroll];
    TFSTYLEGAN_UNROLL
    for (int u = 0; u < kUnroll; ++u) {
      const int64_t i = first + u * kRow;
      if (i + V > args.size) continue;
      x[u] = *reinterpret_cast<const Word*>(t.x + i);
      ref[u] = reads_ref ? *reinterpret_cast<const Word*>(t.ref + i) : x[u];
    }
    TFSTYLEGAN_UNROLL
    for (int u = 0; u < kUnroll; ++u) {
      const int64_t i = first + u * kRow;
      if (i + V <= args.size) {
        Acc values[V], bias[V], plus[V];
        Gather<T, V>(t.bias, args.whole, cursor, args.channels, args.inner, bias);
        Gather<T, V>(t.plus, args.whole, cursor, args.channels, args.inner, plus);
        ComputeWord<kBackward, T, V>(act, x[u], ref[u], bias, plus, t.out + i, values);
      }
      if (vectors) Advance(args.small, args.channels, args.inner, &cursor);
    }
    if (vectors) Advance(args.large, args.channels, args.inner, &cursor);
  }
  if (block == 0 && thread < args.size % V) {  // the last, incomplete word
    const int64_t i = args.size - 1 - thread;
    if (vectors) cursor = CursorOf(i, args.channels, args.inner);
    Acc value, bias, plus;
    Gather<T, 1>(t.bias, false, cursor, args.channels, args.inner, &bias);
    Gather<T, 1>(t.plus, false, cursor, args.channels, args.inner, &plus);
    const Pack<T, 1> x{t.x[i]}, ref{reads_ref ? t.ref[i] : t.x[i]};
    ComputeWord<kBackward, T, 1>(act, x, ref, &bias, &plus, t.out + i, &value);
  }
}

// With sums. For inner = 1 a block has `lanes` words of a row and a part of the rows;
// otherwise a part of the inner elements of one (outer, channel), with lanes = 1. The
// sums of the parts are partial[part, channel].
template <typename T>
struct SumArgs {
  Tensors<T> t;
  int64_t outer, channels, inner;
  int lane_bits;
  int64_t chunks;   // of a row's words, for inner = 1
  int64_t length;   // rows, or words, of a part
  int64_t pieces;   // parts of the inner elements, for inner > 1
  int64_t parts;
  int64_t items;    // blocks' worth of work
};

constexpr int64_t kSumBlocks = 528;      // four for each of 132 multiprocessors
constexpr int64_t kPieceWords = 8192;    // of a part of the inner elements

template <typename T, int V>
SumArgs<T> MakeSum(const Tensors<T>& t, const Options& o) {
  SumArgs<T> args{};
  args.t = t;
  args.outer = o.outer;
  args.channels = o.channels;
  args.inner = o.inner;
  if (o.inner == 1) {
    const int64_t words = o.channels / V;
    while ((1 << args.lane_bits) < Least(words, 32)) ++args.lane_bits;
    const int64_t rows = kThreads >> args.lane_bits;
    args.chunks = CeilDiv(words, int64_t{1} << args.lane_bits);
    args.pieces = 1;
    const int64_t parts = Least(CeilDiv(o.outer, rows * kUnroll),
                                CeilDiv(kSumBlocks, args.chunks));
    args.length = CeilDiv(CeilDiv(o.outer, parts), rows) * rows;
    args.parts = CeilDiv(o.outer, args.length);
    args.items = args.parts * args.chunks;
  } else {
    args.chunks = 1;
    args.length = kPieceWords;
    args.pieces = CeilDiv(o.inner, kPieceWords * V);
    args.parts = o.outer * args.pieces;
    args.items = args.parts * o.channels;
  }
  return args;
}

// Where the words of a thread begin and how they follow each other.
struct Walk {
  int64_t first, stride, count;  // elements, elements, words
  int64_t channel;               // of the first element
  bool valid;
};

template <typename T, int V>
TFSTYLEGAN_HD Walk WalkOf(const SumArgs<T>& args, int64_t item, int thread) {
  if (args.inner == 1) {
    const int lanes = 1 << args.lane_bits;
    const int64_t rows = kThreads >> args.lane_bits;
    const int64_t channel =
        (item % args.chunks * lanes + (thread & (lanes - 1))) * V;
    const int64_t row = item / args.chunks * args.length + (thread >> args.lane_bits);
    const int64_t end = Least(item / args.chunks * args.length + args.length,
                              args.outer);
    const bool valid = channel < args.channels && row < end;
    return {row * args.channels + channel, rows * args.channels,
            valid ? CeilDiv(end - row, rows) : 0, channel, valid};
  }
  const int64_t line = item / args.pieces;  // outer * channels + channel
  const int64_t word = item % args.pieces * args.length + thread;
  const int64_t end = Least(item % args.pieces * args.length + args.length,
                            args.inner / V);
  const bool valid = word < end;
  return {line * args.inner + word * V, int64_t{kThreads} * V,
          valid ? CeilDiv(end - word, kThreads) : 0, line % args.channels, valid};
}

// Writes the dx of one thread and leaves its sums in shared[thread, V].
template <typename T, int V, typename A>
TFSTYLEGAN_HD void SumThread(const SumArgs<T>& args, const A& act, int64_t item,
                             int thread, AccOf<T>* shared) {
  using Acc = AccOf<T>;
  using Word = Pack<T, V>;
  const Tensors<T>& t = args.t;
  const bool reads_ref = !act.Constant();
  const Walk walk = WalkOf<T, V>(args, item, thread);
  Acc sums[V], bias[V], plus[V];
  TFSTYLEGAN_UNROLL
  for (int v = 0; v < V; ++v) sums[v] = Acc(0);
  if (walk.valid) {
    const Cursor cursor{0, walk.channel};
    Gather<T, V>(t.bias, true, cursor, args.channels, args.inner, bias);
    Gather<T, V>(t.plus, true, cursor, args.channels, args.inner, plus);
  }
  for (int64_t k = 0; k < walk.count; k += kUnroll) {
    Word x[kUnroll], ref[kUnroll];
    TFSTYLEGAN_UNROLL
    for (int u = 0; u < kUnroll; ++u) {
      if (k + u >= walk.count) continue;
      const int64_t i = walk.first + (k + u) * walk.stride;
      x[u] = *reinterpret_cast<const Word*>(t.x + i);
      ref[u] = reads_ref ? *reinterpret_cast<const Word*>(t.ref + i) : x[u];
    }
    TFSTYLEGAN_UNROLL
    for (int u = 0; u < kUnroll; ++u) {
      if (k + u >= walk.count) continue;
      const int64_t i = walk.first + (k + u) * walk.stride;
      Acc values[V];
      ComputeWord<true, T, V>(act, x[u], ref[u], bias, plus, t.out + i, values);
      TFSTYLEGAN_UNROLL
      for (int v = 0; v < V; ++v) sums[v] += values[v];
    }
  }
  TFSTYLEGAN_UNROLL
  for (int v = 0; v < V; ++v) shared[thread * V + v] = sums[v];
}

// After the tree: the first `lanes` threads write the block's sums.
template <typename T, int V>
TFSTYLEGAN_HD void PartialThread(const SumArgs<T>& args, int64_t item, int thread,
                                 const AccOf<T>* shared, AccOf<T>* partial) {
  using Acc = AccOf<T>;
  const int lanes = 1 << args.lane_bits;
  if (thread >= lanes) return;
  if (args.inner == 1) {
    const int64_t channel = (item % args.chunks * lanes + thread) * V;
    if (channel >= args.channels) return;
    Acc* to = partial + item / args.chunks * args.channels + channel;
    for (int v = 0; v < V; ++v) to[v] = shared[thread * V + v];
  } else {
    Acc sum = Acc(0);
    for (int v = 0; v < V; ++v) sum += shared[v];
    const int64_t line = item / args.pieces;
    const int64_t part = line / args.channels * args.pieces + item % args.pieces;
    partial[part * args.channels + line % args.channels] = sum;
  }
}

// The second stage: what to do with the sum of a channel.
template <typename T>
struct WriteBias {
  T* d_bias;

  TFSTYLEGAN_HD void operator()(int64_t, int64_t channel, AccOf<T> sum) const {
    d_bias[channel] = static_cast<T>(sum);
  }
};

inline bool Valid(const Options& o) {
  return o.act >= 0 && o.act < kActs && o.outer >= 0 && o.channels >= 0 &&
         o.inner >= 0 && o.gain != 0;
}

// Calls f(activation) with the type that holds act.
template <typename T, typename F>
int ForActivation(const Options& o, F f) {
  if (o.act <= kLeakyRelu) return f(MakeActivation<T, false>(o));
  return f(MakeActivation<T, true>(o));
}

// Whether a word of V elements is of one channel or begins at a multiple of V of them.
inline bool WholeWords(const Options& o, int64_t width) {
  return o.inner == 1 ? o.channels % width == 0 : o.inner % width == 0;
}

// Launcher has kMostBlocks of a grid, Pointwise<kBackward, T, V>(args, act),
// Sum<T, V>(args, act, partial), SumColumns(sums, write) and Zero(pointer, bytes); each
// returns a status, 0 for success.
template <bool kBackward, typename T, typename Launcher>
int PointwiseOf(const Tensors<T>& t, const Options& o, const Launcher& launcher) {
  constexpr int V = kWide<T>;
  return ForActivation<T>(o, [&](const auto& act) {
    const bool aligned = Aligned(16, t.x, t.ref, t.out);
    // Vectors are read in words only where the words are whole.
    const bool whole = WholeWords(o, V) && Aligned(16, t.bias, t.plus);
    if (aligned) {
      return launcher.template Pointwise<kBackward, T, V>(
          MakePointwise<T, V>(t, o, whole, Launcher::kMostBlocks), act);
    }
    return launcher.template Pointwise<kBackward, T, 1>(
        MakePointwise<T, 1>(t, o, true, Launcher::kMostBlocks), act);
  });
}

template <typename Launcher>
int FusedBiasAct(int dtype, const void* x, const void* bias, const Options& o, void* y,
                 const Launcher& launcher) {
  if (!Valid(o)) return kInvalidValue;
  if (o.outer == 0 || o.channels == 0 || o.inner == 0) return 0;
  return ForDtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const Tensors<T> t{static_cast<const T*>(x), nullptr, static_cast<const T*>(bias),
                       nullptr, static_cast<T*>(y)};
    return PointwiseOf<false>(t, o, launcher);
  });
}

// Rows with so few channels that words do not hold whole channels fall back to V = 1.
template <typename T>
bool WideSums(const Options& o, const Tensors<T>& t) {
  return WholeWords(o, kWide<T>) && Aligned(16, t.x, t.ref, t.out) &&
         (o.inner > 1 || Aligned(16, t.bias, t.plus));
}

inline int64_t FusedBiasActGradScratch(int dtype, const Options& o) {
  if (!Valid(o) || o.outer == 0 || o.channels == 0 || o.inner == 0) return 0;
  int64_t bytes = 0;
  ForDtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    // Of either width: which it will be depends on the pointers too.
    const int64_t narrow = MakeSum<T, 1>({}, o).parts;
    const bool whole = WholeWords(o, kWide<T>);
    const int64_t wide = whole ? MakeSum<T, kWide<T>>({}, o).parts : 0;
    bytes = (narrow > wide ? narrow : wide) * o.channels * int64_t{sizeof(AccOf<T>)};
    return 0;
  });
  return bytes;
}

template <typename Launcher>
int FusedBiasActGrad(int dtype, const void* dy, const void* dy_bias, const void* ref,
                     const void* bias, const Options& o, void* scratch, void* dx,
                     void* d_bias, const Launcher& launcher) {
  if (!Valid(o)) return kInvalidValue;
  const bool empty = o.outer == 0 || o.channels == 0 || o.inner == 0;
  return ForDtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    using Acc = AccOf<T>;
    if (empty) {
      if (d_bias == nullptr || o.channels == 0) return 0;
      return launcher.Zero(d_bias, o.channels * int64_t{sizeof(T)});
    }
    const Tensors<T> t{static_cast<const T*>(dy), static_cast<const T*>(ref),
                       static_cast<const T*>(bias), static_cast<const T*>(dy_bias),
                       static_cast<T*>(dx)};
    if (d_bias == nullptr) return PointwiseOf<true>(t, o, launcher);
    if (scratch == nullptr) return kInvalidValue;
    Acc* partial = static_cast<Acc*>(scratch);
    return ForActivation<T>(o, [&](const auto& act) {
      int64_t parts;
      int status;
      if (WideSums(o, t)) {
        const auto args = MakeSum<T, kWide<T>>(t, o);
        parts = args.parts;
        status = launcher.template Sum<T, kWide<T>>(args, act, partial);
      } else {
        const auto args = MakeSum<T, 1>(t, o);
        parts = args.parts;
        status = launcher.template Sum<T, 1>(args, act, partial);
      }
      if (status != 0) return status;
      return launcher.SumColumns(Columns<Acc>{partial, 1, parts, o.channels},
                                 WriteBias<T>{static_cast<T*>(d_bias)});
    });
  });
}

}  // namespace cuda
}  // namespace tfstylegan

#endif  // TFSTYLEGAN_CUSTOM_OPS_FUSED_BIAS_ACT_KERNELS_CU_H_
