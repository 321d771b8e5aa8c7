// What the CUDA kernels share.
//
// Kernel bodies are templates over the element type, in headers without a line of
// CUDA's own, so that a host compiler builds them too: tests/cuda_on_host.cc runs them
// thread by thread. Whoever includes this without nvcc defines tfstylegan::cuda::Half
// and Bfloat16 first.

#ifndef TFSTYLEGAN_CUSTOM_OPS_CUDA_COMMON_CU_H_
#define TFSTYLEGAN_CUSTOM_OPS_CUDA_COMMON_CU_H_

#include <cstdint>
#include <type_traits>

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_pipeline_primitives.h>
#include <cuda_runtime.h>

#define TFSTYLEGAN_HD __host__ __device__ __forceinline__

namespace tfstylegan {
namespace cuda {
using Half = __half;
using Bfloat16 = __nv_bfloat16;
}  // namespace cuda
}  // namespace tfstylegan
#else
#define TFSTYLEGAN_HD inline
#endif

#ifdef __CUDA_ARCH__
#define TFSTYLEGAN_UNROLL _Pragma("unroll")
#define TFSTYLEGAN_UNROLL_BY_4 _Pragma("unroll 4")
#else
#define TFSTYLEGAN_UNROLL
#define TFSTYLEGAN_UNROLL_BY_4
#endif

namespace tfstylegan {
namespace cuda {

// Element types of the launchers. cudaErrorInvalidValue is 1 in every release.
enum Dtype : int { kFloat = 0, kDouble = 1, kHalf = 2, kBfloat16 = 3 };
constexpr int kInvalidValue = 1;

// Sums of the small types are kept in float.
template <typename T>
using AccOf = std::conditional_t<std::is_same_v<T, double>, double, float>;

// V elements that are loaded and stored as one word.
template <typename T, int V>
struct alignas(sizeof(T) * V) Pack {
  T v[V];
};

// Elements of a word of 16 bytes.
template <typename T>
constexpr int kWide = 16 / sizeof(T);

// One access: left to itself, nvcc 13.0 splits the words of the strips again.
template <typename T, int V>
TFSTYLEGAN_HD void Store(const Pack<T, V>& word, T* to) {
#ifdef __CUDA_ARCH__
  if constexpr (sizeof(word) == 16) {
    __stwb(reinterpret_cast<uint4*>(to), *reinterpret_cast<const uint4*>(&word));
    return;
  } else if constexpr (sizeof(word) == 8) {
    __stwb(reinterpret_cast<uint2*>(to), *reinterpret_cast<const uint2*>(&word));
    return;
  }
#endif
  *reinterpret_cast<Pack<T, V>*>(to) = word;
}

TFSTYLEGAN_HD int64_t CeilDiv(int64_t a, int64_t b) {  // a >= 0, b > 0
  return (a + b - 1) / b;
}

TFSTYLEGAN_HD int64_t Least(int64_t a, int64_t b) { return a < b ? a : b; }

// Index of a sample of [N, H, W, C].
TFSTYLEGAN_HD int64_t Offset(int64_t n, int64_t y, int64_t x, int64_t c, int64_t height,
                             int64_t width, int64_t channels) {
  return ((n * height + y) * width + x) * channels + c;
}

// Whether all of the pointers may be read in words of `bytes`, a power of two.
template <typename... Pointers>
bool Aligned(int64_t bytes, Pointers... pointers) {
  return ((reinterpret_cast<uintptr_t>(pointers) % bytes == 0) && ...);
}

// Calls f(T()) for the element type, or returns kInvalidValue.
template <typename F>
int ForDtype(int dtype, F f) {
  switch (dtype) {
    case kFloat:
      return f(float());
    case kDouble:
      return f(double());
    case kHalf:
      return f(Half());
    case kBfloat16:
      return f(Bfloat16());
    default:
      return kInvalidValue;
  }
}

#ifdef __CUDACC__
// Blocks for `items`, over which every kernel loops in strides of the grid.
inline unsigned int Blocks(int64_t items, int64_t most) {
  return static_cast<unsigned int>(Least(items, most));
}
#endif

}  // namespace cuda
}  // namespace tfstylegan

#endif  // TFSTYLEGAN_CUSTOM_OPS_CUDA_COMMON_CU_H_
