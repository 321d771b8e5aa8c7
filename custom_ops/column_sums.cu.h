// Sums over rows in a fixed order: the second stage of every gradient that is a sum.
//
// The first stage, of the kernels themselves, leaves the sums of its parts in device
// memory. The division into parts is of the shape alone, and both stages add in order:
// the result is the same bits every time.

#ifndef TFSTYLEGAN_CUSTOM_OPS_COLUMN_SUMS_CU_H_
#define TFSTYLEGAN_CUSTOM_OPS_COLUMN_SUMS_CU_H_

#include <cstdint>

#include "cuda_common.cu.h"

namespace tfstylegan {
namespace cuda {

constexpr int kThreads = 256;  // of a block

// A stage of the tree: the first `half` threads add what is `half` threads further on.
template <int V, typename Acc>
TFSTYLEGAN_HD void TreeThread(int thread, int half, Acc* shared) {
  if (thread >= half) return;
  TFSTYLEGAN_UNROLL
  for (int v = 0; v < V; ++v) shared[thread * V + v] += shared[(thread + half) * V + v];
}

// Sums over rows of from[groups, rows, columns].
template <typename Acc>
struct Columns {
  const Acc* from;
  int64_t groups, rows, columns;
};

// Columns of a block: a sector of 32 bytes of every row.
constexpr int kColumnLanes = 8;

template <typename Acc>
TFSTYLEGAN_HD int64_t ColumnBlocks(const Columns<Acc>& sums) {
  return sums.groups * CeilDiv(sums.columns, kColumnLanes);
}

template <typename Acc>
TFSTYLEGAN_HD int64_t ColumnOf(const Columns<Acc>& sums, int64_t block, int thread) {
  return block % CeilDiv(sums.columns, kColumnLanes) * kColumnLanes +
         thread % kColumnLanes;
}

// Before the tree, which ends with kColumnLanes threads.
template <typename Acc>
TFSTYLEGAN_HD void ColumnThread(const Columns<Acc>& sums, int64_t block, int thread,
                                Acc* shared) {
  constexpr int kRows = kThreads / kColumnLanes;
  const int64_t group = block / CeilDiv(sums.columns, kColumnLanes);
  const int64_t column = ColumnOf(sums, block, thread);
  Acc sum = Acc(0);
  if (column < sums.columns) {
    const Acc* from = sums.from + group * sums.rows * sums.columns + column;
    TFSTYLEGAN_UNROLL_BY_4
    for (int64_t row = thread / kColumnLanes; row < sums.rows; row += kRows) {
      sum += from[row * sums.columns];
    }
  }
  shared[thread] = sum;
}

// After the tree: write(group, column, sum).
template <typename Acc, typename Write>
TFSTYLEGAN_HD void WriteThread(const Columns<Acc>& sums, int64_t block, int thread,
                               const Acc* shared, const Write& write) {
  const int64_t column = ColumnOf(sums, block, thread);
  if (thread < kColumnLanes && column < sums.columns) {
    write(block / CeilDiv(sums.columns, kColumnLanes), column, shared[thread]);
  }
}

#ifdef __CUDACC__
constexpr int64_t kMostColumnBlocks = int64_t{1} << 20;

template <typename Acc, typename Write>
__global__ void __launch_bounds__(kThreads)
    ColumnKernel(const __grid_constant__ Columns<Acc> sums,
                 const __grid_constant__ Write write) {
  __shared__ Acc shared[kThreads];
  const int thread = static_cast<int>(threadIdx.x);
  const int64_t blocks = ColumnBlocks(sums);
  for (int64_t block = blockIdx.x; block < blocks; block += gridDim.x) {
    ColumnThread(sums, block, thread, shared);
    __syncthreads();
    for (int half = kThreads / 2; half >= kColumnLanes; half /= 2) {
      TreeThread<1>(thread, half, shared);
      __syncthreads();
    }
    WriteThread(sums, block, thread, shared, write);
    __syncthreads();
  }
}

// What the launchers of all gradients have.
struct SumLauncher {
  cudaStream_t stream;

  template <typename Acc, typename Write>
  int SumColumns(const Columns<Acc>& sums, const Write& write) const {
    const unsigned int blocks = Blocks(ColumnBlocks(sums), kMostColumnBlocks);
    ColumnKernel<<<blocks, kThreads, 0, stream>>>(sums, write);
    return cudaGetLastError();
  }

  int Zero(void* pointer, int64_t bytes) const {
    return cudaMemsetAsync(pointer, 0, bytes, stream);
  }
};
#endif

}  // namespace cuda
}  // namespace tfstylegan

#endif  // TFSTYLEGAN_CUSTOM_OPS_COLUMN_SUMS_CU_H_
