#pragma once
// What all instruction sets' powers of two are made of.

namespace kvpareto {

inline constexpr float kLog2E = 1.44269504088896f;
// 2^x to 2e-7 relative on |x| <= 1/2: a polynomial of least error, the coefficient of x^5, then those of x^4 to 1.
inline constexpr float kHighestOfPower = 1.3276471e-3f;
inline constexpr float kPowerOfTwo[] = {9.6755410e-3f, 5.5507131e-2f, 2.4022120e-1f, 6.9314694e-1f, 1.0f};

}  // namespace kvpareto
