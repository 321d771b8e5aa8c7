// The op styled_epilogue, its gradient and the gradient of that, up to arithmetic: what
// their kernels of all devices are given, checked, and their outputs.

#ifndef TFSTYLEGAN_CUSTOM_OPS_STYLED_EPILOGUE_ARGS_H_
#define TFSTYLEGAN_CUSTOM_OPS_STYLED_EPILOGUE_ARGS_H_

#include <cstdint>
#include <string>

#include "tensorflow/core/framework/op_kernel.h"

namespace tfstylegan {

// One call, in the names of README.md; null are those that the op has not.
struct StyledEpilogueCall {
  using Tensor = tensorflow::Tensor;
  const Tensor *x = nullptr, *strength = nullptr;
  const Tensor *v_x = nullptr, *v_scale = nullptr;
  const Tensor *v_plane = nullptr, *v_bias = nullptr;
  const Tensor *dy = nullptr, *y = nullptr;
  const Tensor *scale = nullptr, *plane = nullptr, *bias = nullptr;  // plane: or noise
  std::string act;
  double alpha, gain, clamp;
  Tensor *out = nullptr;  // y; dx; d_dy
  Tensor *d_y = nullptr, *d_scale = nullptr, *d_plane = nullptr, *d_bias = nullptr;
};

// kOrder: 0 of the op, 1 of its gradient, 2 of the gradient of that.
template <int kOrder>
class StyledEpilogueOpBase : public tensorflow::OpKernel {
 public:
  explicit StyledEpilogueOpBase(tensorflow::OpKernelConstruction* ctx) : OpKernel(ctx) {
    OP_REQUIRES_OK(ctx, ctx->GetAttr("act", &act_));
  }

  void Compute(tensorflow::OpKernelContext* ctx) final {
    StyledEpilogueCall call;
    call.act = act_;
    const tensorflow::TensorShape& features = ctx->input(0).shape();
    const int scale = kOrder == 0 ? 1 : kOrder == 1 ? 2 : 6;
    const int bias = kOrder == 0 ? 4 : scale + 2;
    call.scale = &ctx->input(scale);
    call.plane = &ctx->input(scale + 1);
    call.bias = &ctx->input(bias);
    const tensorflow::Tensor& scalars = ctx->input(bias + 1);  // in host memory
    OP_REQUIRES_OK(ctx, CheckShapes(features, call, scalars));
    if (kOrder == 0) {
      call.x = &ctx->input(0);
      call.strength = &ctx->input(3);
      OP_REQUIRES(ctx, call.strength->dims() == 0,
                  tensorflow::errors::InvalidArgument(
                      "strength must be a scalar, got ",
                      call.strength->shape().DebugString()));
    }
    if (kOrder == 1) {
      OP_REQUIRES_OK(ctx, CheckLike(ctx, 1, 0));
    }
    if (kOrder == 2) {
      const int like[] = {6, 7, 8, 0, 0};  // of inputs 1 to 5
      for (int i = 0; i < 5; ++i) OP_REQUIRES_OK(ctx, CheckLike(ctx, i + 1, like[i]));
      call.v_x = &ctx->input(0);
      call.v_scale = &ctx->input(1);
      call.v_plane = &ctx->input(2);
      call.v_bias = &ctx->input(3);
    }
    if (kOrder > 0) {
      call.dy = &ctx->input(scale - 2);
      call.y = &ctx->input(scale - 1);
    }
    const auto values = scalars.vec<double>();
    call.alpha = values(0);
    call.gain = values(1);
    call.clamp = values(2);

    OP_REQUIRES_OK(
        ctx, ctx->forward_input_or_allocate_output({0}, 0, features, &call.out));
    if (kOrder == 2) {
      OP_REQUIRES_OK(
          ctx, ctx->forward_input_or_allocate_output({4}, 1, features, &call.d_y));
    }
    if (kOrder > 0) {
      const auto allocate = [&](int index, const tensorflow::Tensor& like,
                                tensorflow::Tensor** to) {
        return ctx->allocate_output(kOrder + index, like.shape(), to);
      };
      OP_REQUIRES_OK(ctx, allocate(0, *call.scale, &call.d_scale));
      OP_REQUIRES_OK(ctx, allocate(1, *call.plane, &call.d_plane));
      OP_REQUIRES_OK(ctx, allocate(2, *call.bias, &call.d_bias));
    }
    Run(ctx, call);
  }

 private:
  // Fills the outputs; any of the tensors may be empty.
  virtual void Run(tensorflow::OpKernelContext* ctx,
                   const StyledEpilogueCall& call) = 0;

  // The tensors that go with features of the shape x.
  static absl::Status CheckShapes(const tensorflow::TensorShape& x,
                                  const StyledEpilogueCall& call,
                                  const tensorflow::Tensor& scalars) {
    using tensorflow::TensorShape;
    using tensorflow::errors::InvalidArgument;
    if (x.dims() != 4) {
      return InvalidArgument("x must be [N, H, W, C], got ", x.DebugString());
    }
    const int64_t n = x.dim_size(0), h = x.dim_size(1), w = x.dim_size(2),
                  c = x.dim_size(3);
    if (call.scale->shape() != TensorShape({n, c})) {
      return InvalidArgument("scale must be [N, C] for x ", x.DebugString(), ", got ",
                             call.scale->shape().DebugString());
    }
    if (call.plane->shape() != TensorShape({n, h, w, 1}) &&
        call.plane->shape() != TensorShape({1, h, w, 1})) {
      return InvalidArgument("noise, or plane, must be [N or 1, H, W, 1] for x ",
                             x.DebugString(), ", got ",
                             call.plane->shape().DebugString());
    }
    if (call.bias->shape() != TensorShape({c})) {
      return InvalidArgument("bias must be [C] for x ", x.DebugString(), ", got ",
                             call.bias->shape().DebugString());
    }
    if (scalars.shape() != TensorShape({3})) {
      return InvalidArgument("scalars must be (alpha, gain, clamp), got shape ",
                             scalars.shape().DebugString());
    }
    return absl::OkStatus();
  }

  static absl::Status CheckLike(tensorflow::OpKernelContext* ctx, int index, int like) {
    const tensorflow::TensorShape& expected = ctx->input(like).shape();
    if (ctx->input(index).shape() == expected) return absl::OkStatus();
    return tensorflow::errors::InvalidArgument(
        "input ", index, " must have the shape of input ", like, ", ",
        expected.DebugString(), ", got ", ctx->input(index).shape().DebugString());
  }

  std::string act_;
};

}  // namespace tfstylegan

#endif  // TFSTYLEGAN_CUSTOM_OPS_STYLED_EPILOGUE_ARGS_H_
