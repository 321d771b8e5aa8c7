// What the GPU kernels of the ops share on TensorFlow's side of the launchers.

#ifndef TFSTYLEGAN_CUSTOM_OPS_CUDA_OP_H_
#define TFSTYLEGAN_CUSTOM_OPS_CUDA_OP_H_

#include <type_traits>

#include "fused_bias_act.cu.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "xla/stream_executor/stream.h"

namespace tfstylegan {

// The launchers' code of an element type.
template <typename T>
constexpr int kDtype = std::is_same_v<T, float>          ? 0
                       : std::is_same_v<T, double>       ? 1
                       : std::is_same_v<T, Eigen::half>  ? 2
                                                         : 3;

inline void* StreamOf(tensorflow::OpKernelContext* ctx) {
  return ctx->op_device_context()->stream()->platform_specific_handle().stream;
}

inline const void* DataOf(const tensorflow::Tensor* tensor) {
  return tensor->NumElements() == 0 ? nullptr : tensor->data();
}

inline void* DataOf(tensorflow::Tensor* tensor) {
  return tensor->NumElements() == 0 ? nullptr : tensor->data();
}

// Device memory of the op for a launcher; *scratch is null for no bytes.
inline absl::Status AllocateScratch(tensorflow::OpKernelContext* ctx, int64_t bytes,
                                    tensorflow::Tensor* tensor, void** scratch) {
  *scratch = nullptr;
  if (bytes == 0) return absl::OkStatus();
  TF_RETURN_IF_ERROR(ctx->allocate_temp(tensorflow::DT_UINT8,
                                        tensorflow::TensorShape({bytes}), tensor));
  *scratch = tensor->data();
  return absl::OkStatus();
}

inline absl::Status LaunchStatus(const char* launcher, int status) {
  if (status == 0) return absl::OkStatus();
  return tensorflow::errors::Internal(launcher, ": ", tfstylegan_cuda_error(status),
                                      " (CUDA error ", status, ")");
}

}  // namespace tfstylegan

#endif  // TFSTYLEGAN_CUSTOM_OPS_CUDA_OP_H_
