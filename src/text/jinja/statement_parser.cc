#include <algorithm>

#include "base/error.h"
#include "text/jinja/parser.h"
#include "text/unicode.h"

namespace kvpareto::jinja {

void TokenReader::unexpected(std::string_view wanted) const {
  const Token& found = peek();
  static constexpr std::string_view kKinds[] = {"text", "{%", "%}", "{{", "}}"};
  const auto kind = static_cast<size_t>(found.kind);
  const std::string what = found.kind == TokenKind::kEnd ? "the end"
                           : kind < std::size(kKinds)    ? std::string(kKinds[kind])
                                                         : shown(found.text);
  fail("the chat template, line {}: wanted {}, found '{}'", found.line, wanted, what);
}

void TokenReader::expect_operator(std::string_view text) {
  if (!take_operator(text)) unexpected(fmt::format("'{}'", text));
}

std::string TokenReader::expect_name(std::string_view what) {
  if (!is(TokenKind::kName)) unexpected(what);
  return next().text;
}

NodePtr TokenReader::node(Kind kind, std::string text) const {
  auto made = std::make_unique<Node>();
  made->kind = kind;
  made->text = std::move(text);
  made->line = peek().line;
  return made;
}

NodePtr TokenReader::finished(NodePtr node) const {
  const auto reach = [&](const NodePtr& inner) {
    if (inner != nullptr) node->depth = std::max(node->depth, inner->depth + 1);
  };
  for (const auto* list : {&node->children, &node->arguments, &node->body, &node->other})
    std::ranges::for_each(*list, reach);
  for (const auto& named : node->named) reach(named.second);
  if (node->depth > kMostDepth)
    fail("the chat template, line {}: nested deeper than {} levels", node->line, kMostDepth);
  return node;
}

TokenReader::Level::Level(TokenReader& reader) : reader_(reader) {
  if (++reader_.levels_ > kMostDepth) {
    --reader_.levels_;
    fail("the chat template, line {}: nested deeper than {} levels", reader_.peek().line, kMostDepth);
  }
}

namespace {

using Body = std::vector<NodePtr>;

class StatementParser {
 public:
  explicit StatementParser(std::string_view source) : reader_(lex(source)) {}

  Body parse_all() {
    Body body = parse_body({});
    if (!reader_.is(TokenKind::kEnd)) reader_.unexpected("the end");
    return body;
  }

 private:
  // Statements up to a block tag of one of these names, which is left to the caller behind its "{%".
  Body parse_body(std::initializer_list<std::string_view> ends) {
    const TokenReader::Level level(reader_);
    Body body;
    for (;;) {
      if (reader_.is(TokenKind::kText)) {
        body.push_back(reader_.node(Kind::kText, reader_.peek().text));
        reader_.next();
      } else if (reader_.is(TokenKind::kPrintBegin)) {
        reader_.next();
        NodePtr node = reader_.node(Kind::kPrint);
        node->children.push_back(parse_tuple(reader_));
        if (!reader_.is(TokenKind::kPrintEnd)) reader_.unexpected("'}}'");
        reader_.next();
        body.push_back(reader_.finished(std::move(node)));
      } else if (reader_.is(TokenKind::kBlockBegin)) {
        const Token& name = reader_.peek(1);
        const bool ended = name.kind == TokenKind::kName && std::ranges::find(ends, name.text) != ends.end();
        if (ended) return reader_.next(), std::move(body);
        reader_.next();
        parse_statement(body);
      } else {
        if (ends.size() > 0) reader_.unexpected(fmt::format("'{}'", *(ends.end() - 1)));
        return body;
      }
    }
  }

  void end_tag() {
    if (!reader_.is(TokenKind::kBlockEnd)) reader_.unexpected("'%}'");
    reader_.next();
  }
  void end_tag(std::string_view name) {
    if (!reader_.take_name(name)) reader_.unexpected(fmt::format("'{}'", name));
    end_tag();
  }

  void parse_statement(Body& body) {
    const int line = reader_.peek().line;
    const std::string name = reader_.expect_name("a statement");
    if (name == "if") {
      body.push_back(parse_if());
    } else if (name == "for") {
      body.push_back(parse_for());
    } else if (name == "set") {
      body.push_back(parse_set());
    } else if (name == "macro") {
      body.push_back(parse_macro());
    } else if (name == "break" || name == "continue") {
      if (loops_ == 0) fail("the chat template, line {}: '{}' outside of a loop", line, name);
      body.push_back(reader_.node(name == "break" ? Kind::kBreak : Kind::kContinue));
      end_tag();
    } else if (name == "generation") {  // marks what a model learns from; prints its contents
      end_tag();
      for (NodePtr& node : parse_body({"endgeneration"})) body.push_back(std::move(node));
      end_tag("endgeneration");
    } else {
      fail(
          "the chat template, line {}: the statement '{}' is not supported; supported are if, for, set, macro, break, "
          "continue, "
          "generation, raw",
          line, shown(name));
    }
  }

  NodePtr parse_if() {
    NodePtr node = reader_.node(Kind::kIf);
    node->children.push_back(parse_tuple(reader_));
    end_tag();
    node->body = parse_body({"elif", "else", "endif"});
    if (reader_.take_name("elif")) {
      const TokenReader::Level level(reader_);
      node->other.push_back(parse_if());
      return reader_.finished(std::move(node));
    }
    if (reader_.take_name("else")) {
      end_tag();
      node->other = parse_body({"endif"});
    }
    end_tag("endif");
    return reader_.finished(std::move(node));
  }

  std::vector<std::string> parse_targets() {
    std::vector<std::string> names;
    const bool bracket = reader_.take_operator("(");
    do {
      names.push_back(reader_.expect_name("a variable"));
    } while (reader_.take_operator(","));
    if (bracket) reader_.expect_operator(")");
    return names;
  }

  NodePtr parse_for() {
    NodePtr node = reader_.node(Kind::kFor);
    node->names = parse_targets();
    if (!reader_.take_name("in")) reader_.unexpected("'in'");
    node->children.push_back(parse_tuple(reader_, false));
    node->children.push_back(reader_.take_name("if") ? parse_expression(reader_) : nullptr);
    if (reader_.is_name("recursive")) {
      fail("the chat template, line {}: a recursive loop is not supported", reader_.peek().line);
    }
    end_tag();
    ++loops_;
    node->body = parse_body({"else", "endfor"});
    --loops_;
    if (reader_.take_name("else")) {
      end_tag();
      node->other = parse_body({"endfor"});
    }
    end_tag("endfor");
    return reader_.finished(std::move(node));
  }

  NodePtr parse_set() {
    NodePtr node = reader_.node(Kind::kSet);
    node->names = parse_targets();
    if (node->names.size() == 1 && reader_.take_operator(".")) {
      node->kind = Kind::kSetMember;
      node->names.push_back(reader_.expect_name("a member's name"));
    }
    if (reader_.take_operator("=")) {
      node->children.push_back(parse_tuple(reader_));
      end_tag();
      return reader_.finished(std::move(node));
    }
    if (node->kind == Kind::kSetMember || node->names.size() != 1) reader_.unexpected("'='");
    node->kind = Kind::kSetBlock;
    node->children.push_back(parse_filters(reader_, nullptr));
    end_tag();
    node->body = parse_body({"endset"});
    end_tag("endset");
    return reader_.finished(std::move(node));
  }

  NodePtr parse_macro() {
    NodePtr node = reader_.node(Kind::kMacro, "");
    node->text = reader_.expect_name("a macro's name");
    reader_.expect_operator("(");
    while (!reader_.take_operator(")")) {
      node->names.push_back(reader_.expect_name("a parameter"));
      if (reader_.take_operator("=")) node->named.emplace_back(node->names.back(), parse_expression(reader_));
      if (!reader_.is_operator(")")) reader_.expect_operator(",");
    }
    end_tag();
    const int loops = std::exchange(loops_, 0);
    node->body = parse_body({"endmacro"});
    loops_ = loops;
    end_tag("endmacro");
    return reader_.finished(std::move(node));
  }

  TokenReader reader_;
  int loops_ = 0;  // around the statement that is read
};

}  // namespace

std::vector<NodePtr> parse(std::string_view source) { return StatementParser(source).parse_all(); }

}  // namespace kvpareto::jinja
