// Runs the bodies of the CUDA kernels on a host: block by block, phase by phase between
// two barriers, thread by thread. Stands in for the launches in custom_ops/*.cu.cc.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

namespace tfstylegan {
namespace cuda {

using Half = _Float16;

struct Bfloat16 {
  Bfloat16() = default;
  explicit Bfloat16(float value) {
    uint32_t word;
    std::memcpy(&word, &value, sizeof(word));
    if (value == value) word += 0x7fff + (word >> 16 & 1);  // to nearest, ties to even
    bits = static_cast<uint16_t>(word >> 16);
  }
  explicit operator float() const {
    const uint32_t word = uint32_t{bits} << 16;
    float value;
    std::memcpy(&value, &word, sizeof(value));
    return value;
  }
  uint16_t bits;
};

}  // namespace cuda
}  // namespace tfstylegan

#include "fused_bias_act_kernels.cu.h"
#include "styled_epilogue_kernels.cu.h"
#include "upfirdn2d_kernels.cu.h"

namespace tfstylegan {
namespace cuda {
namespace {

// What no thread has written must not be read: a NaN shows.
template <typename Acc>
constexpr Acc kPoison = std::numeric_limits<Acc>::quiet_NaN();

template <typename Acc>
const Acc* TapsOf(const ParameterTaps<Acc>& taps) {
  return taps.v;
}
template <typename Acc>
const Acc* TapsOf(const Acc* taps) {
  return taps;
}

int64_t last_items = 0;
constexpr int64_t kMostRows = int64_t{1} << 24;  // then, of a sum: else one waits long

// Where the loops over tiles, or items, begin.
int64_t First(int64_t items) {
  return last_items == 0 || items < last_items ? 0 : items - last_items;
}

struct HostLauncher {
  static constexpr int64_t kMostBlocks = 3;  // so that threads go round their loops

  template <typename T, int kMode, int V>
  int Strips(const StripArgs<AccOf<T>>& args, const T* x, T* y) const {
    using S = Strip<T, kMode, V>;
    using Word = typename S::Word;
    for (int64_t tile = First(args.tiles); tile < args.tiles; ++tile) {
      std::vector<Word> ring(S::kSharedWords);
      for (Word& word : ring) {
        for (int v = 0; v < V; ++v) word.v[v] = T(kPoison<float>);
      }
      std::vector<S> strips;
      for (int t = 0; t < kStripThreads; ++t) strips.emplace_back(args, tile, t);
      std::vector<typename S::Window> windows(kStripThreads);
      for (auto& window : windows) S::Clear(&window);
      const int64_t steps = strips[0].Steps();
      for (int step = 0; step < kStripStages - 1 && step < steps; ++step) {
        for (const S& strip : strips) strip.Load(step, x, ring.data());
      }
      for (int64_t step = 0; step < steps; ++step) {
        const int64_t ahead = step + kStripStages - 1;
        for (int t = 0; t < kStripThreads; ++t) {
          if (ahead < steps) strips[t].Load(ahead, x, ring.data());
        }
        for (int t = 0; t < kStripThreads; ++t) {
          strips[t].Compute(step, ring.data(), &windows[t], y);
        }
      }
    }
    return 0;
  }

  template <typename T, int V, typename Taps>
  int General(const Shape& shape, bool separable, const Taps& taps, int64_t items,
              const T* x, T* y) const {
    for (int64_t item = First(items); item < items; ++item) {
      cuda::General<T, V>(shape, separable, TapsOf(taps), item, x, y);
    }
    return 0;
  }

  int Upload(void* to, const void* from, int64_t bytes) const {
    std::memcpy(to, from, bytes);
    return 0;
  }

  template <bool kBackward, typename T, int V, typename A>
  int Pointwise(const PointwiseArgs<T>& args, const A& act) const {
    for (int64_t block = 0; block < args.blocks; ++block) {
      for (int t = 0; t < kThreads; ++t) {
        PointwiseThread<kBackward, T, V>(args, act, block, t);
      }
    }
    return 0;
  }

  template <typename T, int V, typename A>
  int Sum(const SumArgs<T>& args, const A& act, AccOf<T>* partial) const {
    using Acc = AccOf<T>;
    for (int64_t item = First(args.items); item < args.items; ++item) {
      std::vector<Acc> shared(kThreads * V, kPoison<Acc>);
      for (int t = 0; t < kThreads; ++t) {
        SumThread<T, V>(args, act, item, t, shared.data());
      }
      for (int half = kThreads / 2; half >= 1 << args.lane_bits; half /= 2) {
        for (int t = 0; t < kThreads; ++t) TreeThread<V>(t, half, shared.data());
      }
      for (int t = 0; t < kThreads; ++t) {
        PartialThread<T, V>(args, item, t, shared.data(), partial);
      }
    }
    return 0;
  }

  template <typename Pass, typename T, int V>
  int Epilogue(const EpilogueArgs<T>& args,
               const Activation<AccOf<T>, false>& act) const {
    using Acc = AccOf<T>;
    using Thread = EpilogueThread<Pass, T, V>;
    for (int64_t item = First(args.items); item < args.items; ++item) {
      std::vector<Acc> shared(Thread::kShared, kPoison<Acc>);
      std::vector<Thread> threads;
      for (int t = 0; t < kThreads; ++t) threads.emplace_back(args, item, t);
      const int64_t steps = threads[0].Steps();
      for (int64_t step = 0; step < steps; ++step) {
        for (Thread& thread : threads) thread.Compute(act, step, shared.data());
        if (!Pass::kSums) continue;
        if (1 << args.lane_bits > kFold) {
          for (const Thread& thread : threads) thread.FoldRows(shared.data());
        }
        for (const Thread& thread : threads) thread.WriteRows(step, shared.data());
        std::fill(shared.begin(), shared.end(), kPoison<Acc>);
      }
      if (!Pass::kSums) continue;
      for (const Thread& thread : threads) thread.LeaveSums(shared.data());
      for (int half = kThreads / 2; half >= 1 << args.lane_bits; half /= 2) {
        for (int t = 0; t < kThreads; ++t) TreeThread<2 * V>(t, half, shared.data());
      }
      for (const Thread& thread : threads) thread.WriteSums(shared.data());
    }
    return 0;
  }

  template <typename Acc, typename Write>
  int SumColumns(const Columns<Acc>& sums, const Write& write) const {
    if (last_items != 0 && sums.rows > kMostRows) return 0;
    const int64_t blocks = ColumnBlocks(sums);
    for (int64_t block = First(blocks); block < blocks; ++block) {
      std::vector<Acc> shared(kThreads, kPoison<Acc>);
      for (int t = 0; t < kThreads; ++t) ColumnThread(sums, block, t, shared.data());
      for (int half = kThreads / 2; half >= kColumnLanes; half /= 2) {
        for (int t = 0; t < kThreads; ++t) TreeThread<1>(t, half, shared.data());
      }
      for (int t = 0; t < kThreads; ++t) {
        WriteThread(sums, block, t, shared.data(), write);
      }
    }
    return 0;
  }

  int Zero(void* pointer, int64_t bytes) const {
    std::memset(pointer, 0, bytes);
    return 0;
  }
};

}  // namespace
}  // namespace cuda
}  // namespace tfstylegan

namespace cuda = tfstylegan::cuda;

extern "C" {

int64_t tfstylegan_upfirdn2d_cuda_scratch(int dtype,
                                          const TfstyleganUpfirdn2dShape* shape) {
  return cuda::Upfirdn2dScratch(dtype, *shape);
}

int tfstylegan_upfirdn2d_cuda(int dtype, const void* x, const double* taps,
                              const TfstyleganUpfirdn2dShape* shape, void* scratch,
                              void* y, void*) {
  return cuda::Upfirdn2d(dtype, x, taps, *shape, scratch, y, cuda::HostLauncher());
}

int tfstylegan_fused_bias_act_cuda(int dtype, const void* x, const void* bias,
                                   const TfstyleganFusedBiasAct* options, void* y,
                                   void*) {
  return cuda::FusedBiasAct(dtype, x, bias, *options, y, cuda::HostLauncher());
}

int64_t tfstylegan_fused_bias_act_grad_cuda_scratch(
    int dtype, const TfstyleganFusedBiasAct* options) {
  return cuda::FusedBiasActGradScratch(dtype, *options);
}

int tfstylegan_fused_bias_act_grad_cuda(int dtype, const void* dy, const void* dy_bias,
                                        const void* ref, const void* bias,
                                        const TfstyleganFusedBiasAct* options,
                                        void* scratch, void* dx, void* d_bias, void*) {
  return cuda::FusedBiasActGrad(dtype, dy, dy_bias, ref, bias, *options, scratch, dx,
                                d_bias, cuda::HostLauncher());
}

int tfstylegan_styled_epilogue_cuda(int dtype, const void* x, const void* scale,
                                    const void* noise, const void* strength,
                                    const void* bias,
                                    const TfstyleganStyledEpilogue* options, void* y,
                                    void*) {
  return cuda::StyledEpilogue(dtype, x, scale, noise, strength, bias, *options, y,
                              cuda::HostLauncher());
}

int64_t tfstylegan_styled_epilogue_grad_cuda_scratch(
    int dtype, const TfstyleganStyledEpilogue* options) {
  return cuda::StyledEpilogueGradScratch(dtype, *options);
}

int tfstylegan_styled_epilogue_grad_cuda(int dtype, const void* dy, const void* y,
                                         const void* scale, const void* plane,
                                         const void* bias,
                                         const TfstyleganStyledEpilogue* options,
                                         void* scratch, void* dx, void* d_scale,
                                         void* d_plane, void* d_bias, void*) {
  return cuda::StyledEpilogueGrad(dtype, dy, y, scale, plane, bias, *options, scratch,
                                  dx, d_scale, d_plane, d_bias, cuda::HostLauncher());
}

int tfstylegan_styled_epilogue_grad_grad_cuda(
    int dtype, const void* v_x, const void* v_scale, const void* v_plane,
    const void* v_bias, const void* dy, const void* y, const void* scale,
    const void* plane, const void* bias, const TfstyleganStyledEpilogue* options,
    void* scratch, void* d_dy, void* d_y, void* d_scale, void* d_plane, void* d_bias,
    void*) {
  return cuda::StyledEpilogueGradGrad(dtype, v_x, v_scale, v_plane, v_bias, dy, y,
                                      scale, plane, bias, *options, scratch, d_dy, d_y,
                                      d_scale, d_plane, d_bias, cuda::HostLauncher());
}

const char* tfstylegan_cuda_error(int) { return "invalid value"; }

// From now on a launch runs the last `count` tiles or items alone; 0: all of them.
void run_last(int64_t count) { cuda::last_items = count; }

// Whether the strips serve a shape.
int strip_mode(const TfstyleganUpfirdn2dShape* shape) {
  return cuda::StripMode(*shape);
}

// Indices alone, for tensors that are not there. float, words of 4.
//
// The blur's tiles: {batch, group_y, group_x, channel} of a tile; returns how many.
int64_t strip_corner(const TfstyleganUpfirdn2dShape* shape, int64_t tile,
                     int64_t corner[4]) {
  const double taps[4] = {};
  const auto args = cuda::MakeStrips<float, cuda::kBlur, 4>(*shape, taps, taps);
  const cuda::Strip<float, cuda::kBlur, 4> strip(args, tile, 0);
  strip.Corner(corner);
  return args.tiles;
}

// {position, channel} of the word at `first`, and after a stride of the grid.
void cursors(const TfstyleganFusedBiasAct* options, int64_t first, int64_t blocks,
             int64_t at[4]) {
  const auto args = cuda::MakePointwise<float, 4>({}, *options, true, blocks);
  cuda::Cursor cursor = cuda::CursorOf(first, args.channels, args.inner);
  at[0] = cursor.at;
  at[1] = cursor.channel;
  for (int u = 0; u < cuda::kUnroll; ++u) {
    cuda::Advance(args.small, args.channels, args.inner, &cursor);
  }
  cuda::Advance(args.large, args.channels, args.inner, &cursor);
  at[2] = cursor.at;
  at[3] = cursor.channel;
}

// {first, stride, count, channel} of a thread of an item; returns how many items.
int64_t walk(const TfstyleganFusedBiasAct* options, int64_t item, int thread,
             int64_t at[4]) {
  const auto args = cuda::MakeSum<float, 4>({}, *options);
  const cuda::Walk walk = cuda::WalkOf<float, 4>(args, item, thread);
  const int64_t values[] = {walk.first, walk.stride, walk.count, walk.channel};
  std::memcpy(at, values, sizeof(values));
  return args.items;
}

}  // extern "C"
