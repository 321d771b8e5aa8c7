// Inner loops of the styled epilogue (README.md: the ops' contracts).
//
// They go over the pixels of one image, channels innermost: whole vectors first, the
// rest one by one. Vectors over channels and numbers per pixel are held in the type of
// the sums. No loop divides: where a gradient needs v_scale / scale, it is given as
// `ratio`. The activation is linear on both sides of 0: then slope * a = y, and no loop
// needs a or x once there is y.

#ifndef TFSTYLEGAN_CUSTOM_OPS_STYLED_EPILOGUE_H_
#define TFSTYLEGAN_CUSTOM_OPS_STYLED_EPILOGUE_H_

#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "cpu_dispatch.h"
#include "vectors.h"

namespace tfstylegan {

template <typename T>
using SumsOf = std::conditional_t<std::is_same_v<T, double>, double, float>;

// `count` pixels of one image; each pass says what it reads and writes.
template <typename T>
struct Pixels {
  using Acc = SumsOf<T>;
  int64_t count, channels;
  const T *x, *y, *dy, *v;          // [count, C]
  T *out, *d_y;                     // [count, C]
  const Acc *plane, *v_plane;       // [count]
  Acc strength;                     // of plane
  Acc* row;                         // [count]
  const Acc *scale, *bias, *ratio;  // [C]
  Acc *sum, *product_sum;           // [C]; added to
};

// y = a * above for a > 0, otherwise a * below. relu is below = 0, but with a slope of
// zero infinity * 0 would be NaN.
template <bool kRelu, bool kClamp, typename Acc>
struct Rectifier {
  Acc above, below, clamp;  // clamp of |y|
  Acc sign;                 // of above

  Rectifier(double alpha, double gain, double clamp)
      : above(gain), below(alpha * gain), clamp(clamp), sign(gain > 0 ? 1 : -1) {}

  // V: Acc or a vector of it.
  template <typename V>
  TFSTYLEGAN_INLINE V Value(V a) const {
    V y = a <= Acc(0) ? (kRelu ? V{} : a * below) : a * above;
    if (kClamp) {
      y = y > clamp ? V{} + clamp : y;
      y = y < -clamp ? V{} - clamp : y;
    }
    return y;
  }
  // d * slope.
  template <typename V>
  TFSTYLEGAN_INLINE V Times(V d, V y) const {
    return y * sign > Acc(0) ? d * above : (kRelu ? V{} : d * below);
  }
  // value, or 0 at the clamp, where no gradient passes.
  template <typename V>
  TFSTYLEGAN_INLINE V Masked(V value, V y) const {
    if (!kClamp) return value;
    return (y < Acc(0) ? -y : y) >= clamp ? V{} : value;
  }
};

// One number, or a vector of them.
template <typename V, typename T>
TFSTYLEGAN_INLINE V Get(const T* from) {
  if constexpr (std::is_arithmetic_v<V>) {
    return static_cast<V>(*from);
  } else {
    return Load<SumsOf<T>>(from);
  }
}

template <typename V, typename T>
TFSTYLEGAN_INLINE void Put(V value, T* to) {
  if constexpr (std::is_arithmetic_v<V>) {
    *to = static_cast<T>(value);
  } else {
    Store<T>(value, to);
  }
}

template <typename V, typename Acc>
TFSTYLEGAN_INLINE void Add(V value, Acc* to) {
  Put(Get<V>(to) + value, to);
}

template <typename Acc, typename V>
TFSTYLEGAN_INLINE Acc SumOfLanes(V vector) {
  constexpr int kLanes = sizeof(V) / sizeof(Acc);
  Acc lanes[kLanes];
  std::memcpy(lanes, &vector, sizeof(lanes));
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}

// x, scale, bias, plane -> out = y.
struct ForwardPass {
  static constexpr bool kHasRow = false;

  template <typename V, typename Act, typename T, typename Acc>
  static TFSTYLEGAN_INLINE void At(const Act& act, const Pixels<T>& p, int64_t i,
                                   int64_t c, Acc plane, Acc, V*) {
    const int64_t at = i * p.channels + c;
    const V shift = Get<V>(p.bias + c) + plane;
    Put(act.Value(Get<V>(p.x + at) * Get<V>(p.scale + c) + shift), p.out + at);
  }
};

// dy, y, scale, bias, plane -> out = dx, row = sum of da over channels; over pixels,
// sum of da and product_sum of da * x * scale. da = dy * slope is the gradient in
// a = x * scale + bias + plane.
struct GradPass {
  static constexpr bool kHasRow = true;

  template <typename V, typename Act, typename T, typename Acc>
  static TFSTYLEGAN_INLINE void At(const Act& act, const Pixels<T>& p, int64_t i,
                                   int64_t c, Acc plane, Acc, V* row) {
    const int64_t at = i * p.channels + c;
    const V y = Get<V>(p.y + at), dy = Get<V>(p.dy + at);
    const V da = act.Masked(act.Times(dy, y), y);
    const V shift = Get<V>(p.bias + c) + plane;
    Put(da * Get<V>(p.scale + c), p.out + at);
    Add(da, p.sum + c);
    Add(act.Masked(dy * y, y) - da * shift, p.product_sum + c);
    *row += da;
  }
};

// v, dy, y, scale, ratio, bias (v_bias - ratio * bias), plane, v_plane -> out = d_dy,
// d_y, row = sum of ratio * da over channels; over pixels, sum of da and product_sum of
// v * da.
struct SecondPass {
  static constexpr bool kHasRow = true;

  template <typename V, typename Act, typename T, typename Acc>
  static TFSTYLEGAN_INLINE void At(const Act& act, const Pixels<T>& p, int64_t i,
                                   int64_t c, Acc plane, Acc v_plane, V* row) {
    const int64_t at = i * p.channels + c;
    const V v = Get<V>(p.v + at), y = Get<V>(p.y + at), dy = Get<V>(p.dy + at);
    const V ratio = Get<V>(p.ratio + c);
    const V shift = Get<V>(p.bias + c) + (v_plane - ratio * plane);
    const V tangent = v * Get<V>(p.scale + c) + shift;
    const V da = act.Masked(act.Times(dy, y), y);
    Put(act.Masked(act.Times(tangent, y) + ratio * y, y), p.out + at);
    Put(act.Masked(ratio * dy, y), p.d_y + at);
    Add(da, p.sum + c);
    Add(v * da, p.product_sum + c);
    *row += ratio * da;
  }
};

template <typename Pass, typename Act, typename T>
TFSTYLEGAN_INLINE void Loop(const Act& act, const Pixels<T>& given) {
  using Acc = SumsOf<T>;
  using V = typename Vector<Acc>::Type;
  const Pixels<T> p = given;
  for (int64_t i = 0; i < p.count; ++i) {
    const Acc plane = p.plane[i] * p.strength;
    const Acc v_plane = p.v_plane == nullptr ? 0 : p.v_plane[i];
    V row{};
    Acc rest = 0;
    int64_t c = 0;
    for (; c + Vector<Acc>::kLanes <= p.channels; c += Vector<Acc>::kLanes) {
      Pass::template At<V>(act, p, i, c, plane, v_plane, &row);
    }
    for (; c < p.channels; ++c) {
      Pass::template At<Acc>(act, p, i, c, plane, v_plane, &rest);
    }
    if (Pass::kHasRow) p.row[i] = SumOfLanes<Acc>(row) + rest;
  }
}

template <typename Pass, bool kRelu, typename T>
TFSTYLEGAN_INLINE void RunPass(double alpha, double gain, double clamp,
                               const Pixels<T>& pixels) {
  if (clamp < std::numeric_limits<double>::infinity()) {
    // As y has it: rounded down, a clamped y would be below the clamp.
    clamp = static_cast<double>(static_cast<T>(clamp));
    Loop<Pass>(Rectifier<kRelu, true, SumsOf<T>>(alpha, gain, clamp), pixels);
  } else {
    Loop<Pass>(Rectifier<kRelu, false, SumsOf<T>>(alpha, gain, clamp), pixels);
  }
}

}  // namespace tfstylegan

#endif  // TFSTYLEGAN_CUSTOM_OPS_STYLED_EPILOGUE_H_
