#include "backend/profiled_backend.h"

#include <fmt/format.h>

#include <algorithm>

namespace kvpareto {
namespace {

double bytes_in(const Tensor& x) { return static_cast<double>(x.rows() * x.columns()) * bytes_of(x.type); }

// Stored bytes of a token of all heads.
double token_bytes(const PackedSide& side) {
  return static_cast<double>(side.kv_heads) * static_cast<double>(side.block_bytes) / side.block_tokens;
}

}  // namespace

template <typename Operation>
void ProfiledBackend::timed(const std::string& name, double operations, double bytes, const Operation& operation) {
  const auto start = std::chrono::steady_clock::now();
  operation();
  ProfilePart& part = parts_[name];
  part.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  part.name = name;
  part.operations += operations;
  part.bytes += bytes;
  ++part.calls;
}

std::vector<ProfilePart> ProfiledBackend::take_parts() {
  std::vector<ProfilePart> parts;
  for (auto& [name, part] : parts_) parts.push_back(std::move(part));
  parts_.clear();
  std::stable_sort(parts.begin(), parts.end(),
                   [](const ProfilePart& a, const ProfilePart& b) { return a.seconds > b.seconds; });
  return parts;
}

void ProfiledBackend::embed(const Linear& table, std::span<const int32_t> tokens, Tensor out) {
  timed("embed", 0, bytes_in(out), [&] { inner().embed(table, tokens, out); });
}

void ProfiledBackend::rms_norm(Tensor x, const float* weight, float epsilon, Tensor out) {
  timed("norm", 0, bytes_in(x) + bytes_in(out), [&] { inner().rms_norm(x, weight, epsilon, out); });
}

void ProfiledBackend::linear(const Linear& weight, Tensor x, Tensor out, bool accumulate, Tensor scratch) {
  const double products = static_cast<double>(x.rows()) * static_cast<double>(weight.rows() * weight.columns());
  const double bytes = static_cast<double>(weight.bytes()) + bytes_in(x) + bytes_in(out);
  timed(fmt::format("linear {}x{}", weight.rows(), weight.columns()), 2 * products, bytes,
        [&] { inner().linear(weight, x, out, accumulate, scratch); });
}

int64_t ProfiledBackend::best_row(const Linear& weight, Tensor x, Tensor products, Tensor scratch) {
  int64_t row = 0;
  timed(fmt::format("best row of {}x{}", weight.rows(), weight.columns()),
        2 * static_cast<double>(weight.rows() * weight.columns()),
        static_cast<double>(inner().best_row_bytes(weight)) + bytes_in(x),
        [&] { row = inner().best_row(weight, x, products, scratch); });
  return row;
}

void ProfiledBackend::product(Tensor a, Tensor b, Tensor out, bool accumulate) {
  const double products = static_cast<double>(a.rows()) * static_cast<double>(b.rows() * b.columns());
  timed("product", 2 * products, bytes_in(a) + bytes_in(b) + bytes_in(out),
        [&] { inner().product(a, b, out, accumulate); });
}

void ProfiledBackend::rope(Tensor x, const float* turns) {
  timed("rope", 0, 2 * bytes_in(x), [&] { inner().rope(x, turns); });
}

void ProfiledBackend::swiglu(Tensor gate_up, Tensor out) {
  timed("swiglu", 0, bytes_in(gate_up) + bytes_in(out), [&] { inner().swiglu(gate_up, out); });
}

void ProfiledBackend::gated(const Linear& gate_up, Tensor x, Tensor out, Tensor scratch) {
  const double products = static_cast<double>(x.rows()) * static_cast<double>(gate_up.rows() * gate_up.columns());
  const double bytes = static_cast<double>(gate_up.bytes()) + bytes_in(x) + bytes_in(out);
  timed(fmt::format("gated {}x{}", gate_up.rows(), gate_up.columns()), 2 * products, bytes,
        [&] { inner().gated(gate_up, x, out, scratch); });
}

void ProfiledBackend::transform(Tensor x, bool rotate, const float* offset) {
  timed("transform", 0, 2 * bytes_in(x), [&] { inner().transform(x, rotate, offset); });
}

void ProfiledBackend::pack(Tensor x, int64_t first, const PackedSide& side) {
  const double bytes = bytes_in(x) + static_cast<double>(x.rows()) * token_bytes(side);
  timed("pack", 0, bytes, [&] { inner().pack(x, first, side); });
}

void ProfiledBackend::freeze(const PackedSide& side, bool find_mean) {
  timed("freeze", 0, 0, [&] { inner().freeze(side, find_mean); });
}

void ProfiledBackend::attend(Tensor queries, int64_t first, const PackedSide& keys, const PackedSide& values,
                             int kv_heads, Tensor out, Tensor scratch) {
  const auto tokens = static_cast<double>(queries.rows());
  const double seen = tokens * (static_cast<double>(first) + (tokens + 1) / 2);  // keys of all queries together
  const double bytes = (static_cast<double>(first) + tokens) * (token_bytes(keys) + token_bytes(values)) +
                       bytes_in(queries) + bytes_in(out);
  timed("attend", 4 * seen * static_cast<double>(queries.columns()), bytes,
        [&] { inner().attend(queries, first, keys, values, kv_heads, out, scratch); });
}

}  // namespace kvpareto
