// Activations and their slopes (see README.md for the op's contract).
//
// Each is a struct with y = Value(a) and Slope(ref), where ref is y or, if kFromInput,
// a = x + b. The gain is part of both.

#ifndef TFSTYLEGAN_CUSTOM_OPS_FUSED_BIAS_ACT_H_
#define TFSTYLEGAN_CUSTOM_OPS_FUSED_BIAS_ACT_H_

#include <cmath>

#include "cpu_dispatch.h"

namespace tfstylegan {

constexpr double kSeluScale = 1.0507009873554805;
constexpr double kSeluAlpha = 1.6732632423543772;

template <typename Acc>
struct Scalars {
  Acc alpha;
  Acc gain;
  Acc clamp;  // infinity for none
};

// relu alone: with a slope of zero, infinity * 0 would be NaN.
template <typename Acc>
struct Relu {
  static constexpr bool kFromInput = false;
  Scalars<Acc> s;
  TFSTYLEGAN_INLINE Acc Value(Acc a) const { return a <= 0 ? Acc(0) : a * s.gain; }
  TFSTYLEGAN_INLINE Acc Times(Acc dy, Acc y) const {
    return (s.gain > 0 ? y : -y) > 0 ? dy * s.gain : Acc(0);
  }
};

// linear is alpha = 1.
template <typename Acc>
struct LeakyRelu {
  static constexpr bool kFromInput = false;
  Scalars<Acc> s;
  TFSTYLEGAN_INLINE Acc Value(Acc a) const {
    return (a > 0 ? a : a * s.alpha) * s.gain;
  }
  TFSTYLEGAN_INLINE Acc Times(Acc dy, Acc y) const {
    return dy * ((s.gain > 0 ? y : -y) > 0 ? s.gain : s.gain * s.alpha);
  }
};

template <typename Acc>
struct Tanh {
  static constexpr bool kFromInput = false;
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
  Scalars<Acc> s;
  Acc Value(Acc a) const {  // log(1 + e^a) without overflow
    return (std::fmax(a, Acc(0)) + std::log1p(std::exp(-std::abs(a)))) * s.gain;
  }
  Acc Times(Acc dy, Acc y) const { return -dy * s.gain * std::expm1(-y / s.gain); }
};

template <typename Acc>
struct Swish {
  static constexpr bool kFromInput = true;
  Scalars<Acc> s;
  Acc Value(Acc a) const { return s.gain * a / (1 + std::exp(-a)); }
  Acc Times(Acc dy, Acc a) const {
    const Acc c = 1 / (1 + std::exp(-a));
    return dy * s.gain * c * (1 + a * (1 - c));
  }
};

}  // namespace tfstylegan

#endif  // TFSTYLEGAN_CUSTOM_OPS_FUSED_BIAS_ACT_H_
