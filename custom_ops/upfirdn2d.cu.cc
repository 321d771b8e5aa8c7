// CUDA kernels of upfirdn2d: launches of the bodies in upfirdn2d_kernels.cu.h.

#include "upfirdn2d.cu.h"

#include "cuda_common.cu.h"
#include "upfirdn2d_kernels.cu.h"

namespace tfstylegan {
namespace cuda {
namespace {

constexpr int kGeneralThreads = 256;
constexpr int64_t kMostBlocks = int64_t{1} << 20;

TFSTYLEGAN_HD const float* TapsOf(const ParameterTaps<float>& taps) { return taps.v; }
TFSTYLEGAN_HD const double* TapsOf(const ParameterTaps<double>& taps) { return taps.v; }
TFSTYLEGAN_HD const float* TapsOf(const float* taps) { return taps; }
TFSTYLEGAN_HD const double* TapsOf(const double* taps) { return taps; }

template <typename T, int V, typename Taps>
__global__ void __launch_bounds__(kGeneralThreads)
    GeneralKernel(const __grid_constant__ Shape shape, bool separable,
                  const __grid_constant__ Taps taps, int64_t items, const T* x, T* y) {
  const int64_t stride = int64_t{gridDim.x} * kGeneralThreads;
  int64_t item = int64_t{blockIdx.x} * kGeneralThreads + threadIdx.x;
  for (; item < items; item += stride) {
    General<T, V>(shape, separable, TapsOf(taps), item, x, y);
  }
}

template <typename T, int kMode, int V>
__global__ void __launch_bounds__(kStripThreads)
    StripKernel(const __grid_constant__ StripArgs<AccOf<T>> args, const T* x, T* y) {
  using S = Strip<T, kMode, V>;
  using Word = typename S::Word;
  __shared__ __align__(16) unsigned char memory[S::kSharedWords * sizeof(Word)];
  Word* ring = reinterpret_cast<Word*>(memory);
  for (int64_t tile = blockIdx.x; tile < args.tiles; tile += gridDim.x) {
    const S strip(args, tile, static_cast<int>(threadIdx.x));
    const int64_t steps = strip.Steps();
    typename S::Window window;
    S::Clear(&window);
    for (int step = 0; step < kStripStages - 1; ++step) {
      if (step < steps) strip.Load(step, x, ring);
      __pipeline_commit();
    }
    for (int64_t step = 0; step < steps; ++step) {
      // This step's rows have come, and every thread has left the step before, whose
      // part of the ring the next load overwrites.
      __pipeline_wait_prior(kStripStages - 2);
      __syncthreads();
      const int64_t ahead = step + kStripStages - 1;
      if (ahead < steps) strip.Load(ahead, x, ring);
      __pipeline_commit();
      strip.Compute(step, ring, &window, y);
    }
    __syncthreads();
  }
}

struct CudaLauncher {
  cudaStream_t stream;

  template <typename T, int kMode, int V>
  int Strips(const StripArgs<AccOf<T>>& args, const T* x, T* y) const {
    const unsigned int blocks = Blocks(args.tiles, kMostBlocks);
    StripKernel<T, kMode, V><<<blocks, kStripThreads, 0, stream>>>(args, x, y);
    return cudaGetLastError();
  }

  template <typename T, int V, typename Taps>
  int General(const Shape& shape, bool separable, const Taps& taps, int64_t items,
              const T* x, T* y) const {
    const unsigned int blocks = Blocks(CeilDiv(items, kGeneralThreads), kMostBlocks);
    GeneralKernel<T, V, Taps><<<blocks, kGeneralThreads, 0, stream>>>(
        shape, separable, taps, items, x, y);
    return cudaGetLastError();
  }

  // `from` is pageable: it may be freed on return.
  int Upload(void* to, const void* from, int64_t bytes) const {
    return cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream);
  }
};

}  // namespace
}  // namespace cuda
}  // namespace tfstylegan

extern "C" int64_t tfstylegan_upfirdn2d_cuda_scratch(
    int dtype, const TfstyleganUpfirdn2dShape* shape) {
  return tfstylegan::cuda::Upfirdn2dScratch(dtype, *shape);
}

extern "C" int tfstylegan_upfirdn2d_cuda(int dtype, const void* x, const double* taps,
                                         const TfstyleganUpfirdn2dShape* shape,
                                         void* scratch, void* y, void* stream) {
  const tfstylegan::cuda::CudaLauncher launcher{static_cast<cudaStream_t>(stream)};
  return tfstylegan::cuda::Upfirdn2d(dtype, x, taps, *shape, scratch, y, launcher);
}
