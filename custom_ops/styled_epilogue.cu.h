// Launchers of the CUDA kernels of styled_epilogue (README.md: their contract).
//
// Plain C, free of TensorFlow and CUDA headers.

#ifndef TFSTYLEGAN_CUSTOM_OPS_STYLED_EPILOGUE_CU_H_
#define TFSTYLEGAN_CUSTOM_OPS_STYLED_EPILOGUE_CU_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Features are [batch, area, channels].
struct TfstyleganStyledEpilogue {
  int64_t batch;
  int64_t area;
  int64_t channels;
  int64_t maps;  // of noise or plane: batch or 1
  double alpha;
  double gain;
  double clamp;
  int act;  // linear, relu, lrelu
};

int tfstylegan_styled_epilogue_cuda(int dtype, const void* x, const void* scale,
                                    const void* noise, const void* strength,
                                    const void* bias,
                                    const struct TfstyleganStyledEpilogue* options,
                                    void* y, void* stream);

// Bytes of device memory that either of the launchers below needs.
int64_t tfstylegan_styled_epilogue_grad_cuda_scratch(
    int dtype, const struct TfstyleganStyledEpilogue* options);

int tfstylegan_styled_epilogue_grad_cuda(int dtype, const void* dy, const void* y,
                                         const void* scale, const void* plane,
                                         const void* bias,
                                         const struct TfstyleganStyledEpilogue* options,
                                         void* scratch, void* dx, void* d_scale,
                                         void* d_plane, void* d_bias, void* stream);

int tfstylegan_styled_epilogue_grad_grad_cuda(
    int dtype, const void* v_x, const void* v_scale, const void* v_plane,
    const void* v_bias, const void* dy, const void* y, const void* scale,
    const void* plane, const void* bias,
    const struct TfstyleganStyledEpilogue* options, void* scratch, void* d_dy,
    void* d_y, void* d_scale, void* d_plane, void* d_bias, void* stream);

#ifdef __cplusplus
}  // extern "C"
#endif

#endif  // TFSTYLEGAN_CUSTOM_OPS_STYLED_EPILOGUE_CU_H_
