// Compiles a function for several instruction sets and picks one at run time.
//
// The library is shared between the machines that see one cache folder, so it is
// built for the oldest CPU of its architecture. TFSTYLEGAN_MULTIVERSION(name,
// parameters, call) defines `name` as the best of up to three compilations of `call`,
// which must be an expression over always-inline functions (no lambdas: GCC does not
// give them the target of their surroundings).

#ifndef TFSTYLEGAN_CUSTOM_OPS_CPU_DISPATCH_H_
#define TFSTYLEGAN_CUSTOM_OPS_CPU_DISPATCH_H_

#include <algorithm>

#define TFSTYLEGAN_INLINE inline __attribute__((always_inline))

// The highest CpuLevel() in use: a lower one runs, on a CPU that has more, the code of
// one that has less (tests/fuzz_ops.py).
#ifndef TFSTYLEGAN_CPU_LEVEL
#define TFSTYLEGAN_CPU_LEVEL 2
#endif

#if defined(__x86_64__) && defined(__GNUC__)

namespace tfstylegan {

// 2: AVX-512, 1: AVX2 with FMA, 0: the baseline of x86-64.
inline int CpuLevel() {
  static const int level = [] {
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 0;
    const bool wide =
        __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    return std::min(wide ? 2 : 1, TFSTYLEGAN_CPU_LEVEL);
  }();
  return level;
}

}  // namespace tfstylegan

#define TFSTYLEGAN_MULTIVERSION(name, parameters, call)                               \
  __attribute__((target(                                                              \
      "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl"))) void name##Avx512 parameters { \
    call;                                                                             \
  }                                                                                   \
  __attribute__((target("avx2,fma"))) void name##Avx2 parameters { call; }            \
  void name##Base parameters { call; }                                                \
  using name##Pointer = decltype(&name##Base);                                        \
  const name##Pointer name = ::tfstylegan::CpuLevel() == 2   ? &name##Avx512          \
                             : ::tfstylegan::CpuLevel() == 1 ? &name##Avx2            \
                                                             : &name##Base;

#else

namespace tfstylegan {

inline int CpuLevel() { return 0; }

}  // namespace tfstylegan

#define TFSTYLEGAN_MULTIVERSION(name, parameters, call) \
  void name parameters { call; }

#endif

#endif  // TFSTYLEGAN_CUSTOM_OPS_CPU_DISPATCH_H_
