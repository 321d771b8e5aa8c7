// The op fused_bias_act and its gradient up to their arithmetic: what their kernels of
// all devices are given, checked, and their outputs.

#ifndef TFSTYLEGAN_CUSTOM_OPS_FUSED_BIAS_ACT_ARGS_H_
#define TFSTYLEGAN_CUSTOM_OPS_FUSED_BIAS_ACT_ARGS_H_

#include <cstdint>
#include <string>

#include "tensorflow/core/framework/op_kernel.h"

namespace tfstylegan {

// One call; null are those that the forward op has not.
struct FusedBiasActCall {
  const tensorflow::Tensor* x;                // of the gradient: dy
  const tensorflow::Tensor* bias;             // [C] or [0]
  const tensorflow::Tensor* plus = nullptr;   // dy_bias
  const tensorflow::Tensor* ref = nullptr;
  double alpha, gain, clamp;
  tensorflow::Tensor* out;                    // of the gradient: dx; may be x
  tensorflow::Tensor* d_bias = nullptr;
};

template <bool kBackward>
class FusedBiasActOpBase : public tensorflow::OpKernel {
 public:
  explicit FusedBiasActOpBase(tensorflow::OpKernelConstruction* ctx) : OpKernel(ctx) {
    OP_REQUIRES_OK(ctx, ctx->GetAttr("axis", &axis_));
    OP_REQUIRES_OK(ctx, ctx->GetAttr("act", &act_));
  }

  void Compute(tensorflow::OpKernelContext* ctx) final {
    using tensorflow::errors::InvalidArgument;
    FusedBiasActCall call;
    const tensorflow::Tensor& x = ctx->input(0);
    const tensorflow::Tensor& bias = ctx->input(kBackward ? 3 : 1);
    const tensorflow::Tensor& scalars = ctx->input(kBackward ? 4 : 2);  // on the host
    call.x = &x;
    call.bias = &bias;
    if (kBackward) {
      call.plus = &ctx->input(1);
      call.ref = &ctx->input(2);
    }
    OP_REQUIRES(ctx, axis_ >= 0 && axis_ < x.dims(),
                InvalidArgument("axis must be in [0, ", x.dims(), "), got ", axis_));
    for (const tensorflow::Tensor* vector : {call.bias, call.plus}) {
      if (vector == nullptr) continue;
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
      OP_REQUIRES(ctx, call.ref->shape() == x.shape(),
                  InvalidArgument("ref must have the shape of dy, got ",
                                  call.ref->shape().DebugString(), " and ",
                                  x.shape().DebugString()));
    }
    const auto values = scalars.vec<double>();
    call.alpha = values(0);
    call.gain = values(1);
    call.clamp = values(2);
    OP_REQUIRES_OK(
        ctx, ctx->forward_input_or_allocate_output({0}, 0, x.shape(), &call.out));
    if (kBackward) {
      OP_REQUIRES_OK(ctx, ctx->allocate_output(1, bias.shape(), &call.d_bias));
    }
    Run(ctx, call);
  }

 protected:
  int axis() const { return axis_; }
  const std::string& act() const { return act_; }

 private:
  // Fills the outputs; any of the tensors may be empty.
  virtual void Run(tensorflow::OpKernelContext* ctx, const FusedBiasActCall& call) = 0;

  int axis_;
  std::string act_;
};

}  // namespace tfstylegan

#endif  // TFSTYLEGAN_CUSTOM_OPS_FUSED_BIAS_ACT_ARGS_H_
