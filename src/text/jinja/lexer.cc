#include "text/jinja/lexer.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

#include "base/error.h"
#include "text/unicode.h"

namespace kvpareto::jinja {
namespace {

constexpr std::array<std::string_view, 27> kOperators = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                                         "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                                         ">",  "<",  "=",  ".",  ":",  "|",  ",", ";", "!"};

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\v' || c == '\f' || c == '\n' || c == '\r'; }
bool begins_name(char c) { return std::isalpha(static_cast<unsigned char>(c)) || c == '_'; }
bool in_name(char c) { return begins_name(c) || std::isdigit(static_cast<unsigned char>(c)); }

// Every kind of line break as one character, and none at the end.
std::string tidy(std::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      text.push_back(source[i]);
    } else if (i + 1 == source.size() || source[i + 1] != '\n') {
      text.push_back('\n');
    }
  }
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(tidy(source)), rest_(source_) {}

  std::vector<Token> run() {
    while (!rest_.empty()) read_text();
    add(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  void add(TokenKind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }
  void advance(size_t count) {
    line_ += static_cast<int>(std::count(rest_.begin(), rest_.begin() + static_cast<ptrdiff_t>(count), '\n'));
    if (count > 0) after_break_ = rest_[count - 1] == '\n';
    rest_.remove_prefix(count);
  }
  void skip_blank() {
    while (!rest_.empty() && is_blank(rest_[0])) advance(1);
  }

  // Literal text up to the next tag, and the tag.
  void read_text() {
    size_t at = rest_.find('{');
    while (at != rest_.npos &&
           (at + 1 == rest_.size() || std::string_view("{%#").find(rest_[at + 1]) == std::string_view::npos)) {
      at = rest_.find('{', at + 1);
    }
    std::string_view text = rest_.substr(0, at);
    const char kind = at == rest_.npos ? 0 : rest_[at + 1],
               sign = at + 2 < rest_.size() && at != rest_.npos ? rest_[at + 2] : 0;
    if (kind != 0 && sign == '-') {
      while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
    } else if ((kind == '%' || kind == '#') && sign != '+') {
      text = without_indent(text);
    }
    if (!text.empty()) add(TokenKind::kText, std::string(text));
    advance(std::min(at, rest_.size()));
    if (kind == 0) return;
    advance(2 + (sign == '-' || (sign == '+' && kind != '{') ? 1 : 0));
    if (kind == '#') return skip_comment();
    add(kind == '%' ? TokenKind::kBlockBegin : TokenKind::kPrintBegin, "");
    if (kind == '%' && is_raw()) return read_raw();
    read_tag(kind == '%' ? "%}" : "}}", kind == '%' ? TokenKind::kBlockEnd : TokenKind::kPrintEnd);
  }

  // Blanks before a tag that is the first on its line.
  std::string_view without_indent(std::string_view text) const {
    const size_t line = text.rfind('\n');
    if (line == text.npos && !after_break_) return text;
    const size_t begin = line == text.npos ? 0 : line + 1;
    return std::all_of(text.begin() + static_cast<ptrdiff_t>(begin), text.end(), is_blank) ? text.substr(0, begin)
                                                                                           : text;
  }

  // Behind the closing braces; `trims` if a line break goes with them.
  void close(char sign, bool trims) {
    if (sign == '-') return skip_blank();
    if (trims && sign != '+' && rest_.starts_with('\n')) advance(1);
  }

  void skip_comment() {
    const size_t end = rest_.find("#}");
    if (end == rest_.npos) fail("the chat template, line {}: a comment has no end", line_);
    const char sign = end > 0 && (rest_[end - 1] == '-' || rest_[end - 1] == '+') ? rest_[end - 1] : '\0';
    advance(end + 2);
    close(sign, true);
  }

  bool is_raw() const {
    std::string_view tag = rest_;
    while (!tag.empty() && is_blank(tag[0])) tag.remove_prefix(1);
    return tag.starts_with("raw") && (tag.size() == 3 || !in_name(tag[3]));
  }

  void read_raw() {
    tokens_.pop_back();
    const size_t begin = rest_.find("%}");
    if (begin == rest_.npos) fail("the chat template, line {}: a tag has no end", line_);
    const char sign = begin > 0 ? rest_[begin - 1] : '\0';
    advance(begin + 2);
    close(sign, true);
    for (size_t at = rest_.find("{%"); at != rest_.npos; at = rest_.find("{%", at + 2)) {
      std::string_view tag = rest_.substr(at + 2);
      const bool strips = tag.starts_with('-');
      if (strips || tag.starts_with('+')) tag.remove_prefix(1);
      while (!tag.empty() && is_blank(tag[0])) tag.remove_prefix(1);
      if (!tag.starts_with("endraw")) continue;
      std::string_view text = strips ? trim_end(rest_.substr(0, at)) : without_indent(rest_.substr(0, at));
      if (!text.empty()) add(TokenKind::kText, std::string(text));
      const size_t end = rest_.find("%}", at);
      if (end == rest_.npos) break;
      const char last = rest_[end - 1];
      advance(end + 2);
      return close(last, true);
    }
    fail("the chat template, line {}: raw has no endraw", line_);
  }
  static std::string_view trim_end(std::string_view text) {
    while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
    return text;
  }

  void read_tag(std::string_view end, TokenKind end_kind) {
    int open = 0;  // brackets
    for (;;) {
      skip_blank();
      if (rest_.empty()) fail("the chat template, line {}: a tag has no end", line_);
      const bool strips = rest_[0] == '-' || (rest_[0] == '+' && end == "%}");
      if (open == 0 && (rest_.starts_with(end) || (strips && rest_.substr(1).starts_with(end)))) {
        const char sign = strips ? rest_[0] : '\0';
        add(end_kind, "");
        advance(strips ? 3 : 2);
        return close(sign, end == "%}");
      }
      open += read_word();
    }
  }

  // One token; the change of open brackets.
  int read_word() {
    const char c = rest_[0];
    if (begins_name(c))
      return take(TokenKind::kName, std::find_if_not(rest_.begin(), rest_.end(), in_name) - rest_.begin());
    if (std::isdigit(static_cast<unsigned char>(c))) return read_number();
    if (c == '"' || c == '\'') return read_string();
    const auto found = std::ranges::find_if(kOperators, [&](std::string_view op) { return rest_.starts_with(op); });
    if (found == kOperators.end())
      fail("the chat template, line {}: unexpected '{}'", line_, shown(rest_.substr(0, 1)));
    take(TokenKind::kOperator, static_cast<ptrdiff_t>(found->size()));
    return found->size() != 1                                          ? 0
           : std::string_view("([{").find(c) != std::string_view::npos ? 1
           : std::string_view(")]}").find(c) != std::string_view::npos ? -1
                                                                       : 0;
  }
  int take(TokenKind kind, ptrdiff_t size) {
    add(kind, std::string(rest_.substr(0, static_cast<size_t>(size))));
    advance(static_cast<size_t>(size));
    return 0;
  }

  int read_number() {
    const auto digits = [&](size_t from) {
      while (from < rest_.size() && std::isdigit(static_cast<unsigned char>(rest_[from]))) ++from;
      return from;
    };
    size_t end = digits(0);
    bool real = false;
    if (end + 1 < rest_.size() && rest_[end] == '.' && std::isdigit(static_cast<unsigned char>(rest_[end + 1]))) {
      end = digits(end + 1);
      real = true;
    }
    if (end < rest_.size() && (rest_[end] == 'e' || rest_[end] == 'E')) {
      const size_t sign =
          end + 1 + (end + 1 < rest_.size() && (rest_[end + 1] == '+' || rest_[end + 1] == '-') ? 1 : 0);
      if (digits(sign) > sign) {
        end = digits(sign);
        real = true;
      }
    }
    return take(real ? TokenKind::kReal : TokenKind::kInteger, static_cast<ptrdiff_t>(end));
  }

  int read_string() {
    const char quote = rest_[0];
    size_t end = 1;
    while (end < rest_.size() && rest_[end] != quote) end += rest_[end] == '\\' ? 2 : 1;
    if (end >= rest_.size()) fail("the chat template, line {}: a string has no end", line_);
    add(TokenKind::kString, unescaped(rest_.substr(1, end - 1)));
    advance(end + 1);
    return 0;
  }

  // Python's escapes; an unknown one stands for itself.
  std::string unescaped(std::string_view text) const {
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '\\' || i + 1 == text.size()) {
        out.push_back(text[i]);
        continue;
      }
      const char c = text[++i];
      constexpr std::string_view kNames = "nrtbfav\\'\"0", kValues = {"\n\r\t\b\f\a\v\\'\"\0", 11};
      const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
      if (const size_t at = kNames.find(c); at != kNames.npos) {
        out.push_back(kValues[at]);
      } else if (digits > 0) {
        out += character(text.substr(i + 1, digits), digits);
        i += digits;
      } else if (c != '\n') {
        out += {'\\', c};
      }
    }
    return out;
  }
  std::string character(std::string_view hex, size_t digits) const {
    uint32_t point = 0;
    const auto [end, problem] = std::from_chars(hex.data(), hex.data() + hex.size(), point, 16);
    const std::string encoded = problem == std::errc() && end == hex.data() + digits ? encode_utf8(point) : "";
    if (encoded.empty())
      fail("the chat template, line {}: a string has the escape '{}', which is no character", line_, shown(hex));
    return encoded;
  }

  std::string source_;
  std::string_view rest_;
  std::vector<Token> tokens_;
  int line_ = 1;
  bool after_break_ = true;  // whether a line begins where rest_ begins
};

}  // namespace

std::vector<Token> lex(std::string_view source) { return Lexer(source).run(); }

}  // namespace kvpareto::jinja
