// GPU kernel of the op upfirdn2d, by the launcher in upfirdn2d.cu.cc.
//
// Empty unless the library is linked with CUDA objects.

#ifdef TFSTYLEGAN_CUDA

#include "cuda_op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "upfirdn2d.cu.h"
#include "upfirdn2d_args.h"

namespace tfstylegan {
namespace {

using tensorflow::DEVICE_GPU;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;

template <typename T>
class Upfirdn2dGpuOp : public Upfirdn2dOpBase {
 public:
  using Upfirdn2dOpBase::Upfirdn2dOpBase;

 private:
  void Run(OpKernelContext* ctx, const Geometry& g, const double* taps,
           const Tensor& x, Tensor* y) override {
    const TfstyleganUpfirdn2dShape shape{
        g.batch,
        g.channels,
        {g.y.in, g.x.in},
        {g.y.out, g.x.out},
        {g.y.taps, g.x.taps},
        {g.y.up, g.x.up},
        {g.y.down, g.x.down},
        {g.y.pad0, g.x.pad0},
    };
    Tensor memory;
    void* scratch;
    const int64_t bytes = tfstylegan_upfirdn2d_cuda_scratch(kDtype<T>, &shape);
    OP_REQUIRES_OK(ctx, AllocateScratch(ctx, bytes, &memory, &scratch));
    const int status = tfstylegan_upfirdn2d_cuda(
        kDtype<T>, DataOf(&x), taps, &shape, scratch, DataOf(y), StreamOf(ctx));
    OP_REQUIRES_OK(ctx, LaunchStatus("upfirdn2d", status));
  }
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
