// CPU kernel of upfirdn2d: upsample, pad, FIR filter, downsample, [N, H, W, C].
//
// Work is divided into output rows, or pairs of rows, by the shape alone: what an
// output is does not depend on how they are shared between threads.

#include <type_traits>
#include <vector>

#include "cpu_dispatch.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/platform/threadpool.h"
#include "upfirdn2d.h"
#include "upfirdn2d_4tap.h"
#include "upfirdn2d_general.h"

namespace tfstylegan {
namespace {

using tensorflow::DEVICE_CPU;
using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;
using tensorflow::errors::InvalidArgument;

constexpr int64_t kMaxFactor = int64_t{1} << 20;
constexpr int64_t kMaxPad = int64_t{1} << 40;

template <typename T>
using AccOf = std::conditional_t<std::is_same_v<T, double>, double, float>;

// Each T for each CPU: Rows (general) and Blocks<kUp, kDown> (four taps).
#define TFSTYLEGAN_LOOPS(name, T)                                                     \
  TFSTYLEGAN_MULTIVERSION(Rows##name,                                                 \
                          (const Geometry& g, const FilterPlan<AccOf<T>>& plan,       \
                           const T* in, int64_t r0, int64_t r1, T* out),              \
                          OutputRows(g, plan, in, r0, r1, out))                       \
  TFSTYLEGAN_MULTIVERSION(Blur##name,                                                 \
                          (const FourTap<T, AccOf<T>>& f, int64_t b0, int64_t b1),    \
                          (FourTapBlocks<1, 1>(f, b0, b1)))                           \
  TFSTYLEGAN_MULTIVERSION(Up##name,                                                   \
                          (const FourTap<T, AccOf<T>>& f, int64_t b0, int64_t b1),    \
                          (FourTapBlocks<2, 1>(f, b0, b1)))                           \
  TFSTYLEGAN_MULTIVERSION(Down##name,                                                 \
                          (const FourTap<T, AccOf<T>>& f, int64_t b0, int64_t b1),    \
                          (FourTapBlocks<1, 2>(f, b0, b1)))                           \
  void Rows(const Geometry& g, const FilterPlan<AccOf<T>>& plan, const T* in,         \
            int64_t r0, int64_t r1, T* out) {                                         \
    Rows##name(g, plan, in, r0, r1, out);                                             \
  }                                                                                   \
  void Blocks(const FourTap<T, AccOf<T>>& f, int64_t b0, int64_t b1) {                \
    const bool up = f.g.x.up == 2, down = f.g.x.down == 2;                            \
    up ? Up##name(f, b0, b1) : down ? Down##name(f, b0, b1) : Blur##name(f, b0, b1);  \
  }
TFSTYLEGAN_LOOPS(Float, float)
TFSTYLEGAN_LOOPS(Double, double)
TFSTYLEGAN_LOOPS(Bfloat16, Eigen::bfloat16)
TFSTYLEGAN_LOOPS(Half, Eigen::half)
#undef TFSTYLEGAN_LOOPS

template <typename T>
class Upfirdn2dOp : public OpKernel {
 public:
  using Acc = AccOf<T>;

  explicit Upfirdn2dOp(OpKernelConstruction* ctx) : OpKernel(ctx) {
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
    const Tensor& taps = ctx->input(1);
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
    TensorShape shape;
    OP_REQUIRES_OK(ctx, TensorShape::BuildTensorShape(
                            {g.batch, out_h, out_w, g.channels}, &shape));
    Tensor* y = nullptr;
    OP_REQUIRES_OK(ctx, ctx->allocate_output(0, shape, &y));
    if (y->NumElements() == 0) return;

    const FilterPlan<Acc> plan(taps.flat<double>().data(), g.y, g.x);
    const T* in = x.flat<T>().data();
    T* out = y->flat<T>().data();
    const auto* threads = ctx->device()->tensorflow_cpu_worker_threads();
    if (IsFourTap(g, plan)) {
      const std::vector<T> zeros(g.x.in * g.channels, T(0));
      const FourTap<T, Acc> f(g, plan, zeros.data(), in, out);
      // Cycles a block, at about sixteen elements in eight cycles.
      threads->workers->ParallelFor(
          g.batch * f.BlocksOfImage(), kRows * out_w * g.channels / 2 + 100,
          [&](int64_t b0, int64_t b1) { Blocks(f, b0, b1); });
      return;
    }
    // Cycles a row, at about eight elements a cycle.
    const int64_t work =
        out_w * g.channels * (g.y.taps / g.y.up + g.x.taps / g.x.up + 2) / 8 + 100;
    threads->workers->ParallelFor(
        g.batch * out_h, work,
        [&](int64_t r0, int64_t r1) { Rows(g, plan, in, r0, r1, out); });
  }

 private:
  std::vector<int64_t> up_, down_, pad0_;
};

#define TFSTYLEGAN_REGISTER(T)                                               \
  REGISTER_KERNEL_BUILDER(                                                   \
      Name("TfstyleganUpfirdn2d").Device(DEVICE_CPU).TypeConstraint<T>("T"), \
      Upfirdn2dOp<T>);
TFSTYLEGAN_REGISTER(float)
TFSTYLEGAN_REGISTER(double)
TFSTYLEGAN_REGISTER(Eigen::bfloat16)
TFSTYLEGAN_REGISTER(Eigen::half)
#undef TFSTYLEGAN_REGISTER

REGISTER_OP("TfstyleganUpfirdn2d")
    .Input("x: T")
    .Input("taps: float64")
    .Input("size: int32")
    .Output("y: T")
    .Attr("T: {float, double, bfloat16, half}")
    .Attr("up: list(int) >= 2")
    .Attr("down: list(int) >= 2")
    .Attr("pad0: list(int) >= 2")
    .SetShapeFn([](tensorflow::shape_inference::InferenceContext* c) {
      tensorflow::shape_inference::ShapeHandle x, taps, size;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 4, &x));
      TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 2, &taps));
      TF_RETURN_IF_ERROR(c->MakeShapeFromShapeTensor(2, &size));
      TF_RETURN_IF_ERROR(c->WithRank(size, 2, &size));
      c->set_output(0, c->MakeShape({c->Dim(x, 0), c->Dim(size, 0), c->Dim(size, 1),
                                     c->Dim(x, 3)}));
      return absl::OkStatus();
    });

}  // namespace
}  // namespace tfstylegan
