// Launchers of the CUDA kernels of upfirdn2d (README.md: their contract).
//
// Plain C, free of TensorFlow and CUDA headers.

#ifndef TFSTYLEGAN_CUSTOM_OPS_UPFIRDN2D_CU_H_
#define TFSTYLEGAN_CUSTOM_OPS_UPFIRDN2D_CU_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Pairs are (y, x).
struct TfstyleganUpfirdn2dShape {
  int64_t batch;
  int64_t channels;
  int64_t in[2];
  int64_t out[2];
  int64_t taps[2];
  int64_t up[2];
  int64_t down[2];
  int64_t pad0[2];
};

// Bytes of device memory that the launcher needs: 0 unless there are very many taps.
int64_t tfstylegan_upfirdn2d_cuda_scratch(
    int dtype, const struct TfstyleganUpfirdn2dShape* shape);

int tfstylegan_upfirdn2d_cuda(int dtype, const void* x, const double* taps,
                              const struct TfstyleganUpfirdn2dShape* shape,
                              void* scratch, void* y, void* stream);

#ifdef __cplusplus
}  // extern "C"
#endif

#endif  // TFSTYLEGAN_CUSTOM_OPS_UPFIRDN2D_CU_H_
