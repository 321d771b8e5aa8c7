// Activations and the loops over them (README.md: the ops' contracts).
//
// An activation is a struct with Value(a) and Times(dy, ref) = dy * slope(ref), where
// ref is y or, if kFromInput, a = x + b. The gain is part of both.

#ifndef TFSTYLEGAN_CUSTOM_OPS_FUSED_BIAS_ACT_H_
#define TFSTYLEGAN_CUSTOM_OPS_FUSED_BIAS_ACT_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include "cpu_dispatch.h"
#include "vectors.h"

namespace tfstylegan {

constexpr double kSeluScale = 1.0507009873554805;
constexpr double kSeluAlpha = 1.6732632423543772;

template <typename Acc>
struct Scalars {
  Acc alpha;
  Acc gain;
  Acc clamp;  // infinity for none
};

// relu and linear/lrelu take numbers or vectors.
//
// relu alone: with a slope of zero, infinity * 0 would be NaN.
template <typename Acc>
struct Relu {
  static constexpr bool kFromInput = false;
  static constexpr bool kVectors = true;
  Scalars<Acc> s;
  TFSTYLEGAN_INLINE Acc Value(Acc a) const { return a <= 0 ? Acc(0) : a * s.gain; }
  template <typename V>
  TFSTYLEGAN_INLINE V Times(V dy, V y) const {
    const V u = s.gain > 0 ? y : -y;
    return u > 0 ? dy * s.gain : V{};
  }
};

// linear is alpha = 1.
template <typename Acc>
struct LeakyRelu {
  static constexpr bool kFromInput = false;
  static constexpr bool kVectors = true;
  Scalars<Acc> s;
  TFSTYLEGAN_INLINE Acc Value(Acc a) const {
    return (a > 0 ? a : a * s.alpha) * s.gain;
  }
  template <typename V>
  TFSTYLEGAN_INLINE V Times(V dy, V y) const {
    const V u = s.gain > 0 ? y : -y;
    return u > 0 ? dy * s.gain : dy * (s.gain * s.alpha);
  }
};

template <typename Acc>
struct Tanh {
  static constexpr bool kFromInput = false;
  static constexpr bool kVectors = false;
  Scalars<Acc> s;
  Acc Value(Acc a) const { return std::tanh(a) * s.gain; }
  Acc Times(Acc dy, Acc y) const {
    const Acc u = y / s.gain;
    return dy * s.gain * (1 - u * u);
  }
};

template <typename Acc>
struct Sigmoid {
  static constexpr bool kFromInput = false;
  static constexpr bool kVectors = false;
  Scalars<Acc> s;
  Acc Value(Acc a) const { return s.gain / (1 + std::exp(-a)); }
  Acc Times(Acc dy, Acc y) const {
    const Acc u = y / s.gain;
    return dy * s.gain * u * (1 - u);
  }
};

template <typename Acc>
struct Elu {
  static constexpr bool kFromInput = false;
  static constexpr bool kVectors = false;
  Scalars<Acc> s;
  Acc Value(Acc a) const { return (a >= 0 ? a : std::expm1(a)) * s.gain; }
  Acc Times(Acc dy, Acc y) const {
    const Acc u = y / s.gain;
    return dy * s.gain * (u >= 0 ? Acc(1) : u + 1);
  }
};

template <typename Acc>
struct Selu {
  static constexpr bool kFromInput = false;
  static constexpr bool kVectors = false;
  Scalars<Acc> s;
  Acc Value(Acc a) const {
    const Acc scale = kSeluScale, alpha = kSeluAlpha;
    return scale * (a >= 0 ? a : alpha * std::expm1(a)) * s.gain;
  }
  Acc Times(Acc dy, Acc y) const {
    const Acc scale = kSeluScale, alpha = kSeluAlpha;
    const Acc u = y / s.gain;
    return dy * s.gain * (u >= 0 ? scale : u + scale * alpha);
  }
};

template <typename Acc>
struct Softplus {
  static constexpr bool kFromInput = false;
  static constexpr bool kVectors = false;
  Scalars<Acc> s;
  Acc Value(Acc a) const {  // log(1 + e^a) without overflow
    return (std::fmax(a, Acc(0)) + std::log1p(std::exp(-std::abs(a)))) * s.gain;
  }
  Acc Times(Acc dy, Acc y) const { return -dy * s.gain * std::expm1(-y / s.gain); }
};

template <typename Acc>
struct Swish {
  static constexpr bool kFromInput = true;
  static constexpr bool kVectors = false;
  Scalars<Acc> s;
  Acc Value(Acc a) const { return s.gain * a / (1 + std::exp(-a)); }
  Acc Times(Acc dy, Acc a) const {
    const Acc c = 1 / (1 + std::exp(-a));
    return dy * s.gain * c * (1 + a * (1 - c));
  }
};

template <typename T>
using AccOf = std::conditional_t<std::is_same_v<T, double>, double, float>;

// One run of `length` <= tile elements.
template <typename T>
struct Run {
  using Acc = AccOf<T>;
  const T* x;       // forward: x; backward: dy
  const T* ref;     // backward: y, or x for activations with a slope from the input
  const Acc* bias;  // [tile]
  const Acc* plus;  // backward: [tile] added to dy
  T* out;           // forward: y; backward: dx
  Acc* sum;         // backward: [tile], dx is added
};

template <bool kClamp, typename Act, typename T>
TFSTYLEGAN_INLINE void Forward(const Act& act, const Run<T>& run, int64_t length) {
  using Acc = AccOf<T>;
  const Acc top = act.s.clamp;
  const T* __restrict x = run.x;
  const Acc* __restrict bias = run.bias;
  T* __restrict out = run.out;
  for (int64_t i = 0; i < length; ++i) {
    Acc y = act.Value(static_cast<Acc>(x[i]) + bias[i]);
    if (kClamp) {
      y = y > top ? top : y;
      y = y < -top ? -top : y;
    }
    out[i] = static_cast<T>(y);
  }
}

template <bool kClamp, typename Act, typename T>
TFSTYLEGAN_INLINE void Backward(const Act& act, const Run<T>& run, int64_t length) {
  using Acc = AccOf<T>;
  const Acc top = act.s.clamp;
  const T* __restrict dy = run.x;
  const T* __restrict refs = run.ref;
  const Acc* __restrict bias = run.bias;
  const Acc* __restrict plus = run.plus;
  T* __restrict out = run.out;
  Acc* __restrict sum = run.sum;
  for (int64_t i = 0; i < length; ++i) {
    Acc ref = static_cast<Acc>(refs[i]);
    if (Act::kFromInput) ref += bias[i];
    Acc dx = act.Times(static_cast<Acc>(dy[i]) + plus[i], ref);
    if (kClamp) {
      const Acc y = Act::kFromInput ? act.Value(ref) : ref;
      dx = (y < 0 ? -y : y) >= top ? Acc(0) : dx;
    }
    out[i] = static_cast<T>(dx);
    sum[i] += dx;
  }
}

// Backward of kTogether tiles: each of their sums is loaded and stored once.
constexpr int kTogether = 4;

template <bool kClamp, typename Act, typename T>
TFSTYLEGAN_INLINE void BackwardTiles(const Act& act, const Run<T>& run, int64_t tile) {
  using Acc = AccOf<T>;
  using V = typename Vector<Acc>::Type;
  constexpr int64_t kLanes = Vector<Acc>::kLanes;
  const int64_t whole = tile / kLanes * kLanes;
  const Act copy = act;  // in registers
  for (int64_t i = 0; i < whole; i += kLanes) {
    const V plus = Load<Acc>(run.plus + i);
    V sum = Load<Acc>(run.sum + i);
#pragma GCC unroll 4
    for (int t = 0; t < kTogether; ++t) {
      const V y = Load<Acc>(run.ref + t * tile + i);
      V dx = copy.Times(Load<Acc>(run.x + t * tile + i) + plus, y);
      if (kClamp) {
        const V size = y < 0 ? -y : y;
        dx = size >= copy.s.clamp ? V{} : dx;
      }
      Store<T>(dx, run.out + t * tile + i);
      sum += dx;
    }
    Store<Acc>(sum, run.sum + i);
  }
  for (int t = 0; t < kTogether && whole < tile; ++t) {
    const int64_t from = t * tile + whole;
    const Run<T> rest{run.x + from,     run.ref + from, run.bias + whole,
                      run.plus + whole, run.out + from, run.sum + whole};
    Backward<kClamp>(act, rest, tile - whole);
  }
}

template <bool kBackward, typename Act, typename T>
TFSTYLEGAN_INLINE void Runs(Act act, Run<T> run, int64_t tile, int64_t count) {
  using Acc = AccOf<T>;
  const bool clamp = act.s.clamp < std::numeric_limits<Acc>::infinity();
  // As y has it: rounded down, a clamped y would be below the clamp.
  act.s.clamp = static_cast<Acc>(static_cast<T>(act.s.clamp));
  int64_t begin = 0;
  if constexpr (kBackward && Act::kVectors) {
    const int64_t step = kTogether * tile;
    for (; begin + step <= count; begin += step) {
      if (clamp) {
        BackwardTiles<true>(act, run, tile);
      } else {
        BackwardTiles<false>(act, run, tile);
      }
      run.x += step;
      run.ref += step;
      run.out += step;
    }
  }
  for (; begin < count; begin += tile) {
    const int64_t length = std::min(tile, count - begin);
    if constexpr (kBackward) {
      if (clamp) {
        Backward<true>(act, run, length);
      } else {
        Backward<false>(act, run, length);
      }
      run.ref += length;
    } else {
      if (clamp) {
        Forward<true>(act, run, length);
      } else {
        Forward<false>(act, run, length);
      }
    }
    run.x += length;
    run.out += length;
  }
}

// to[i] += the sum of every width-th value from the i-th, in order.
template <typename Acc>
void AddInto(const std::vector<Acc>& values, int64_t width, Acc* to) {
  for (size_t begin = 0; begin < values.size(); begin += width) {
    for (int64_t i = 0; i < width; ++i) to[i] += values[begin + i];
  }
}

}  // namespace tfstylegan

#endif  // TFSTYLEGAN_CUSTOM_OPS_FUSED_BIAS_ACT_H_
