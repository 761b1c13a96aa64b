#pragma once
// The vector types of CUDA with their alignment, make_*, dim3.

// NAME2, NAME3, NAME4 of one component type; a type of three components is aligned as one of them.
#define CUDA_ON_HOST_VECTOR_TYPES(name, component)                                    \
  struct alignas(2 * sizeof(component)) name##2 {                                     \
    component x, y;                                                                   \
  };                                                                                  \
  struct name##3 {                                                                    \
    component x, y, z;                                                                \
  };                                                                                  \
  struct alignas(4 * sizeof(component) < 16 ? 4 * sizeof(component) : 16) name##4 {   \
    component x, y, z, w;                                                             \
  };                                                                                  \
  inline name##2 make_##name##2(component x, component y) {                           \
    return {x, y};                                                                    \
  }                                                                                   \
  inline name##3 make_##name##3(component x, component y, component z) {              \
    return {x, y, z};                                                                 \
  }                                                                                   \
  inline name##4 make_##name##4(component x, component y, component z, component w) { \
    return {x, y, z, w};                                                              \
  }

CUDA_ON_HOST_VECTOR_TYPES(char, signed char)
CUDA_ON_HOST_VECTOR_TYPES(uchar, unsigned char)
CUDA_ON_HOST_VECTOR_TYPES(short, short)
CUDA_ON_HOST_VECTOR_TYPES(ushort, unsigned short)
CUDA_ON_HOST_VECTOR_TYPES(int, int)
CUDA_ON_HOST_VECTOR_TYPES(uint, unsigned int)
CUDA_ON_HOST_VECTOR_TYPES(longlong, long long)
CUDA_ON_HOST_VECTOR_TYPES(ulonglong, unsigned long long)
CUDA_ON_HOST_VECTOR_TYPES(float, float)
CUDA_ON_HOST_VECTOR_TYPES(double, double)

#undef CUDA_ON_HOST_VECTOR_TYPES

struct dim3 {
  unsigned int x, y, z;
  constexpr dim3(unsigned int x_ = 1, unsigned int y_ = 1, unsigned int z_ = 1)
      : x(x_), y(y_), z(z_) {}
};
