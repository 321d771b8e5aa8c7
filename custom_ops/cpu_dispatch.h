// Compiles a function for several instruction sets and picks one at run time.
//
// TFSTYLEGAN_MULTIVERSION(name, parameters, call) defines `name` as the best of up to
// three compilations of `call`, which must be an expression over always-inline functions
// (no lambdas: GCC does not give them the target of their surroundings). With
// -DTFSTYLEGAN_CPU_LEVEL=n there is only that of level n, for CPUs that are known to have
// it: a third of the work for the compiler.

#ifndef TFSTYLEGAN_CUSTOM_OPS_CPU_DISPATCH_H_
#define TFSTYLEGAN_CUSTOM_OPS_CPU_DISPATCH_H_

#define TFSTYLEGAN_INLINE inline __attribute__((always_inline))

#if defined(__x86_64__) && defined(__GNUC__)

#define TFSTYLEGAN_AVX2 __attribute__((target("avx2,fma")))
#define TFSTYLEGAN_AVX512 \
  __attribute__((target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")))

#ifdef TFSTYLEGAN_CPU_LEVEL

namespace tfstylegan {

inline int CpuLevel() { return TFSTYLEGAN_CPU_LEVEL; }

}  // namespace tfstylegan

#if TFSTYLEGAN_CPU_LEVEL == 2
#define TFSTYLEGAN_TARGET TFSTYLEGAN_AVX512
#elif TFSTYLEGAN_CPU_LEVEL == 1
#define TFSTYLEGAN_TARGET TFSTYLEGAN_AVX2
#elif TFSTYLEGAN_CPU_LEVEL == 0
#define TFSTYLEGAN_TARGET
#else
#error "TFSTYLEGAN_CPU_LEVEL must be 0, 1 or 2"
#endif

#define TFSTYLEGAN_MULTIVERSION(name, parameters, call) \
  TFSTYLEGAN_TARGET void name parameters { call; }

#else  // TFSTYLEGAN_CPU_LEVEL

namespace tfstylegan {

// 2: AVX-512, 1: AVX2 with FMA, 0: the baseline of x86-64. `cpu_level` of
// tfstylegan/ops/building.py goes by the same rule.
inline int CpuLevel() {
  static const int level = [] {
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 0;
    const bool wide =
        __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    return wide ? 2 : 1;
  }();
  return level;
}

}  // namespace tfstylegan

#define TFSTYLEGAN_MULTIVERSION(name, parameters, call)                      \
  TFSTYLEGAN_AVX512 void name##Avx512 parameters { call; }                   \
  TFSTYLEGAN_AVX2 void name##Avx2 parameters { call; }                       \
  void name##Base parameters { call; }                                       \
  using name##Pointer = decltype(&name##Base);                               \
  const name##Pointer name = ::tfstylegan::CpuLevel() == 2   ? &name##Avx512 \
                             : ::tfstylegan::CpuLevel() == 1 ? &name##Avx2   \
                                                             : &name##Base;

#endif  // TFSTYLEGAN_CPU_LEVEL

#else

namespace tfstylegan {

inline int CpuLevel() { return 0; }

}  // namespace tfstylegan

#define TFSTYLEGAN_MULTIVERSION(name, parameters, call) \
  void name parameters { call; }

#endif

#endif  // TFSTYLEGAN_CUSTOM_OPS_CPU_DISPATCH_H_
