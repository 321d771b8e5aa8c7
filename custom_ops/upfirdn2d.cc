// CPU kernel of upfirdn2d: upsample, pad, FIR filter, downsample, [N, H, W, C].
//
// Every output row is computed by itself, in pieces of columns that stay in the first
// cache: combine input rows with the y taps (contiguous over W * C), then combine
// columns of the result with the x taps (contiguous over C). What an output is does
// not depend on how rows are shared between threads.

#include "upfirdn2d.h"

#include <type_traits>

#include "cpu_dispatch.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/platform/threadpool.h"

namespace tfstylegan {
namespace {

using tensorflow::DEVICE_CPU;
using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;
using tensorflow::errors::InvalidArgument;

constexpr int64_t kPieceElements = 4096;  // of an intermediate row: 16 KiB of float
constexpr int64_t kNarrow = 16;           // fewer channels do not fill the vectors
constexpr int64_t kMaxFactor = int64_t{1} << 20;
constexpr int64_t kMaxPad = int64_t{1} << 40;

// Scratch memory of one thread.
template <typename Acc>
struct Scratch {
  std::vector<Acc> row;    // a piece of the row after the y taps
  std::vector<Acc> dense;  // its x filtering at every sample, for few channels
  std::vector<Acc> line;   // the output piece before it is rounded to a small type
};

// row[(i - begin) * C + c] = sum of taps[n] * image[first + n, i, c] for columns i in
// [begin, end); rows and columns outside of the image are zero.
template <typename T, typename Acc>
TFSTYLEGAN_INLINE void CombineRows(const Geometry& g, const std::vector<Acc>& taps,
                                   int64_t first, const T* image, int64_t begin,
                                   int64_t end, Acc* row) {
  const int64_t c = g.channels;
  const int64_t from = std::max<int64_t>(0, -first);
  const int64_t to = std::min<int64_t>(taps.size(), g.y.in - first);
  const int64_t left = std::min(std::max<int64_t>(begin, 0), end);
  const int64_t right = std::max(std::min(end, g.x.in), left);
  std::fill(row, row + (left - begin) * c, Acc(0));
  Fir(false, std::max<int64_t>(to - from, 0), taps.data() + from,
      image + ((first + from) * g.x.in + left) * c, g.x.in * c, (right - left) * c,
      row + (left - begin) * c);
  std::fill(row + (right - begin) * c, row + (end - begin) * c, Acc(0));
}

// out[(o - o0) * C + c] (+)= x filtering of `row`, which starts at column `begin`.
template <typename Acc>
TFSTYLEGAN_INLINE void FilterRow(const Geometry& g, const Phases<Acc>& phases,
                                 const Acc* row, int64_t begin, int64_t end, int64_t o0,
                                 int64_t o1, bool add, Acc* dense, Acc* out) {
  const int64_t c = g.channels;
  const Acc zeros[kNarrow] = {};
  const int64_t first_tap = g.x.FirstTap(o0);
  const int64_t first_sample = g.x.FirstSample(o0) - begin;
  if (g.x.up == 1 && g.x.down == 1) {  // one run over all columns
    Fir(add, phases[0].size(), phases[0].data(), row + first_sample * c, c,
        (o1 - o0) * c, out);
    return;
  }
  const int64_t passes = c >= kNarrow ? 1 : g.x.up;
  for (int64_t pass = 0; pass < passes; ++pass) {
    const std::vector<Acc>& dense_taps = phases[pass];
    if (c < kNarrow) {  // one phase of taps at every sample
      const int64_t n = dense_taps.size();
      const int64_t starts =
          std::max<int64_t>(end - begin - std::max<int64_t>(n - 1, 0), 0);
      Fir(false, n, dense_taps.data(), row, c, starts * c, dense);
    }
    int64_t tap = first_tap, sample = first_sample;
    for (int64_t o = o0; o < o1; ++o) {
      Acc* to = out + (o - o0) * c;
      if (c >= kNarrow) {
        const std::vector<Acc>& taps = phases[tap];
        Fir(add, taps.size(), taps.data(), row + sample * c, c, c, to);
      } else if (tap == pass) {
        const Acc* from = dense_taps.empty() ? zeros : dense + sample * c;
        for (int64_t i = 0; i < c; ++i) to[i] = add ? to[i] + from[i] : from[i];
      }
      for (tap -= g.x.down; tap < 0; tap += g.x.up) ++sample;
    }
  }
}

// Output columns [o0, o1) of row oy of one image.
template <typename T, typename Acc>
TFSTYLEGAN_INLINE void OutputPiece(const Geometry& g, const FilterPlan<Acc>& plan,
                                   const T* image, int64_t oy, int64_t o0, int64_t o1,
                                   Scratch<Acc>* scratch, T* out) {
  const int64_t begin = g.x.FirstSample(o0);
  const int64_t end = std::max(g.x.EndSample(o1 - 1), begin);
  const int64_t first = g.y.FirstSample(oy);
  Acc* row = scratch->row.data();
  Acc* dense = scratch->dense.data();
  Acc* line;
  if constexpr (std::is_same_v<T, Acc>) {
    line = out;
  } else {
    line = scratch->line.data();
  }
  // One term if the kernel is separable, otherwise one for each kernel row that meets
  // an image row.
  const std::vector<Acc> one(1, Acc(1));
  const int64_t tap = g.y.FirstTap(oy);
  const int64_t terms =
      plan.separable ? 1 : (std::max(g.y.taps - tap, int64_t{0}) + g.y.up - 1) / g.y.up;
  for (int64_t term = 0; term < terms; ++term) {
    const std::vector<Acc>& y_taps = plan.separable ? plan.y[tap] : one;
    const Phases<Acc>& x_taps = plan.x[plan.separable ? 0 : tap + term * g.y.up];
    CombineRows(g, y_taps, first + term, image, begin, end, row);
    FilterRow(g, x_taps, row, begin, end, o0, o1, term > 0, dense, line);
  }
  if (terms == 0) std::fill(line, line + (o1 - o0) * g.channels, Acc(0));
  if constexpr (!std::is_same_v<T, Acc>) {
    for (int64_t i = 0; i < (o1 - o0) * g.channels; ++i)
      out[i] = static_cast<T>(line[i]);
  }
}

// Rows [r0, r1) of the batch * out rows of the output.
template <typename T, typename Acc>
TFSTYLEGAN_INLINE void OutputRows(const Geometry& g, const FilterPlan<Acc>& plan,
                                  const T* in, int64_t r0, int64_t r1, T* out) {
  const int64_t c = g.channels;
  // Columns a piece may have, so that its input fits into kPieceElements.
  const int64_t budget = std::max<int64_t>(kPieceElements / c, 2 * g.x.taps);
  const int64_t samples = std::max<int64_t>(budget - g.x.taps, 1);
  const int64_t piece =
      std::min(std::max<int64_t>(samples * g.x.up / g.x.down, 1), g.x.out);
  const int64_t widest = (piece * g.x.down + g.x.taps) / g.x.up + 2;
  Scratch<Acc> scratch;
  scratch.row.resize(widest * c);
  scratch.dense.resize(c < kNarrow ? widest * c : 0);
  scratch.line.resize(std::is_same_v<T, Acc> ? 0 : piece * c);
  for (int64_t r = r0; r < r1; ++r) {
    const T* image = in + r / g.y.out * g.y.in * g.x.in * c;
    T* out_row = out + r * g.x.out * c;
    for (int64_t o = 0; o < g.x.out; o += piece) {
      OutputPiece(g, plan, image, r % g.y.out, o, std::min(o + piece, g.x.out),
                  &scratch, out_row + o * c);
    }
  }
}

#define TFSTYLEGAN_ROWS(name, T, Acc)                                                \
  TFSTYLEGAN_MULTIVERSION(name,                                                      \
                          (const Geometry& g, const FilterPlan<Acc>& plan,           \
                           const T* in, int64_t r0, int64_t r1, T* out),             \
                          OutputRows(g, plan, in, r0, r1, out))                      \
  void Rows(const Geometry& g, const FilterPlan<Acc>& plan, const T* in, int64_t r0, \
            int64_t r1, T* out) {                                                    \
    name(g, plan, in, r0, r1, out);                                                  \
  }

TFSTYLEGAN_ROWS(RowsFloat, float, float)
TFSTYLEGAN_ROWS(RowsDouble, double, double)
TFSTYLEGAN_ROWS(RowsBfloat16, Eigen::bfloat16, float)
#undef TFSTYLEGAN_ROWS

// Conversion is what takes the time.
void Rows(const Geometry& g, const FilterPlan<float>& plan, const Eigen::half* in,
          int64_t r0, int64_t r1, Eigen::half* out) {
  OutputRows(g, plan, in, r0, r1, out);
}

template <typename T>
class Upfirdn2dOp : public OpKernel {
 public:
  using Acc = std::conditional_t<std::is_same_v<T, double>, double, float>;

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
    // Cycles a row, at about eight elements a cycle.
    const int64_t work =
        out_w * g.channels * (g.y.taps / g.y.up + g.x.taps / g.x.up + 2) / 8 + 100;
    ctx->device()->tensorflow_cpu_worker_threads()->workers->ParallelFor(
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
