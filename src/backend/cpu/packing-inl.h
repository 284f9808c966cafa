// Packing of rows into codes, one instance a Highway target; quant/codec.h and packed_side.cc are the specification.
// Included by kernels.cc inside foreach_target, after codes-inl.h.

HWY_BEFORE_NAMESPACE();
namespace kvpareto::HWY_NAMESPACE {

// Codes of n values (a multiple of kGroupMultiple) that share scale and minimum.
HWY_INLINE void encode_group(const float* values, int n, float scale, float least, int levels, uint8_t* codes) {
  const DF d;
  const hn::Rebind<uint8_t, DF> d8;
  const auto lanes = static_cast<int>(hn::Lanes(d));
  const auto inverse = hn::Set(d, inverse_of(scale)), minimum = hn::Set(d, least);
  const auto top = hn::Set(d, static_cast<float>(levels));
  for (int c = 0; c < n; c += lanes) {
    const auto at = hn::Mul(hn::Sub(hn::LoadU(d, values + c), minimum), inverse);
    const auto code = hn::NearestInt(hn::Min(hn::Max(at, hn::Zero(d)), top));
    hn::StoreU(hn::DemoteTo(d8, code), d8, codes + c);
  }
}

int64_t encode(const PackedSide& side, int64_t head, int64_t token, const float* values) {
  const DF d;
  const auto lanes = static_cast<int>(hn::Lanes(d));
  uint8_t* block = side.block(head, token);
  const int64_t place = side.place_of(token);
  if (side.codec == Codec::kBf16) {
    floats_to_bf16(values, side.head_dim, reinterpret_cast<bf16*>(block) + place * side.head_dim);
    return 0;
  }
  const int levels = side.levels();
  HWY_ALIGN uint8_t codes[kLargestHead];
  if (side.span == 0) {
    const float scale = to_float(side.whole->scale), minimum = to_float(side.whole->minimum);
    encode_group(values, side.head_dim, scale, minimum, levels, codes);
    put_codes(side, block, place, 0, side.head_dim, codes);
    int64_t clamped = 0;
    for (int c = 0; c < side.head_dim; ++c) clamped += is_outside(values[c], minimum, inverse_of(scale), levels);
    return clamped;
  }
  auto* scales = reinterpret_cast<f16*>(block + side.scales_offset);
  auto* minimums = reinterpret_cast<f16*>(block + side.minimums_offset);
  for (int g = 0; g < side.groups(); ++g) {
    const float* group = values + g * side.group;
    auto low = hn::LoadU(d, group), high = low;
    for (int c = lanes; c < side.group; c += lanes) {
      const auto v = hn::LoadU(d, group + c);
      low = hn::Min(low, v);
      high = hn::Max(high, v);
    }
    const GroupFit fit = fit_values(side.fit, group, side.group, hn::GetLane(hn::MinOfLanes(d, low)),
                                    hn::GetLane(hn::MaxOfLanes(d, high)), levels);
    const bool symmetric = side.fit == Fit::kSymmetric;
    scales[side.fit_index(token, g)] = fit.scale;
    if (!symmetric) minimums[side.fit_index(token, g)] = fit.minimum;
    const float scale = to_float(fit.scale),
                minimum = symmetric ? symmetric_minimum(scale, levels) : to_float(fit.minimum);
    encode_group(group, side.group, scale, minimum, levels, codes + g * side.group);
  }
  put_codes(side, block, place, 0, side.head_dim, codes);
  return 0;
}

}  // namespace kvpareto::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
