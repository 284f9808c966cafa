// Packing of rows and their decoding to f32 tiles, one instance a Highway target; quant/codec.h is the specification.
// Included by kernels.cc inside foreach_target, after rows-inl.h.

HWY_BEFORE_NAMESPACE();
namespace kvpareto::HWY_NAMESPACE {

void encode(const PackedSide& side, int64_t head, int64_t token, const float* values) {
  const DF d;
  const hn::Rebind<uint8_t, DF> d8;
  const auto lanes = static_cast<int>(hn::Lanes(d));
  uint8_t* block = side.block(head, token);
  const int64_t place = token % kBlockTokens;
  uint8_t* codes_out = block + static_cast<size_t>(place) * side.row_bytes;
  if (side.codec == Codec::kBf16) return floats_to_bf16(values, side.head_dim, reinterpret_cast<bf16*>(codes_out));

  const int levels = (1 << bits_of(side.codec)) - 1, groups = side.groups();
  auto* scales = reinterpret_cast<f16*>(block + side.scales_offset) + place * groups;
  auto* minimums = reinterpret_cast<f16*>(block + side.minimums_offset) + place * groups;
  for (int g = 0; g < groups; ++g) {
    const float* group = values + g * side.group;
    auto low = hn::LoadU(d, group), high = low;
    for (int c = lanes; c < side.group; c += lanes) {
      const auto v = hn::LoadU(d, group + c);
      low = hn::Min(low, v);
      high = hn::Max(high, v);
    }
    const GroupFit fit = fit_group(hn::GetLane(hn::MinOfLanes(d, low)), hn::GetLane(hn::MaxOfLanes(d, high)), levels);
    scales[g] = fit.scale;
    minimums[g] = fit.minimum;
    const float scale = to_float(fit.scale);
    const auto inverse = hn::Set(d, scale > 0 ? 1.0f / scale : 0.0f), minimum = hn::Set(d, to_float(fit.minimum));
    const auto top = hn::Set(d, static_cast<float>(levels));
    for (int c = 0; c < side.group; c += kChunk) {
      HWY_ALIGN uint8_t codes[kChunk];
      for (int i = 0; i < kChunk; i += lanes) {
        const auto at = hn::Mul(hn::Sub(hn::LoadU(d, group + c + i), minimum), inverse);
        const auto code = hn::NearestInt(hn::Min(hn::Max(at, hn::Zero(d)), top));
        hn::StoreU(hn::DemoteTo(d8, code), d8, codes + i);
      }
      pack_chunk(side.codec, codes,
                 codes_out + static_cast<size_t>((g * side.group + c) / kChunk) * chunk_bytes(side.codec));
    }
  }
}

// In hardware where the target has F16C.
HWY_INLINE float half_to_float(f16 x) {
#if HWY_TARGET <= HWY_AVX2
  return _cvtsh_ss(x.bits);
#else
  return to_float(x);
#endif
}

// Codes of channels [i, i + lanes) of a chunk, as f32.
template <Codec kCodec>
HWY_INLINE VF codes_at(DF d, const uint8_t* chunk, int i) {
  const hn::RebindToSigned<DF> di;
  const hn::RebindToUnsigned<DF> du;
  const hn::Rebind<uint8_t, DF> d8;
  if constexpr (kCodec == Codec::kInt8) {
    return hn::ConvertTo(d, hn::PromoteTo(di, hn::LoadU(d8, chunk + i)));
  } else if constexpr (kCodec == Codec::kInt4) {
    const auto bytes = hn::PromoteTo(du, hn::LoadU(d8, chunk + i % 16));
    const auto codes = i < 16 ? hn::And(bytes, hn::Set(du, 15u)) : hn::ShiftRight<4>(bytes);
    return hn::ConvertTo(d, hn::BitCast(di, codes));
  } else {
    uint32_t pairs;
    __builtin_memcpy(&pairs, chunk + i / 16 * 4, 4);
    const auto lane = hn::Iota(du, static_cast<uint32_t>(i % 16));
    auto codes = hn::And(hn::Shr(hn::Set(du, pairs), hn::Add(lane, lane)), hn::Set(du, 3u));
    if constexpr (kCodec == Codec::kInt3) {
      uint32_t tops;
      __builtin_memcpy(&tops, chunk + 8, 4);
      const auto top = hn::Shr(hn::Set(du, tops), hn::Add(lane, hn::Set(du, static_cast<uint32_t>(i / 16 * 16))));
      codes = hn::Or(codes, hn::ShiftLeft<2>(hn::And(top, hn::Set(du, 1u))));
    }
    return hn::ConvertTo(d, hn::BitCast(di, codes));
  }
}

template <Codec kCodec>
HWY_INLINE void decode_integers(const PackedSide& side, const uint8_t* block, int64_t place, int64_t count,
                                float* out) {
  const DF d;
  const auto lanes = static_cast<int>(hn::Lanes(d));
  const int groups = side.groups();
  const auto* scales = reinterpret_cast<const f16*>(block + side.scales_offset) + place * groups;
  const auto* minimums = reinterpret_cast<const f16*>(block + side.minimums_offset) + place * groups;
  const uint8_t* chunk = block + static_cast<size_t>(place) * side.row_bytes;
  for (int64_t g = 0; g < count * groups; ++g) {
    const auto scale = hn::Set(d, half_to_float(scales[g])), minimum = hn::Set(d, half_to_float(minimums[g]));
    for (int c = 0; c < side.group; c += kChunk, chunk += chunk_bytes(kCodec), out += kChunk) {
      for (int i = 0; i < kChunk; i += lanes)
        hn::StoreU(hn::MulAdd(codes_at<kCodec>(d, chunk, i), scale, minimum), d, out + i);
    }
  }
}

void decode(const PackedSide& side, int64_t head, int64_t token, int64_t count, float* out) {
  const uint8_t* block = side.block(head, token);
  const int64_t place = token % kBlockTokens;
  switch (side.codec) {
    case Codec::kBf16:
      return bf16_to_floats(reinterpret_cast<const bf16*>(block) + place * side.head_dim, count * side.head_dim, out);
    case Codec::kInt8:
      return decode_integers<Codec::kInt8>(side, block, place, count, out);
    case Codec::kInt4:
      return decode_integers<Codec::kInt4>(side, block, place, count, out);
    case Codec::kInt3:
      return decode_integers<Codec::kInt3>(side, block, place, count, out);
    case Codec::kInt2:
      return decode_integers<Codec::kInt2>(side, block, place, count, out);
  }
}

}  // namespace kvpareto::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
