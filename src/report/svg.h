#pragma once
// What every chart draws with: escaped text, SVG elements, scales from values to pixels with round ticks.
// Colours, strokes and fonts are CSS classes of style.cc, so that one drawing serves light, dark and paper.

#include <string>
#include <string_view>
#include <vector>

namespace kvpareto {

// Text for an element or a quoted attribute: markup characters as entities, control characters as spaces, bytes that
// are not UTF-8 as U+FFFD. Line feeds stay.
std::string escape_html(std::string_view text);

// A coordinate in pixels: at most two decimals, never an exponent. Throws std::invalid_argument on NaN and infinity: a
// chart that would draw one has a bug.
std::string px(double value);

// Rough width in pixels of `text` in the system's sans serif at `size` pixels; a little too wide rather than too
// narrow.
double text_width(std::string_view text, double size);

struct Box {
  double left = 0, top = 0, right = 0, bottom = 0;
  bool overlaps(const Box& other) const {
    return left < other.right && other.left < right && top < other.bottom && other.top < bottom;
  }
  bool inside(const Box& other) const {
    return left >= other.left && right <= other.right && top >= other.top && bottom <= other.bottom;
  }
};

enum class Anchor { kStart, kMiddle, kEnd };

// One drawing. `style` is the class list of an element; `attributes` goes into its tag as it is.
class Svg {
 public:
  // `label` is what a screen reader says of the drawing.
  Svg(double width, double height, std::string_view label, std::string_view style = {});

  void line(double x1, double y1, double x2, double y2, std::string_view style);
  void rect(const Box& box, std::string_view style, std::string_view attributes = {});
  void circle(double x, double y, double radius, std::string_view style);
  void diamond(double x, double y, double radius, std::string_view style);
  void path(std::string_view d, std::string_view style);
  void text(double x, double y, std::string_view words, std::string_view style, Anchor anchor = Anchor::kStart);
  // A group; what is drawn until close() shares its attributes. `tooltip` (plain text, a line feed between
  // "label<tab>value" lines) is shown by the browser itself, or by the page's script where it runs.
  void open(std::string_view style, std::string_view attributes = {}, std::string_view tooltip = {});
  void close();
  void raw(std::string_view markup) { body_ += markup; }

  std::string str() const;
  double width() const { return width_; }
  double height() const { return height_; }

 private:
  double width_, height_;
  std::string head_, body_;
};

// From values to pixels. A range of no width is widened, so that equal values land in the middle.
class Scale {
 public:
  static Scale linear(double low, double high, double pixel_low, double pixel_high);
  // `low` and `high` above zero.
  static Scale logarithmic(double low, double high, double pixel_low, double pixel_high);

  double operator()(double value) const;
  double low() const { return low_; }
  double high() const { return high_; }

 private:
  Scale(bool log, double low, double high, double pixel_low, double pixel_high);
  bool log_;
  double low_, high_, pixel_low_, pixel_high_;
};

// Multiples of 1, 2 or 5 times a power of ten (for bytes: of the binary unit) inside [low, high], about `count` of
// them.
std::vector<double> round_ticks(double low, double high, int count);
// The unit of bytes that suits values up to `high`: its size and name.
struct ByteUnit {
  double size;
  const char* name;
};
ByteUnit byte_unit(double high);
std::vector<double> byte_ticks(double low, double high, int count);
// Powers of ten inside [low, high]; `all` adds the eight steps between each two.
std::vector<double> decade_ticks(double low, double high, bool all);

// Largest 1, 2 or 5 times a power of ten that is not above `value`, and smallest not below; value > 0.
double round_down(double value);
double round_up(double value);

}  // namespace kvpareto
