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
#include "upfirdn2d_args.h"
#include "upfirdn2d_general.h"

namespace tfstylegan {
namespace {

using tensorflow::DEVICE_CPU;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;

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
class Upfirdn2dOp : public Upfirdn2dOpBase {
 public:
  using Acc = AccOf<T>;

  using Upfirdn2dOpBase::Upfirdn2dOpBase;

 private:
  void Run(OpKernelContext* ctx, const Geometry& g, const double* taps,
           const Tensor& x, Tensor* y) override {
    const FilterPlan<Acc> plan(taps, g.y, g.x);
    const T* in = x.flat<T>().data();
    T* out = y->flat<T>().data();
    const auto* threads = ctx->device()->tensorflow_cpu_worker_threads();
    if (IsFourTap(g, plan)) {
      const std::vector<T> zeros(g.x.in * g.channels, T(0));
      const FourTap<T, Acc> f(g, plan, zeros.data(), in, out);
      // Cycles a block, at about sixteen elements in eight cycles.
      threads->workers->ParallelFor(
          g.batch * f.BlocksOfImage(), kRows * g.x.out * g.channels / 2 + 100,
          [&](int64_t b0, int64_t b1) { Blocks(f, b0, b1); });
      return;
    }
    // Cycles a row, at about eight elements a cycle.
    const int64_t work =
        g.x.out * g.channels * (g.y.taps / g.y.up + g.x.taps / g.x.up + 2) / 8 + 100;
    threads->workers->ParallelFor(
        g.batch * g.y.out, work,
        [&](int64_t r0, int64_t r1) { Rows(g, plan, in, r0, r1, out); });
  }
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
