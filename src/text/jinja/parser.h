#pragma once
// What the two halves of the parser share: the tokens, and nodes of bounded depth. Grammar: jinja.palletsprojects.com,
// "Template Designer Documentation".

#include <initializer_list>
#include <string_view>
#include <vector>

#include "text/jinja/lexer.h"
#include "text/jinja/syntax.h"

namespace kvpareto::jinja {

class TokenReader {
 public:
  explicit TokenReader(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& peek(size_t ahead = 0) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
  Token next() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  bool is(TokenKind kind) const { return peek().kind == kind; }
  bool is_operator(std::string_view text) const { return is(TokenKind::kOperator) && peek().text == text; }
  bool is_name(std::string_view text) const { return is(TokenKind::kName) && peek().text == text; }
  bool take_operator(std::string_view text) { return is_operator(text) && (next(), true); }
  bool take_name(std::string_view text) { return is_name(text) && (next(), true); }
  void expect_operator(std::string_view text);
  std::string expect_name(std::string_view what);  // any name
  [[noreturn]] void unexpected(std::string_view wanted) const;

  NodePtr node(Kind kind, std::string text = "") const;
  // Settles the depth of a finished node; throws Error beyond kMostDepth.
  NodePtr finished(NodePtr node) const;
  // One more level of the parser's own recursion, for as long as it lives.
  class Level {
   public:
    explicit Level(TokenReader& reader);
    ~Level() { --reader_.levels_; }

   private:
    TokenReader& reader_;
  };

  static constexpr int kMostDepth = 200;

 private:
  std::vector<Token> tokens_;
  size_t at_ = 0;
  int levels_ = 0;
};

// An expression, with "a if b else c" unless `conditional` is false (the list of a loop has its own "if").
NodePtr parse_expression(TokenReader& reader, bool conditional = true);
// Several expressions with commas between are a list.
NodePtr parse_tuple(TokenReader& reader, bool conditional = true);
// Filters "| name(arguments)" upon `node`; a null node stands for the text that they are applied to later.
NodePtr parse_filters(TokenReader& reader, NodePtr node);

}  // namespace kvpareto::jinja
