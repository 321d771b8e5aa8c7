// The op upfirdn2d up to its arithmetic: what its kernels of all devices are given,
// checked, and their output.

#ifndef TFSTYLEGAN_CUSTOM_OPS_UPFIRDN2D_ARGS_H_
#define TFSTYLEGAN_CUSTOM_OPS_UPFIRDN2D_ARGS_H_

#include <cstdint>
#include <vector>

#include "tensorflow/core/framework/op_kernel.h"
#include "upfirdn2d.h"

namespace tfstylegan {

class Upfirdn2dOpBase : public tensorflow::OpKernel {
 public:
  explicit Upfirdn2dOpBase(tensorflow::OpKernelConstruction* ctx) : OpKernel(ctx) {
    using tensorflow::errors::InvalidArgument;
    OP_REQUIRES_OK(ctx, ctx->GetAttr("up", &up_));
    OP_REQUIRES_OK(ctx, ctx->GetAttr("down", &down_));
    OP_REQUIRES_OK(ctx, ctx->GetAttr("pad0", &pad0_));
    OP_REQUIRES(ctx, up_.size() == 2 && down_.size() == 2 && pad0_.size() == 2,
                InvalidArgument("up, down and pad0 must be (y, x), got ", up_.size(),
                                ", ", down_.size(), " and ", pad0_.size(), " values"));
    for (int i = 0; i < 2; ++i) {
      OP_REQUIRES(ctx, up_[i] >= 1 && up_[i] <= kMaxFactor,
                  InvalidArgument("up must be in [1, ", kMaxFactor, "], got ", up_[i]));
      OP_REQUIRES(
          ctx, down_[i] >= 1 && down_[i] <= kMaxFactor,
          InvalidArgument("down must be in [1, ", kMaxFactor, "], got ", down_[i]));
      OP_REQUIRES(
          ctx, pad0_[i] >= -kMaxPad && pad0_[i] <= kMaxPad,
          InvalidArgument("|pad0| must be at most ", kMaxPad, ", got ", pad0_[i]));
    }
  }

  void Compute(tensorflow::OpKernelContext* ctx) final {
    using tensorflow::errors::InvalidArgument;
    const tensorflow::Tensor& x = ctx->input(0);
    const tensorflow::Tensor& taps = ctx->input(1);  // in host memory, as size is
    const tensorflow::Tensor& size = ctx->input(2);
    OP_REQUIRES(
        ctx, x.dims() == 4,
        InvalidArgument("x must be [N, H, W, C], got ", x.shape().DebugString()));
    OP_REQUIRES(ctx, taps.dims() == 2 && taps.NumElements() > 0,
                InvalidArgument("taps must be [Kh, Kw] and not empty, got ",
                                taps.shape().DebugString()));
    OP_REQUIRES(
        ctx, size.dims() == 1 && size.NumElements() == 2,
        InvalidArgument("size must be (H', W'), got ", size.shape().DebugString()));
    const int64_t out_h = size.vec<int32_t>()(0);
    const int64_t out_w = size.vec<int32_t>()(1);
    OP_REQUIRES(
        ctx, out_h >= 0 && out_w >= 0,
        InvalidArgument("size must not be negative, got ", out_h, " x ", out_w));
    Geometry g;
    g.batch = x.dim_size(0);
    g.channels = x.dim_size(3);
    g.y = Axis{x.dim_size(1), out_h, up_[0], down_[0], pad0_[0], taps.dim_size(0)};
    g.x = Axis{x.dim_size(2), out_w, up_[1], down_[1], pad0_[1], taps.dim_size(1)};
    tensorflow::TensorShape shape;
    OP_REQUIRES_OK(ctx, tensorflow::TensorShape::BuildTensorShape(
                            {g.batch, out_h, out_w, g.channels}, &shape));
    tensorflow::Tensor* y = nullptr;
    OP_REQUIRES_OK(ctx, ctx->allocate_output(0, shape, &y));
    if (y->NumElements() > 0) Run(ctx, g, taps.flat<double>().data(), x, y);
  }

 private:
  static constexpr int64_t kMaxFactor = int64_t{1} << 20;
  static constexpr int64_t kMaxPad = int64_t{1} << 40;

  // Fills y, which is not empty. taps: [Kh, Kw].
  virtual void Run(tensorflow::OpKernelContext* ctx, const Geometry& g,
                   const double* taps, const tensorflow::Tensor& x,
                   tensorflow::Tensor* y) = 0;

  std::vector<int64_t> up_, down_, pad0_;
};

}  // namespace tfstylegan

#endif  // TFSTYLEGAN_CUSTOM_OPS_UPFIRDN2D_ARGS_H_
