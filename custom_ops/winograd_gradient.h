// The gradient of the kernel of winograd.h's convolution (README.md: contracts).
//
// It is the transpose, with the sum over the tiles:
//
//     dw = G^T [(B^T d B) * (A dy A^T)] G.

#ifndef TFSTYLEGAN_CUSTOM_OPS_WINOGRAD_GRADIENT_H_
#define TFSTYLEGAN_CUSTOM_OPS_WINOGRAD_GRADIENT_H_

#include <algorithm>
#include <cstdint>

#include "winograd.h"

namespace tfstylegan {

constexpr int64_t kTilesOfSum = 64;

// A task has one row of the 4 x 4 products and a part of the maps of x, for all tiles
// in their order: nothing need be added up between tasks.
struct KernelGradient {
  TiledImages in, out;
  const float *x, *dy;
  float* du;  // [4, 4, C, F]

  static constexpr int64_t kMapsOfTask = 2 * kMaps;
  int64_t Parts() const { return (in.channels + kMapsOfTask - 1) / kMapsOfTask; }
  int64_t Tasks() const { return 4 * Parts(); }
};

// One row of B^T d B of `count` tiles from `first` on, [4, 64, maps], of the maps from
// c0 on.
TFSTYLEGAN_INLINE void TransformPixelRow(const KernelGradient& p, int64_t row,
                                         int64_t first, int64_t count, int64_t c0,
                                         int64_t maps, const float* zeros, float* v) {
  constexpr int kFirst[4] = {0, 1, 2, 1}, kSecond[4] = {2, 2, 1, 3};  // rows of B
  constexpr float kSign[4] = {-1, 1, -1, -1};
  for (int64_t t = 0; t < count; ++t) {
    const float* pixels[4][4];
    p.in.Locate<4, const float>(first + t, 1, p.x, zeros, pixels);
    for (int64_t c = 0; c < maps; c += kLanes) {
      Floats half[4], out[4];
      for (int j = 0; j < 4; ++j) {
        half[j] = Load<float>(pixels[kFirst[row]][j] + c0 + c) +
                  Load<float>(pixels[kSecond[row]][j] + c0 + c) * kSign[row];
      }
      TimesB(half, out);
      for (int j = 0; j < 4; ++j) {
        Store<float>(out[j], v + (j * kTilesOfSum + t) * maps + c);
      }
    }
  }
}

// One row of A dy A^T of the same tiles, [4, 64, F].
TFSTYLEGAN_INLINE void TransformSlopeRow(const KernelGradient& p, int64_t row,
                                         int64_t first, int64_t count,
                                         const float* zeros, float* e) {
  constexpr float kUpper[4] = {1, 1, 1, 0}, kLower[4] = {0, 1, -1, -1};  // of A
  const int64_t filters = p.out.channels;
  for (int64_t t = 0; t < count; ++t) {
    const float* slopes[2][2];
    p.out.Locate<2, const float>(first + t, 0, p.dy, zeros, slopes);
    for (int64_t f = 0; f < filters; f += kLanes) {
      Floats half[2];
      for (int j = 0; j < 2; ++j) {
        half[j] = Load<float>(slopes[0][j] + f) * kUpper[row] +
                  Load<float>(slopes[1][j] + f) * kLower[row];
      }
      const Floats out[4] = {half[0], half[0] + half[1], half[0] - half[1], -half[1]};
      for (int j = 0; j < 4; ++j) {
        Store<float>(out[j], e + (j * kTilesOfSum + t) * filters + f);
      }
    }
  }
}

// Tasks t0 to t1; scratch holds 4 * 64 * (64 + F) + max(C, F) numbers.
TFSTYLEGAN_INLINE void SumKernelGradients(const KernelGradient& p, int64_t t0,
                                          int64_t t1, float* scratch) {
  const int64_t channels = p.in.channels, filters = p.out.channels;
  for (int64_t task = t0; task < t1; ++task) {
    const int64_t row = task / p.Parts();
    const int64_t c0 = task % p.Parts() * KernelGradient::kMapsOfTask;
    const int64_t maps = std::min(KernelGradient::kMapsOfTask, channels - c0);
    const int64_t v_size = kTilesOfSum * maps, e_size = kTilesOfSum * filters;
    float *v = scratch, *e = v + 4 * v_size, *zeros = e + 4 * e_size;
    std::fill(zeros, zeros + std::max(channels, filters), 0.0f);
    for (int64_t first = 0; first < p.in.count; first += kTilesOfSum) {
      const int64_t count = std::min(kTilesOfSum, p.in.count - first);
      TransformPixelRow(p, row, first, count, c0, maps, zeros, v);
      TransformSlopeRow(p, row, first, count, zeros, e);
      for (int64_t j = 0; j < 4; ++j) {
        float* du = p.du + ((4 * row + j) * channels + c0) * filters;
        for (int64_t f = 0; f < filters; f += kMaps) {
          for (int64_t c = 0; c < maps; c += kRowsAtOnce) {
            MultiplyPanel(v + j * v_size + c, 1, maps, e + j * e_size + f, filters,
                          count, du + c * filters + f, filters, first > 0);
          }
        }
      }
    }
  }
}

// G^T du G for the maps c0 to c1 of du [4, 4, C, F]: dw [3, 3, C, F].
TFSTYLEGAN_INLINE void TransformGradient(const float* du, int64_t channels,
                                         int64_t filters, int64_t c0, int64_t c1,
                                         float* dw) {
  for (int64_t c = c0; c < c1; ++c) {
    for (int64_t f = 0; f < filters; f += kLanes) {
      Floats half[3][4];  // G^T du
      for (int j = 0; j < 4; ++j) {
        Floats u[4];
        for (int i = 0; i < 4; ++i) {
          u[i] = Load<float>(du + ((4 * i + j) * channels + c) * filters + f);
        }
        const Floats sum = (u[1] + u[2]) * 0.5f;
        half[0][j] = u[0] + sum;
        half[1][j] = (u[1] - u[2]) * 0.5f;
        half[2][j] = u[3] + sum;
      }
      for (int i = 0; i < 3; ++i) {
        const Floats sum = (half[i][1] + half[i][2]) * 0.5f;
        const Floats row[3] = {half[i][0] + sum, (half[i][1] - half[i][2]) * 0.5f,
                               half[i][3] + sum};
        for (int j = 0; j < 3; ++j) {
          Store<float>(row[j], dw + ((3 * i + j) * channels + c) * filters + f);
        }
      }
    }
  }
}

}  // namespace tfstylegan

#endif  // TFSTYLEGAN_CUSTOM_OPS_WINOGRAD_GRADIENT_H_
