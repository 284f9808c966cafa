#include "report/svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace kvpareto {
namespace {

// Length of the UTF-8 character at the start of `text`; 0 if the bytes are none (overlong forms and surrogates
// included).
size_t character_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  if (byte(0) < 0x80) return 1;
  const size_t length = byte(0) >= 0xf0 ? 4 : byte(0) >= 0xe0 ? 3 : 2;
  if (byte(0) < 0xc2 || byte(0) > 0xf4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const bool overlong = (byte(0) == 0xe0 && byte(1) < 0xa0) || (byte(0) == 0xf0 && byte(1) < 0x90);
  const bool outside = (byte(0) == 0xed && byte(1) > 0x9f) || (byte(0) == 0xf4 && byte(1) > 0x8f);
  return overlong || outside ? 0 : length;
}

const char* entity(char c) {
  switch (c) {
    case '&':
      return "&amp;";
    case '<':
      return "&lt;";
    case '>':
      return "&gt;";
    case '"':
      return "&quot;";
    case '\'':
      return "&#39;";
    default:
      return nullptr;
  }
}

double decade(double value) { return std::pow(10.0, std::floor(std::log10(value) + 1e-12)); }

}  // namespace

std::string escape_html(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const size_t length = character_length(text);
    if (length == 0) {
      out += "\xef\xbf\xbd";
    } else if (const char* name = entity(text.front())) {
      out += name;
    } else if ((text.front() >= 0 && text.front() < ' ' && text.front() != '\n' && text.front() != '\t') ||
               text.front() == 0x7f) {
      out += ' ';
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return out;
}

std::string px(double value) {
  if (!std::isfinite(value)) throw std::invalid_argument("a coordinate that is not a number");
  std::string text = fmt::format("{:.2f}", value);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text == "-0" ? "0" : text;
}

double text_width(std::string_view text, double size) {
  double ems = 0;
  for (const char c : text) {
    if ((static_cast<unsigned char>(c) & 0xc0) == 0x80) continue;
    const bool narrow = c == ' ' || c == '.' || c == ',' || c == 'i' || c == 'l' || c == '(' || c == ')';
    ems += narrow ? 0.33 : (c >= 'A' && c <= 'Z') || c == 'm' || c == 'w' || c == '%' ? 0.78 : 0.6;
  }
  return ems * size;
}

Svg::Svg(double width, double height, std::string_view label, std::string_view style) : width_(width), height_(height) {
  head_ = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart {}\" viewBox=\"0 0 {} {}\" width=\"{}\" height=\"{}\" "
      "role=\"img\" aria-label=\"{}\">",
      style, px(width), px(height), px(width), px(height), escape_html(label));
}

void Svg::line(double x1, double y1, double x2, double y2, std::string_view style) {
  body_ += fmt::format("<line class=\"{}\" x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"/>", style, px(x1), px(y1), px(x2),
                       px(y2));
}

void Svg::rect(const Box& box, std::string_view style, std::string_view attributes) {
  body_ += fmt::format("<rect class=\"{}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"{}{}/>", style, px(box.left),
                       px(box.top), px(std::max(0.0, box.right - box.left)), px(std::max(0.0, box.bottom - box.top)),
                       attributes.empty() ? "" : " ", attributes);
}

void Svg::circle(double x, double y, double radius, std::string_view style) {
  body_ += fmt::format("<circle class=\"{}\" cx=\"{}\" cy=\"{}\" r=\"{}\"/>", style, px(x), px(y), px(radius));
}

void Svg::diamond(double x, double y, double radius, std::string_view style) {
  path(fmt::format("M{} {}L{} {}L{} {}L{} {}Z", px(x), px(y - radius), px(x + radius), px(y), px(x), px(y + radius),
                   px(x - radius), px(y)),
       style);
}

void Svg::path(std::string_view d, std::string_view style) {
  body_ += fmt::format("<path class=\"{}\" d=\"{}\"/>", style, d);
}

void Svg::text(double x, double y, std::string_view words, std::string_view style, Anchor anchor) {
  static constexpr const char* kAnchors[] = {"", " text-anchor=\"middle\"", " text-anchor=\"end\""};
  body_ += fmt::format("<text class=\"{}\" x=\"{}\" y=\"{}\"{}>{}</text>", style, px(x), px(y),
                       kAnchors[static_cast<int>(anchor)], escape_html(words));
}

void Svg::open(std::string_view style, std::string_view attributes, std::string_view tooltip) {
  body_ += fmt::format("<g class=\"{}\"{}{}>", style, attributes.empty() ? "" : " ", attributes);
  if (!tooltip.empty()) body_ += fmt::format("<title>{}</title>", escape_html(tooltip));
}

void Svg::close() { body_ += "</g>\n"; }

std::string Svg::str() const { return head_ + body_ + "</svg>\n"; }

Scale::Scale(bool log, double low, double high, double pixel_low, double pixel_high)
    : log_(log), low_(low), high_(high), pixel_low_(pixel_low), pixel_high_(pixel_high) {}

Scale Scale::linear(double low, double high, double pixel_low, double pixel_high) {
  if (!(high > low)) {
    // The least numbers have no twentieth.
    const double room = std::abs(low) < 1e-300 ? 1 : std::abs(low) * 0.05;
    low -= room;
    high = low + 2 * room;
  }
  return Scale(false, low, high, pixel_low, pixel_high);
}

Scale Scale::logarithmic(double low, double high, double pixel_low, double pixel_high) {
  if (!(high > low)) {
    low /= 2;
    high = low * 4;
  }
  return Scale(true, low, high, pixel_low, pixel_high);
}

double Scale::operator()(double value) const {
  const double share = log_ ? std::log(value / low_) / std::log(high_ / low_) : (value - low_) / (high_ - low_);
  return pixel_low_ + share * (pixel_high_ - pixel_low_);
}

double round_down(double value) {
  const double power = decade(value);
  const double lead = value / power * (1 + 1e-12);
  return power * (lead >= 5 ? 5 : lead >= 2 ? 2 : 1);
}

double round_up(double value) {
  const double power = decade(value);
  const double lead = value / power * (1 - 1e-12);
  return power * (lead <= 1 ? 1 : lead <= 2 ? 2 : lead <= 5 ? 5 : 10);
}

std::vector<double> round_ticks(double low, double high, int count) {
  std::vector<double> ticks;
  if (!(high > low) || count < 1) return ticks;
  const double step = round_up((high - low) / count);
  const auto first = static_cast<int64_t>(std::ceil(low / step - 1e-9));
  const auto last = static_cast<int64_t>(std::floor(high / step + 1e-9));
  for (int64_t i = first; i <= last; ++i) ticks.push_back(static_cast<double>(i) * step);
  return ticks;
}

ByteUnit byte_unit(double high) {
  if (high >= 3.0 * (1 << 30)) return {1 << 30, "GiB"};
  if (high >= 3.0 * (1 << 20)) return {1 << 20, "MiB"};
  if (high >= 3.0 * (1 << 10)) return {1 << 10, "KiB"};
  return {1, "B"};
}

std::vector<double> byte_ticks(double low, double high, int count) {
  const double size = byte_unit(high).size;
  std::vector<double> ticks = round_ticks(low / size, high / size, count);
  for (double& tick : ticks) tick *= size;
  return ticks;
}

std::vector<double> decade_ticks(double low, double high, bool all) {
  std::vector<double> ticks;
  for (double power = decade(low); power <= high * (1 + 1e-9); power *= 10) {
    for (int step = 1; step <= (all ? 9 : 1); ++step) {
      const double tick = power * step;
      if (tick >= low * (1 - 1e-9) && tick <= high * (1 + 1e-9)) ticks.push_back(tick);
    }
  }
  return ticks;
}

}  // namespace kvpareto
