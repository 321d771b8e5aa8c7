// GPU kernel of the op upfirdn2d: checks, then the launcher in upfirdn2d.cu.cc.
//
// Empty unless the library is linked with CUDA objects.

#ifdef TFSTYLEGAN_CUDA

#include <cstdlib>
#include <vector>

#include "cuda_op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "upfirdn2d.cu.h"

namespace tfstylegan {
namespace {

using tensorflow::DEVICE_GPU;
using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;
using tensorflow::errors::InvalidArgument;

constexpr int64_t kMaxFactor = int64_t{1} << 20;
constexpr int64_t kMaxPad = int64_t{1} << 40;

template <typename T>
class Upfirdn2dGpuOp : public OpKernel {
 public:
  explicit Upfirdn2dGpuOp(OpKernelConstruction* ctx) : OpKernel(ctx) {
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
          ctx, std::abs(pad0_[i]) <= kMaxPad,
          InvalidArgument("|pad0| must be at most ", kMaxPad, ", got ", pad0_[i]));
    }
  }

  void Compute(OpKernelContext* ctx) override {
    const Tensor& x = ctx->input(0);
    const Tensor& taps = ctx->input(1);  // in host memory, as size is
    const Tensor& size = ctx->input(2);
    OP_REQUIRES(
        ctx, x.dims() == 4,
        InvalidArgument("x must be [N, H, W, C], got ", x.shape().DebugString()));
    OP_REQUIRES(ctx, taps.dims() == 2 && taps.NumElements() > 0,
                InvalidArgument("taps must be [Kh, Kw] and not empty, got ",
                                taps.shape().DebugString()));
    OP_REQUIRES(
        ctx, size.dims() == 1 && size.NumElements() == 2,
        InvalidArgument("size must be (H', W'), got ", size.shape().DebugString()));
    TfstyleganUpfirdn2dShape shape;
    shape.batch = x.dim_size(0);
    shape.channels = x.dim_size(3);
    for (int i = 0; i < 2; ++i) {
      shape.in[i] = x.dim_size(1 + i);
      shape.out[i] = size.vec<int32_t>()(i);
      shape.taps[i] = taps.dim_size(i);
      shape.up[i] = up_[i];
      shape.down[i] = down_[i];
      shape.pad0[i] = pad0_[i];
    }
    OP_REQUIRES(ctx, shape.out[0] >= 0 && shape.out[1] >= 0,
                InvalidArgument("size must not be negative, got ", shape.out[0], " x ",
                                shape.out[1]));
    TensorShape out_shape;
    OP_REQUIRES_OK(
        ctx, TensorShape::BuildTensorShape(
                 {shape.batch, shape.out[0], shape.out[1], shape.channels},
                 &out_shape));
    Tensor* y = nullptr;
    OP_REQUIRES_OK(ctx, ctx->allocate_output(0, out_shape, &y));
    if (y->NumElements() == 0) return;
    Tensor memory;
    void* scratch;
    const int64_t bytes = tfstylegan_upfirdn2d_cuda_scratch(kDtype<T>, &shape);
    OP_REQUIRES_OK(ctx, AllocateScratch(ctx, bytes, &memory, &scratch));
    const int status = tfstylegan_upfirdn2d_cuda(
        kDtype<T>, DataOf(x), taps.flat<double>().data(), &shape, scratch, DataOf(y),
        StreamOf(ctx));
    OP_REQUIRES_OK(ctx, LaunchStatus("upfirdn2d", status));
  }

 private:
  std::vector<int64_t> up_, down_, pad0_;
};

#define TFSTYLEGAN_REGISTER(T)                        \
  REGISTER_KERNEL_BUILDER(Name("TfstyleganUpfirdn2d") \
                              .Device(DEVICE_GPU)     \
                              .TypeConstraint<T>("T") \
                              .HostMemory("taps")     \
                              .HostMemory("size"),    \
                          Upfirdn2dGpuOp<T>);
TFSTYLEGAN_REGISTER(float)
TFSTYLEGAN_REGISTER(double)
TFSTYLEGAN_REGISTER(Eigen::bfloat16)
TFSTYLEGAN_REGISTER(Eigen::half)
#undef TFSTYLEGAN_REGISTER

}  // namespace
}  // namespace tfstylegan

#endif  // TFSTYLEGAN_CUDA
