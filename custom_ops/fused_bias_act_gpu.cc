// GPU kernels of the ops fused_bias_act and its gradient: checks, then the launchers in
// fused_bias_act.cu.cc.
//
// Empty unless the library is linked with CUDA objects.

#ifdef TFSTYLEGAN_CUDA

#include "fused_bias_act.cu.h"

#include <algorithm>
#include <iterator>
#include <string>

#include "cuda_op.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tfstylegan {
namespace {

using tensorflow::DEVICE_GPU;
using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::errors::InvalidArgument;

// In the order of the launchers' codes.
constexpr const char* kActs[] = {"linear", "relu", "lrelu",    "tanh", "sigmoid",
                                 "elu",    "selu", "softplus", "swish"};

template <bool kBackward, typename T>
class FusedBiasActGpuOp : public OpKernel {
 public:
  explicit FusedBiasActGpuOp(OpKernelConstruction* ctx) : OpKernel(ctx) {
    OP_REQUIRES_OK(ctx, ctx->GetAttr("axis", &axis_));
    std::string act;
    OP_REQUIRES_OK(ctx, ctx->GetAttr("act", &act));
    const auto found = std::find(std::begin(kActs), std::end(kActs), act);
    OP_REQUIRES(ctx, found != std::end(kActs),
                InvalidArgument("act must be one of the nine, got ", act));
    act_ = static_cast<int>(found - std::begin(kActs));
  }

  void Compute(OpKernelContext* ctx) override {
    const Tensor& x = ctx->input(0);
    const Tensor& bias = ctx->input(kBackward ? 3 : 1);
    const Tensor& plus = kBackward ? ctx->input(1) : bias;
    const Tensor& scalars = ctx->input(kBackward ? 4 : 2);  // in host memory
    OP_REQUIRES(ctx, axis_ >= 0 && axis_ < x.dims(),
                InvalidArgument("axis must be in [0, ", x.dims(), "), got ", axis_));
    for (const Tensor* vector : {&bias, &plus}) {
      const int64_t n = vector->NumElements();
      OP_REQUIRES(
          ctx, vector->dims() == 1 && (n == 0 || n == x.dim_size(axis_)),
          InvalidArgument("bias must be [", x.dim_size(axis_), "] or [0] for x ",
                          x.shape().DebugString(), " and axis ", axis_, ", got ",
                          vector->shape().DebugString()));
    }
    OP_REQUIRES(ctx, scalars.dims() == 1 && scalars.NumElements() == 3,
                InvalidArgument("scalars must be (alpha, gain, clamp), got shape ",
                                scalars.shape().DebugString()));
    if (kBackward) {
      OP_REQUIRES(ctx, ctx->input(2).shape() == x.shape(),
                  InvalidArgument("ref must have the shape of dy, got ",
                                  ctx->input(2).shape().DebugString(), " and ",
                                  x.shape().DebugString()));
    }
    const auto values = scalars.vec<double>();
    TfstyleganFusedBiasAct options;
    options.outer = options.inner = 1;
    options.channels = x.dim_size(axis_);
    for (int i = 0; i < axis_; ++i) options.outer *= x.dim_size(i);
    for (int i = axis_ + 1; i < x.dims(); ++i) options.inner *= x.dim_size(i);
    options.alpha = values(0);
    options.gain = values(1);
    options.clamp = values(2);
    options.act = act_;
    Tensor* out = nullptr;
    OP_REQUIRES_OK(ctx, ctx->forward_input_or_allocate_output({0}, 0, x.shape(), &out));
    if constexpr (kBackward) {
      Tensor* d_bias = nullptr;
      OP_REQUIRES_OK(ctx, ctx->allocate_output(1, bias.shape(), &d_bias));
      Tensor memory;
      void* scratch = nullptr;
      if (d_bias->NumElements() > 0) {
        const int64_t bytes =
            tfstylegan_fused_bias_act_grad_cuda_scratch(kDtype<T>, &options);
        OP_REQUIRES_OK(ctx, AllocateScratch(ctx, bytes, &memory, &scratch));
      }
      const int status = tfstylegan_fused_bias_act_grad_cuda(
          kDtype<T>, DataOf(x), DataOf(plus), DataOf(ctx->input(2)), DataOf(bias),
          &options, scratch, DataOf(out), DataOf(d_bias), StreamOf(ctx));
      OP_REQUIRES_OK(ctx, LaunchStatus("fused_bias_act_grad", status));
    } else {
      const int status =
          tfstylegan_fused_bias_act_cuda(kDtype<T>, DataOf(x), DataOf(bias), &options,
                                         DataOf(out), StreamOf(ctx));
      OP_REQUIRES_OK(ctx, LaunchStatus("fused_bias_act", status));
    }
  }

 private:
  int64_t axis_;
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
