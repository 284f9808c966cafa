#pragma once
// What all instruction sets' powers of two are made of.

namespace kvpareto {

inline constexpr float kLog2E = 1.44269504088896f;
// 2^x to 2e-7 relative on |x| <= 1/2: a polynomial of least error, highest power first.
inline constexpr float kPowerOfTwo[] = {1.33336e-3f, 9.61813e-3f, 5.55041e-2f, 2.402265e-1f, 6.931472e-1f, 1.0f};

}  // namespace kvpareto
