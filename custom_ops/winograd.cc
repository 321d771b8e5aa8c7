// CPU kernels of the 3 x 3 convolution and of the gradient of its kernel.
//
// What is computed together is decided by the shapes alone: a result does not depend on
// how the work is shared between threads.

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <memory>

#include "cpu_dispatch.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/platform/threadpool.h"
#include "winograd.h"
#include "winograd_gradient.h"

// Asked by tfstylegan/ops/winograd.py: these loops need the registers of AVX-512 to be
// faster than TensorFlow's own convolution.
extern "C" __attribute__((visibility("default"))) int tfstylegan_cpu_level() {
  return tfstylegan::CpuLevel();
}

namespace tfstylegan {
namespace {

using tensorflow::DEVICE_CPU;
using tensorflow::OpKernel;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;
using tensorflow::errors::InvalidArgument;

TFSTYLEGAN_MULTIVERSION(KernelOf,
                        (const float* w, int64_t channels, int64_t filters, int64_t c0,
                         int64_t c1, float* panels),
                        TransformKernel(w, channels, filters, c0, c1, panels))
TFSTYLEGAN_MULTIVERSION(TurnedKernelOf,
                        (const float* w, int64_t channels, int64_t filters, int64_t c0,
                         int64_t c1, float* panels),
                        TransformTurned(w, channels, filters, c0, c1, panels))
TFSTYLEGAN_MULTIVERSION(Convolve,
                        (const Convolution& p, int64_t b0, int64_t b1, float* scratch),
                        ConvolveBlocks(p, b0, b1, scratch))
TFSTYLEGAN_MULTIVERSION(SumGradients,
                        (const KernelGradient& p, int64_t t0, int64_t t1,
                         float* scratch),
                        SumKernelGradients(p, t0, t1, scratch))
TFSTYLEGAN_MULTIVERSION(GradientOf,
                        (const float* du, int64_t channels, int64_t filters, int64_t c0,
                         int64_t c1, float* dw),
                        TransformGradient(du, channels, filters, c0, c1, dw))

// Numbers of one thread, aligned to cache lines; data() is null where memory is short.
class Scratch {
 public:
  explicit Scratch(int64_t size)
      : data_(static_cast<float*>(
            std::aligned_alloc(64, (size * sizeof(float) + 63) / 64 * 64))) {}
  float* data() const { return data_.get(); }

 private:
  struct Free {
    void operator()(float* data) const { std::free(data); }
  };
  std::unique_ptr<float, Free> data_;
};

// Cycles of `products` multiplications and additions.
int64_t Cycles(int64_t products) { return products / 16 + 1; }

bool IsWhole(int64_t maps) { return maps % kMaps == 0; }

// x [N, H, W, C], the images that a kernel works on.
TiledImages Tiled(const Tensor& x) {
  return {x.dim_size(0), x.dim_size(1), x.dim_size(2), x.dim_size(3)};
}

void RequireImages(OpKernelContext* ctx, const char* name, const Tensor& x) {
  OP_REQUIRES(ctx, x.dims() == 4 && IsWhole(x.dim_size(3)),
              InvalidArgument(name, " must be [N, H, W, a multiple of ", kMaps,
                              "], got ", x.shape().DebugString()));
}

void RequireMemory(OpKernelContext* ctx, bool lacks_memory) {
  OP_REQUIRES(ctx, !lacks_memory,
              tensorflow::errors::ResourceExhausted(
                  "no memory for the tiles of a 3x3 convolution"));
}

class Conv3x3Op : public OpKernel {
 public:
  explicit Conv3x3Op(tensorflow::OpKernelConstruction* ctx) : OpKernel(ctx) {
    OP_REQUIRES_OK(ctx, ctx->GetAttr("transposed", &transposed_));
  }

  void Compute(OpKernelContext* ctx) override {
    const Tensor &x = ctx->input(0), &w = ctx->input(1);
    RequireImages(ctx, "x", x);
    if (!ctx->status().ok()) return;
    const int64_t channels = x.dim_size(3);
    const int in = transposed_ ? 3 : 2, out = transposed_ ? 2 : 3;
    OP_REQUIRES(ctx,
                w.dims() == 4 && w.dim_size(0) == 3 && w.dim_size(1) == 3 &&
                    w.dim_size(in) == channels && IsWhole(w.dim_size(out)),
                InvalidArgument("w must be [3, 3, C, F], ", transposed_ ? "F" : "C",
                                " = ", channels, " and the other a multiple of ", kMaps,
                                ", got ", w.shape().DebugString()));
    const int64_t filters = w.dim_size(out);
    TensorShape shape = x.shape();
    shape.set_dim(3, filters);
    Tensor* y = nullptr;
    Tensor panels;
    OP_REQUIRES_OK(ctx, ctx->allocate_output(0, shape, &y));
    if (y->NumElements() == 0) return;
    OP_REQUIRES_OK(
        ctx, ctx->allocate_temp(tensorflow::DT_FLOAT,
                                TensorShape({16, channels, filters}), &panels));
    auto* workers = ctx->device()->tensorflow_cpu_worker_threads()->workers;
    const float* kernel = w.flat<float>().data();
    float* transformed = panels.flat<float>().data();
    workers->ParallelFor(channels / kLanes, Cycles(64 * kLanes * filters),
                         [&](int64_t c0, int64_t c1) {
                           (transposed_ ? TurnedKernelOf : KernelOf)(
                               kernel, channels, filters, c0, c1, transformed);
                         });
    const Convolution p{Tiled(x), Tiled(*y), x.flat<float>().data(), transformed,
                        y->flat<float>().data()};
    std::atomic<bool> lacks_memory = false;
    workers->ParallelFor(
        p.Blocks(), Cycles(16 * kTilesOfBlock * channels * filters),
        [&](int64_t b0, int64_t b1) {
          const Scratch scratch(16 * kTilesOfBlock * (channels + filters) +
                                std::max(channels, filters));
          if (scratch.data() == nullptr) {
            lacks_memory = true;
          } else {
            Convolve(p, b0, b1, scratch.data());
          }
        });
    RequireMemory(ctx, lacks_memory);
  }

 private:
  bool transposed_;
};

class Conv3x3KernelGradOp : public OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* ctx) override {
    const Tensor &x = ctx->input(0), &dy = ctx->input(1);
    RequireImages(ctx, "x", x);
    RequireImages(ctx, "dy", dy);
    if (!ctx->status().ok()) return;
    bool agree = true;
    for (int i = 0; i < 3; ++i) agree = agree && x.dim_size(i) == dy.dim_size(i);
    OP_REQUIRES(ctx, agree,
                InvalidArgument("dy must have the N, H and W of x ",
                                x.shape().DebugString(), ", got ",
                                dy.shape().DebugString()));
    const int64_t channels = x.dim_size(3), filters = dy.dim_size(3);
    Tensor* dw = nullptr;
    Tensor du;
    OP_REQUIRES_OK(
        ctx, ctx->allocate_output(0, TensorShape({3, 3, channels, filters}), &dw));
    float* out = dw->flat<float>().data();
    if (x.NumElements() == 0 || dy.NumElements() == 0) {
      std::fill(out, out + dw->NumElements(), 0.0f);
      return;
    }
    OP_REQUIRES_OK(ctx, ctx->allocate_temp(tensorflow::DT_FLOAT,
                                           TensorShape({16, channels, filters}), &du));
    float* sums = du.flat<float>().data();
    const KernelGradient p{Tiled(x), Tiled(dy), x.flat<float>().data(),
                           dy.flat<float>().data(), sums};
    std::atomic<bool> lacks_memory = false;
    auto* workers = ctx->device()->tensorflow_cpu_worker_threads()->workers;
    workers->ParallelFor(
        p.Tasks(), Cycles(4 * p.in.count * KernelGradient::kMapsOfTask * filters),
        [&](int64_t t0, int64_t t1) {
          const Scratch scratch(4 * kTilesOfSum *
                                    (KernelGradient::kMapsOfTask + filters) +
                                std::max(channels, filters));
          if (scratch.data() == nullptr) {
            lacks_memory = true;
          } else {
            SumGradients(p, t0, t1, scratch.data());
          }
        });
    RequireMemory(ctx, lacks_memory);
    if (!ctx->status().ok()) return;
    workers->ParallelFor(channels, Cycles(64 * filters), [&](int64_t c0, int64_t c1) {
      GradientOf(sums, channels, filters, c0, c1, out);
    });
  }
};

REGISTER_KERNEL_BUILDER(Name("TfstyleganConv3x3").Device(DEVICE_CPU), Conv3x3Op);
REGISTER_KERNEL_BUILDER(Name("TfstyleganConv3x3KernelGrad").Device(DEVICE_CPU),
                        Conv3x3KernelGradOp);

using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

REGISTER_OP("TfstyleganConv3x3")
    .Input("x: float")
    .Input("w: float")
    .Output("y: float")
    .Attr("transposed: bool = false")
    .SetShapeFn([](InferenceContext* c) {
      bool transposed;
      TF_RETURN_IF_ERROR(c->GetAttr("transposed", &transposed));
      const int in = transposed ? 3 : 2, out = transposed ? 2 : 3;
      ShapeHandle x, w;
      DimensionHandle dim;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 4, &x));
      TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 4, &w));
      TF_RETURN_IF_ERROR(c->WithValue(c->Dim(w, 0), 3, &dim));
      TF_RETURN_IF_ERROR(c->WithValue(c->Dim(w, 1), 3, &dim));
      TF_RETURN_IF_ERROR(c->Merge(c->Dim(x, 3), c->Dim(w, in), &dim));
      TF_RETURN_IF_ERROR(c->ReplaceDim(x, 3, c->Dim(w, out), &x));
      c->set_output(0, x);
      return absl::OkStatus();
    });

REGISTER_OP("TfstyleganConv3x3KernelGrad")
    .Input("x: float")
    .Input("dy: float")
    .Output("dw: float")
    .SetShapeFn([](InferenceContext* c) {
      ShapeHandle x, dy;
      DimensionHandle dim;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 4, &x));
      TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 4, &dy));
      for (int i = 0; i < 3; ++i) {
        TF_RETURN_IF_ERROR(c->Merge(c->Dim(x, i), c->Dim(dy, i), &dim));
      }
      c->set_output(0, c->MakeShape({3, 3, c->Dim(x, 3), c->Dim(dy, 3)}));
      return absl::OkStatus();
    });

}  // namespace
}  // namespace tfstylegan
