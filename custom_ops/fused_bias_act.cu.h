// Launchers of the CUDA kernels of fused_bias_act (README.md: their contract).
//
// Plain C, free of TensorFlow and CUDA headers.

#ifndef TFSTYLEGAN_CUSTOM_OPS_FUSED_BIAS_ACT_CU_H_
#define TFSTYLEGAN_CUSTOM_OPS_FUSED_BIAS_ACT_CU_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// A tensor is [outer, channels, inner].
struct TfstyleganFusedBiasAct {
  int64_t outer;
  int64_t channels;
  int64_t inner;
  double alpha;
  double gain;
  double clamp;
  int act;  // linear, relu, lrelu, tanh, sigmoid, elu, selu, softplus, swish
};

int tfstylegan_fused_bias_act_cuda(int dtype, const void* x, const void* bias,
                                   const struct TfstyleganFusedBiasAct* options,
                                   void* y, void* stream);

// Bytes of device memory that the launcher below needs if d_bias is wanted.
int64_t tfstylegan_fused_bias_act_grad_cuda_scratch(
    int dtype, const struct TfstyleganFusedBiasAct* options);

int tfstylegan_fused_bias_act_grad_cuda(int dtype, const void* dy, const void* dy_bias,
                                        const void* ref, const void* bias,
                                        const struct TfstyleganFusedBiasAct* options,
                                        void* scratch, void* dx, void* d_bias,
                                        void* stream);

// The text of any launcher's status.
const char* tfstylegan_cuda_error(int status);

#ifdef __cplusplus
}  // extern "C"
#endif

#endif  // TFSTYLEGAN_CUSTOM_OPS_FUSED_BIAS_ACT_CU_H_
