// CUDA kernels of fused_bias_act and of its gradient: launches of the bodies in
// fused_bias_act_kernels.cu.h.

#include "fused_bias_act.cu.h"

#include "cuda_common.cu.h"
#include "fused_bias_act_kernels.cu.h"

namespace tfstylegan {
namespace cuda {
namespace {

constexpr int64_t kMostSumBlocks = int64_t{1} << 20;

template <bool kBackward, typename T, int V, typename A>
__global__ void __launch_bounds__(kThreads)
    PointwiseKernel(const __grid_constant__ PointwiseArgs<T> args,
                    const __grid_constant__ A act) {
  PointwiseThread<kBackward, T, V>(args, act, blockIdx.x,
                                   static_cast<int>(threadIdx.x));
}

template <typename T, int V, typename A>
__global__ void __launch_bounds__(kThreads)
    SumKernel(const __grid_constant__ SumArgs<T> args, const __grid_constant__ A act,
              AccOf<T>* partial) {
  __shared__ AccOf<T> shared[kThreads * V];
  const int thread = static_cast<int>(threadIdx.x);
  for (int64_t item = blockIdx.x; item < args.items; item += gridDim.x) {
    SumThread<T, V>(args, act, item, thread, shared);
    __syncthreads();
    for (int half = kThreads / 2; half >= 1 << args.lane_bits; half /= 2) {
      TreeThread<V>(thread, half, shared);
      __syncthreads();
    }
    PartialThread<T, V>(args, item, thread, shared, partial);
    __syncthreads();
  }
}

struct CudaLauncher : SumLauncher {
  static constexpr int64_t kMostBlocks = 4096;

  template <bool kBackward, typename T, int V, typename A>
  int Pointwise(const PointwiseArgs<T>& args, const A& act) const {
    PointwiseKernel<kBackward, T, V, A>
        <<<Blocks(args.blocks, kMostBlocks), kThreads, 0, stream>>>(args, act);
    return cudaGetLastError();
  }

  template <typename T, int V, typename A>
  int Sum(const SumArgs<T>& args, const A& act, AccOf<T>* partial) const {
    SumKernel<T, V, A><<<Blocks(args.items, kMostSumBlocks), kThreads, 0, stream>>>(
        args, act, partial);
    return cudaGetLastError();
  }
};

}  // namespace
}  // namespace cuda
}  // namespace tfstylegan

extern "C" int tfstylegan_fused_bias_act_cuda(int dtype, const void* x,
                                              const void* bias,
                                              const TfstyleganFusedBiasAct* options,
                                              void* y, void* stream) {
  const tfstylegan::cuda::CudaLauncher launcher{{static_cast<cudaStream_t>(stream)}};
  return tfstylegan::cuda::FusedBiasAct(dtype, x, bias, *options, y, launcher);
}

extern "C" int64_t tfstylegan_fused_bias_act_grad_cuda_scratch(
    int dtype, const TfstyleganFusedBiasAct* options) {
  return tfstylegan::cuda::FusedBiasActGradScratch(dtype, *options);
}

extern "C" int tfstylegan_fused_bias_act_grad_cuda(
    int dtype, const void* dy, const void* dy_bias, const void* ref, const void* bias,
    const TfstyleganFusedBiasAct* options, void* scratch, void* dx, void* d_bias,
    void* stream) {
  const tfstylegan::cuda::CudaLauncher launcher{{static_cast<cudaStream_t>(stream)}};
  return tfstylegan::cuda::FusedBiasActGrad(dtype, dy, dy_bias, ref, bias, *options,
                                            scratch, dx, d_bias, launcher);
}

extern "C" const char* tfstylegan_cuda_error(int status) {
  return cudaGetErrorString(static_cast<cudaError_t>(status));
}
