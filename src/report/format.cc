#include "report/format.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/text.h"

namespace kvpareto {
namespace {

// Two-sided 95 % points of Student's t for 1 to 30 degrees of freedom.
constexpr double kStudent[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
                               2.201,  2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
                               2.080,  2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042};
constexpr double kNormal = 1.960;

bool has_error(const Estimate& estimate) {
  return std::isfinite(estimate.standard_error) && estimate.standard_error > 0;
}

// The power of ten of the last digit shown when `value` has `digits` significant ones.
int last_place(double value, int digits) {
  const int lead = static_cast<int>(std::floor(std::log10(std::abs(value))));
  // 9.99 at two digits is "10": rounding may move the lead.
  const double rounded = std::round(std::abs(value) / std::pow(10, lead - digits + 1));
  return lead - digits + 1 + (rounded >= std::pow(10, digits) ? 1 : 0);
}

std::string plain(double value, int place) {
  const double unit = std::pow(10, std::max(place, 0));
  std::string text = fmt::format("{:.{}f}", std::round(value / unit) * unit, std::max(-place, 0));
  if (place < 0) text = fmt::format("{:.{}f}", value, -place);
  const bool zero = text.find_first_of("123456789") == std::string::npos;
  return zero && text.front() == '-' ? text.substr(1) : text;
}

}  // namespace

std::string significant(double value, int digits) {
  if (!std::isfinite(value)) return "-";
  if (value == 0) return "0";
  if (std::abs(value) < 1e-6 || std::abs(value) >= 1e7) return fmt::format("{:.{}e}", value, digits - 1);
  return plain(value, last_place(value, digits));
}

std::string trimmed(double value, int digits) {
  std::string text = significant(value, digits);
  if (text.find('.') == std::string::npos || text.find('e') != std::string::npos) return text;
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

std::string with_error(const Estimate& estimate) {
  if (!std::isfinite(estimate.value)) return "-";
  if (!has_error(estimate)) return significant(estimate.value, 3);
  const double error = estimate.standard_error;
  if (error < 1e-7 || error >= 1e7) {
    return fmt::format("{} ± {}", significant(estimate.value, 3), significant(error, 1));
  }
  int place = last_place(error, 1);
  if (error / std::pow(10, place) < 1.95) --place;
  return fmt::format("{} ± {}", plain(estimate.value, place), plain(error, place));
}

std::string in_words(const Figure& figure, const Estimate& estimate) {
  if (!std::isfinite(estimate.value)) return "-";
  if (figure.unit == "bytes") return human_bytes(estimate.value);
  if (figure.unit != "fraction") return with_error(estimate);
  Estimate percent = estimate;
  percent.value *= 100;
  percent.standard_error *= 100;
  return with_error(percent) + " %";
}

std::string unit_in_words(const Figure& figure) {
  return figure.unit == "bytes" || figure.unit == "fraction" ? "" : figure.unit;
}

std::string percent_change(double value, double baseline) {
  const double change = 100 * (value / baseline - 1);
  if (!std::isfinite(change)) return "-";
  const std::string digits = fmt::format("{:.0f}", std::abs(change));
  if (digits == "0") return "±0 %";
  return fmt::format("{}{} %", change < 0 ? "−" : "+", digits);
}

std::optional<Interval> error_bar(const Estimate& estimate) {
  if (!std::isfinite(estimate.value) || !has_error(estimate) || estimate.samples < 2) return std::nullopt;
  const int64_t freedom = estimate.samples - 1;
  const double factor = freedom == 1 ? 1 : freedom <= 30 ? kStudent[freedom - 1] : kNormal;
  const double half = factor * estimate.standard_error;
  if (!std::isfinite(estimate.value - half) || !std::isfinite(estimate.value + half)) return std::nullopt;
  return Interval{estimate.value - half, estimate.value + half};
}

std::string error_bar_name(const Estimate& estimate) {
  if (!error_bar(estimate)) return {};
  return estimate.samples == 2 ? "range of the two samples" : "95 % interval";
}

std::optional<Interval> share_interval95(const Estimate& estimate) {
  if (!(estimate.value >= 0 && estimate.value <= 1) || estimate.samples < 1) return std::nullopt;
  const auto n = static_cast<double>(estimate.samples);
  const double z2 = kNormal * kNormal, p = estimate.value;
  const double center = (p + z2 / (2 * n)) / (1 + z2 / n);
  const double half = kNormal / (1 + z2 / n) * std::sqrt(p * (1 - p) / n + z2 / (4 * n * n));
  return Interval{std::max(0.0, center - half), std::min(1.0, center + half)};
}

size_t width_of(const std::string& text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string clipped(const std::string& text, size_t width) {
  std::string out;
  for (const char c : text) out += static_cast<unsigned char>(c) < ' ' || c == 0x7f ? '?' : c;
  if (width_of(out) <= width) return out;
  size_t end = 0, seen = 0;
  while (end < out.size() && (seen < width || (static_cast<unsigned char>(out[end]) & 0xc0) == 0x80)) {
    seen += (static_cast<unsigned char>(out[end]) & 0xc0) != 0x80;
    if (seen == width) break;
    ++end;
  }
  return out.substr(0, end) + "…";
}

}  // namespace kvpareto
