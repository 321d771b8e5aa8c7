// GPU kernels of the ops styled_epilogue, its gradient and the gradient of that, by the
// launchers in styled_epilogue.cu.cc.
//
// Empty unless the library is linked with CUDA objects.

#ifdef TFSTYLEGAN_CUDA

#include "styled_epilogue.cu.h"

#include <type_traits>

#include "cuda_op.h"
#include "styled_epilogue_args.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tfstylegan {
namespace {

using tensorflow::DEVICE_GPU;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;

template <typename T>
using SumsOf = std::conditional_t<std::is_same_v<T, double>, double, float>;

TfstyleganStyledEpilogue OptionsOf(const StyledEpilogueCall& call) {
  const tensorflow::TensorShape& shape = call.out->shape();
  const int act = call.act == "linear" ? 0 : call.act == "relu" ? 1 : 2;
  return {shape.dim_size(0),        shape.dim_size(1) * shape.dim_size(2),
          shape.dim_size(3),        call.plane->dim_size(0),
          call.alpha,               call.gain,
          call.clamp,               act};
}

template <int kOrder, typename T>
class StyledEpilogueGpuOp : public StyledEpilogueOpBase<kOrder> {
 public:
  using StyledEpilogueOpBase<kOrder>::StyledEpilogueOpBase;

 private:
  void Run(OpKernelContext* ctx, const StyledEpilogueCall& call) override {
    const TfstyleganStyledEpilogue options = OptionsOf(call);
    if constexpr (kOrder == 0) {
      const int status = tfstylegan_styled_epilogue_cuda(
          kDtype<T>, DataOf(call.x), DataOf(call.scale), DataOf(call.plane),
          DataOf(call.strength), DataOf(call.bias), &options, DataOf(call.out),
          StreamOf(ctx));
      OP_REQUIRES_OK(ctx, LaunchStatus("styled_epilogue", status));
      return;
    }
    Tensor memory;
    void* scratch = nullptr;
    const int64_t bytes =
        tfstylegan_styled_epilogue_grad_cuda_scratch(kDtype<T>, &options);
    OP_REQUIRES_OK(ctx, AllocateScratch(ctx, bytes, &memory, &scratch));
    if constexpr (kOrder == 1) {
      const int status = tfstylegan_styled_epilogue_grad_cuda(
          kDtype<T>, DataOf(call.dy), DataOf(call.y), DataOf(call.scale),
          DataOf(call.plane), DataOf(call.bias), &options, scratch, DataOf(call.out),
          DataOf(call.d_scale), DataOf(call.d_plane), DataOf(call.d_bias),
          StreamOf(ctx));
      OP_REQUIRES_OK(ctx, LaunchStatus("styled_epilogue_grad", status));
    }
    if constexpr (kOrder == 2) {
      const int status = tfstylegan_styled_epilogue_grad_grad_cuda(
          kDtype<T>, DataOf(call.v_x), DataOf(call.v_scale), DataOf(call.v_plane),
          DataOf(call.v_bias), DataOf(call.dy), DataOf(call.y), DataOf(call.scale),
          DataOf(call.plane), DataOf(call.bias), &options, scratch, DataOf(call.out),
          DataOf(call.d_y), DataOf(call.d_scale), DataOf(call.d_plane),
          DataOf(call.d_bias), StreamOf(ctx));
      OP_REQUIRES_OK(ctx, LaunchStatus("styled_epilogue_grad_grad", status));
    }
  }
};

#define TFSTYLEGAN_REGISTER_ORDER(name, order, T)              \
  REGISTER_KERNEL_BUILDER(Name(name)                           \
                              .Device(DEVICE_GPU)              \
                              .TypeConstraint<T>("T")          \
                              .TypeConstraint<SumsOf<T>>("S")  \
                              .HostMemory("scalars"),          \
                          StyledEpilogueGpuOp<order, T>)
#define TFSTYLEGAN_REGISTER(T)                                         \
  TFSTYLEGAN_REGISTER_ORDER("TfstyleganStyledEpilogue", 0, T);         \
  TFSTYLEGAN_REGISTER_ORDER("TfstyleganStyledEpilogueGrad", 1, T);     \
  TFSTYLEGAN_REGISTER_ORDER("TfstyleganStyledEpilogueGradGrad", 2, T);
TFSTYLEGAN_REGISTER(float)
TFSTYLEGAN_REGISTER(double)
TFSTYLEGAN_REGISTER(Eigen::bfloat16)
TFSTYLEGAN_REGISTER(Eigen::half)
#undef TFSTYLEGAN_REGISTER
#undef TFSTYLEGAN_REGISTER_ORDER

}  // namespace
}  // namespace tfstylegan

#endif  // TFSTYLEGAN_CUDA
