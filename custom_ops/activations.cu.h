// The activations of the CUDA kernels.

#ifndef TFSTYLEGAN_CUSTOM_OPS_ACTIVATIONS_CU_H_
#define TFSTYLEGAN_CUSTOM_OPS_ACTIVATIONS_CU_H_

#include <cmath>

#include "cuda_common.cu.h"

namespace tfstylegan {
namespace cuda {

enum Act : int {
  kLinear = 0,
  kRelu = 1,
  kLeakyRelu = 2,
  kTanh = 3,
  kSigmoid = 4,
  kElu = 5,
  kSelu = 6,
  kSoftplus = 7,
  kSwish = 8,
  kActs = 9,
};

// The activation with its gain and clamp. The piecewise linear ones have kernels of
// their own (kSmooth false); which of a group it is, is the same for a whole grid.
template <typename Acc, bool kSmooth>
struct Activation {
  Acc alpha;  // 1 for linear
  Acc gain;
  Acc clamp;
  int act;
  bool clamped;

  static constexpr Acc kSeluScale = Acc(1.0507009873554805);
  static constexpr Acc kSeluAlpha = Acc(1.6732632423543772);

  TFSTYLEGAN_HD Acc Value(Acc a) const {
    using std::exp;
    using std::expm1;
    using std::log1p;
    using std::tanh;
    if constexpr (!kSmooth) {
      // With a slope of zero, relu of minus infinity would be NaN.
      const Acc below = act == kRelu ? Acc(0) : a * alpha;
      return (a > 0 ? a : a <= 0 ? below : a) * gain;
    }
    switch (act) {
      case kTanh:
        return tanh(a) * gain;
      case kSigmoid:
        return gain / (1 + exp(-a));
      case kElu:
        return (a >= 0 ? a : expm1(a)) * gain;
      case kSelu:
        return kSeluScale * (a >= 0 ? a : kSeluAlpha * expm1(a)) * gain;
      case kSoftplus:  // log(1 + e^a) without overflow
        return ((a > 0 ? a : a <= 0 ? Acc(0) : a) + log1p(exp(a > 0 ? -a : a))) * gain;
      default:
        return gain * a / (1 + exp(-a));
    }
  }

  // dy * slope, from y or, for swish, from a = x + b; no clamp yet.
  TFSTYLEGAN_HD Acc Times(Acc dy, Acc ref) const {
    using std::exp;
    using std::expm1;
    if constexpr (!kSmooth) {
      const bool above = (gain > 0 ? ref : -ref) > 0;
      const Acc below = act == kRelu ? Acc(0) : dy * (gain * alpha);
      return above ? dy * gain : below;
    }
    const Acc u = ref / gain;
    switch (act) {
      case kTanh:
        return dy * gain * (1 - u * u);
      case kSigmoid:
        return dy * gain * u * (1 - u);
      case kElu:
        return dy * gain * (u >= 0 ? Acc(1) : u + 1);
      case kSelu:
        return dy * gain * (u >= 0 ? kSeluScale : u + kSeluScale * kSeluAlpha);
      case kSoftplus:
        return -dy * gain * expm1(-u);
      default: {
        const Acc c = 1 / (1 + exp(-ref));
        return dy * gain * c * (1 + ref * (1 - c));
      }
    }
  }

  TFSTYLEGAN_HD bool FromInput() const { return kSmooth && act == kSwish; }
  // A slope that is the same everywhere: ref is not read.
  TFSTYLEGAN_HD bool Constant() const { return act == kLinear && !clamped; }

  TFSTYLEGAN_HD Acc Clamped(Acc y) const {
    if (clamped) {
      y = y > clamp ? clamp : y;
      y = y < -clamp ? -clamp : y;
    }
    return y;
  }

  // value, or 0 at the clamp, where no gradient passes.
  TFSTYLEGAN_HD Acc Masked(Acc value, Acc y) const {
    return clamped && (y < 0 ? -y : y) >= clamp ? Acc(0) : value;
  }
};

// Options: of a launcher, with alpha, gain, clamp and act.
template <typename T, bool kSmooth, typename Options>
Activation<AccOf<T>, kSmooth> MakeActivation(const Options& o) {
  using Acc = AccOf<T>;
  Activation<Acc, kSmooth> act{};
  act.alpha = o.act == kLinear ? Acc(1) : static_cast<Acc>(o.alpha);
  act.gain = static_cast<Acc>(o.gain);
  act.clamp = static_cast<Acc>(o.clamp);
  act.clamped = !std::isinf(act.clamp);
  // As y has it: rounded down, a clamped y would be below the clamp.
  act.clamp = static_cast<Acc>(static_cast<T>(act.clamp));
  act.act = o.act;
  return act;
}

}  // namespace cuda
}  // namespace tfstylegan

#endif  // TFSTYLEGAN_CUSTOM_OPS_ACTIVATIONS_CU_H_
