// CPU kernels of fused_bias_act and of its gradient.
//
// A tensor is seen as tiles: runs of at least kTile elements over which the bias
// repeats. Tiles are grouped into blocks by a rule that knows the shape only, and the
// sums of the blocks are added in order, so that the bias gradient is the same bits
// whatever the number of threads.

#include "fused_bias_act.h"

#include <algorithm>
#include <string>
#include <vector>

#include "fused_bias_act_args.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/platform/threadpool.h"

namespace tfstylegan {
namespace {

using tensorflow::DEVICE_CPU;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

constexpr int64_t kTile = 256;
constexpr int64_t kBlock = 16384;  // elements of a block, at least

template <typename T>
using RunsPointer = void (*)(const Scalars<AccOf<T>>& s, const Run<T>& run,
                             int64_t tile, int64_t count);

// Activations that are calls of the mathematical library, and half, whose conversions
// take the time: one instruction set will do.
template <bool kBackward, template <typename> class Act, typename T>
void Plain(const Scalars<AccOf<T>>& s, const Run<T>& run, int64_t tile, int64_t count) {
  Runs<kBackward>(Act<AccOf<T>>{s}, run, tile, count);
}

#define TFSTYLEGAN_VECTOR(name, backward, Act, T)                                   \
  TFSTYLEGAN_MULTIVERSION(                                                          \
      name,                                                                         \
      (const Scalars<AccOf<T>>& s, const Run<T>& run, int64_t tile, int64_t count), \
      (Runs<backward>(Act<AccOf<T>>{s}, run, tile, count)))
#define TFSTYLEGAN_TYPE(name, T)                         \
  TFSTYLEGAN_VECTOR(Relu##name, false, Relu, T)          \
  TFSTYLEGAN_VECTOR(ReluGrad##name, true, Relu, T)       \
  TFSTYLEGAN_VECTOR(Leaky##name, false, LeakyRelu, T)    \
  TFSTYLEGAN_VECTOR(LeakyGrad##name, true, LeakyRelu, T) \
  RunsPointer<T> ReluOf(bool backward, T) {              \
    return backward ? ReluGrad##name : Relu##name;       \
  }                                                      \
  RunsPointer<T> LeakyOf(bool backward, T) {             \
    return backward ? LeakyGrad##name : Leaky##name;     \
  }
TFSTYLEGAN_TYPE(Float, float)
TFSTYLEGAN_TYPE(Double, double)
TFSTYLEGAN_TYPE(Bfloat16, Eigen::bfloat16)
#undef TFSTYLEGAN_TYPE
#undef TFSTYLEGAN_VECTOR

RunsPointer<Eigen::half> ReluOf(bool backward, Eigen::half) {
  return backward ? Plain<true, Relu, Eigen::half> : Plain<false, Relu, Eigen::half>;
}
RunsPointer<Eigen::half> LeakyOf(bool backward, Eigen::half) {
  return backward ? Plain<true, LeakyRelu, Eigen::half>
                  : Plain<false, LeakyRelu, Eigen::half>;
}

template <bool kBackward, typename T>
RunsPointer<T> Select(const std::string& act) {
  if (act == "relu") return ReluOf(kBackward, T());
  if (act == "tanh") return Plain<kBackward, Tanh, T>;
  if (act == "sigmoid") return Plain<kBackward, Sigmoid, T>;
  if (act == "elu") return Plain<kBackward, Elu, T>;
  if (act == "selu") return Plain<kBackward, Selu, T>;
  if (act == "softplus") return Plain<kBackward, Softplus, T>;
  if (act == "swish") return Plain<kBackward, Swish, T>;
  return LeakyOf(kBackward, T());  // lrelu, linear
}

// x as [outer, channels, inner]; without a bias all of it is `inner`.
struct View {
  int64_t outer = 1, channels = 1, inner = 1;
  int64_t size = 0;
  bool biased = false;

  // Elements after which the bias vector that a run sees repeats.
  int64_t tile = 1;
  // Elements of a block and blocks: of everything if inner is 1 (a multiple of the
  // tile), otherwise of each of the outer * channels rows.
  int64_t block = 1;
  int64_t blocks = 1;
  bool last = false;

  View(const TensorShape& shape, int axis, bool with_bias) {
    size = shape.num_elements();
    biased = with_bias;
    inner = size;
    if (biased) {
      channels = shape.dim_size(axis);
      inner = 1;
      for (int i = 0; i < axis; ++i) outer *= shape.dim_size(i);
      for (int i = axis + 1; i < shape.dims(); ++i) inner *= shape.dim_size(i);
    }
    if (size == 0) return;
    last = biased && inner == 1;
    if (last) {
      tile = (kTile + channels - 1) / channels * channels;
      block = tile * std::max<int64_t>(16, kBlock / tile);
      blocks = (size + block - 1) / block;
    } else {
      tile = std::min(inner, kTile);
      block = kBlock;
      blocks = outer * channels * ((inner + block - 1) / block);
    }
  }
};

template <typename Acc, typename T>
void FillTile(const Tensor& vector, int64_t channel, const View& view, Acc* tile) {
  const T* from = vector.flat<T>().data();
  const bool empty = vector.NumElements() == 0;
  for (int64_t i = 0; i < view.tile; ++i) {
    const int64_t c = view.last ? i % view.channels : channel;
    tile[i] = empty ? Acc(0) : static_cast<Acc>(from[c]);
  }
}

// Forward: x, bias -> out. Backward: x is dy, plus is dy_bias; also sums out into
// d_bias, which may be null.
template <bool kBackward, typename T>
void Process(OpKernelContext* ctx, const View& view, RunsPointer<T> runs,
             const Scalars<AccOf<T>>& scalars, const Tensor& x, const Tensor* ref,
             const Tensor& bias, const Tensor& plus, Tensor* out, Tensor* d_bias) {
  using Acc = AccOf<T>;
  const int64_t tile = view.tile;
  std::vector<Acc> common_bias(tile), common_plus(tile);
  FillTile<Acc, T>(bias, 0, view, common_bias.data());
  FillTile<Acc, T>(plus, 0, view, common_plus.data());
  // One sum per channel and block, or per block of a row.
  const int64_t width = view.last ? view.channels : 1;
  std::vector<Acc> sums(kBackward ? view.blocks * width : 0, Acc(0));
  const int64_t per_row =
      view.last ? view.blocks : (view.inner + view.block - 1) / view.block;

  auto work = [&](int64_t b0, int64_t b1) {
    std::vector<Acc> own_bias(common_bias), own_plus(common_plus), own_sum(tile);
    for (int64_t b = b0; b < b1; ++b) {
      const int64_t row = view.last ? 0 : b / per_row;
      const int64_t length = view.last ? view.size : view.inner;
      const int64_t begin = (b % per_row) * view.block;
      const int64_t offset = row * length + begin;
      if (!view.last && view.biased) {
        FillTile<Acc, T>(bias, row % view.channels, view, own_bias.data());
        FillTile<Acc, T>(plus, row % view.channels, view, own_plus.data());
      }
      Run<T> run;
      run.x = x.flat<T>().data() + offset;
      run.ref = kBackward ? ref->flat<T>().data() + offset : nullptr;
      run.bias = own_bias.data();
      run.plus = own_plus.data();
      run.out = out->flat<T>().data() + offset;
      run.sum = own_sum.data();
      if (kBackward) std::fill(own_sum.begin(), own_sum.end(), Acc(0));
      runs(scalars, run, tile, std::min(view.block, length - begin));
      if (kBackward) AddInto(own_sum, width, sums.data() + b * width);
    }
  };
  ctx->device()->tensorflow_cpu_worker_threads()->workers->ParallelFor(
      view.blocks, std::min(view.block, view.last ? view.size : view.inner), work);

  if (d_bias == nullptr) return;
  std::vector<Acc> totals(view.channels, Acc(0));
  if (view.last) {
    AddInto(sums, width, totals.data());
  } else {
    for (int64_t b = 0; b < view.blocks; ++b) {
      totals[b / per_row % view.channels] += sums[b];
    }
  }
  for (int64_t c = 0; c < view.channels; ++c) {
    d_bias->flat<T>()(c) = static_cast<T>(totals[c]);
  }
}

template <bool kBackward, typename T>
class FusedBiasActOp : public FusedBiasActOpBase<kBackward> {
 public:
  using FusedBiasActOpBase<kBackward>::FusedBiasActOpBase;

 private:
  void Run(OpKernelContext* ctx, const FusedBiasActCall& call) override {
    const Tensor& x = *call.x;
    const Tensor& bias = *call.bias;
    const Tensor& plus = kBackward ? *call.plus : empty_;
    if (kBackward) call.d_bias->flat<T>().setZero();
    if (x.NumElements() == 0) return;
    using Acc = AccOf<T>;
    const std::string& act = this->act();
    const Scalars<Acc> s{static_cast<Acc>(act == "linear" ? 1 : call.alpha),
                         static_cast<Acc>(call.gain), static_cast<Acc>(call.clamp)};
    const View view(x.shape(), this->axis(),
                    bias.NumElements() + plus.NumElements() > 0);
    Process<kBackward, T>(ctx, view, Select<kBackward, T>(act), s, x, call.ref, bias,
                          plus, call.out,
                          bias.NumElements() == 0 ? nullptr : call.d_bias);
  }

  Tensor empty_{tensorflow::DataTypeToEnum<T>::value, TensorShape({0})};
};

#define TFSTYLEGAN_REGISTER(T)                                                      \
  REGISTER_KERNEL_BUILDER(                                                          \
      Name("TfstyleganFusedBiasAct").Device(DEVICE_CPU).TypeConstraint<T>("T"),     \
      FusedBiasActOp<false, T>);                                                    \
  REGISTER_KERNEL_BUILDER(                                                          \
      Name("TfstyleganFusedBiasActGrad").Device(DEVICE_CPU).TypeConstraint<T>("T"), \
      FusedBiasActOp<true, T>);
TFSTYLEGAN_REGISTER(float)
TFSTYLEGAN_REGISTER(double)
TFSTYLEGAN_REGISTER(Eigen::bfloat16)
TFSTYLEGAN_REGISTER(Eigen::half)
#undef TFSTYLEGAN_REGISTER

constexpr char kActs[] =
    "act: {'linear', 'relu', 'lrelu', 'tanh', 'sigmoid', 'elu', 'selu', 'softplus', "
    "'swish'}";

REGISTER_OP("TfstyleganFusedBiasAct")
    .Input("x: T")
    .Input("bias: T")
    .Input("scalars: float64")
    .Output("y: T")
    .Attr("T: {float, double, bfloat16, half}")
    .Attr("axis: int >= 0")
    .Attr(kActs)
    .SetShapeFn([](tensorflow::shape_inference::InferenceContext* c) {
      tensorflow::shape_inference::ShapeHandle x, unused;
      TF_RETURN_IF_ERROR(c->WithRankAtLeast(c->input(0), 1, &x));
      TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 1, &unused));
      TF_RETURN_IF_ERROR(c->WithRank(c->input(2), 1, &unused));
      c->set_output(0, x);
      return absl::OkStatus();
    });

REGISTER_OP("TfstyleganFusedBiasActGrad")
    .Input("dy: T")
    .Input("dy_bias: T")
    .Input("ref: T")
    .Input("bias: T")
    .Input("scalars: float64")
    .Output("dx: T")
    .Output("d_bias: T")
    .Attr("T: {float, double, bfloat16, half}")
    .Attr("axis: int >= 0")
    .Attr(kActs)
    .SetShapeFn([](tensorflow::shape_inference::InferenceContext* c) {
      tensorflow::shape_inference::ShapeHandle x, unused;
      TF_RETURN_IF_ERROR(c->WithRankAtLeast(c->input(0), 1, &x));
      TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 1, &unused));
      TF_RETURN_IF_ERROR(c->Merge(x, c->input(2), &x));
      TF_RETURN_IF_ERROR(c->WithRank(c->input(3), 1, &unused));
      TF_RETURN_IF_ERROR(c->WithRank(c->input(4), 1, &unused));
      c->set_output(0, x);
      c->set_output(1, c->input(3));
      return absl::OkStatus();
    });

}  // namespace
}  // namespace tfstylegan
