// CPU kernels of styled_epilogue, of its gradient and of the gradient of that.
//
// An image is cut into blocks of pixels by a rule that knows the shape only, and the
// sums of the blocks are added in order, so that every result is the same bits whatever
// the number of threads.

#include "styled_epilogue.h"

#include <algorithm>
#include <string>
#include <vector>

#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/platform/threadpool.h"

namespace tfstylegan {
namespace {

using Eigen::bfloat16;
using Eigen::half;
using tensorflow::DEVICE_CPU;
using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;
using tensorflow::errors::InvalidArgument;

constexpr int64_t kBlock = 16384;     // elements of a block, about
constexpr int64_t kFewestPixels = 16;  // of a block, so that its sums are few

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
    block_ = std::max(kFewestPixels, kBlock / std::max<int64_t>(channels_, 1));
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

// The tensors that go with features of the shape x.
absl::Status CheckShapes(const TensorShape& x, const Tensor& scale, const Tensor& plane,
                         const Tensor& bias, const Tensor& scalars) {
  if (x.dims() != 4) {
    return InvalidArgument("x must be [N, H, W, C], got ", x.DebugString());
  }
  const int64_t n = x.dim_size(0), h = x.dim_size(1), w = x.dim_size(2),
                c = x.dim_size(3);
  if (scale.shape() != TensorShape({n, c})) {
    return InvalidArgument("scale must be [N, C] for x ", x.DebugString(), ", got ",
                           scale.shape().DebugString());
  }
  if (plane.shape() != TensorShape({n, h, w, 1}) &&
      plane.shape() != TensorShape({1, h, w, 1})) {
    return InvalidArgument("noise, or plane, must be [N or 1, H, W, 1] for x ", x.DebugString(),
                           ", got ", plane.shape().DebugString());
  }
  if (bias.shape() != TensorShape({c})) {
    return InvalidArgument("bias must be [C] for x ", x.DebugString(), ", got ",
                           bias.shape().DebugString());
  }
  if (scalars.shape() != TensorShape({3})) {
    return InvalidArgument("scalars must be (alpha, gain, clamp), got shape ",
                           scalars.shape().DebugString());
  }
  return absl::OkStatus();
}

absl::Status CheckLike(OpKernelContext* ctx, int index, int like) {
  if (ctx->input(index).shape() == ctx->input(like).shape()) return absl::OkStatus();
  return InvalidArgument("input ", index, " must have the shape of input ", like, ", ",
                         ctx->input(like).shape().DebugString(), ", got ",
                         ctx->input(index).shape().DebugString());
}

template <typename T>
class EpilogueOp : public OpKernel {
 public:
  explicit EpilogueOp(OpKernelConstruction* ctx) : OpKernel(ctx) {
    OP_REQUIRES_OK(ctx, ctx->GetAttr("act", &act_));
  }

 protected:
  // scalars: the index of that input.
  template <typename Pass>
  void Launch(OpKernelContext* ctx, int scalars, Epilogue<T>* epilogue) const {
    const auto options = ctx->input(scalars).vec<double>();
    epilogue->Run(ctx, Select(Pass(), T(), act_ == "relu"),
                  act_ == "linear" ? 1 : options(0), options(1), options(2));
  }

 private:
  std::string act_;
};

// x, scale, noise, strength, bias, scalars -> y
template <typename T>
class ForwardOp : public EpilogueOp<T> {
 public:
  using EpilogueOp<T>::EpilogueOp;

  void Compute(OpKernelContext* ctx) override {
    const Tensor &x = ctx->input(0), &strength = ctx->input(3), &bias = ctx->input(4);
    OP_REQUIRES_OK(ctx, CheckShapes(x.shape(), ctx->input(1), ctx->input(2), bias,
                                    ctx->input(5)));
    OP_REQUIRES(ctx, strength.dims() == 0,
                InvalidArgument("strength must be a scalar, got ",
                                strength.shape().DebugString()));
    Epilogue<T> epilogue(x.shape(), false);
    OP_REQUIRES_OK(ctx, ctx->forward_input_or_allocate_output({0}, 0, x.shape(),
                                                              &epilogue.out));
    epilogue.x = &x;
    epilogue.scale = &ctx->input(1);
    epilogue.plane = &ctx->input(2);
    epilogue.strength = strength.scalar<SumsOf<T>>()();
    epilogue.bias = bias.flat<SumsOf<T>>().data();
    this->template Launch<ForwardPass>(ctx, 5, &epilogue);
  }
};

// dy, y, scale, plane, bias, scalars -> dx, d_scale, d_plane, d_bias
template <typename T>
class GradOp : public EpilogueOp<T> {
 public:
  using EpilogueOp<T>::EpilogueOp;

  void Compute(OpKernelContext* ctx) override {
    using Acc = SumsOf<T>;
    const Tensor& dy = ctx->input(0);
    const Tensor &scale = ctx->input(2), &plane = ctx->input(3), &bias = ctx->input(4);
    OP_REQUIRES_OK(ctx, CheckShapes(dy.shape(), scale, plane, bias, ctx->input(5)));
    OP_REQUIRES_OK(ctx, CheckLike(ctx, 1, 0));
    Epilogue<T> epilogue(dy.shape(), true);
    Tensor *d_scale, *d_plane, *d_bias;
    OP_REQUIRES_OK(ctx, ctx->forward_input_or_allocate_output({0}, 0, dy.shape(),
                                                              &epilogue.out));
    OP_REQUIRES_OK(ctx, ctx->allocate_output(1, scale.shape(), &d_scale));
    OP_REQUIRES_OK(ctx, ctx->allocate_output(2, plane.shape(), &d_plane));
    OP_REQUIRES_OK(ctx, ctx->allocate_output(3, bias.shape(), &d_bias));
    epilogue.dy = &dy;
    epilogue.y = &ctx->input(1);
    epilogue.scale = &scale;
    epilogue.plane = &plane;
    epilogue.bias = bias.flat<Acc>().data();
    this->template Launch<GradPass>(ctx, 5, &epilogue);

    const Acc* s = scale.flat<Acc>().data();
    auto ds = d_scale->flat<Acc>();
    auto db = d_bias->flat<Acc>();
    db.setZero();
    for (int64_t i = 0; i < ds.size(); ++i) {
      ds(i) = s[i] == 0 ? Acc(0) : epilogue.product_sum[i] / s[i];
      db(i % db.size()) += epilogue.sum[i];
    }
    FillPlane(epilogue.row, Acc(1), d_plane);
  }
};

// v_x, v_scale, v_plane, v_bias, dy, y, scale, plane, bias, scalars ->
// d_dy, d_y, d_scale, d_plane, d_bias
template <typename T>
class SecondOp : public EpilogueOp<T> {
 public:
  using EpilogueOp<T>::EpilogueOp;

  void Compute(OpKernelContext* ctx) override {
    using Acc = SumsOf<T>;
    const Tensor& v = ctx->input(0);
    const Tensor &scale = ctx->input(6), &plane = ctx->input(7), &bias = ctx->input(8);
    OP_REQUIRES_OK(ctx, CheckShapes(v.shape(), scale, plane, bias, ctx->input(9)));
    const int like[] = {6, 7, 8, 0, 0};  // of inputs 1 to 5
    for (int i = 0; i < 5; ++i) OP_REQUIRES_OK(ctx, CheckLike(ctx, i + 1, like[i]));
    Epilogue<T> epilogue(v.shape(), true);
    Tensor *d_scale, *d_plane, *d_bias;
    OP_REQUIRES_OK(ctx, ctx->forward_input_or_allocate_output({0}, 0, v.shape(),
                                                              &epilogue.out));
    OP_REQUIRES_OK(ctx, ctx->forward_input_or_allocate_output({4}, 1, v.shape(),
                                                              &epilogue.d_y));
    OP_REQUIRES_OK(ctx, ctx->allocate_output(2, scale.shape(), &d_scale));
    OP_REQUIRES_OK(ctx, ctx->allocate_output(3, plane.shape(), &d_plane));
    OP_REQUIRES_OK(ctx, ctx->allocate_output(4, bias.shape(), &d_bias));

    const Acc* s = scale.flat<Acc>().data();
    const Acc* b = bias.flat<Acc>().data();
    const Acc* v_scale = ctx->input(1).template flat<Acc>().data();
    const Acc* v_bias = ctx->input(3).template flat<Acc>().data();
    const int64_t size = scale.NumElements(), channels = bias.NumElements();
    std::vector<Acc> ratio(size), shift(size);
    for (int64_t i = 0; i < size; ++i) {
      ratio[i] = s[i] == 0 ? Acc(0) : v_scale[i] / s[i];
      shift[i] = v_bias[i % channels] - ratio[i] * b[i % channels];
    }
    epilogue.v = &v;
    epilogue.dy = &ctx->input(4);
    epilogue.y = &ctx->input(5);
    epilogue.scale = &scale;
    epilogue.plane = &plane;
    epilogue.v_plane = &ctx->input(2);
    epilogue.bias = shift.data();
    epilogue.bias_of_image = true;
    epilogue.ratio = ratio.data();
    this->template Launch<SecondPass>(ctx, 9, &epilogue);

    auto ds = d_scale->flat<Acc>();
    auto db = d_bias->flat<Acc>();
    db.setZero();
    for (int64_t i = 0; i < size; ++i) {
      ds(i) = epilogue.product_sum[i];
      db(i % channels) -= ratio[i] * epilogue.sum[i];
    }
    FillPlane(epilogue.row, Acc(-1), d_plane);
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
constexpr char kActs[] = "act: {'linear', 'relu', 'lrelu'}";

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
    .Attr(kActs)
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
    .Attr(kActs)
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
    .Attr(kActs)
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
