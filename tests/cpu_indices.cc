// The CPU loops of upfirdn2d over a few rows, or columns, of a tensor of any size.

#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

#include "fused_bias_act.h"
#include "styled_epilogue.h"
#include "upfirdn2d.cu.h"
#include "upfirdn2d.h"
#include "upfirdn2d_4tap.h"
#include "upfirdn2d_general.h"

namespace {

using Shape = TfstyleganUpfirdn2dShape;

tfstylegan::Geometry GeometryOf(const Shape& s) {
  tfstylegan::Geometry g;
  g.batch = s.batch;
  g.channels = s.channels;
  g.y = {s.in[0], s.out[0], s.up[0], s.down[0], s.pad0[0], s.taps[0]};
  g.x = {s.in[1], s.out[1], s.up[1], s.down[1], s.pad0[1], s.taps[1]};
  return g;
}

}  // namespace

extern "C" {

void general_rows(const Shape* shape, const double* taps, int64_t r0, int64_t r1,
                  const float* in, float* out) {
  const tfstylegan::Geometry g = GeometryOf(*shape);
  const tfstylegan::FilterPlan<float> plan(taps, g.y, g.x);
  tfstylegan::OutputRows(g, plan, in, r0, r1, out);
}

// Columns [o0, o1) of row oy of the only image.
void general_piece(const Shape* shape, const double* taps, int64_t oy, int64_t o0,
                   int64_t o1, const float* in, float* out) {
  const tfstylegan::Geometry g = GeometryOf(*shape);
  const tfstylegan::FilterPlan<float> plan(taps, g.y, g.x);
  tfstylegan::Scratch<float> scratch;
  scratch.row.resize(4096);
  scratch.dense.resize(4096);
  tfstylegan::OutputPiece(g, plan, in, oy, o0, o1, &scratch,
                          out + (oy * g.x.out + o0) * g.channels);
}

// Blocks of the blur, counted from the last one.
void four_tap_blocks(const Shape* shape, const double* taps, int64_t count,
                     const float* in, float* out) {
  const tfstylegan::Geometry g = GeometryOf(*shape);
  const tfstylegan::FilterPlan<float> plan(taps, g.y, g.x);
  const std::vector<float> zeros(g.x.in * g.channels);
  const tfstylegan::FourTap<float, float> f(g, plan, zeros.data(), in, out);
  const int64_t blocks = g.batch * f.BlocksOfImage();
  tfstylegan::FourTapBlocks<1, 1>(f, blocks - count, blocks);
}

}  // extern "C"

// The other loops see blocks of a tensor, whose offsets their callers compute.
template <auto kMember>
constexpr bool kWide =
    std::is_same_v<std::remove_const_t<std::remove_reference_t<
                       decltype(std::declval<tfstylegan::Pixels<float>>().*kMember)>>,
                   int64_t>;
static_assert(kWide<&tfstylegan::Pixels<float>::count>);
static_assert(kWide<&tfstylegan::Pixels<float>::channels>);
