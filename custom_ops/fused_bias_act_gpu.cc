// GPU kernels of the ops fused_bias_act and its gradient, by the launchers in
// fused_bias_act.cu.cc.
//
// Empty unless the library is linked with CUDA objects.

#ifdef TFSTYLEGAN_CUDA

#include "fused_bias_act.cu.h"

#include <algorithm>
#include <iterator>

#include "cuda_op.h"
#include "fused_bias_act_args.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tfstylegan {
namespace {

using tensorflow::DEVICE_GPU;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;

// In the order of the launchers' codes.
constexpr const char* kActs[] = {"linear", "relu", "lrelu",    "tanh", "sigmoid",
                                 "elu",    "selu", "softplus", "swish"};

template <bool kBackward, typename T>
class FusedBiasActGpuOp : public FusedBiasActOpBase<kBackward> {
 public:
  explicit FusedBiasActGpuOp(OpKernelConstruction* ctx)
      : FusedBiasActOpBase<kBackward>(ctx) {
    // The attribute allows no others.
    const auto found = std::find(std::begin(kActs), std::end(kActs), this->act());
    act_ = static_cast<int>(found - std::begin(kActs));
  }

 private:
  void Run(OpKernelContext* ctx, const FusedBiasActCall& call) override {
    const tensorflow::TensorShape& shape = call.x->shape();
    const int axis = this->axis();
    TfstyleganFusedBiasAct options{1, shape.dim_size(axis), 1, call.alpha, call.gain,
                                   call.clamp, act_};
    for (int i = 0; i < axis; ++i) options.outer *= shape.dim_size(i);
    for (int i = axis + 1; i < shape.dims(); ++i) options.inner *= shape.dim_size(i);
    if constexpr (kBackward) {
      Tensor memory;
      void* scratch = nullptr;
      if (call.d_bias->NumElements() > 0) {
        const int64_t bytes =
            tfstylegan_fused_bias_act_grad_cuda_scratch(kDtype<T>, &options);
        OP_REQUIRES_OK(ctx, AllocateScratch(ctx, bytes, &memory, &scratch));
      }
      const int status = tfstylegan_fused_bias_act_grad_cuda(
          kDtype<T>, DataOf(call.x), DataOf(call.plus), DataOf(call.ref),
          DataOf(call.bias), &options, scratch, DataOf(call.out), DataOf(call.d_bias),
          StreamOf(ctx));
      OP_REQUIRES_OK(ctx, LaunchStatus("fused_bias_act_grad", status));
    } else {
      const int status = tfstylegan_fused_bias_act_cuda(
          kDtype<T>, DataOf(call.x), DataOf(call.bias), &options, DataOf(call.out),
          StreamOf(ctx));
      OP_REQUIRES_OK(ctx, LaunchStatus("fused_bias_act", status));
    }
  }

  int act_;
};

#define TFSTYLEGAN_REGISTER(T)                               \
  REGISTER_KERNEL_BUILDER(Name("TfstyleganFusedBiasAct")     \
                              .Device(DEVICE_GPU)            \
                              .TypeConstraint<T>("T")        \
                              .HostMemory("scalars"),        \
                          FusedBiasActGpuOp<false, T>);      \
  REGISTER_KERNEL_BUILDER(Name("TfstyleganFusedBiasActGrad") \
                              .Device(DEVICE_GPU)            \
                              .TypeConstraint<T>("T")        \
                              .HostMemory("scalars"),        \
                          FusedBiasActGpuOp<true, T>);
TFSTYLEGAN_REGISTER(float)
TFSTYLEGAN_REGISTER(double)
TFSTYLEGAN_REGISTER(Eigen::bfloat16)
TFSTYLEGAN_REGISTER(Eigen::half)
#undef TFSTYLEGAN_REGISTER

}  // namespace
}  // namespace tfstylegan

#endif  // TFSTYLEGAN_CUDA
