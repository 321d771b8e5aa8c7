// Vectors of 64 bytes, float or double, loaded from and stored to the four types.
//
// The compiler maps them to one AVX-512 register, two of AVX2, four of SSE or NEON.

#ifndef TFSTYLEGAN_CUSTOM_OPS_VECTORS_H_
#define TFSTYLEGAN_CUSTOM_OPS_VECTORS_H_

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "Eigen/Core"

#include "cpu_dispatch.h"

namespace tfstylegan {

template <typename Acc>
struct Vector {
  typedef Acc Type __attribute__((vector_size(64)));
  static constexpr int64_t kLanes = 64 / sizeof(Acc);
};

typedef int32_t Int32s __attribute__((vector_size(64)));
typedef uint32_t Uint32s __attribute__((vector_size(64)));
typedef uint16_t Uint16s __attribute__((vector_size(32)));
typedef Vector<float>::Type Floats;

template <typename To, typename From>
TFSTYLEGAN_INLINE To BitCast(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}

TFSTYLEGAN_INLINE Floats FromBfloat16(Uint32s u) { return BitCast<Floats>(u << 16); }

TFSTYLEGAN_INLINE Uint32s ToBfloat16(Floats value) {  // to nearest, ties to even
  const Uint32s u = BitCast<Uint32s>(value);
  const Uint32s rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
  return value == value ? rounded : rounded * 0 + 0x7fc0;
}

// Half by integers, subnormals by a sum, which also works where float subnormals are
// flushed to zero (TensorFlow sets this in its threads).
TFSTYLEGAN_INLINE Floats FromHalf(Uint32s u) {
  const Uint32s magnitude = (u & 0x7fff) << 13;
  const Uint32s exponent = u & 0x7c00;
  const Uint32s normal = magnitude + (112u << 23);
  const Uint32s special = magnitude + (224u << 23);  // infinity, NaN
  const Uint32s offset = magnitude + (113u << 23);   // 2^-14 + the value
  const Floats small = BitCast<Floats>(offset) - 0x1p-14f;
  Uint32s result = exponent == 0 ? BitCast<Uint32s>(small) : normal;
  result = exponent == 0x7c00 ? special : result;
  return BitCast<Floats>(result | (u & 0x8000) << 16);
}

TFSTYLEGAN_INLINE Uint32s ToHalf(Floats value) {  // to nearest, ties to even
  const Uint32s u = BitCast<Uint32s>(value);
  const Int32s magnitude = BitCast<Int32s>(u & 0x7fffffff);
  const Int32s normal =
      (magnitude - (112 << 23) + 0xfff + ((magnitude >> 13) & 1)) >> 13;
  // 0.5 + value has the unit of half's subnormals as its last place.
  const Floats sum = BitCast<Floats>(magnitude) + 0.5f;
  const Int32s small = BitCast<Int32s>(sum) - (126 << 23);
  Int32s result = magnitude < (113 << 23) ? small : normal;
  result = magnitude >= (143 << 23) ? result * 0 + 0x7c00 : result;
  result = magnitude > (255 << 23) ? result * 0 + 0x7e00 : result;
  return BitCast<Uint32s>(result) | ((u >> 16) & 0x8000);
}

template <typename Acc, typename T>
TFSTYLEGAN_INLINE typename Vector<Acc>::Type Load(const T* from) {
  if constexpr (std::is_same_v<T, Acc>) {
    typename Vector<Acc>::Type value;
    std::memcpy(&value, from, sizeof(value));
    return value;
  } else {
    static_assert(sizeof(T) == 2 && std::is_same_v<Acc, float>);
    Uint16s bits;
    std::memcpy(&bits, from, sizeof(bits));
    const Uint32s wide = __builtin_convertvector(bits, Uint32s);
    if constexpr (std::is_same_v<T, Eigen::bfloat16>) {
      return FromBfloat16(wide);
    } else {
      return FromHalf(wide);
    }
  }
}

template <typename T, typename V>
TFSTYLEGAN_INLINE void Store(V value, T* to) {
  if constexpr (sizeof(T) > 2) {
    std::memcpy(to, &value, sizeof(value));
  } else {
    Uint32s wide;
    if constexpr (std::is_same_v<T, Eigen::bfloat16>) {
      wide = ToBfloat16(value);
    } else {
      wide = ToHalf(value);
    }
    const Uint16s bits = __builtin_convertvector(wide, Uint16s);
    std::memcpy(to, &bits, sizeof(bits));
  }
}

}  // namespace tfstylegan

#endif  // TFSTYLEGAN_CUSTOM_OPS_VECTORS_H_
