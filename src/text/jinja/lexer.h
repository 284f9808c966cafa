#pragma once
// A template's source as tokens: literal text, and the words of tags. White space is handled as transformers configures
// jinja2 (trim_blocks, lstrip_blocks): the line break behind a block tag and the blanks before it on its line go, "-"
// takes all white space on its side, "+" none.

#include <string>
#include <string_view>
#include <vector>

namespace kvpareto::jinja {

enum class TokenKind {
  kText,        // literal text of the template
  kBlockBegin,  // {%
  kBlockEnd,
  kPrintBegin,  // {{
  kPrintEnd,
  kName,
  kString,  // with escapes resolved
  kInteger,
  kReal,
  kOperator,
  kEnd
};

struct Token {
  TokenKind kind;
  std::string text;
  int line;  // from 1
};

// The last token is kEnd. Throws Error (kFailure) naming the line.
std::vector<Token> lex(std::string_view source);

}  // namespace kvpareto::jinja
