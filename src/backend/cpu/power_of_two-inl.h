// Powers in AVX-512. Included by files that compute with it, inside their namespace and their target.

constexpr float kLog2E = 1.44269504088896f;

// 2^x to 2e-7 relative; beyond the range of f32 it is 0 or infinite.
inline __m512 power_of_two(__m512 x) {
  const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 part = _mm512_sub_ps(x, whole);
  __m512 sum = _mm512_set1_ps(1.33336e-3f);
  for (const float coefficient : {9.61813e-3f, 5.55041e-2f, 2.402265e-1f, 6.931472e-1f, 1.0f}) {
    sum = _mm512_fmadd_ps(sum, part, _mm512_set1_ps(coefficient));
  }
  return _mm512_scalef_ps(sum, whole);
}
