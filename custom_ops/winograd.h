// Winograd's convolution with 3 x 3 kernels, F(2 x 2, 3 x 3) (README.md: contracts).
//
// An image is cut into tiles of 2 x 2 results, each of which depends on 4 x 4 pixels d.
// With w the kernel between two maps,
//
//     y = A^T [(G w G^T) * (B^T d B)] A,
//
// where * is element by element: 16 products a tile instead of 36. Summed over input
// maps, each of the 16 is a product of matrices (Lavin and Gray 2016).

#ifndef TFSTYLEGAN_CUSTOM_OPS_WINOGRAD_H_
#define TFSTYLEGAN_CUSTOM_OPS_WINOGRAD_H_

#include <algorithm>
#include <cstdint>

#include "cpu_dispatch.h"
#include "vectors.h"

namespace tfstylegan {

constexpr int64_t kLanes = Vector<float>::kLanes;
constexpr int64_t kMaps = 2 * kLanes;  // of a panel; C and F are multiples of it
constexpr int64_t kRowsAtOnce = 8;     // of the left factor of a product

// x [N, H, W, C], and its tiles in reading order.
struct TiledImages {
  int64_t batch, height, width, channels;
  int64_t rows = (height + 1) / 2, columns = (width + 1) / 2;
  int64_t count = batch * rows * columns;

  // Where the `kSide` x `kSide` pixels of a tile are that begin `before` its results;
  // `outside` for those that the image does not have.
  template <int kSide, typename T>
  TFSTYLEGAN_INLINE void Locate(int64_t tile, int before, T* images, T* outside,
                                T* (*pixels)[kSide]) const {
    const int64_t n = tile / (rows * columns), row = tile / columns % rows;
    const int64_t y0 = 2 * row - before, x0 = 2 * (tile % columns) - before;
    T* image = images + n * height * width * channels;
    for (int i = 0; i < kSide; ++i) {
      for (int j = 0; j < kSide; ++j) {
        const int64_t y = y0 + i, x = x0 + j;
        const bool inside = y >= 0 && y < height && x >= 0 && x < width;
        pixels[i][j] = inside ? image + (y * width + x) * channels : outside;
      }
    }
  }
};

// c [8, 32] = (add ? c : 0) + a [8, depth] b [depth, 32].
TFSTYLEGAN_INLINE void MultiplyPanel(const float* a, int64_t a_row, int64_t a_k,
                                     const float* b, int64_t b_k, int64_t depth,
                                     float* c, int64_t c_row, bool add) {
  Floats sum[kRowsAtOnce][2];
  for (int i = 0; i < kRowsAtOnce; ++i) {
    for (int j = 0; j < 2; ++j) {
      sum[i][j] = add ? Load<float>(c + i * c_row + j * kLanes) : Floats{};
    }
  }
  for (int64_t k = 0; k < depth; ++k) {
    const Floats left = Load<float>(b + k * b_k);
    const Floats right = Load<float>(b + k * b_k + kLanes);
#pragma GCC unroll 8
    for (int i = 0; i < kRowsAtOnce; ++i) {
      // In every lane. To add 0 would be an addition: -0 + 0 is 0, -0 - 0 is -0.
      const Floats factor = a[i * a_row + k * a_k] - Floats{};
      sum[i][0] += factor * left;
      sum[i][1] += factor * right;
    }
  }
  for (int i = 0; i < kRowsAtOnce; ++i) {
    for (int j = 0; j < 2; ++j) Store<float>(sum[i][j], c + i * c_row + j * kLanes);
  }
}

// Four numbers times B: what four pixels in a row, or the rows of them, become.
TFSTYLEGAN_INLINE void TimesB(const Floats (&d)[4], Floats (&v)[4]) {
  v[0] = d[0] - d[2];
  v[1] = d[1] + d[2];
  v[2] = d[2] - d[1];
  v[3] = d[1] - d[3];
}

// G w G^T of the kernels from map c to 16 maps from f on, w [i][j], to their places in
// panels [16, F / 32, C, 32].
TFSTYLEGAN_INLINE void TransformTaps(const Floats (&w)[3][3], int64_t channels,
                                     int64_t filters, int64_t c, int64_t f,
                                     float* panels) {
  Floats half[4][3];  // G w
  for (int j = 0; j < 3; ++j) {
    const Floats ends = w[0][j] + w[2][j];
    half[0][j] = w[0][j];
    half[1][j] = (ends + w[1][j]) * 0.5f;
    half[2][j] = (ends - w[1][j]) * 0.5f;
    half[3][j] = w[2][j];
  }
  float* to = panels + (f / kMaps * channels + c) * kMaps + f % kMaps;
  for (int i = 0; i < 4; ++i) {
    const Floats ends = half[i][0] + half[i][2];
    const Floats u[4] = {half[i][0], (ends + half[i][1]) * 0.5f,
                         (ends - half[i][1]) * 0.5f, half[i][2]};
    for (int j = 0; j < 4; ++j) {
      Store<float>(u[j], to + (4 * i + j) * channels * filters);
    }
  }
}

// The panels of the maps 16 c0 to 16 c1 of w [3, 3, C, F].
TFSTYLEGAN_INLINE void TransformKernel(const float* w, int64_t channels,
                                       int64_t filters, int64_t c0, int64_t c1,
                                       float* panels) {
  for (int64_t c = c0 * kLanes; c < c1 * kLanes; ++c) {
    for (int64_t f = 0; f < filters; f += kLanes) {
      Floats taps[3][3];
      for (int i = 0; i < 3; ++i) {
        for (int j = 0; j < 3; ++j) {
          taps[i][j] = Load<float>(w + ((3 * i + j) * channels + c) * filters + f);
        }
      }
      TransformTaps(taps, channels, filters, c, f, panels);
    }
  }
}

// The same of w [3, 3, F, C], turned by 180 degrees: for the transposed convolution.
TFSTYLEGAN_INLINE void TransformTurned(const float* w, int64_t channels,
                                       int64_t filters, int64_t c0, int64_t c1,
                                       float* panels) {
  float turned[kLanes][3][3][kLanes];  // from 16 maps to 16 maps
  for (int64_t c = c0 * kLanes; c < c1 * kLanes; c += kLanes) {
    for (int64_t f = 0; f < filters; f += kLanes) {
      for (int i = 0; i < 3; ++i) {
        for (int j = 0; j < 3; ++j) {
          const float* from = w + ((8 - 3 * i - j) * filters + f) * channels + c;
          for (int64_t n = 0; n < kLanes; ++n) {
            for (int64_t m = 0; m < kLanes; ++m) {
              turned[m][i][j][n] = from[n * channels + m];
            }
          }
        }
      }
      for (int64_t m = 0; m < kLanes; ++m) {
        Floats taps[3][3];
        for (int i = 0; i < 3; ++i) {
          for (int j = 0; j < 3; ++j) taps[i][j] = Load<float>(turned[m][i][j]);
        }
        TransformTaps(taps, channels, filters, c + m, f, panels);
      }
    }
  }
}

constexpr int64_t kTilesOfBlock = 48;  // at most; whole kRowsAtOnce; few, for the caches

struct Convolution {
  TiledImages in, out;
  const float *x, *panels;
  float* y;

  // Kernels work on whole rows at once. Blocks are of one size, as far as rows allow,
  // and their number is even, so that two threads end together.
  int64_t Rows() const { return (in.count + kRowsAtOnce - 1) / kRowsAtOnce; }
  int64_t Blocks() const {
    const int64_t most = kTilesOfBlock / kRowsAtOnce, rows = Rows();
    return std::min(rows, ((rows + most - 1) / most + 1) / 2 * 2);
  }
  int64_t FirstTile(int64_t block) const {
    return std::min(in.count, block * Rows() / Blocks() * kRowsAtOnce);
  }
};

// B^T d B of `count` tiles from `first` on, [16, 48, C]; `zeros` [C] is outside.
TFSTYLEGAN_INLINE void TransformPixels(const Convolution& p, int64_t first,
                                       int64_t count, const float* zeros, float* v) {
  const int64_t channels = p.in.channels, size = kTilesOfBlock * channels;
  for (int64_t t = 0; t < count; ++t) {
    const float* pixels[4][4];
    p.in.Locate<4, const float>(first + t, 1, p.x, zeros, pixels);
    for (int64_t c = 0; c < channels; c += kLanes) {
      Floats d[4], half[4][4], out[4];  // half [j][i]: B^T d, transposed
      for (int j = 0; j < 4; ++j) {
        for (int i = 0; i < 4; ++i) d[i] = Load<float>(pixels[i][j] + c);
        TimesB(d, half[j]);
      }
      for (int i = 0; i < 4; ++i) {
        const Floats row[4] = {half[0][i], half[1][i], half[2][i], half[3][i]};
        TimesB(row, out);
        for (int j = 0; j < 4; ++j) {
          Store<float>(out[j], v + (4 * i + j) * size + t * channels + c);
        }
      }
    }
  }
}

// A^T m A of the same tiles, m [16, 48, F], to their places in y; what the image does
// not have goes to `rest` [F].
TFSTYLEGAN_INLINE void WriteResults(const Convolution& p, int64_t first, int64_t count,
                                    const float* m, float* rest) {
  const int64_t filters = p.out.channels, size = kTilesOfBlock * filters;
  for (int64_t t = 0; t < count; ++t) {
    float* results[2][2];
    p.out.Locate<2, float>(first + t, 0, p.y, rest, results);
    for (int64_t f = 0; f < filters; f += kLanes) {
      Floats half[2][4];  // A^T m
      for (int j = 0; j < 4; ++j) {
        Floats column[4];
        for (int i = 0; i < 4; ++i) {
          column[i] = Load<float>(m + (4 * i + j) * size + t * filters + f);
        }
        half[0][j] = column[0] + column[1] + column[2];
        half[1][j] = column[1] - column[2] - column[3];
      }
      for (int i = 0; i < 2; ++i) {
        Store<float>(half[i][0] + half[i][1] + half[i][2], results[i][0] + f);
        Store<float>(half[i][1] - half[i][2] - half[i][3], results[i][1] + f);
      }
    }
  }
}

// Blocks b0 to b1 of tiles; scratch holds 16 * 48 * (C + F) + max(C, F) numbers.
TFSTYLEGAN_INLINE void ConvolveBlocks(const Convolution& p, int64_t b0, int64_t b1,
                                      float* scratch) {
  const int64_t channels = p.in.channels, filters = p.out.channels;
  const int64_t v_size = kTilesOfBlock * channels, m_size = kTilesOfBlock * filters;
  float *v = scratch, *m = v + 16 * v_size, *rest = m + 16 * m_size;
  for (int64_t block = b0; block < b1; ++block) {
    const int64_t first = p.FirstTile(block);
    const int64_t count = p.FirstTile(block + 1) - first;
    std::fill(rest, rest + channels, 0.0f);
    TransformPixels(p, first, count, rest, v);
    // Rows of tiles that are not there hold what was left there; nobody reads theirs.
    for (int64_t k = 0; k < 16; ++k) {
      for (int64_t f = 0; f < filters; f += kMaps) {
        const float* panel = p.panels + (k * filters + f) * channels;
        for (int64_t t = 0; t < count; t += kRowsAtOnce) {
          MultiplyPanel(v + k * v_size + t * channels, channels, 1, panel, kMaps,
                        channels, m + k * m_size + t * filters + f, filters, false);
        }
      }
    }
    WriteResults(p, first, count, m, rest);
  }
}

}  // namespace tfstylegan

#endif  // TFSTYLEGAN_CUSTOM_OPS_WINOGRAD_H_
