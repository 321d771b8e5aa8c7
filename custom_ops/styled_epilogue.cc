// CPU kernels of styled_epilogue, of its gradient and of the gradient of that.
//
// An image is cut into blocks of pixels by a rule that knows the shape only, and the
// sums of the blocks are added in order, so that every result is the same bits whatever
// the number of threads.

#include "styled_epilogue.h"

#include <algorithm>
#include <vector>

#include "styled_epilogue_args.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/platform/threadpool.h"

namespace tfstylegan {
namespace {

using Eigen::bfloat16;
using Eigen::half;
using tensorflow::DEVICE_CPU;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

constexpr int64_t kBlockElements = 16384;  // of a block, about
constexpr int64_t kFewestPixels = 16;      // of a block, so that its sums are few

template <typename T>
using PassPointer = void (*)(double alpha, double gain, double clamp,
                             const Pixels<T>& pixels);

#define TFSTYLEGAN_PASS(name, Pass, relu, T)                                      \
  TFSTYLEGAN_MULTIVERSION(                                                        \
      name, (double alpha, double gain, double clamp, const Pixels<T>& pixels),   \
      (RunPass<Pass, relu>(alpha, gain, clamp, pixels)))
#define TFSTYLEGAN_SELECT(Pass, T)                       \
  TFSTYLEGAN_PASS(Pass##Relu##T, Pass, true, T)          \
  TFSTYLEGAN_PASS(Pass##Leaky##T, Pass, false, T)        \
  PassPointer<T> Select(Pass, T, bool relu) {            \
    return relu ? Pass##Relu##T : Pass##Leaky##T;        \
  }
#define TFSTYLEGAN_TYPE(T)          \
  TFSTYLEGAN_SELECT(ForwardPass, T) \
  TFSTYLEGAN_SELECT(GradPass, T)    \
  TFSTYLEGAN_SELECT(SecondPass, T)
TFSTYLEGAN_TYPE(float)
TFSTYLEGAN_TYPE(double)
TFSTYLEGAN_TYPE(bfloat16)
TFSTYLEGAN_TYPE(half)
#undef TFSTYLEGAN_TYPE
#undef TFSTYLEGAN_SELECT
#undef TFSTYLEGAN_PASS

// The tensors of an op: features [N, H, W, C], scale [N, C], plane [N or 1, H, W, 1],
// bias [C]. Vectors and planes are of the type of the sums.
template <typename T>
class Epilogue {
 public:
  using Acc = SumsOf<T>;

  // Null outputs and inputs are those that a pass has not.
  const Tensor *x = nullptr, *y = nullptr, *dy = nullptr, *v = nullptr;
  const Tensor *scale = nullptr, *plane = nullptr, *v_plane = nullptr;
  Acc strength = 1;                             // plane is multiplied by it
  const Acc *bias = nullptr, *ratio = nullptr;  // [C]; [N, C], as bias if there is one
  bool bias_of_image = false;                   // bias is [N, C]
  Tensor *out = nullptr, *d_y = nullptr;
  std::vector<Acc> row, sum, product_sum;  // [N, H * W], [N, C], [N, C]; with_sums only

  Epilogue(const TensorShape& shape, bool with_sums)
      : images_(shape.dim_size(0)),
        area_(shape.dim_size(1) * shape.dim_size(2)),
        channels_(shape.dim_size(3)),
        with_sums_(with_sums) {
    block_ = std::max(kFewestPixels, kBlockElements / std::max<int64_t>(channels_, 1));
    blocks_ = (area_ + block_ - 1) / block_;
    if (with_sums) {
      row.resize(images_ * area_);
      sum.resize(images_ * channels_);
      product_sum.resize(images_ * channels_);
    }
  }

  void Run(OpKernelContext* ctx, PassPointer<T> pass, double alpha, double gain,
           double clamp) {
    if (images_ * area_ * channels_ == 0) return;
    std::vector<Acc> sums(with_sums_ ? 2 * images_ * blocks_ * channels_ : 0);
    auto work = [&](int64_t first, int64_t last) {
      for (int64_t b = first; b < last; ++b) {
        Pixels<T> p = At(b / blocks_, b % blocks_ * block_);
        p.sum = sums.data() + 2 * b * channels_;
        p.product_sum = p.sum + channels_;
        pass(alpha, gain, clamp, p);
      }
    };
    ctx->device()->tensorflow_cpu_worker_threads()->workers->ParallelFor(
        images_ * blocks_, std::min(block_, area_) * channels_, work);
    for (int64_t b = 0; with_sums_ && b < images_ * blocks_; ++b) {
      const Acc* from = sums.data() + 2 * b * channels_;
      Acc* to = sum.data() + b / blocks_ * channels_;
      Acc* to_product = product_sum.data() + b / blocks_ * channels_;
      for (int64_t c = 0; c < channels_; ++c) {
        to[c] += from[c];
        to_product[c] += from[channels_ + c];
      }
    }
  }

 private:
  Pixels<T> At(int64_t image, int64_t pixel) {
    const int64_t features = (image * area_ + pixel) * channels_;
    const auto in = [&](const Tensor* t) {
      return t == nullptr ? nullptr : t->flat<T>().data() + features;
    };
    const auto to = [&](Tensor* t) {
      return t == nullptr ? nullptr : t->flat<T>().data() + features;
    };
    const auto map = [&](const Tensor* t) {
      if (t == nullptr) return static_cast<const Acc*>(nullptr);
      const int64_t start = t->dim_size(0) == 1 ? 0 : image * area_;
      return t->flat<Acc>().data() + start + pixel;
    };
    Pixels<T> p;
    p.count = std::min(block_, area_ - pixel);
    p.channels = channels_;
    p.x = in(x);
    p.y = in(y);
    p.dy = in(dy);
    p.v = in(v);
    p.out = to(out);
    p.d_y = to(d_y);
    p.plane = map(plane);
    p.strength = strength;
    p.v_plane = map(v_plane);
    p.row = with_sums_ ? row.data() + image * area_ + pixel : nullptr;
    p.scale = scale->flat<Acc>().data() + image * channels_;
    p.bias = bias + (bias_of_image ? image * channels_ : 0);
    p.ratio = ratio == nullptr ? nullptr : ratio + image * channels_;
    return p;
  }

  int64_t images_, area_, channels_, block_, blocks_;
  bool with_sums_;
};

// to, of the shape of plane, = factor * row, summed over images if plane has one.
template <typename Acc>
void FillPlane(const std::vector<Acc>& row, Acc factor, Tensor* to) {
  auto out = to->flat<Acc>();
  out.setZero();
  const int64_t size = out.size();
  for (int64_t start = 0; size > 0 && start < static_cast<int64_t>(row.size());
       start += size) {
    for (int64_t i = 0; i < size; ++i) out(i) += factor * row[start + i];
  }
}

template <typename Pass, typename T>
void Launch(OpKernelContext* ctx, const StyledEpilogueCall& call,
            Epilogue<T>* epilogue) {
  epilogue->Run(ctx, Select(Pass(), T(), call.act == "relu"),
                call.act == "linear" ? 1 : call.alpha, call.gain, call.clamp);
}

template <typename T>
class ForwardOp : public StyledEpilogueOpBase<0> {
 public:
  using StyledEpilogueOpBase::StyledEpilogueOpBase;

 private:
  void Run(OpKernelContext* ctx, const StyledEpilogueCall& call) override {
    using Acc = SumsOf<T>;
    Epilogue<T> epilogue(call.x->shape(), false);
    epilogue.x = call.x;
    epilogue.scale = call.scale;
    epilogue.plane = call.plane;
    epilogue.strength = call.strength->scalar<Acc>()();
    epilogue.bias = call.bias->flat<Acc>().data();
    epilogue.out = call.out;
    Launch<ForwardPass>(ctx, call, &epilogue);
  }
};

template <typename T>
class GradOp : public StyledEpilogueOpBase<1> {
 public:
  using StyledEpilogueOpBase::StyledEpilogueOpBase;

 private:
  void Run(OpKernelContext* ctx, const StyledEpilogueCall& call) override {
    using Acc = SumsOf<T>;
    Epilogue<T> epilogue(call.dy->shape(), true);
    epilogue.dy = call.dy;
    epilogue.y = call.y;
    epilogue.scale = call.scale;
    epilogue.plane = call.plane;
    epilogue.bias = call.bias->flat<Acc>().data();
    epilogue.out = call.out;
    Launch<GradPass>(ctx, call, &epilogue);

    const Acc* s = call.scale->flat<Acc>().data();
    auto ds = call.d_scale->flat<Acc>();
    auto db = call.d_bias->flat<Acc>();
    db.setZero();
    for (int64_t i = 0; i < ds.size(); ++i) {
      ds(i) = s[i] == 0 ? Acc(0) : epilogue.product_sum[i] / s[i];
      db(i % db.size()) += epilogue.sum[i];
    }
    FillPlane(epilogue.row, Acc(1), call.d_plane);
  }
};

template <typename T>
class SecondOp : public StyledEpilogueOpBase<2> {
 public:
  using StyledEpilogueOpBase::StyledEpilogueOpBase;

 private:
  void Run(OpKernelContext* ctx, const StyledEpilogueCall& call) override {
    using Acc = SumsOf<T>;
    Epilogue<T> epilogue(call.v_x->shape(), true);
    const Acc* s = call.scale->flat<Acc>().data();
    const Acc* b = call.bias->flat<Acc>().data();
    const Acc* v_scale = call.v_scale->flat<Acc>().data();
    const Acc* v_bias = call.v_bias->flat<Acc>().data();
    const int64_t size = call.scale->NumElements();
    const int64_t channels = call.bias->NumElements();
    std::vector<Acc> ratio(size), shift(size);
    for (int64_t i = 0; i < size; ++i) {
      ratio[i] = s[i] == 0 ? Acc(0) : v_scale[i] / s[i];
      shift[i] = v_bias[i % channels] - ratio[i] * b[i % channels];
    }
    epilogue.v = call.v_x;
    epilogue.dy = call.dy;
    epilogue.y = call.y;
    epilogue.scale = call.scale;
    epilogue.plane = call.plane;
    epilogue.v_plane = call.v_plane;
    epilogue.bias = shift.data();
    epilogue.bias_of_image = true;
    epilogue.ratio = ratio.data();
    epilogue.out = call.out;
    epilogue.d_y = call.d_y;
    Launch<SecondPass>(ctx, call, &epilogue);

    auto ds = call.d_scale->flat<Acc>();
    auto db = call.d_bias->flat<Acc>();
    db.setZero();
    for (int64_t i = 0; i < size; ++i) {
      ds(i) = epilogue.product_sum[i];
      db(i % channels) -= ratio[i] * epilogue.sum[i];
    }
    FillPlane(epilogue.row, Acc(-1), call.d_plane);
  }
};

#define TFSTYLEGAN_REGISTER_OP(name, Op, T)        \
  REGISTER_KERNEL_BUILDER(Name(name)               \
                              .Device(DEVICE_CPU)  \
                              .TypeConstraint<T>("T") \
                              .TypeConstraint<SumsOf<T>>("S"), \
                          Op<T>)
#define TFSTYLEGAN_REGISTER(T)                                              \
  TFSTYLEGAN_REGISTER_OP("TfstyleganStyledEpilogue", ForwardOp, T);         \
  TFSTYLEGAN_REGISTER_OP("TfstyleganStyledEpilogueGrad", GradOp, T);        \
  TFSTYLEGAN_REGISTER_OP("TfstyleganStyledEpilogueGradGrad", SecondOp, T);
TFSTYLEGAN_REGISTER(float)
TFSTYLEGAN_REGISTER(double)
TFSTYLEGAN_REGISTER(bfloat16)
TFSTYLEGAN_REGISTER(half)
#undef TFSTYLEGAN_REGISTER
#undef TFSTYLEGAN_REGISTER_OP

using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

// x [N, H, W, C] and the indices of the inputs that go with it. *x is refined.
absl::Status InferShapes(InferenceContext* c, int scale, int plane, int bias,
                         int scalars, ShapeHandle* x) {
  ShapeHandle unused;
  tensorflow::shape_inference::DimensionHandle dim;
  TF_RETURN_IF_ERROR(c->WithRank(*x, 4, x));
  TF_RETURN_IF_ERROR(c->Merge(c->input(scale),
                              c->Matrix(c->Dim(*x, 0), c->Dim(*x, 3)), &unused));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(plane), 4, &unused));
  for (int i = 1; i < 3; ++i) {
    TF_RETURN_IF_ERROR(c->Merge(c->Dim(unused, i), c->Dim(*x, i), &dim));
  }
  TF_RETURN_IF_ERROR(c->WithValue(c->Dim(unused, 3), 1, &dim));
  TF_RETURN_IF_ERROR(c->Merge(c->input(bias), c->Vector(c->Dim(*x, 3)), &unused));
  return c->WithRank(c->input(scalars), 1, &unused);
}

constexpr char kTypes[] = "T: {float, double, bfloat16, half}";
constexpr char kSums[] = "S: {float, double}";
constexpr char kPiecewiseActs[] = "act: {'linear', 'relu', 'lrelu'}";

REGISTER_OP("TfstyleganStyledEpilogue")
    .Input("x: T")
    .Input("scale: S")
    .Input("noise: S")
    .Input("strength: S")
    .Input("bias: S")
    .Input("scalars: float64")
    .Output("y: T")
    .Attr(kTypes)
    .Attr(kSums)
    .Attr(kPiecewiseActs)
    .SetShapeFn([](InferenceContext* c) {
      ShapeHandle x = c->input(0), unused;
      TF_RETURN_IF_ERROR(InferShapes(c, 1, 2, 4, 5, &x));
      TF_RETURN_IF_ERROR(c->WithRank(c->input(3), 0, &unused));
      c->set_output(0, x);
      return absl::OkStatus();
    });

REGISTER_OP("TfstyleganStyledEpilogueGrad")
    .Input("dy: T")
    .Input("y: T")
    .Input("scale: S")
    .Input("plane: S")
    .Input("bias: S")
    .Input("scalars: float64")
    .Output("dx: T")
    .Output("d_scale: S")
    .Output("d_plane: S")
    .Output("d_bias: S")
    .Attr(kTypes)
    .Attr(kSums)
    .Attr(kPiecewiseActs)
    .SetShapeFn([](InferenceContext* c) {
      ShapeHandle x;
      TF_RETURN_IF_ERROR(c->Merge(c->input(0), c->input(1), &x));
      TF_RETURN_IF_ERROR(InferShapes(c, 2, 3, 4, 5, &x));
      c->set_output(0, x);
      for (int i = 1; i < 4; ++i) c->set_output(i, c->input(i + 1));
      return absl::OkStatus();
    });

REGISTER_OP("TfstyleganStyledEpilogueGradGrad")
    .Input("v_x: T")
    .Input("v_scale: S")
    .Input("v_plane: S")
    .Input("v_bias: S")
    .Input("dy: T")
    .Input("y: T")
    .Input("scale: S")
    .Input("plane: S")
    .Input("bias: S")
    .Input("scalars: float64")
    .Output("d_dy: T")
    .Output("d_y: T")
    .Output("d_scale: S")
    .Output("d_plane: S")
    .Output("d_bias: S")
    .Attr(kTypes)
    .Attr(kSums)
    .Attr(kPiecewiseActs)
    .SetShapeFn([](InferenceContext* c) {
      ShapeHandle x;
      TF_RETURN_IF_ERROR(c->Merge(c->input(0), c->input(4), &x));
      TF_RETURN_IF_ERROR(c->Merge(x, c->input(5), &x));
      TF_RETURN_IF_ERROR(InferShapes(c, 6, 7, 8, 9, &x));
      c->set_output(0, x);
      c->set_output(1, x);
      for (int i = 2; i < 5; ++i) c->set_output(i, c->input(i + 4));
      return absl::OkStatus();
    });

}  // namespace
}  // namespace tfstylegan
