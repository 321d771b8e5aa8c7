// CUDA kernels of styled_epilogue, of its gradient and of the gradient of that:
// launches of the bodies in styled_epilogue_kernels.cu.h.

#include "styled_epilogue.cu.h"

#include "cuda_common.cu.h"
#include "styled_epilogue_kernels.cu.h"

namespace tfstylegan {
namespace cuda {
namespace {

constexpr int64_t kMostBlocks = int64_t{1} << 20;

// Words of 8 would take more registers than leave room for two blocks.
template <typename Pass, typename T, int V>
__global__ void __launch_bounds__(kThreads, V == 8 ? 2 : 0)
    EpilogueKernel(const __grid_constant__ EpilogueArgs<T> args,
                   const __grid_constant__ Activation<AccOf<T>, false> act) {
  using Thread = EpilogueThread<Pass, T, V>;
  __shared__ AccOf<T> shared[Pass::kSums ? Thread::kShared : 1];
  for (int64_t item = blockIdx.x; item < args.items; item += gridDim.x) {
    const int number = static_cast<int>(threadIdx.x);
    Thread thread(args, item, number);
    const int64_t steps = thread.Steps();
    for (int64_t step = 0; step < steps; ++step) {
      thread.Compute(act, step, shared);
      if constexpr (Pass::kSums) {
        __syncthreads();
        if (1 << args.lane_bits > kFold) {
          thread.FoldRows(shared);
          __syncthreads();
        }
        thread.WriteRows(step, shared);
        __syncthreads();
      }
    }
    if constexpr (Pass::kSums) {
      thread.LeaveSums(shared);
      __syncthreads();
      for (int half = kThreads / 2; half >= 1 << args.lane_bits; half /= 2) {
        TreeThread<2 * V>(number, half, shared);
        __syncthreads();
      }
      thread.WriteSums(shared);
      __syncthreads();
    }
  }
}

struct CudaLauncher : SumLauncher {
  template <typename Pass, typename T, int V>
  int Epilogue(const EpilogueArgs<T>& args,
               const Activation<AccOf<T>, false>& act) const {
    const unsigned int blocks = Blocks(args.items, kMostBlocks);
    EpilogueKernel<Pass, T, V><<<blocks, kThreads, 0, stream>>>(args, act);
    return cudaGetLastError();
  }
};

}  // namespace
}  // namespace cuda
}  // namespace tfstylegan

extern "C" int tfstylegan_styled_epilogue_cuda(
    int dtype, const void* x, const void* scale, const void* noise,
    const void* strength, const void* bias, const TfstyleganStyledEpilogue* options,
    void* y, void* stream) {
  const tfstylegan::cuda::CudaLauncher launcher{{static_cast<cudaStream_t>(stream)}};
  return tfstylegan::cuda::StyledEpilogue(dtype, x, scale, noise, strength, bias,
                                          *options, y, launcher);
}

extern "C" int64_t tfstylegan_styled_epilogue_grad_cuda_scratch(
    int dtype, const TfstyleganStyledEpilogue* options) {
  return tfstylegan::cuda::StyledEpilogueGradScratch(dtype, *options);
}

extern "C" int tfstylegan_styled_epilogue_grad_cuda(
    int dtype, const void* dy, const void* y, const void* scale, const void* plane,
    const void* bias, const TfstyleganStyledEpilogue* options, void* scratch, void* dx,
    void* d_scale, void* d_plane, void* d_bias, void* stream) {
  const tfstylegan::cuda::CudaLauncher launcher{{static_cast<cudaStream_t>(stream)}};
  return tfstylegan::cuda::StyledEpilogueGrad(dtype, dy, y, scale, plane, bias,
                                              *options, scratch, dx, d_scale, d_plane,
                                              d_bias, launcher);
}

extern "C" int tfstylegan_styled_epilogue_grad_grad_cuda(
    int dtype, const void* v_x, const void* v_scale, const void* v_plane,
    const void* v_bias, const void* dy, const void* y, const void* scale,
    const void* plane, const void* bias, const TfstyleganStyledEpilogue* options,
    void* scratch, void* d_dy, void* d_y, void* d_scale, void* d_plane, void* d_bias,
    void* stream) {
  const tfstylegan::cuda::CudaLauncher launcher{{static_cast<cudaStream_t>(stream)}};
  return tfstylegan::cuda::StyledEpilogueGradGrad(
      dtype, v_x, v_scale, v_plane, v_bias, dy, y, scale, plane, bias, *options,
      scratch, d_dy, d_y, d_scale, d_plane, d_bias, launcher);
}
